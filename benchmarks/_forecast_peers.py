"""Ours beside statsforecast on a few of the same series, at a few of the same origins."""

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _forecast_figures import geometric_mean
from _forecast_scores import HORIZONS_S, ORIGIN_EVERY_S, OURS, START_RATIO, YARDSTICK
from _forecast_series import BIN_S, COLUMNS, DAY_BINS, Series
from simulator_peers.environments import Peer, environment
from simulator_peers.process import run

from aiops.forecast.scoring import RollingForecast, measured, origins, rolling

STATSFORECAST = Peer("statsforecast", "_forecast_statsforecast.py", ("statsforecast==2.1.1",))
SERIES, ORIGINS = 6, 12
LIMIT_S = 1800.0
_HERE = Path(__file__).parent
Made = list[list[RollingForecast]]


def beside(sums: Sequence[Series], folder: Path) -> dict[str, Any]:
    """Measure both on SERIES request series and ORIGINS origins, evenly spread over the last half."""
    made = environment(STATSFORECAST, folder)
    chosen = [each for each in sums if each.column == COLUMNS[0]][:SERIES]
    times_s = [BIN_S * i for i in range(len(chosen[0].values))]
    hourly = origins(times_s[0], times_s[-1] - HORIZONS_S[-1], ORIGIN_EVERY_S, START_RATIO)
    at_s = hourly[:: max(1, len(hourly) // ORIGINS)][:ORIGINS]
    about = {
        "series": [each.name for each in chosen],
        "origins_a_series": len(at_s),
        "note": "a few series and origins only; theirs are fitted at each origin to all that was before, ours learn "
        "bin by bin; only AutoTheta is told of the day: AutoETS takes no season so long, AutoARIMA minutes a fit",
        "installed": made.installed,
    }
    ours, bin_ms = _ours(chosen, times_s, at_s)
    naive = [_by_horizon(rolling(YARDSTICK, times_s, each.values, at_s, HORIZONS_S)) for each in chosen]
    rows = [{"model": "aiops", "ms_per_bin": round(bin_ms, 3)} | _judged(chosen, ours, naive, times_s)]
    if made.python is None:
        return about | {"error": made.failed, "models": rows}
    task = {
        "series": [each.values for each in chosen],
        "known": [1 + round(each / BIN_S) for each in at_s],
        "ahead": [round(each / BIN_S) for each in HORIZONS_S],
        "season": DAY_BINS,
    }
    with tempfile.TemporaryDirectory() as name:
        file = Path(name, "task.json")
        file.write_text(json.dumps(task))
        ran = run([str(made.python), str(_HERE / STATSFORECAST.script), str(file)], LIMIT_S)
    if ran.error:
        return about | {"error": ran.error, "models": rows}
    for model in json.loads(ran.out.splitlines()[-1]):
        theirs = [_rolled(each, at_s) for each in model.pop("forecasts")]
        model["fit_ms"] = round(model["fit_ms"], 1)
        rows.append(
            model
            | {"times_our_bin": round(model["fit_ms"] / bin_ms), "times_our_hour": round(model["fit_ms"] / bin_ms / 6)}
            | _judged(chosen, theirs, naive, times_s)
        )
    return about | {"models": rows}


def _ours(chosen: Sequence[Series], times_s: Sequence[float], at_s: Sequence[float]) -> tuple[list[Made], float]:
    began = time.process_time()
    made = [_by_horizon(rolling(OURS, times_s, each.values, at_s, HORIZONS_S)) for each in chosen]
    return made, (time.process_time() - began) * 1000 / len(chosen) / (1 + at_s[-1] / BIN_S)


def _by_horizon(rolled: Any) -> Made:  # noqa: ANN401  # an iterator of tuples, one a horizon
    return [list(each) for each in zip(*rolled, strict=True)]


def _rolled(forecasts: Sequence[Sequence[Sequence[float]]], at_s: Sequence[float]) -> Made:
    """Take what a peer said of one series: by origin, by horizon, its mean and its q90."""
    return [
        [
            RollingForecast(origin_s, origin_s + horizon_s, said[i][0], (0.0, 0.0, said[i][0], said[i][1], said[i][1]))
            for origin_s, said in zip(at_s, forecasts, strict=True)
        ]
        for i, horizon_s in enumerate(HORIZONS_S)
    ]


def _judged(chosen: Sequence[Series], made: Sequence[Made], naive: Sequence[Made], times_s: Sequence[float]) -> Any:  # noqa: ANN401
    """Give the geometric means over series by horizon, in their order; ``last`` is what the yardstick knew."""
    wape, covered = list[float | None](), list[float | None]()
    for i in range(len(HORIZONS_S)):
        errors = []
        coverage = []
        for series, ours, theirs in zip(chosen, made, naive, strict=True):
            mine = measured(ours[i], theirs[i], times_s, series.values)
            base = measured(theirs[i], theirs[i], times_s, series.values)
            if mine.wape_ratio is not None and base.wape_ratio:
                errors.append(mine.wape_ratio / base.wape_ratio)
            coverage.append(mine.q90_coverage_ratio)
        wape.append(_round(geometric_mean(errors)))
        covered.append(_round(geometric_mean(coverage)))
    return {"wape_over_last_value": wape, "q90_coverage": covered}


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
