"""A profile of the day times the present level."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

from aiops.forecast.bins import DAY_S
from aiops.forecast.history import History
from aiops.forecast.member import MemberState

SLOTS = 144
SLOT_S = 600.0
_LEAST_SHAPE = 0.05  # a quiet hour raises the level at most twentyfold when it is left
_KERNEL = ((-2, 1.0), (-1, 2.0), (0, 3.0), (1, 2.0), (2, 1.0))
# The state: a header, the profile, how many days each slot stands on, and (slot, mean) of the unfinished day.
_HEADER = 8
_PROFILE = slice(_HEADER, _HEADER + SLOTS)
_DAYS = slice(_HEADER + SLOTS, _HEADER + 2 * SLOTS)
_TODAY = slice(_HEADER + 2 * SLOTS, None)


@dataclass(frozen=True, slots=True)
class DayProfile:
    """Forecast the level times the profile of the day: 144 slots of ten minutes in UTC, 1 on average.

    The profile changes once a day: the 24 hours since the last change are divided by their own level and blended in;
    before the first change there is no opinion. A slot starts at 1 and moves as the days it was seen on outweigh
    ``prior_days``; ``most_days`` bounds how slowly it follows a change of habit. The level is the sum of past values ÷
    the sum of their profile, so that a quiet night weighs as little as it carries; the present one fades into that of
    the last day over ``fade_s``.
    """

    near_memory_s: float = 900.0
    far_memory_s: float = 86_400.0
    fade_s: float = 7200.0
    prior_days: float = 0.5
    most_days: float = 6.0
    name: str = "day_profile"

    def learn(self, state: MemberState, value: float, at_s: float, bin_s: float, history: History) -> MemberState:
        """Move the levels, count the value into its slot, and change the profile when a day is over."""
        middle_s = at_s - bin_s / 2.0
        slot = float(middle_s // SLOT_S % SLOTS)
        if not state:
            return (at_s - bin_s, slot, value, 1.0, value, 1.0, value, 1.0, *(1.0,) * SLOTS, *(0.0,) * SLOTS)
        started_s, slot_now, slot_sum, slot_count, near, near_shape, far, far_shape = state[:_HEADER]
        table = state[_HEADER:]
        shape = _shape(state[_PROFILE], middle_s)
        keep = exp(-bin_s / self.near_memory_s)
        near, near_shape = keep * near + value, keep * near_shape + shape
        keep = exp(-bin_s / self.far_memory_s)
        far, far_shape = keep * far + value, keep * far_shape + shape
        if slot == slot_now:
            slot_sum, slot_count = slot_sum + value, slot_count + 1.0
        else:
            table = (*table, slot_now, slot_sum / slot_count)
            slot_sum, slot_count = value, 1.0
            if at_s - started_s > DAY_S:
                started_s += (at_s - started_s) // DAY_S * DAY_S
                table = self._after_a_day((*state[:_HEADER], *table))
        return (started_s, slot, slot_sum, slot_count, near, near_shape, far, far_shape, *table)

    def path(
        self, state: MemberState, at_s: float, bin_s: float, ahead: tuple[int, ...], history: History
    ) -> list[float] | None:
        """Give level × profile at the middle of each bin; None before the first day is over."""
        if not state or not any(state[_DAYS]):
            return None
        near, far = state[4] / state[5], state[6] / state[7]
        profile = state[_PROFILE]
        middle_s = at_s - bin_s / 2.0
        fade = -bin_s / self.fade_s
        return [(far + (near - far) * exp(fade * k)) * _shape(profile, middle_s + k * bin_s) for k in ahead]

    def _after_a_day(self, state: MemberState) -> MemberState:
        profile, days = list(state[_PROFILE]), list(state[_DAYS])
        today = dict(zip(state[_TODAY][::2], state[_TODAY][1::2], strict=True))
        level = sum(today.values()) / sum(profile[int(slot)] for slot in today)
        if level > 0.0:
            for slot in range(SLOTS):
                near = [((slot + step) % SLOTS, weight) for step, weight in _KERNEL if (slot + step) % SLOTS in today]
                if near:
                    seen = sum(weight * today[i] for i, weight in near) / sum(weight for _, weight in near) / level
                    days[slot] = min(days[slot] + 1.0, self.most_days)
                    moved = profile[slot] + (seen - profile[slot]) / (days[slot] + self.prior_days)
                    profile[slot] = max(moved, _LEAST_SHAPE)
        return (*profile, *days)


def _shape(profile: Sequence[float], at_s: float) -> float:
    """Read the profile between the middles of its slots."""
    place = at_s / SLOT_S - 0.5
    first = place // 1.0
    share = place - first
    i = int(first)
    return (1.0 - share) * profile[i % SLOTS] + share * profile[(i + 1) % SLOTS]
