"""The shape of a series at one moment, free of its scale: what the pretrained prior looks at.

Every feature is a log ratio of means of ten-minute slots, so a series a thousand times as large has the same features;
what is not known is -9, out of the range of all that is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DAY = 144
"""Slots of a day."""
DAYS_BACK = 7
_HOUR = 6
UNKNOWN = -9.0
FLOOR_RATIO = 0.02
_WIDEST = 6.0
_LAGS = ((6, 11), (12, 17), (18, 35), (36, 71), (72, 107), (108, 143))
_SPREADS = (6, 36, DAY, 7 * DAY)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Shape:
    """The features of one moment, a row a horizon, and what turns a log ratio back into a value.

    ``level`` is the mean of the last hour, ``floor`` a fiftieth of the last day's: a ratio r stands for
    (level + floor) · e^r − floor.
    """

    rows: NDArray[np.float32]
    level: float
    floor: float


def shape(values: Sequence[float | None] | Floats, horizons: tuple[int, ...]) -> Shape | None:
    """Describe a series, its slots oldest first, as the future at ``horizons`` (slots) is seen from its end.

    A gap is None or NaN. None where the last hour is all gaps, or all that was seen is zero.
    """
    past = _Past(np.array(values, np.float64))
    now = past.end
    level = past.mean(np.array([now - 5]), np.array([now]))[0]
    if not np.isfinite(level):
        return None
    day = past.mean(np.array([now - DAY + 1]), np.array([now]))[0]
    floor = FLOOR_RATIO * float(day)
    if floor <= 0.0:
        return None
    ahead = np.array(horizons)
    common = _common(past, level, floor)
    apart = _per_horizon(past, ahead, level, floor)
    columns = [np.log(ahead), *np.broadcast_to(common[:, np.newaxis], (len(common), len(ahead))), *apart]
    rows = np.clip(np.array(columns).T, -_WIDEST, _WIDEST)
    rows[np.isnan(rows)] = UNKNOWN
    return Shape(rows.astype(np.float32), float(level), floor)


class _Past:
    """Means over spans of a series, each in the same time whatever its length."""

    def __init__(self, values: Floats) -> None:
        known = np.isfinite(values)
        self.values, self.end = values, len(values) - 1
        self._sums = np.concatenate([[0.0], np.cumsum(np.where(known, values, 0.0))])
        self._counts = np.concatenate([[0], np.cumsum(known)])

    def mean(self, first: NDArray[np.int64], last: NDArray[np.int64]) -> Floats:
        """Give the means of the slots ``first`` … ``last``, both included; NaN where nothing is known, as before 0."""
        low, high = np.clip(first, 0, self.end + 1), np.clip(last + 1, 0, self.end + 1)
        count = self._counts[high] - self._counts[low]
        total = self._sums[high] - self._sums[low]
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    def known_days(self) -> float:
        """Give how many days of slots are known."""
        return float(self._counts[-1]) / DAY


def _common(past: _Past, level: float, floor: float) -> Floats:
    """Give what is the same at every horizon: recent slots, means over longer spans, how restless the series is."""
    now = past.end
    first = [now - k for k in range(6)] + [now - b for _, b in _LAGS]
    last = [now - k for k in range(6)] + [now - a for a, _ in _LAGS]
    for days in (1, 3, 7):
        first.append(now - days * DAY + 1)
        last.append(now)
    for days in (1, 7):  # the level of the same hour, a day and a week ago
        first.append(now - days * DAY - 5)
        last.append(now - days * DAY)
    ratios = np.log((past.mean(np.array(first), np.array(last)) + floor) / (level + floor))
    logs = np.log(past.values[-7 * DAY :] + floor)
    steps = np.abs(np.diff(logs))
    spreads = [_mean(steps[-count:]) for count in _SPREADS]
    return np.array([*ratios, *spreads, np.log1p(past.known_days())])


def _per_horizon(past: _Past, ahead: NDArray[np.int64], level: float, floor: float) -> list[Floats]:
    """Give what the same time of the last days did: against its own level then, and against the level now."""
    now = past.end
    width = np.where(ahead >= 18, 2, np.where(ahead >= 6, 1, 0))
    back = DAY * np.arange(1, DAYS_BACK + 1)[:, np.newaxis]
    then = now + ahead - back
    future = past.mean(then - width, np.minimum(then + width, now))
    future[then > now] = np.nan
    before = past.mean(now - back - 5, now - back)
    change = np.log((future + floor) / (before + floor))
    against = np.log((future + floor) / (level + floor))
    error, naive = _tried(past, ahead, floor)
    minute, steadiness = _minute_of_the_hour(past, ahead, floor)
    return [
        *minute,
        *steadiness,
        *change[[0, 1, 2, 6]],
        _mean_of_days(change[:3]),
        _mean_of_days(change),
        _middle_of_days(change),
        np.sqrt(np.maximum(_mean_of_days(change**2) - _mean_of_days(change) ** 2, 0.0)),
        *against[[0, 1, 6]],
        _mean_of_days(against),
        _middle_of_days(against),
        np.log((error + 0.02) / (naive + 0.02)),
        naive,
    ]


def _minute_of_the_hour(past: _Past, ahead: NDArray[np.int64], floor: float) -> tuple[list[Floats], list[Floats]]:
    """Give by how much the target's, and the last, slot of the hour lies above its hour, over the last day.

    Clients that run by the clock start on the hour or half past it. Beside the medians: how they scatter.
    """
    back = _HOUR * np.arange(1, 25)[:, np.newaxis]
    medians, scatters = [], []
    for slot in (past.end + ahead % _HOUR, np.full(len(ahead), past.end)):
        then = slot - back
        around = past.mean(then - _HOUR // 2, then + _HOUR // 2 - 1)
        above = np.log((past.mean(then, then) + floor) / (around + floor))
        medians.append(_middle_of_days(above))
        scatters.append(_mean_of_days(np.abs(above - medians[-1])))
    return medians, scatters


def _tried(past: _Past, ahead: NDArray[np.int64], floor: float) -> tuple[Floats, Floats]:
    """Give how wrong repeating the day before, and holding the level, would have been over the last three days."""
    origin = past.end - DAY * np.arange(1, 4)[:, np.newaxis]
    target = origin + ahead
    came = past.mean(target, target)
    came[target > past.end] = np.nan
    level = past.mean(origin - 5, origin)
    day_before = past.mean(target - DAY, target - DAY)
    level_before = past.mean(origin - DAY - 5, origin - DAY)
    repeated = level * (day_before + floor) / (level_before + floor)
    error = np.abs(np.log((came + floor) / (repeated + floor)))
    naive = np.abs(np.log((came + floor) / (level + floor)))
    return _mean_of_days(error), _mean_of_days(naive)


def _mean(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else np.nan


def _mean_of_days(days: Floats) -> Floats:
    known = np.isfinite(days)
    count = known.sum(axis=0)
    total = np.where(known, days, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _middle_of_days(days: Floats) -> Floats:
    """Give the medians of the days that are known: unknown ones are sorted to the end."""
    ordered = np.sort(days, axis=0)
    count = np.isfinite(ordered).sum(axis=0)
    column = np.arange(days.shape[1])
    low, high = ordered[np.maximum(count - 1, 0) // 2, column], ordered[np.maximum(count, 1) // 2, column]
    return np.where(count > 0, (low + np.where(count % 2, low, high)) / 2.0, np.nan)
