"""How well six hours ahead could be forecast by somebody who also knows the future, on the series of the benchmark.

python benchmarks/forecast_bound.py [--seeds 3] [--series 16] [--members]

Reads the shared data named by AIOPS_DATA; prints JSON. The series are those that benchmarks/forecast.py counts as
seasonal (autocorrelation at a lag of a day of at least 0.6), its origins and its measure: absolute error ÷ that of the
last value, geometric mean over series. Each oracle breaks the rule of every forecaster, that nothing later than the
origin is known:

- other days: the mean of all other days of the two weeks, those to come among them, but not the day of the target,
  times (level of the last hour ÷ that mean then) to a power that is chosen per series with the errors in sight;
- own day: the same mean with the day of the target in it, of the scored week alone, so that a seventh of every answer
  is in the question;
- members (with --members, minutes): the weights of the ensemble's members that were best for this very series, fixed;
- members and other days: the same with the first oracle as one more member.

None is a proof: a forecaster may know what a mean of days does not. They say how much there is to know. ``persistent``
counts the series that are as alike half a day later as a day later: their autocorrelation is that of a level, not of
days, and the last value is hard to beat on them.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from _forecast_figures import SEASONAL, geometric_mean
from _forecast_scores import HORIZONS_S, ORIGIN_EVERY_S, OURS, START_RATIO
from _forecast_series import BIN_S, DAY_BINS, Floats, Series, held_back, recombined, seasonal
from numpy.typing import NDArray

from aiops.forecast import empty_series
from aiops.forecast.scoring import origins

AHEAD = round(HORIZONS_S[-1] / BIN_S)
_HOUR = 6
_POWERS = np.linspace(0.0, 1.0, 11)
_KERNEL = np.array([1.0, 3.0, 4.0, 3.0, 1.0]) / 12.0
_FLOOR_RATIO = 0.02
_STEPS = 2000
Places = NDArray[np.int64]


def main() -> int:
    """Score the oracles and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="how many sets of recombined series")
    parser.add_argument("--series", type=int, default=16, help="recombined series a seed, three columns each")
    parser.add_argument("--members", action="store_true", help="also the best weights of the ensemble's members")
    asked = parser.parse_args()
    root = os.environ.get("AIOPS_DATA")
    if not root:
        print("AIOPS_DATA names no folder with the shared data", file=sys.stderr)
        return 1
    chosen = list(_seasonal_series(Path(root, "servegen"), asked.seeds, asked.series))
    rows = []
    for each in chosen:
        rows.append(_row(each, asked.members))
        print(json.dumps(rows[-1]), file=sys.stderr)
    names = [name for name in rows[0] if name not in {"seed", "name", "series", "persistent"}]
    found = {
        "benchmark": "forecast_bound",
        "series": len(rows),
        "persistent": sum(bool(row["persistent"]) for row in rows),
        "geometric_mean": {name: _mean(rows, name) for name in names},
        "without_persistent": {name: _mean([row for row in rows if not row["persistent"]], name) for name in names},
        "rows": rows,
    }
    print(json.dumps(found, indent=1))
    return 0


