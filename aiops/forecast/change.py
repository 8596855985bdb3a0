"""Notice that a series has moved to another level, and carry its past over to it.

What is remembered of the old level would draw the forecast back for days; what is remembered of the shape of the day
still holds. So the past is told as it would have been on the new level, and new slots replace it one by one.
"""

from dataclasses import dataclass, replace
from math import exp, inf, isfinite, log

import numpy as np
from numpy.typing import NDArray

from aiops.forecast.bins import DAY_S
from aiops.forecast.week_profile import OFFSET_RATIO
from aiops.model.forecaster import History

Vector = NDArray[np.float64]

LEAST_RATIO = 2.0
"""A smaller move is the day's business."""
_COMPARED_DAYS = (1, 2, 3, 7)
_SLOTS = 4
_LONGEST = 12  # slots that a shift is looked back for
_BEYOND_RATIO = 1.25


@dataclass(frozen=True, slots=True)
class Shift:
    """A level became ``ratio`` times what it was, from ``since_s`` on; it was noticed at ``at_s`` (Unix seconds)."""

    since_s: float
    at_s: float
    ratio: float


def shift(history: History) -> Shift | None:
    """Compare the last four slots with the same time one, two, three and seven days ago, as far as that is known.

    The least different day counts (a Monday is compared with a Monday). It is a shift where their mean log ratio is
    beyond ``LEAST_RATIO``, either way, and a quarter beyond all that four slots in a row ever showed, and each of them
    shows at least half of it. None in the first day and a half.
    """
    day = round(DAY_S / history.slot_s)
    values = np.array(history.values, dtype=float)
    scale = float(np.nanmean(values)) if np.isfinite(values).any() else 0.0
    if history.end_s is None or len(values) < 1.5 * day or not scale > 0.0:
        return None
    moved = _moved(np.log(values / scale + OFFSET_RATIO), day)
    mean = float(moved[-_SLOTS:].mean())
    if not isfinite(mean) or abs(mean) < max(log(LEAST_RATIO), _BEYOND_RATIO * _furthest(moved[:-_LONGEST])):
        return None
    weak = np.flatnonzero(~(moved[-_LONGEST:] / mean >= 0.5))
    count = min(len(moved), _LONGEST) - (int(weak[-1]) + 1 if len(weak) else 0)
    if count < _SLOTS:
        return None
    return Shift(history.end_s - count * history.slot_s, history.end_s, exp(float(moved[-count:].mean())))


def rescaled(history: History, found: Shift) -> History:
    """Give the past as it would have been on the new level."""
    if history.end_s is None:
        return history
    after = round((history.end_s - found.since_s) / history.slot_s)
    old = len(history.values) - after
    values = tuple([None if value is None else float(f"{value * found.ratio:.9g}") for value in history.values[:old]])
    return replace(history, values=(*values, *history.values[old:]))


def _moved(logs: Vector, day: int) -> Vector:
    """Give how far each slot after the first day is from the same time of other days: the nearest of those known.

    It is 0 where one of them was higher and another lower, and NaN where none is known.
    """
    above = np.full(len(logs) - day, np.inf)
    below = np.full(len(logs) - day, np.inf)
    for days in _COMPARED_DAYS:
        if len(logs) > days * day:
            moved = logs[days * day :] - logs[: -days * day]
            late = slice((days - 1) * day, None)
            above[late] = np.fmin(above[late], moved)
            below[late] = np.fmin(below[late], -moved)
    nearest = np.where(above > 0.0, above, np.where(below > 0.0, -below, 0.0))
    return np.where(np.isfinite(nearest), nearest, np.nan)


def _furthest(moved: Vector) -> float:
    """Give the largest mean of four slots in a row; infinite where none is known."""
    known = moved[np.isfinite(moved)]
    return float(abs(np.convolve(known, np.ones(_SLOTS) / _SLOTS, "valid")).max()) if len(known) >= _SLOTS else inf
