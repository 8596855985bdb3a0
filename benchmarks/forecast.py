"""How well and how fast demand is forecast: WAPE and pinball loss ÷ those of the last value, coverage, milliseconds.

Reads the shared data named by AIOPS_DATA and prints JSON. Origins are every bin of the last half (of the last third on
series of a day); the yardstick for the interval is the last value under the same conformal intervals.
"""

import csv
import json
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from aiops import forecast
from aiops.forecast.ensemble import Ensemble
from aiops.forecast.last_value import LastValue
from aiops.model.forecast import Window

BIN_S = 600.0
COLUMNS = ("req_per_s", "input_tok_per_s", "output_tok_per_s")
HORIZONS_S = (600.0, 1800.0, 21600.0)
WINDOWS = tuple(Window(horizon_s, horizon_s) for horizon_s in HORIZONS_S)
LEVEL = 0.9
# Of each origin and horizon: the median, and the quantile at LEVEL.
Forecasts = list[list[tuple[float, float]]]


def replay(ensemble: Ensemble, values: Sequence[float]) -> tuple[Forecasts, float]:
    """Forecast at the end of each bin; give the forecasts and the mean milliseconds a bin took."""
    state = forecast.empty_series(BIN_S)
    made: Forecasts = []
    started_s = time.perf_counter()
    for i, value in enumerate(values, 1):
        state = ensemble.learn(state, i * BIN_S, value, WINDOWS)
        answers = ensemble.predict(state, "", datetime.fromtimestamp(i * BIN_S, UTC), WINDOWS)
        made.append([(answer.quantile(0.5) or 0.0, answer.quantile(LEVEL) or 0.0) for answer in answers])
    return made, (time.perf_counter() - started_s) / len(values) * 1000


def pinball(actual: float, quantile: float) -> float:
    """Give the loss of a quantile at LEVEL."""
    return max(LEVEL * (actual - quantile), (LEVEL - 1.0) * (actual - quantile))


def score(values: Sequence[float], start: int) -> list[dict[str, float | None]]:
    """Give a row per horizon that fits."""
    made, bin_ms = replay(Ensemble(forecast.MEMBERS), values)
    yardstick, _ = replay(Ensemble((LastValue(),)), values)
    rows: list[dict[str, float | None]] = []
    for place, horizon_s in enumerate(HORIZONS_S):
        ahead = round(horizon_s / BIN_S)
        origins = range(start, len(values) - ahead)
        if not origins:
            continue
        judged = [(values[i + ahead], values[i], *made[i][place], yardstick[i][place][1]) for i in origins]
        rising = [actual <= high for actual, last, _, high, _ in judged if actual > 1.1 * last]
        rows.append(
            {
                "horizon_s": horizon_s,
                "origins": len(judged),
                "wape_over_last_value": sum(abs(actual - middle) for actual, _, middle, _, _ in judged)
                / sum(abs(actual - last) for actual, last, _, _, _ in judged),
                "q90_coverage": sum(actual <= high for actual, _, _, high, _ in judged) / len(judged),
                "q90_coverage_rising": sum(rising) / len(rising) if rising else None,
                "pinball_over_last_value_conformal": sum(pinball(actual, high) for actual, _, _, high, _ in judged)
                / sum(pinball(actual, naive) for actual, _, _, _, naive in judged),
                "ms_per_bin": bin_ms,
            }
        )
    return rows


def main() -> int:
    """Score every series of the shared data."""
    root = os.environ.get("AIOPS_DATA")
    if not root:
        print("AIOPS_DATA names no folder with the shared data", file=sys.stderr)
        return 1
    result: list[dict[str, object]] = []
    for path in sorted(Path(root, "servegen").glob("*_10min.csv")):
        with path.open() as file:
            table = list(csv.DictReader(file))
        start = len(table) // 2 if len(table) > 288 else 2 * len(table) // 3
        for column in COLUMNS:
            rows = score([float(row[column]) for row in table], start)
            result += [
                {"file": path.name, "series": column}
                | {name: value if value is None else round(value, 4) for name, value in row.items()}
                for row in rows
            ]
    print(json.dumps({"forecast": result}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
