"""Rolling origins over one recorded series, and how well the forecasts made there were."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from math import ceil, floor
from statistics import median_low
from typing import Protocol

from aiops.forecast import empty_series
from aiops.forecast.state import SeriesState
from aiops.model.forecast import Forecast, Window

LEVELS = (0.05, 0.1, 0.5, 0.9, 0.95)
"""The quantiles of a row, in this order."""
MOST_ORIGINS = 10_000_000
RISING_RATIO = 1.1
"""A target above this many times the last value is a rising one."""
LONE_BIN_S = 600.0
"""The width of a bin while only one point is known."""
_EACH_TIME = 32  # up to so many points the width is looked at with each; then whenever their number has doubled
_WIDTH_SLACK = 0.05


class Learner(Protocol):
    """What makes the forecasts: :mod:`aiops.forecast` itself, or an ensemble of other members."""

    @property
    def learn(self) -> "Learn":
        """Take a bin in."""
        ...

    @property
    def predict(self) -> "Predict":
        """Forecast from a state."""
        ...


class Learn(Protocol):
    """Carries a state over a bin that ended at ``at_s``."""

    def __call__(
        self, state: SeriesState, at_s: float, value: float | None, windows: Sequence[Window], /
    ) -> SeriesState:
        """Give the next state."""
        ...


class Predict(Protocol):
    """Forecasts each window from ``made_at``."""

    def __call__(
        self, state: SeriesState, series: str, made_at: datetime, windows: Sequence[Window], /
    ) -> tuple[Forecast, ...]:
        """Give a forecast a window, in their order."""
        ...


@dataclass(frozen=True, slots=True)
class RollingForecast:
    """What was said at an origin of the value at ``target_s``, knowing nothing later than ``origin_s``.

    ``quantiles`` are those at :data:`LEVELS`, ascending, and ``last`` is the last measured value; before the first one
    they are empty and None. Times are in seconds.
    """

    origin_s: float
    target_s: float
    last: float | None
    quantiles: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Measures:
    """How good forecasts at one horizon were, over the origins whose target was measured.

    Ratios are None where their denominator is 0 or nothing was judged. ``wape_ratio`` is the sum of absolute errors of
    the median ÷ the sum of actual values; ``wape_to_last_value_ratio`` the same errors ÷ those of the last value;
    ``pinball_to_last_value_ratio`` the pinball loss of q90 ÷ that of the last value under the same conformal intervals.
    Rising targets are more than a tenth above the last value.
    """

    origins: int
    rising_origins: int
    wape_ratio: float | None
    wape_to_last_value_ratio: float | None
    q90_coverage_ratio: float | None
    q95_coverage_ratio: float | None
    q90_coverage_rising_ratio: float | None
    pinball_q90: float | None
    pinball_to_last_value_ratio: float | None


def origins(first_s: float, last_s: float, every_s: float, start_ratio: float) -> tuple[float, ...]:
    """Give the times ``first_s`` + k · ``every_s`` from ``start_ratio`` of the span on to ``last_s``, to the ms.

    Raises ValueError where ``every_s`` is below a millisecond or makes too many, or ``start_ratio`` is not in 0..1.

    >>> origins(100.0, 7300.0, 1800.0, 0.5)
    (3700.0, 5500.0, 7300.0)
    """
    if not every_s >= 0.001:
        raise ValueError(f"origins are at least 0.001 s apart, not {every_s:g} s")
    if not 0.0 <= start_ratio <= 1.0:
        raise ValueError(f"the start is a share of the span, from 0 to 1, not {start_ratio:g}")
    slack = 0.0005 / every_s  # half a millisecond
    begin = ceil(start_ratio * (last_s - first_s) / every_s - slack)
    end = floor((last_s - first_s) / every_s + slack)
    if end - begin > MOST_ORIGINS:
        raise ValueError(f"{every_s:g} s between origins make {end - begin} of them, not at most {MOST_ORIGINS}")
    return tuple(round(first_s + k * every_s, 3) for k in range(begin, end + 1))


def bin_widths(times_s: Sequence[float]) -> tuple[tuple[int, float], ...]:
    """Give the widths of a bin, each with the number of points from which on it holds; ``times_s`` ascend.

    The width is the median difference (of two, the lower) between the points so far; it knows none to come. It is
    looked at with each of the first 32 points and then whenever their number has doubled, and changes where it is off
    by over 5 %.

    >>> bin_widths([0.0, 120.0, 180.0, 240.0, 360.0, 420.0])
    ((1, 600.0), (2, 120.0), (3, 60.0))
    """
    found = [(1, LONE_BIN_S)]
    apart = [later - earlier for earlier, later in pairwise(times_s)]
    known = 2
    while known <= len(times_s):
        width = median_low(apart[: known - 1])
        if abs(width - found[-1][1]) > _WIDTH_SLACK * found[-1][1]:
            found.append((known, width))
        known = known + 1 if known < _EACH_TIME else 2 * known
    return tuple(found)


def rolling(
    learner: Learner,
    times_s: Sequence[float],
    values: Sequence[float | None],
    origins_s: Sequence[float],
    horizons_s: Sequence[float],
) -> Iterator[tuple[RollingForecast, ...]]:
    """Forecast at each origin with what was known then; give a tuple with a forecast a horizon for each.

    ``times_s`` ascend strictly, None is a gap, and a value is known at its time. Where the width of a bin changes (see
    :func:`bin_widths`), all is learned again from the first point on, so that a row depends on nothing but the points
    up to its origin. Raises ValueError where times and values differ in number.
    """
    if len(times_s) != len(values):
        raise ValueError(f"{len(times_s)} times and {len(values)} values: each point has one of both")
    windows = tuple(Window(horizon_s, horizon_s) for horizon_s in horizons_s)
    widths = dict(bin_widths(times_s))
    state = empty_series(LONE_BIN_S)
    known, last = 0, None
    for origin_s in origins_s:
        while known < len(times_s) and times_s[known] <= origin_s:
            value = values[known]
            last = last if value is None else value
            known += 1
            if known in widths:
                state = empty_series(widths[known])
                for at_s, earlier in zip(times_s[: known - 1], values, strict=False):
                    state = learner.learn(state, at_s, earlier, windows)
            state = learner.learn(state, times_s[known - 1], value, windows)
        made = learner.predict(state, "", datetime.fromtimestamp(origin_s, UTC), windows)
        yield tuple(
            RollingForecast(origin_s, round(origin_s + horizon_s, 3), last, _levels(forecast))
            for horizon_s, forecast in zip(horizons_s, made, strict=True)
        )


def measured(
    forecasts: Sequence[RollingForecast],
    yardstick: Sequence[RollingForecast],
    times_s: Sequence[float],
    values: Sequence[float | None],
) -> Measures:
    """Compare forecasts at one horizon with what came, and with a ``yardstick`` from the same origins.

    The actual value is that of the point nearest to the target, at most half a bin off it. Where that is a gap, or
    nothing had been seen at the origin, the origin is not judged.
    """
    slack_s = bin_widths(times_s)[-1][1] / 2.0
    judged = [
        (actual, one.last, one.quantiles, other.quantiles[3])
        for one, other in zip(forecasts, yardstick, strict=True)
        if one.last is not None and (actual := _nearest(one.target_s, times_s, values, slack_s)) is not None
    ]
    rising = [(actual, said) for actual, last, said, _ in judged if actual > RISING_RATIO * last]
    error = sum(abs(actual - said[2]) for actual, _, said, _ in judged)
    pinball = sum(_pinball(actual, said[3]) for actual, _, said, _ in judged)
    return Measures(
        origins=len(judged),
        rising_origins=len(rising),
        wape_ratio=_ratio(error, sum(actual for actual, *_ in judged)),
        wape_to_last_value_ratio=_ratio(error, sum(abs(actual - last) for actual, last, *_ in judged)),
        q90_coverage_ratio=_ratio(sum(_within(actual, said[3]) for actual, _, said, _ in judged), len(judged)),
        q95_coverage_ratio=_ratio(sum(_within(actual, said[4]) for actual, _, said, _ in judged), len(judged)),
        q90_coverage_rising_ratio=_ratio(sum(_within(actual, said[3]) for actual, said in rising), len(rising)),
        pinball_q90=_ratio(pinball, len(judged)),
        pinball_to_last_value_ratio=_ratio(pinball, sum(_pinball(actual, naive) for actual, *_, naive in judged)),
    )


def _levels(forecast: Forecast) -> tuple[float, ...]:
    return tuple([value for level in LEVELS if (value := forecast.quantile(level)) is not None])


def _nearest(at_s: float, times_s: Sequence[float], values: Sequence[float | None], slack_s: float) -> float | None:
    after = bisect_left(times_s, at_s)
    place = min(range(max(0, after - 1), min(after + 1, len(times_s))), key=lambda i: abs(times_s[i] - at_s))
    return values[place] if abs(times_s[place] - at_s) <= slack_s else None


def _pinball(actual: float, said: float) -> float:
    return max(LEVELS[3] * (actual - said), (LEVELS[3] - 1.0) * (actual - said))


def _within(actual: float, bound: float) -> bool:
    # The last digit of a weighted mean of equal values is no miss.
    return actual <= bound * (1.0 + 1e-9)


def _ratio(above: float, below: float) -> float | None:
    return above / below if below > 0.0 else None
