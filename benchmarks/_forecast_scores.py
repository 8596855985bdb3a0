"""One series scored: its measures a horizon, its first day of life, and the time that it took."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from _forecast_series import BIN_S, DAY_BINS, Series

from aiops.forecast import ensemble
from aiops.forecast.ensemble import Ensemble
from aiops.forecast.last_value import LastValue
from aiops.forecast.scoring import Measures, RollingForecast, measured, origins, rolling
from aiops.observe.prior_file import shipped_prior

HORIZONS_S = (600.0, 1800.0, 21600.0)
ORIGIN_EVERY_S = 3600.0
START_RATIO = 0.5
FIRST_DAY_HORIZON_S = 1800.0
LIVES_APART_BINS = 4 * DAY_BINS
"""A life begins at the first bin and every four days after: each time all that was before is unknown."""
OURS = ensemble(shipped_prior())
YARDSTICK = Ensemble((LastValue(),), by_the_clock=False)


@dataclass(frozen=True, slots=True)
class Scored:
    """``horizons`` are in the order of HORIZONS_S; ``bin_ms`` is what learning a bin and forecasting took."""

    series: Series
    horizons: tuple[Measures, ...]
    first_day: Measures
    bin_ms: float

    def rows(self) -> list[dict[str, object]]:
        """Give a row a horizon, and one of the first day."""
        about: dict[str, object] = {
            "group": self.series.group,
            "seed": self.series.seed,
            "name": self.series.name,
            "series": self.series.column,
            "day_autocorrelation": self.series.day_autocorrelation,
            "ms_per_bin": self.bin_ms,
        }
        kinds = [("last_half", horizon_s, each) for horizon_s, each in zip(HORIZONS_S, self.horizons, strict=True)]
        kinds.append(("first_day", FIRST_DAY_HORIZON_S, self.first_day))
        return [about | {"span": span, "horizon_s": horizon_s} | asdict(each) for span, horizon_s, each in kinds]


def score(series: Series) -> Scored:
    """Score a series at origins an hour apart in its last half, and in the first day of its lives."""
    times_s = [BIN_S * i for i in range(len(series.values))]
    at_s = origins(times_s[0], times_s[-1], ORIGIN_EVERY_S, START_RATIO)
    began = time.process_time()
    ours = list(rolling(OURS, times_s, series.values, at_s, HORIZONS_S))
    bin_ms = (time.process_time() - began) / len(times_s) * 1000
    naive = list(rolling(YARDSTICK, times_s, series.values, at_s, HORIZONS_S))
    return Scored(
        series,
        tuple(
            measured([each[i] for each in ours], [each[i] for each in naive], times_s, series.values)
            for i in range(len(HORIZONS_S))
        ),
        _first_days(times_s, series.values),
        bin_ms,
    )


def _first_days(times_s: Sequence[float], values: Sequence[float]) -> Measures:
    """Judge origins from the first to the 24th hour of each life, all lives together."""
    ours: list[RollingForecast] = []
    naive: list[RollingForecast] = []
    for begin in range(0, max(len(values) - DAY_BINS, 1), LIVES_APART_BINS):
        life = slice(begin, begin + DAY_BINS + 1)
        at_s = [times_s[begin] + ORIGIN_EVERY_S * hour for hour in range(1, 25)]
        for learner, made in ((OURS, ours), (YARDSTICK, naive)):
            made += [each for (each,) in rolling(learner, times_s[life], values[life], at_s, (FIRST_DAY_HORIZON_S,))]
    return measured(ours, naive, times_s, values)
