"""What demand is expected to be: members, each a file, under one ensemble with conformal intervals.

A series is a :class:`SeriesState` that :data:`learn` carries from bin to bin and :data:`predict` reads. A new member is
a new file and one line below.
"""

from functools import lru_cache

from aiops.forecast.arima import Arima
from aiops.forecast.ensemble import Ensemble
from aiops.forecast.exponential_smoothing import ExponentialSmoothing
from aiops.forecast.history import empty_history
from aiops.forecast.last_value import LastValue
from aiops.forecast.plugged import Plugged
from aiops.forecast.prior import PriorMember
from aiops.forecast.short_mean import ShortMean
from aiops.forecast.state import SeriesState
from aiops.forecast.week_profile import WeekProfile
from aiops.model.forecaster import Forecaster
from aiops.model.prior import Prior

MEMBERS: tuple[Forecaster, ...] = (
    LastValue(),
    ShortMean(),
    ExponentialSmoothing(),
    WeekProfile(),
    Arima(),
)


@lru_cache(maxsize=8)
def ensemble(prior: Prior | None = None, others: tuple[Forecaster, ...] = ()) -> Ensemble:
    """Give the ensemble of all members, with a prior's where there is one, and of ``others``; the same for the same."""
    plugged = tuple(Plugged(other) for other in others)
    if prior is None:
        return Ensemble((*MEMBERS, *plugged))
    member = PriorMember(prior)
    return Ensemble((*MEMBERS, member, *plugged), member)


_ensemble = ensemble()
learn = _ensemble.learn
learn_history = _ensemble.learn_history
predict = _ensemble.predict
skills = _ensemble.skills


def empty_series(bin_s: float, phase: int = 0) -> SeriesState:
    """Give the state of a series of which nothing is known, in bins of ``bin_s`` seconds.

    Series of different ``phase`` do their dear work in different bins.
    """
    if not bin_s > 0.0:
        raise ValueError(f"a bin must last longer than 0 s, not {bin_s} s")
    return SeriesState(bin_s, history=empty_history(bin_s, phase))


__all__ = [
    "MEMBERS",
    "Ensemble",
    "Forecaster",
    "SeriesState",
    "empty_series",
    "ensemble",
    "learn",
    "learn_history",
    "predict",
    "skills",
]
