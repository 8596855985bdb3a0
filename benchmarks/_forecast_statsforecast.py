"""Run in statsforecast's environment: fit its models at each origin, print what they said and how long a fit took.

The argument names a JSON file: ``series``, ``known`` (at each origin, how many values), ``ahead`` (bins), ``season``.
"""

import json
import sys
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
from statsforecast.models import AutoARIMA, AutoETS, AutoTheta

warnings.simplefilter("ignore")


def main() -> None:
    """Fit and print."""
    task = json.loads(Path(sys.argv[1]).read_text())
    # ETS takes no season of over 24 bins, and ARIMA with one of 144 takes minutes a fit.
    models = {
        "AutoETS": AutoETS,
        "AutoARIMA": AutoARIMA,
        "AutoTheta": partial(AutoTheta, season_length=task["season"]),
    }
    found = []
    for name, model in models.items():
        model().forecast(y=np.arange(1.0, 400.0) % 7 + 1.0, h=2, level=[80])  # compiles
        taken, said = [], []
        for values in task["series"]:
            of_series = []
            for known in task["known"]:
                began = time.process_time()
                made = model().forecast(y=np.array(values[:known]), h=max(task["ahead"]), level=[80])
                taken.append((time.process_time() - began) * 1000)
                of_series.append([[float(made["mean"][i - 1]), float(made["hi-80"][i - 1])] for i in task["ahead"]])
            said.append(of_series)
        found.append({"model": name, "fit_ms": sum(taken) / len(taken), "fits": len(taken), "forecasts": said})
        print(f"{name}: {found[-1]['fit_ms']:.0f} ms a fit", file=sys.stderr)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
