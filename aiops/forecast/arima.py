"""A small ARIMA of what the shape of the day leaves of demand: fitted once a day, stepped by our own Kalman filter."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, floor, log

import numpy as np
from numpy.typing import NDArray

from aiops.forecast.bins import DAY_S
from aiops.forecast.history import MOST_SLOTS
from aiops.forecast.week_profile import OFFSET_RATIO, day_shape
from aiops.model.forecaster import History, MemberState

Order = tuple[int, int, int]
Vector = NDArray[np.float64]

ARMA: tuple[Order, ...] = ((1, 0, 1), (2, 0, 1))
"""Orders of what returns to its mean."""
DIFFERENCED: tuple[Order, ...] = ((0, 1, 1), (0, 1, 2), (1, 1, 1))
"""Orders of what keeps its level."""

LEAST_SLOTS = 100
"""Fewer known slots are too few to fit to."""
_HIGHEST = 7.0  # e^7, a thousand times the mean: no path goes higher unless the series is there already
_LARGEST_RATIO = 1e60
_AGAIN_S = 3600.0
_ITERATIONS = 30
_DIGITS = 3  # of the coefficients; more is no information
_UNFITTED = (-0.5,)  # an exponentially weighted mean
# The state while the first day lasts: its start, the sum of its values and their number. Afterwards: when the next fit
# is due and, once fitted, the end of the last slot learned, the scale, the mean of the logarithms, the model, the mean
# and the covariance (in innovation variances) of the state vector predicted for the next slot, and the shape of the day
# by place in the day.
_FIRST_DAY = 3
_MODEL = slice(4, 9)  # d, two autoregressive and two moving-average coefficients
_MEAN = slice(9, 13)
_COVARIANCE = slice(13, 29)
_SHAPE = 29
_DIMENSIONS = 4


@dataclass(frozen=True, slots=True)
class Arima:
    """Forecast slots of the shared history by ARIMA (p, d, q) with p, q ≤ 2 and d ≤ 1, in logarithms.

    The logarithm is that of value ÷ mean + 0.05, less its own mean and the shape of the day (:func:`day_shape`, where
    slots divide a day). Once a day the order of the least AICc among ``orders`` (of the same d, or AICc cannot compare
    them) is fitted by maximum likelihood to the last ``fitted_slots``, in the first half of the second day for the
    first time; the time of day depends on the first day's values, so that many series do not fit at once. A fit that
    does not converge keeps the model as it was. In between, closed slots are steps of a Kalman filter and gaps steps
    without an observation; the slot under way counts by the share of it that is over.
    Source: Harvey (1989), as implemented by statsmodels' SARIMAX, whose state vector this is.
    """

    orders: tuple[Order, ...] = ARMA
    fitted_slots: int = MOST_SLOTS
    name: str = "arima"
    expected_error_ratio: float = 0.95
    catches_up: bool = True

    def learn(self, state: MemberState, value: float, at_s: float, bin_s: float, history: History) -> MemberState:
        """Step over the slots that closed since the last bin, or fit when that is due."""
        if len(state) in {0, _FIRST_DAY}:
            return _first_day(state, value, at_s, bin_s)
        if at_s >= state[0]:
            return self._fitted(state, at_s, history)
        return _stepped(state, history)

    def moved(self, state: MemberState, ratio: float) -> MemberState:
        """Raise the scale, from which nothing departs then."""
        if len(state) <= _FIRST_DAY:
            return state
        due_s, end_s, scale, centre = state[:4]
        return (due_s, end_s, ratio * scale, centre, *state[_MODEL], *(0.0,) * _DIMENSIONS, *state[_COVARIANCE.start :])

    def path(
        self, state: MemberState, at_s: float, bin_s: float, ahead: tuple[int, ...], history: History
    ) -> list[float] | None:
        """Give the slot in which the middle of each bin lies; None before the first fit."""
        if len(state) <= _FIRST_DAY:
            return None
        end_s, scale, centre = state[1:4]
        difference, ar_1, ar_2, _, _ = state[_MODEL]
        shape = state[_SHAPE:]
        first = _place(end_s, history)
        level, x_1, x_2, x_3 = _corrected(state, bin_s, history)
        highest = max(_HIGHEST, level + x_1)
        values, slot = [], 0
        for k in ahead:
            wanted = floor((at_s + (k - 0.5) * bin_s - end_s) / history.slot_s)
            while slot < wanted:
                level += difference * x_1
                x_1, x_2, x_3 = ar_1 * x_1 + x_2, ar_2 * x_1 + x_3, 0.0
                slot += 1
            logarithm = centre + shape[(first + slot) % len(shape)] + min(level + x_1, highest)
            values.append(scale * max(0.0, exp(logarithm) - OFFSET_RATIO))
        return values

    def _fitted(self, state: MemberState, at_s: float, history: History) -> MemberState:
        """Fit anew; where that is not possible, keep the model and try again in an hour, or tomorrow if it failed."""
        values = np.array(history.values[-self.fitted_slots :], dtype=float)
        known = values[np.isfinite(values)]
        if len(known) < LEAST_SLOTS or not known.any() or history.end_s is None:
            return (at_s + _AGAIN_S, *_stepped(state, history)[1:])
        scale = float(known.mean())
        logs = np.log(values / scale + OFFSET_RATIO)
        centre = float(np.nanmean(logs))
        slots = round(DAY_S / history.slot_s)
        first = _place(history.end_s, history) - len(logs)
        shape = day_shape(logs, first, slots) if slots * history.slot_s == DAY_S else np.zeros(1)
        logs -= centre + shape[(first + np.arange(len(logs))) % len(shape)]
        flat = float(np.ptp(known)) <= 1e-6 * scale  # nothing to fit to
        found = None if flat else _best(logs, self.orders)
        if found is None and len(state) > 1:
            return (at_s + DAY_S, *_stepped(state, history)[1:])
        found = found or _filtered(logs, (0, 1, 1), _UNFITTED)
        return (at_s + DAY_S, history.end_s, scale, centre, *found, *shape.tolist())


def _place(end_s: float, history: History) -> int:
    """Give the place of the slot after ``end_s`` in the day, but for whole days."""
    return round((end_s - history.offset_s) / history.slot_s)


def _first_day(state: MemberState, value: float, at_s: float, bin_s: float) -> MemberState:
    """Wait for a day to be over, then draw the time of the fits from the digits of its last value."""
    started_s, total, count = state or (at_s - bin_s, 0.0, 0.0)
    total, count = total + value, count + 1.0
    if at_s - started_s < DAY_S:
        return (started_s, total, count)
    phase = 1e4 * value * count / total % 1.0 if total > 0.0 else 0.0
    return (started_s + DAY_S * (1.0 + phase / 2.0),)


def _best(logs: Vector, orders: Sequence[Order]) -> MemberState | None:
    """Fit each order, and give the model and the state vector of the best; None where none converged."""
    from statsmodels.tsa.statespace.sarimax import SARIMAX  # noqa: PLC0415  # takes a second to load

    best: tuple[float, Order, Sequence[float]] | None = None
    for order in orders:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about starting values, and what is returned as not converged
            try:
                model = SARIMAX(logs, order=order, concentrate_scale=True)
                fit = model.fit(disp=False, maxiter=_ITERATIONS, cov_type="none")
                coefficients = [round(float(value), _DIGITS) for value in fit.params]
                sound = fit.mle_retvals["converged"] and _is_safe(order, coefficients)
            except (ValueError, np.linalg.LinAlgError):
                continue
        if sound and (best is None or fit.aicc < best[0]):
            best = (float(fit.aicc), order, coefficients)
    return None if best is None else _filtered(logs, best[1], best[2])


def _is_safe(order: Order, coefficients: Sequence[float]) -> bool:
    """Say whether the rounded model is stationary and invertible."""
    p = order[0]
    ar, ma = [1.0, *(-value for value in coefficients[:p])], [1.0, *coefficients[p:]]
    return all(bool((np.abs(np.roots(polynomial)) < 1.0).all()) for polynomial in (ar, ma))


def _filtered(logs: Vector, order: Order, coefficients: Sequence[float]) -> MemberState:
    """Give the model, and the state vector after all ``logs`` with its covariance, all four-dimensional."""
    from statsmodels.tsa.statespace.sarimax import SARIMAX  # noqa: PLC0415

    p, difference, q = order
    results = SARIMAX(logs, order=order).filter([*coefficients, 1.0]).filter_results
    count = difference + max(p, q + 1)
    places = range(1 - difference, 1 - difference + count)
    mean, covariance = np.zeros(_DIMENSIONS), np.zeros((_DIMENSIONS, _DIMENSIONS))
    mean[places] = results.predicted_state[:, -1]
    covariance[np.ix_(places, places)] = results.predicted_state_cov[:, :, -1]
    model = (difference, *_padded(coefficients[:p]), *_padded(coefficients[p:]))
    return tuple(map(float, (*model, *mean, *covariance.ravel())))


def _padded(coefficients: Sequence[float]) -> list[float]:
    return [*coefficients, 0.0, 0.0][:2]


def _stepped(state: MemberState, history: History) -> MemberState:
    """Take the Kalman filter over the slots that closed since the last one learned."""
    if len(state) == 1 or history.end_s is None:
        return state
    steps = round((history.end_s - state[1]) / history.slot_s)
    if steps < 1:
        return state
    due_s, _, scale, centre = state[:4]
    model, mean, covariance = state[_MODEL], np.array(state[_MEAN]), np.array(state[_COVARIANCE])
    covariance = covariance.reshape(_DIMENSIONS, _DIMENSIONS)
    transition, noise = _matrices(model)
    shape, first = state[_SHAPE:], _place(state[1], history) + max(0, steps - len(history.values))
    for place, value in enumerate(history.values[-steps:], first):
        if value is not None:
            gain = covariance[0] + covariance[1]
            variance = gain[0] + gain[1]
            seen = _logarithm(value, scale) - centre - shape[place % len(shape)]
            mean = mean + gain * ((seen - mean[0] - mean[1]) / variance)
            covariance = covariance - np.outer(gain, gain) / variance
        mean = transition @ mean
        covariance = transition @ covariance @ transition.T + noise
    return (due_s, history.end_s, scale, centre, *model, *mean.tolist(), *covariance.ravel().tolist(), *shape)


def _matrices(model: Sequence[float]) -> tuple[Vector, Vector]:
    """Give the transition of the state vector (level, and Harvey's three for the ARMA part) and its noise."""
    difference, ar_1, ar_2, ma_1, ma_2 = model
    transition = np.array(
        [[1.0, difference, 0.0, 0.0], [0.0, ar_1, 1.0, 0.0], [0.0, ar_2, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]]
    )
    selection = np.array([0.0, 1.0, ma_1, ma_2])
    return transition, np.outer(selection, selection)


def _corrected(state: MemberState, bin_s: float, history: History) -> Sequence[float]:
    """Give the mean of the state vector, moved by the slot under way as far as that is over."""
    mean = state[_MEAN]
    if not history.open_count or history.end_s != state[1]:
        return mean
    _, _, scale, centre = state[:4]
    covariance, shape = state[_COVARIANCE], state[_SHAPE:]
    gain = [first + second for first, second in zip(covariance[:4], covariance[4:8], strict=True)]
    seen = (
        _logarithm(history.open_sum / history.open_count, scale)
        - centre
        - shape[_place(state[1], history) % len(shape)]
    )
    surprise = seen - mean[0] - mean[1]
    share = min(history.open_count * bin_s / history.slot_s, 1.0) / (gain[0] + gain[1])
    return [value + share * surprise * towards for value, towards in zip(mean, gain, strict=True)]


def _logarithm(value: float, scale: float) -> float:
    return log(min(value / scale, _LARGEST_RATIO) + OFFSET_RATIO)
