"""How many requests a second come when, and what events do to that and to the lengths."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from aiops.simulate.load.columns import Floats
from aiops.simulate.load.events import AgenticBurst, Event, FlashCrowd, LengthShift, Ramp
from aiops.simulate.load.spec import LoadSpec

_CELL_S = 1.0  # within a cell the rate is taken as that of its middle
_JUMP_S = 1e-6  # a jump is a very short climb, so that every event is one kind of broken line


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests per second at seconds since the load's start, any sign; it may jump at ``edges_s`` alone."""

    at: Callable[[Floats], Floats]
    edges_s: Floats
    highest: float


@dataclass(frozen=True, slots=True)
class Bend:
    """A factor over time, straight between the corners ``at_s`` and level outside; ``cap`` bounds what it bends."""

    at_s: Floats
    factors: Floats
    cap: int | None = None

    def at(self, t_s: Floats) -> Floats:
        """Give the factor at seconds since the load's start."""
        return np.interp(t_s, self.at_s, self.factors)


@dataclass(frozen=True, slots=True)
class Bends:
    """What a load's events do to its rate, to its prompts and to its answers."""

    rate: tuple[Bend, ...] = ()
    inputs: tuple[Bend, ...] = ()
    outputs: tuple[Bend, ...] = ()


def bends_of(events: Sequence[Event]) -> Bends:
    """Read the broken lines from the events; batch jobs have none."""
    rate, inputs, outputs = [], [], []
    for event in events:
        at_s = event.at.total_seconds()
        if isinstance(event, FlashCrowd):
            rate.append(_plateau(at_s, event.ramp.total_seconds(), event.duration.total_seconds(), event.times))
        elif isinstance(event, Ramp):
            rate.append(_step(at_s, event.duration.total_seconds(), event.to))
        elif isinstance(event, AgenticBurst):
            ramp_s, duration_s = event.ramp.total_seconds(), event.duration.total_seconds()
            output_times = event.times if event.output_times is None else event.output_times
            inputs.append(_plateau(at_s, ramp_s, duration_s, event.times, event.max_input_tokens))
            outputs.append(_plateau(at_s, ramp_s, duration_s, output_times, event.max_output_tokens))
        elif isinstance(event, LengthShift):
            ramp_s = event.ramp.total_seconds()
            inputs.append(_step(at_s, ramp_s, event.input_times, event.max_input_tokens))
            outputs.append(_step(at_s, ramp_s, event.output_times, event.max_output_tokens))
    return Bends(tuple(rate), tuple(inputs), tuple(outputs))


def _plateau(at_s: float, ramp_s: float, duration_s: float, times: float, cap: int | None = None) -> Bend:
    ramp_s = max(ramp_s, _JUMP_S)
    corners = at_s + np.array([0, ramp_s, ramp_s + duration_s, 2 * ramp_s + duration_s])
    return Bend(corners, np.array([1.0, times, times, 1.0]), cap)


def _step(at_s: float, ramp_s: float, to: float, cap: int | None = None) -> Bend:
    return Bend(np.array([at_s, at_s + max(ramp_s, _JUMP_S)]), np.array([1.0, to]), cap)


def bent(rate: Rate, bends: Sequence[Bend]) -> Rate:
    """Multiply a rate by factors over time."""
    if not bends:
        return rate

    def at(t_s: Floats) -> Floats:
        value = rate.at(t_s)
        for bend in bends:
            value = value * bend.at(t_s)
        return value

    highest = rate.highest
    for bend in bends:
        highest *= max(1.0, float(bend.factors.max()))
    edges_s = np.unique(np.concatenate([rate.edges_s, *(bend.at_s for bend in bends)]))
    return Rate(at, edges_s, highest)


def day_rate(spec: LoadSpec, start: datetime) -> Rate:
    """Give the day curve of a load that has ``requestsPerS``, from its start on."""
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    start_hour, peak = (start - midnight).total_seconds() / 3600, peak_rate(spec)
    return Rate(lambda t_s: peak * day_curve(spec, start_hour + t_s / 3600), np.empty(0), peak)


def job_rate(requests_per_s: float, begin_s: float, end_s: float) -> Rate:
    """Give a rate that is constant for a time and 0 otherwise."""
    return Rate(
        lambda t_s: np.where((t_s >= begin_s) & (t_s < end_s), requests_per_s, 0.0),
        np.array([begin_s, end_s]),
        requests_per_s,
    )


def day_curve(spec: LoadSpec, hour: Floats) -> Floats:
    """Give the rate at hours of the day (any number of days on) as a share of the peak rate: night ratio to 1."""
    since_peak = (hour - spec.peak_hour + spec.ramp_hours) % 24 - spec.ramp_hours
    phase = np.where(since_peak < 0, since_peak / spec.ramp_hours, np.minimum(since_peak / spec.fall_hours, 1.0))
    bump = (1 + np.cos(np.pi * phase)) / 2
    return np.asarray(spec.night_ratio + (1 - spec.night_ratio) * bump)


def peak_rate(spec: LoadSpec) -> float:
    """Give the highest rate of the day curve, in requests per second: a raised cosine is on average half its height.

    Raises ValueError where the load has no ``requestsPerS``.
    """
    if spec.requests_per_s is None:
        raise ValueError("only a load with requestsPerS has a day curve and its peak")
    bump_mean = (spec.ramp_hours + spec.fall_hours) / 2 / 24
    return spec.requests_per_s / (spec.night_ratio + (1 - spec.night_ratio) * bump_mean)


def growth(rate: Rate, begin_s: float, end_s: float) -> tuple[Floats, Floats]:
    """Count the expected requests from ``begin_s`` on: times, the last of them ``end_s``, and the count up to each."""
    cells = max(1, round((end_s - begin_s) / _CELL_S))
    first, last = np.searchsorted(rate.edges_s, (begin_s, end_s))
    knots = np.linspace(begin_s, end_s, cells + 1)
    if last > first:
        knots = np.unique(np.concatenate([knots, rate.edges_s[first:last]]))
    counts = np.zeros(len(knots))
    np.cumsum(rate.at((knots[:-1] + knots[1:]) / 2) * np.diff(knots), out=counts[1:])
    return knots, counts
