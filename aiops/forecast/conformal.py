"""Intervals from the forecaster's own trailing errors, corrected while they run.

Split conformal prediction on a bounded memory of ratio residuals (log of actual ÷ forecast), with the share of misses
steered to what was asked as in adaptive conformal inference (Gibbs and Candès 2021). Windows for which not
even q90 is a tenth above the last value are steered apart: what rises there is missed however narrow they are, so they
get as many misses as were asked for, and those that can cover a rise fewer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, sqrt
from statistics import NormalDist

LEVELS = (0.05, 0.1, 0.5, 0.9, 0.95, 0.98, 0.99, 0.995)
LOW, MIDDLE, HIGH = 1, 2, 3
"""Places of the quantiles that are watched: 0.1, 0.5 and 0.9."""
MOST_RESIDUALS = 200
LEAST_RESIDUALS = 20
"""Fewer leave the default intervals in place."""
WIDEST = log(10.0)
"""No quantile is further than tenfold from the forecast."""
FLOOR_RATIO = 0.1
"""The additive floor near zero, as a share of the series' typical value."""
PLAIN = (1.0, 1.0)
"""The unit of errors where no spread is expected: plain log ratios."""
_CAUTION = 1.25
_FURTHEST = 20.0  # spreads; beyond, a residual says no more than that the regime is another
_NORMAL = tuple(NormalDist().inv_cdf(level) for level in LEVELS)
_RATE = 0.005
_HIGH_MISSES = 0.0775  # fewer than a tenth above q90: what rises hurts, and is what is missed
_OVERLAPPING_HIGH_MISSES = 0.065  # far ahead misses come in rows, and steering answers late
_CALM_MISSES = 0.1
RISE_RATIO = 1.1
"""A window of which q90 is below that many times the last value is calm: no rise is in sight."""
_BIAS_PRIOR = 20.0
_TIGHTEST, _LOOSEST = 3.0, 0.2


@dataclass(frozen=True, slots=True)
class Errors:
    """What is known of the errors at one window.

    ``residuals`` are log ratios, oldest first; ``low_ratio`` and ``high_ratio`` say by how much the tails below 0.5 and
    above it are taken smaller (wider intervals) or larger than asked for, ``calm_ratio`` the same above 0.5 in calm
    windows; ``offsets`` and ``calm_offsets`` are the resulting log ratios of the quantiles at
    :data:`LEVELS`, empty while too few residuals are known.
    """

    residuals: tuple[float, ...] = ()
    low_ratio: float = 1.0
    high_ratio: float = 1.0
    calm_ratio: float = 1.0
    offsets: tuple[float, ...] = ()
    calm_offsets: tuple[float, ...] = ()


def residual(actual: float, point: float, floor: float, spread: tuple[float, float] = PLAIN) -> float:
    """Give the log of actual ÷ forecast, both raised by ``floor`` (0 only for a series of zeros), within the cap.

    It is counted in units of the ``spread`` that was expected below and above the forecast.
    """
    if actual == point:
        return 0.0
    if point + floor <= 0.0 or actual + floor <= 0.0:
        ratio = WIDEST if actual > point else -WIDEST
    else:
        ratio = min(max(log((actual + floor) / (point + floor)), -WIDEST), WIDEST)
    # Rounded: a hundred-thousandth of the value is no information, and the state is kept as text.
    return round(min(max(ratio / spread[ratio > 0.0], -_FURTHEST), _FURTHEST), 5)


def is_calm(high: float, last: float) -> bool:
    """Say whether a q90 has no rise in sight."""
    return high < RISE_RATIO * last