def _seasonal_series(folder: Path, seeds: int, count: int) -> Iterator[Series]:
    clients = held_back(folder)
    for seed in range(1, seeds + 1):
        for each in (*recombined(clients, count, seed), *seasonal(clients, count // 3, seed)):
            if (each.day_autocorrelation or 0.0) >= SEASONAL:
                yield each


def _row(series: Series, with_members: bool) -> dict[str, object]:
    values = np.array(series.values)
    times_s = BIN_S * np.arange(len(values))
    at_s = np.array(origins(times_s[0], times_s[-1], ORIGIN_EVERY_S, START_RATIO))
    now = np.round(at_s / BIN_S).astype(np.int64)
    now = now[now + AHEAD < len(values)]
    other = [_other_days(values, now, power) for power in _POWERS]
    own = [_own_day(values, now, power) for power in _POWERS]
    best = min(other, key=lambda said: _ratio(values, now, said))
    found: dict[str, object] = {
        "seed": series.seed,
        "name": series.name,
        "series": series.column,
        "persistent": _alike(values, DAY_BINS // 2) >= _alike(values, DAY_BINS),
        "other_days": _ratio(values, now, best),
        "own_day": min(_ratio(values, now, said) for said in own),
    }
    if with_members:
        said = _members(series, now)
        found["members"] = _best_weights(values, now, said)
        found["members_and_other_days"] = _best_weights(values, now, np.vstack([said, best]))
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in found.items()}


def _other_days(values: Floats, now: Places, power: float) -> Floats:
    days = values[: len(values) // DAY_BINS * DAY_BINS].reshape(-1, DAY_BINS)
    said = np.zeros(len(now))
    for i, place in enumerate(now):
        target = place + AHEAD
        shape = _smooth(np.delete(days, min(target // DAY_BINS, len(days) - 1), axis=0).mean(axis=0))
        said[i] = _levelled(values, shape, place, power)
    return said


def _own_day(values: Floats, now: Places, power: float) -> Floats:
    days = values[: len(values) // DAY_BINS * DAY_BINS].reshape(-1, DAY_BINS)
    shape = _smooth(days[len(days) // 2 :].mean(axis=0))
    return np.array([_levelled(values, shape, place, power) for place in now])


def _levelled(values: Floats, shape: Floats, place: int, power: float) -> float:
    """Give the shape at the target, times what the last hour was above the shape, to a power."""
    hour = np.arange(place - _HOUR + 1, place + 1)
    floor = _FLOOR_RATIO * float(shape.mean())
    level = (values[hour].mean() + floor) / (shape[hour % DAY_BINS].mean() + floor)
    return float(shape[(place + AHEAD) % DAY_BINS] * level**power)


def _smooth(shape: Floats) -> Floats:
    side = len(_KERNEL) // 2
    return np.convolve(np.concatenate([shape[-side:], shape, shape[:side]]), _KERNEL, "valid")


def _members(series: Series, now: Places) -> Floats:
    """Give what each member said at each origin: a row a member; where it had no opinion, the last value."""
    wanted, state, said = set(now.tolist()), empty_series(BIN_S), []
    for place, value in enumerate(series.values):
        state = OURS.learn(state, BIN_S * place, value, ())
        if place in wanted:
            paths = [
                member.path(memory, BIN_S * place, BIN_S, (AHEAD,), state.history)
                for member, (_, memory) in zip(OURS.members, state.members, strict=True)
            ]
            said.append([value if path is None else path[0] for path in paths])
    return np.array(said).T


def _best_weights(values: Floats, now: Places, said: Floats) -> float:
    """Give the least ratio of any fixed weights, in logarithms, found with the errors in sight."""
    floor = _FLOOR_RATIO * float(values.mean())
    logs, draws = np.log(said + floor), np.random.default_rng(1)
    best, weights = np.inf, np.full(len(said), 1.0 / len(said))
    each_alone = list(np.eye(len(said)))
    for step in range(_STEPS):
        # Each alone, then anywhere at first and ever nearer to the best.
        near = step / _STEPS
        anywhere = each_alone.pop() if each_alone else draws.dirichlet(np.full(len(said), 0.5))
        tried = near * weights + (1.0 - near) * anywhere
        ratio = _ratio(values, now, np.exp(tried @ logs) - floor)
        if ratio < best:
            best, weights = ratio, tried
    return best


def _ratio(values: Floats, now: Places, said: Floats) -> float:
    came = values[now + AHEAD]
    return float(np.abs(came - said).sum() / np.abs(came - values[now]).sum())


def _alike(values: Floats, lag: int) -> float:
    return float(np.corrcoef(values[:-lag], values[lag:])[0, 1])


def _mean(rows: Sequence[dict[str, object]], name: str) -> float | None:
    mean = geometric_mean(float(str(row[name])) for row in rows)
    return None if mean is None else round(mean, 4)


if __name__ == "__main__":
    sys.exit(main())
