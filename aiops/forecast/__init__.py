"""What demand is expected to be: members, each a file, under one ensemble with conformal intervals.

A series is a :class:`SeriesState` that :data:`learn` carries from bin to bin and :data:`predict` reads. A new member is
a new file and one line below.
"""

from aiops.forecast.day_profile import DayProfile
from aiops.forecast.ensemble import Ensemble
from aiops.forecast.exponential_smoothing import ExponentialSmoothing
from aiops.forecast.history import empty_history
from aiops.forecast.last_value import LastValue
from aiops.forecast.member import Forecaster
from aiops.forecast.short_mean import ShortMean
from aiops.forecast.state import SeriesState

MEMBERS: tuple[Forecaster, ...] = (
    LastValue(),
    ShortMean(),
    ExponentialSmoothing(),
    DayProfile(),
)

_ensemble = Ensemble(MEMBERS)
learn = _ensemble.learn
learn_history = _ensemble.learn_history
predict = _ensemble.predict
skills = _ensemble.skills


def empty_series(bin_s: float) -> SeriesState:
    """Give the state of a series of which nothing is known, in bins of ``bin_s`` seconds."""
    if not bin_s > 0.0:
        raise ValueError(f"a bin must last longer than 0 s, not {bin_s} s")
    return SeriesState(bin_s, history=empty_history(bin_s))


__all__ = ["MEMBERS", "Forecaster", "SeriesState", "empty_series", "learn", "learn_history", "predict", "skills"]
