"""Growth that is under way, carried on over the lead time, while no forecast knows its own errors yet.

In the first minutes of a series the members of the forecast know nothing but a few bins, and together they lag behind a
morning that has begun: their median orders nothing early. A rise that goes on is then the better forecast. It is one
only as long as the forecast is cold, and as every forecast it can only add.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

KEPT_S = 300.0
"""How long rates are remembered."""
_LEAST_STEP_S = 20.0
_BY_CHANCE = 4.0
"""Standard deviations of the difference of two rates, if requests come independently of each other."""
_SHARE = 0.15
"""Of the whole rise, what its beginning and its end must each have, so that it is no jump."""
_MOST_GROWTH = 1.0
"""Within a lead time demand is not taken to more than double."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests a second that arrived, as measured at a time (Unix seconds)."""

    at_s: float
    requests_per_s: float


def growth_ratio(rates: Sequence[Rate], window_s: float, ahead_s: float) -> float:
    """Give the share of itself by which demand will have grown in ``ahead_s`` if it goes on so; from 0 to 1.

    ``rates`` are each measured over ``window_s``, the newest last. It is 0 where demand does not rise beyond what
    chance does, and where it has jumped: a jump is seen for one window, so there is a whole one between the beginning
    and the end of what counts as a rise. It goes on as on the whole or as lately, whichever is slower.
    """
    if not rates or rates[-1].requests_per_s <= 0.0:
        return 0.0
    now, step_s = rates[-1], max(window_s / 2, _LEAST_STEP_S)
    ages_s = (2 * step_s + window_s, step_s + window_s, step_s)
    earlier = [_at(rates, now.at_s - age_s, step_s) for age_s in ages_s]
    first, second, third = (one.requests_per_s if one else now.requests_per_s for one in earlier)
    risen, early, late = now.requests_per_s - first, second - first, now.requests_per_s - third
    if risen <= _BY_CHANCE * sqrt((now.requests_per_s + first) / window_s) or min(early, late) < _SHARE * risen:
        return 0.0
    per_s = min(risen / ages_s[0], late / step_s)
    return min(per_s * ahead_s / now.requests_per_s, _MOST_GROWTH)


def _at(rates: Sequence[Rate], at_s: float, within_s: float) -> Rate | None:
    """Find the last rate that was measured until a time, and not long before it."""
    return next((rate for rate in reversed(rates) if at_s - within_s < rate.at_s <= at_s), None)
