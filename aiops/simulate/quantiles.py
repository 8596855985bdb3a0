"""Quantiles of any number of durations in a fixed room: counts in bins that are equally wide in relative terms."""

import numpy as np

from aiops.simulate.requests import PS, Ints

_BITS = 9  # of a float's fraction, 2**9 bins from a power of two to the next: half of a bin is at most 0.1 % of it
_SHIFT = 52 - _BITS
_FIRST = 1023 << _BITS  # the bin of 1 ps
_BINS = 2 + (63 << _BITS)  # 0, and all that 63 bits hold: the largest is rounded up to a power of two
_LOW_BITS = 32

RELATIVE_ERROR = 2.0 ** -(_BITS + 1)
"""How far a quantile may be from the exact one, as a share of it: 0.1 %."""


class Quantiles:
    """Durations in picoseconds, counted: exact mean, least and most, and quantiles within ``RELATIVE_ERROR``.

    A bin is the first bits of a float (as in Tene's HdrHistogram), so counts are the same on every machine, in every
    order and however the durations are split into calls. It takes a quarter of a megabyte.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS, np.int64)
        self._sum_ps = 0
        self._least_ps, self._most_ps = 2**63, 0

    @property
    def count(self) -> int:
        """How many durations were added."""
        return int(self._counts.sum())

    def add(self, durations_ps: Ints) -> None:
        """Count durations; none may be negative."""
        if not len(durations_ps):
            return
        least, most = int(durations_ps.min()), int(durations_ps.max())
        if least < 0:
            raise ValueError(f"a duration of {least} ps is negative")
        self._least_ps, self._most_ps = min(self._least_ps, least), max(self._most_ps, most)
        # In two parts, as the sum of a batch may exceed 63 bits.
        self._sum_ps += int((durations_ps >> _LOW_BITS).sum()) << _LOW_BITS
        self._sum_ps += int((durations_ps & ((1 << _LOW_BITS) - 1)).sum())
        bins = (durations_ps.astype(np.float64).view(np.int64) >> _SHIFT) - (_FIRST - 1)
        self._counts += np.bincount(np.maximum(bins, 0), minlength=_BINS)

    @property
    def mean_s(self) -> float | None:
        """The exact mean in seconds; None before the first duration."""
        return self._sum_ps / (self.count * PS) if self.count else None

    @property
    def max_s(self) -> float | None:
        """The longest in seconds; None before the first duration."""
        return self._most_ps / PS if self.count else None

    def quantile_s(self, level: float) -> float | None:
        """Give the quantile at a level from 0 to 1 in seconds, between two durations by their distance.

        This is numpy's default definition. None before the first duration.
        """
        if not self.count:
            return None
        place = level * (self.count - 1)
        below = int(place)
        share = place - below
        low, high = self._at(below), self._at(min(below + 1, self.count - 1))
        return (low + share * (high - low) if high > low else low) / PS

    def _at(self, rank: int) -> float:
        """Give the duration with ``rank`` shorter ones, in picoseconds: its bin's middle, or what is known exactly."""
        place = int(np.searchsorted(np.cumsum(self._counts), rank, side="right"))
        if place == 0:
            return 0
        edges = (np.array([place, place + 1]) + (_FIRST - 1)) << _SHIFT
        # Whole numbers of more than 53 bits are no floats: those known exactly stay whole.
        return max(self._least_ps, min(self._most_ps, float(edges.view(np.float64).mean())))
