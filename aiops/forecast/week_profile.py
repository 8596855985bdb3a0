"""What the shared history says about the time of day and the day of the week, times a level that fades."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, floor

import numpy as np
from numpy.typing import NDArray

from aiops.forecast.bins import DAY_S
from aiops.model.forecaster import History, MemberState

Vector = NDArray[np.float64]

OFFSET_RATIO = 0.05
"""Added to value ÷ mean before the logarithm: far below the mean a difference matters little, and zero is a value."""
_LEAST_RATIO = 0.02  # of the mean, that is expected of any slot, so that quiet hours do not raise the level when left
_ONE_DAY_SHARE = 1.0 / 3.0  # how much of the shape of a single day is believed
_WEEK = 7
_WEEK_DAYS = 2.0  # days seen twice that weigh as much as the assumption that no day of the week is special
_DAY_KERNEL = np.array([1.0, 3.0, 4.0, 3.0, 1.0])
_WEEK_KERNEL = np.ones(13)
_OFTEN_S = 3600.0
# The state: when the next curve is due and, once there is one, values seen and values expected, summed with the near
# and the far memory, and the values expected of each slot of the next 24 hours, by its place in the day.
_HEADER = 5


@dataclass(frozen=True, slots=True)
class WeekProfile:
    """Forecast what the time of day and of the week lets expect, times the present level, which fades.

    About once an hour the expectation for the next 24 hours is drawn from the logarithms of the shared history: their
    mean, the shape of the day, and the departures from both at the same time one and two weeks ago. Shape and
    departures count as far as days, and weeks, are alike (:func:`day_shape`, :func:`week_departures`). The level is the
    sum of values ÷ the sum of what was expected; that of the last ``near_memory_s`` fades over ``near_fade_s`` into
    that of ``far_memory_s``, and this over ``far_fade_s`` into 1. No opinion on the first day, nor where slots do not
    divide a day.
    """

    near_memory_s: float = 900.0
    near_fade_s: float = 21_600.0
    far_memory_s: float = DAY_S
    far_fade_s: float = DAY_S
    name: str = "week_profile"
    expected_error_ratio: float = 0.95
    catches_up: bool = False

    def learn(self, state: MemberState, value: float, at_s: float, bin_s: float, history: History) -> MemberState:
        """Move the levels, and draw a new curve when that is due."""
        if not state:
            return (at_s - bin_s + DAY_S,)
        due_s, near, near_shape, far, far_shape = state[:_HEADER] if len(state) > 1 else (state[0], 0.0, 0.0, 0.0, 0.0)
        curve: Sequence[float] = state[_HEADER:]
        if at_s >= due_s and history.closed_at(at_s, bin_s):
            curve = expected_day(history) or curve
            due_s = at_s + _OFTEN_S
        if not curve:
            return (due_s,)
        shape = _read(curve, at_s - bin_s / 2.0 - history.offset_s)
        keep = exp(-bin_s / self.near_memory_s)
        near, near_shape = keep * near + value, keep * near_shape + shape
        keep = exp(-bin_s / self.far_memory_s)
        far, far_shape = keep * far + value, keep * far_shape + shape
        return (due_s, near, near_shape, far, far_shape, *curve)

    def moved(self, state: MemberState, ratio: float) -> MemberState:
        """Raise the curve, and know no level but that of the last minutes."""
        if len(state) <= 1:
            return state
        due_s, near, near_shape = state[:3]
        near_shape *= ratio
        return (due_s, near, near_shape, near, near_shape, *[ratio * value for value in state[_HEADER:]])

    def path(
        self, state: MemberState, at_s: float, bin_s: float, ahead: tuple[int, ...], history: History
    ) -> list[float] | None:
        """Give expectation × level at the middle of each bin; None on the first day."""
        if len(state) <= 1:
            return None
        _, near, near_shape, far, far_shape = state[:_HEADER]
        curve = state[_HEADER:]
        day = far / far_shape
        now = near / near_shape - day
        day -= 1.0
        values, middle_s = [], at_s - bin_s / 2.0 - history.offset_s
        for k in ahead:
            level = 1.0 + day * exp(-k * bin_s / self.far_fade_s) + now * exp(-k * bin_s / self.near_fade_s)
            values.append(max(0.0, level) * _read(curve, middle_s + k * bin_s))
        return values


def expected_day(history: History) -> list[float] | None:
    """Give the values expected of the slots of the next 24 hours, by place in the day.

    None where less than a day is known, all of it is zero, or slots do not divide a day.
    """
    slots = round(DAY_S / history.slot_s)
    values = np.array(history.values, dtype=float)
    known = values[np.isfinite(values)]
    if history.end_s is None or slots * history.slot_s != DAY_S or len(known) < 0.7 * slots or not known.any():
        return None
    scale = float(known.mean())
    if float(np.ptp(known)) <= 1e-6 * scale:
        return [float(known[-1])] * slots
    logs = np.log(values / scale + OFFSET_RATIO)
    centre = float(np.nanmean(logs))
    first = round((history.end_s - history.offset_s) / history.slot_s) - len(values)
    places = (first + np.arange(len(values) + slots)) % slots
    shape = day_shape(logs, first, slots)
    expected = centre + shape
    rest = logs - expected[places[: len(logs)]]
    expected[places[len(logs) :]] += week_departures(rest, slots)
    return [float(value) for value in scale * np.maximum(np.exp(expected) - OFFSET_RATIO, _LEAST_RATIO)]


def day_shape(logs: Vector, first: int, slots: int) -> Vector:
    """Give the shape of the day of a series of logarithms (NaN: a gap) in ``slots`` a day, by place in the day.

    ``first`` is the place of the first. The shape, 0 on average, is the mean over the whole days before the end, each
    less its own mean, and a little smoothed; it is multiplied by the share of its variance that days have in common:
    their mean covariance ÷ that variance. One day counts for a third.
    """
    days = len(logs) // slots
    if not days:
        return np.zeros(slots)
    table = _smoothed(logs[len(logs) - days * slots :], _DAY_KERNEL).reshape(days, slots)
    known = np.isfinite(table)
    table = np.where(known, table, 0.0)
    table = np.where(known, table - (table.sum(1) / np.maximum(known.sum(1), 1))[:, None], 0.0)
    mean = table.sum(0) / np.maximum(known.sum(0), 1)
    mean -= mean.mean()
    variance = float((mean**2).mean())
    common = _ONE_DAY_SHARE
    if days > 1 and variance > 0.0:
        own = float((table**2).mean(1).sum())
        common = (days**2 * variance - own) / (days * (days - 1)) / variance
        common += (_ONE_DAY_SHARE - common) / days
    return np.roll(mean * min(max(common, 0.0), 1.0), (first + len(logs)) % slots)


def week_departures(rest: Vector, slots: int) -> Vector:
    """Give what the same times one and two weeks ago add to the next 24 hours, from what the shape of the day leaves.

    It is their mean, smoothed over two hours, times the share that came again a week later so far; 0 in the first week.
    """
    week = _WEEK * slots
    if len(rest) <= week:
        return np.zeros(slots)
    smooth = _smoothed(rest, _WEEK_KERNEL)
    earlier, later = smooth[:-week], smooth[week:]
    both = np.isfinite(earlier) & np.isfinite(later)
    power = float((earlier[both] ** 2).sum())
    if power <= 0.0:
        return np.zeros(slots)
    again = float((earlier[both] * later[both]).sum()) / power
    days = both.sum() / slots
    again = min(max(again, 0.0), 1.0) * days / (days + _WEEK_DAYS)
    ago = [smooth[len(smooth) - weeks * week :][:slots] for weeks in (1, 2) if len(smooth) >= weeks * week]
    seen = np.isfinite(ago).sum(0)
    total = np.nansum(ago, axis=0)
    # One week counts `again`; the mean of two is the surer the less each of them says.
    return np.where(seen, total / np.maximum(seen, 1) * seen * again / (1.0 + (seen - 1) * again), 0.0)


def _smoothed(values: Vector, kernel: Vector) -> Vector:
    """Smooth over what is known under the kernel; NaN where nothing is."""
    known = np.isfinite(values)
    weight = np.convolve(known.astype(float), kernel, "same")
    total = np.convolve(np.where(known, values, 0.0), kernel, "same")
    return np.where(weight > 0.5, total / np.maximum(weight, 0.5), np.nan)


def _read(curve: Sequence[float], at_s: float) -> float:
    """Read the curve between the middles of its slots."""
    slots = len(curve)
    place = at_s / DAY_S * slots - 0.5
    first = floor(place)
    share = place - first
    return (1.0 - share) * curve[first % slots] + share * curve[(first + 1) % slots]
