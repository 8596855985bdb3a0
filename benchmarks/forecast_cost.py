"""What the forecasts of a large fleet cost: 1,000 models of 3 series at 5 windows, in bins of a minute.

Some series learn two days; every other is a copy of one of them, with memory of its own, so that all are at steady
state. Then 20 bins in a row are learned and forecast; series close their slots of ten minutes in turn. Prints JSON, the
limits beside; seconds are the processor's. ``--profile`` adds where the time goes, on standard error.
"""

import argparse
import cProfile
import json
import math
import pstats
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiops.act.forecast_file import read_forecasts, write_forecasts
from aiops.forecast import SeriesState, empty_series, ensemble
from aiops.model.codec import decode, encode
from aiops.model.forecast import INPUT_TOKENS, OUTPUT_TOKENS, REQUESTS, Window
from aiops.model.policy import PolicySet, ScalingPolicy, Variant
from aiops.observe.prior_file import shipped_prior
from aiops.plan.state import ModelMemory, SeriesMemory, State

MODELS, SERIES_PER_MODEL = 1000, 3
BIN_S, DAY_S = 60.0, 86400.0
HISTORY_BINS, TIMED_BINS, TAUGHT = 2 * 1440, 20, 10
START_S = 1.7e9 // DAY_S * DAY_S
OURS = ensemble(shipped_prior())
WINDOWS = (Window(600, 600), Window(1800, 1800), Window(21600, 21600), Window(240, 300), Window(0, 840))
LIMIT_S, LIMIT_BYTES = 2.0, 200_000


def demand(series: int) -> Iterator[float]:
    """Give one series' values, bin by bin: a day that rises and falls, at a scale of its own, with noise."""
    random_of = random.Random(series)  # noqa: S311  # no secret
    scale, phase_s = 10.0 ** random_of.uniform(0.0, 5.0), random_of.uniform(0.0, DAY_S)
    for place in range(HISTORY_BINS + TIMED_BINS):
        day = 1.2 + math.sin(2.0 * math.pi * (place * BIN_S + phase_s) / DAY_S)
        yield scale * day * math.exp(random_of.gauss(0.0, 0.1))


def end_s(place: int) -> float:
    """Give the end of a bin."""
    return START_S + (place + 1) * BIN_S


def deep_bytes(value: object, seen: set[int]) -> int:
    """Add up what a state holds, each object once."""
    if id(value) in seen:
        return 0
    seen.add(id(value))
    inner: Sequence[object] = ()
    if isinstance(value, tuple | list):
        inner = value
    elif is_dataclass(value):
        inner = [getattr(value, field.name) for field in fields(value)]
    return sys.getsizeof(value) + sum(deep_bytes(part, seen) for part in inner)


def turn(states: list[SeriesState], values: Sequence[float], place: int) -> float:
    """Learn and forecast a bin of every series once; give the processor's seconds it took."""
    at_s = end_s(place)
    made_at = datetime.fromtimestamp(at_s, UTC)
    begun_s = time.process_time()
    for i, state in enumerate(states):
        states[i] = OURS.learn(state, at_s, values[i % TAUGHT], WINDOWS)
        OURS.predict(states[i], "", made_at, WINDOWS)
    return time.process_time() - begun_s


def saved(states: Sequence[SeriesState], at_s: float) -> dict[str, float]:
    """Write all states to a file and read them again; give its size and the processor's seconds."""
    entries, models = [], []
    for i in range(0, len(states), SERIES_PER_MODEL):
        pool = {"name": "both", "target": {"name": f"m{i}"}, "variant": "v"}
        plain = {"metadata": {"name": f"m{i}"}, "spec": {"model": f"m{i}", "pools": [pool]}}
        entries.append(ScalingPolicy.model_validate(plain))
        named = zip((REQUESTS, INPUT_TOKENS, OUTPUT_TOKENS), states[i : i + SERIES_PER_MODEL], strict=True)
        models.append(ModelMemory(entries[-1].ref, series=tuple(SeriesMemory(name, state) for name, state in named)))
    policies = PolicySet(tuple(entries), {"v": Variant("v")})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "forecasts")
        begun_s = time.process_time()
        write_forecasts(path, State(models=tuple(models)), policies)
        written_s = time.process_time()
        back = read_forecasts(path, policies, datetime.fromtimestamp(at_s, UTC), timedelta(days=1))
        read_s = time.process_time()
        if len(back.models) != len(models):
            raise RuntimeError(f"{len(back.models)} of {len(models)} models came back")
        return {
            "file_bytes": path.stat().st_size,
            "series_bytes": path.stat().st_size // len(states),
            "write_s": round(written_s - begun_s, 2),
            "read_s": round(read_s - written_s, 2),
        }


def measure(models: int, profiled: bool) -> dict[str, object]:
    """Teach, copy, time and weigh."""
    columns = [list(demand(series)) for series in range(TAUGHT)]
    ends_s = [end_s(place) for place in range(HISTORY_BINS)]
    begun_s = time.perf_counter()
    taught = [
        OURS.learn_history(empty_series(BIN_S, phase), ends_s, column[:HISTORY_BINS], WINDOWS)
        for phase, column in enumerate(columns)
    ]
    taught_s = (time.perf_counter() - begun_s) / TAUGHT
    copies = [encode(state) for state in taught]
    states = [decode(SeriesState, copies[i % TAUGHT]) for i in range(models * SERIES_PER_MODEL)]
    profile = cProfile.Profile()
    seconds = []
    for place in range(HISTORY_BINS, HISTORY_BINS + TIMED_BINS):
        values = [column[place] for column in columns]
        if profiled:
            profile.enable()
        seconds.append(turn(states, values, place))
        profile.disable()
    if profiled:
        pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(15)
    weights = [deep_bytes(state, set()) for state in states[:TAUGHT]]
    return {
        "benchmark": "forecast_cost",
        "series": len(states),
        "windows": len(WINDOWS),
        "bins": TIMED_BINS,
        "mean_s": round(sum(seconds) / len(seconds), 3),
        "worst_s": round(max(seconds), 3),
        "limit_s": LIMIT_S,
        "bins_s": [round(s, 3) for s in seconds],
        "series_ms": round(1000.0 * sum(seconds) / len(seconds) / len(states), 3),
        "series_bytes": max(weights),
        "limit_bytes": LIMIT_BYTES,
        "saved": saved(states, end_s(HISTORY_BINS + TIMED_BINS)),
        "two_days_taught_s": round(taught_s, 2),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=MODELS)
    parser.add_argument("--profile", action="store_true", help="also print the 15 dearest functions")
    asked = parser.parse_args()
    sys.stdout.write(json.dumps(measure(asked.models, asked.profile), indent=2) + "\n")


if __name__ == "__main__":
    main()
