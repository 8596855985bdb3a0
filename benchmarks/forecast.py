"""How well demand is forecast, each figure beside its bar, and how fast beside statsforecast.

python benchmarks/forecast.py [--seeds 1] [--series 24] [--jobs 1] [--csv FILE] [--peers] [--environments DIR]

Reads the shared data named by AIOPS_DATA; prints JSON, and the table on stderr. Origins are hourly over the last half.
Bars are held against series that are recombined from clients of m-large which nothing shipped was trained on: random
subsets, each client turned in time by whole hours; the bar on seasonal series also against sums of those among them
that have days, turned by whole days. The recorded series stand beside them; m-large's hold clients that the prior was
trained on, and that of mm-image is a single day. ``--peers`` adds AutoETS, AutoARIMA and AutoTheta on
some of the same series and origins (minutes), in an environment of their own that is made once.
"""

import argparse
import csv
import json
import os
import platform
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path
from statistics import fmean

from _forecast_figures import printed, seasonal_series, table
from _forecast_peers import beside
from _forecast_scores import HORIZONS_S, ORIGIN_EVERY_S, START_RATIO, Scored, score
from _forecast_series import COLUMNS, Series, held_back, recombined, recorded, seasonal

from aiops.cli.forecast_train import HELD_BACK


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parser.add_argument("--seeds", type=int, default=1, help="how many sets of recombined series")
    parser.add_argument("--series", type=int, default=24, help="recombined series a seed, three columns each")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="gets a row a series and horizon")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--environments", type=Path, default=cache / "aiops-benchmarks")
    return parser.parse_args()


def scored(series: Sequence[Series], jobs: int) -> list[Scored]:
    """Score all series, and say on stderr how far it is."""
    found = []
    with ProcessPoolExecutor(jobs) as pool:
        for each in pool.map(score, series):
            found.append(each)
            if len(found) % 9 == 0 or len(found) == len(series):
                print(f"{len(found)} of {len(series)} series", file=sys.stderr)
    return found


def write_rows(path: Path, scores: Sequence[Scored]) -> None:
    """Write all measures."""
    rows = [row for each in scores for row in each.rows()]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def main() -> int:
    """Score, print, and write."""
    asked = arguments()
    root = os.environ.get("AIOPS_DATA")
    if not root:
        print("AIOPS_DATA names no folder with the shared data", file=sys.stderr)
        return 1
    folder = Path(root, "servegen")
    clients = held_back(folder)
    sums = [each for seed in range(1, asked.seeds + 1) for each in recombined(clients, asked.series, seed)]
    daily = [each for seed in range(1, asked.seeds + 1) for each in seasonal(clients, asked.series // 3, seed)]
    scores = scored([*recorded(folder), *sums, *daily], asked.jobs)
    if asked.csv:
        write_rows(asked.csv, scores)
    rows = table(scores)
    print(printed(rows), file=sys.stderr)
    found = {
        "benchmark": "forecast",
        "machine": {"cores": os.cpu_count(), "kind": platform.machine(), "python": platform.python_version()},
        "versions": {package: version(package) for package in ("aiops", "numpy", "scikit-learn", "statsmodels")},
        "held_back": {
            "rule": f"client number modulo {HELD_BACK[0]} is {HELD_BACK[1]}",
            "clients": clients.numbers,
            "sums_a_seed": asked.series,
            "columns": COLUMNS,
            "seeds": asked.seeds,
            "daily_sums_a_seed": asked.series // 3,
            "seasonal_series": seasonal_series(scores),
        },
        "origins": {"every_s": ORIGIN_EVERY_S, "start_ratio": START_RATIO, "horizons_s": HORIZONS_S},
        "table": rows,
        "ms_per_bin": round(fmean(each.bin_ms for each in scores), 4),
    }
    if asked.peers:
        found["beside_statsforecast"] = beside(sums, asked.environments)
    print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
