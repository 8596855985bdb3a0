"""The pretrained prior as a member: how series of this shape went on, and how surely."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import exp, log

import numpy as np

from aiops.forecast.prior_features import DAY, shape
from aiops.model.forecaster import History, MemberState
from aiops.model.prior import Prior

NARROWEST = 0.02
"""A spread is never less: log ratio of q90 to the median, or of that to q10."""
_FRESH_RATIO = 0.7
_FADE_SLOTS = 12.0
_LEAST_SLOTS = 6
# The state: the end of the slot at which it looked, level and floor there, then per horizon the log ratio of the
# median and the spreads down and up.
_HEADER = 3


@dataclass(frozen=True, slots=True, eq=False)
class PriorMember:
    """Forecast by the prior's trees, anew whenever a slot of ten minutes closes.

    Between slots the forecast of a moment stays, but for what the slot under way already shows: most of its ratio to
    the forecast is taken over, and fades over two hours. A series that has not moved for a day is expected to stay.
    """

    prior: Prior
    name: str = "prior"
    expected_error_ratio: float = 0.82
    catches_up: bool = True

    def learn(self, state: MemberState, value: float, at_s: float, bin_s: float, history: History) -> MemberState:
        """Look at the shape of the series where a slot has closed since the last look."""
        if history.end_s is None or not history.values or (state and state[0] >= history.end_s):
            return state
        known = [slot for slot in history.values[-DAY:] if slot is not None]
        if len(known) >= _LEAST_SLOTS and min(known) == max(known):
            still = (0.0, NARROWEST, NARROWEST) * len(self.prior.horizons)
            return (history.end_s, known[-1], 0.0, *still)
        seen = shape(history.values, self.prior.horizons)
        if seen is None:
            return state
        median, low, high = (self.prior.heads[name].predict(seen.rows) for name in ("median", "q10", "q90"))
        told = np.stack([median, np.maximum(median - low, NARROWEST), np.maximum(high - median, NARROWEST)], axis=1)
        return (history.end_s, seen.level, seen.floor, *np.round(told, 5).ravel().tolist())

    def moved(self, state: MemberState, ratio: float) -> MemberState:
        """Keep the memory: the next look replaces it."""
        return state

    def path(
        self, state: MemberState, at_s: float, bin_s: float, ahead: tuple[int, ...], history: History
    ) -> list[float] | None:
        """Give the medians; None before the first slot has closed."""
        if not state:
            return None
        end_s, level, floor = state[:_HEADER]
        slots = [(at_s + k * bin_s - end_s) / history.slot_s for k in ahead]
        fresh = self._fresh(state, history, bin_s)
        ratios = self._read(state, 0, slots)
        return [
            max(0.0, (level + floor) * exp(ratio + fresh * exp(-slot / _FADE_SLOTS)) - floor)
            for ratio, slot in zip(ratios, slots, strict=True)
        ]

    def spread(
        self, state: MemberState, at_s: float, bin_s: float, ahead: int, history: History
    ) -> tuple[float, float] | None:
        """Give the log ratios of the median to q10 and of q90 to the median, ``ahead`` bins from ``at_s``."""
        if not state:
            return None
        slots = [(at_s + ahead * bin_s - state[0]) / history.slot_s]
        return self._read(state, 1, slots)[0], self._read(state, 2, slots)[0]

    def _read(self, state: MemberState, column: int, slots: Sequence[float]) -> list[float]:
        """Read a column between its horizons, evenly in their logarithm; the ends hold."""
        values = state[_HEADER + column :: 3]
        found = []
        for slot in slots:
            low, share = _place(self.prior.horizons, round(slot, 6))
            found.append((1.0 - share) * values[low] + share * values[low + 1] if share else values[low])
        return found

    def _fresh(self, state: MemberState, history: History, bin_s: float) -> float:
        """Give the log ratio to the forecast of what the slot under way shows, weighed by how much of it is over."""
        if not history.open_count or state[0] != history.end_s:
            return 0.0
        _, level, floor = state[:_HEADER]
        expected = (level + floor) * exp(state[_HEADER])
        seen = history.open_sum / history.open_count + floor
        if expected <= 0.0 or seen <= 0.0:
            return 0.0
        share = min(1.0, history.open_count * bin_s / history.slot_s)
        return _FRESH_RATIO * share * log(seen / expected)


@lru_cache(maxsize=65_536)
def _place(horizons: tuple[int, ...], slot: float) -> tuple[int, float]:
    """Give the horizon at or before a slot, and how far, in logarithms, the slot is on the way to the next."""
    after = bisect_left(horizons, slot)
    if after in (0, len(horizons)) or horizons[after] == slot:
        return min(after, len(horizons) - 1), 0.0
    low, high = horizons[after - 1], horizons[after]
    return after - 1, log(slot / low) / log(high / low)