def learn(
    errors: Errors, new: float, below_low: bool, above_high: bool, apart_ratio: float, calm: bool = False
) -> Errors:
    """Take in one residual, and whether the actual was below the forecast's q10 or above its q90.

    ``apart_ratio`` is the time between residuals ÷ their horizon: closer ones overlap, and count as that much less.
    ``calm`` says that no rise was in sight.
    """
    residuals = (*errors.residuals, new)[-MOST_RESIDUALS:]
    low = _steer(errors.low_ratio, below_low, LEVELS[LOW])
    alone = min(1.0, 3.0 * apart_ratio)
    high, still = errors.high_ratio, errors.calm_ratio
    if calm:
        still = _steer(still, above_high, _CALM_MISSES)
    else:
        high = _steer(high, above_high, alone * _HIGH_MISSES + (1.0 - alone) * _OVERLAPPING_HIGH_MISSES)
    if len(residuals) < LEAST_RESIDUALS:
        return Errors(residuals, low, high, still)
    ordered = sorted(residuals)
    middle = _at_rank(ordered, 0.5)
    below = _up_to_the_median(ordered, middle, low, apart_ratio)
    offsets = (*below, *_above(ordered, middle, high))
    # Never wider than the others, or a calm window would not be one.
    calm_offsets = offsets if still <= high else (*below, *_above(ordered, middle, still))
    return Errors(residuals, low, high, still, offsets, calm_offsets)


def quantiles(
    point: float,
    offsets: Sequence[float],
    floor: float,
    widening: float = 1.0,
    spread: tuple[float, float] = PLAIN,
) -> tuple[float, ...]:
    """Give the values at :data:`LEVELS` around a forecast.

    ``offsets`` are in units of ``spread``; ``widening`` stretches them about the median.
    """
    if widening > 1.0:
        middle = offsets[MIDDLE]
        offsets = [middle + widening * (offset - middle) for offset in offsets]
    down, up = spread
    values = []
    highest, raised = 0.0, point + floor
    for offset in offsets:
        if offset > 0.0:
            value = raised * exp(min(offset * up, WIDEST)) - floor
        else:
            value = raised * exp(max(offset * down, -WIDEST)) - floor if offset else point
        highest = max(highest, value)
        values.append(highest)
    return tuple(values)


def expected_offsets() -> tuple[float, ...]:
    """Give the default where a spread is expected: a normal of which q90 is that spread, somewhat widened."""
    return tuple(_CAUTION * normal / _NORMAL[HIGH] for normal in _NORMAL)


def cold_offsets(horizon_s: float) -> tuple[float, ...]:
    """Give the default, wide: a normal log ratio whose deviation grows with the root of the horizon."""
    deviation = min(0.2 + 0.3 * sqrt(horizon_s / 3600.0), 0.9)
    return tuple(deviation * normal for normal in _NORMAL)


def _steer(ratio: float, missed: bool, share: float) -> float:
    """Make the tail smaller on a miss and larger otherwise: at a share of 0.1, nine steps and one."""
    return min(max(ratio * exp(_RATE * (share - missed) / share), _LOOSEST), _TIGHTEST)


def _up_to_the_median(ordered: Sequence[float], middle: float, ratio: float, apart_ratio: float) -> list[float]:
    independent = len(ordered) * min(apart_ratio, 1.0)
    # A bias seen on five windows of six hours is mostly chance: 5 / (5 + 20) of it is believed.
    believed = middle * independent / (independent + _BIAS_PRIOR)
    return [*[_tail(ordered, middle, min(level * ratio, 0.5), False) for level in LEVELS[:MIDDLE]], believed]


def _above(ordered: Sequence[float], middle: float, ratio: float) -> list[float]:
    return [_tail(ordered, middle, min((1.0 - level) * ratio, 0.5), True) for level in LEVELS[HIGH:]]


def _tail(ordered: Sequence[float], middle: float, tail: float, upper: bool) -> float:
    """Read a tail; one that the residuals do not resolve continues the last that they do, along the normal's tail."""
    resolved = max(tail, 1.0 / (len(ordered) + 1.0))
    found = _at_rank(ordered, 1.0 - resolved if upper else resolved)
    if resolved > tail:
        found = middle + (found - middle) * _normal_tail(tail) / _normal_tail(resolved)
        found = min(max(found, -WIDEST), WIDEST)
    return found


def _at_rank(ordered: Sequence[float], level: float) -> float:
    """Interpolate the conformal quantile: rank level × (n + 1)."""
    last = len(ordered) - 1
    place = min(max(level * (last + 2) - 1.0, 0.0), last)
    i = min(int(place), last - 1)
    low = ordered[i]
    return low + (place - i) * (ordered[i + 1] - low)


def _normal_tail(tail: float) -> float:
    return NormalDist().inv_cdf(1.0 - tail)
