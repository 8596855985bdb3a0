"""Charts as values: paths, ticks and tooltips that the template draws as SVG. No script has a part in it."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil, floor, log10
from typing import TypeVar

from aiops.serve.console.words import number

T = TypeVar("T")

NOW = "now"
PLOT = 1000.0
"""Width and height of the plot in its own units; the browser stretches it to the room there is."""
_HITS = 60
_GAP_STEPS = 4.0
_TIME_STEPS_S = (60, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800)
_MOST_TIMES = 8

Points = Sequence[tuple[float, float | None]]
"""(time in Unix seconds, value), times ascending; None is a gap."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A grid line, in per cent of the plot from left or top, and its label."""

    percent: float
    label: str


@dataclass(frozen=True, slots=True)
class Path:
    """One line or area; ``style`` names its CSS class and its entry in the legend."""

    style: str
    d: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Hit:
    """A column of the plot that answers the pointer with what stood there."""

    x: float
    width: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart, ready to be drawn. ``summary`` says in words what it shows, for those who do not see it."""

    title: str
    unit: str
    summary: str
    y_ticks: tuple[Tick, ...]
    x_ticks: tuple[Tick, ...]
    paths: tuple[Path, ...]
    hits: tuple[Hit, ...]
    now_percent: float | None
    note: str = ""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(path.d for path in self.paths)


@dataclass(frozen=True, slots=True)
class Frame:
    """The axes: time from ``start_s`` to ``end_s``, values from 0 to ``top``."""

    start_s: float
    end_s: float
    top: float
    tick: float
    """Between two grid lines."""
    gap_s: float
    """Points further apart than this are not joined."""

    def x(self, at_s: float) -> float:
        """Place a time."""
        return PLOT * (at_s - self.start_s) / (self.end_s - self.start_s)

    def y(self, value: float) -> float:
        """Place a value; the axis grows upwards."""
        return PLOT * (1 - value / self.top)

    def line(self, points: Points) -> str:
        """Join values by straight lines."""
        return " ".join(
            "M" + " L".join(f"{self.x(at):.1f} {self.y(value):.1f}" for at, value in run) for run in self._runs(points)
        )

    def steps(self, points: Points) -> str:
        """Join values by steps: each holds until the next."""
        return " ".join(self._step_path(run) for run in self._runs(points))

    def step_area(self, points: Points) -> str:
        """Fill below steps."""
        return " ".join(f"{self._step_path(run)} V{PLOT:.0f} H{self.x(run[0][0]):.1f} Z" for run in self._runs(points))

    def band(self, low: Points, high: Points) -> str:
        """Fill between two lines with the same times."""
        paths = []
        for lower, upper in zip(self._runs(low), self._runs(high), strict=True):
            there = " L".join(f"{self.x(at):.1f} {self.y(value):.1f}" for at, value in upper)
            back = " L".join(f"{self.x(at):.1f} {self.y(value):.1f}" for at, value in reversed(lower))
            paths.append(f"M{there} L{back} Z")
        return " ".join(paths)

    def _step_path(self, run: Sequence[tuple[float, float]]) -> str:
        path, level = f"M{self.x(run[0][0]):.1f} {self.y(run[0][1]):.1f}", run[0][1]
        for at, value in run[1:]:
            if value != level:
                path += f" H{self.x(at):.1f} V{self.y(value):.1f}"
                level = value
        return f"{path} H{self.x(run[-1][0]):.1f}"

    def _runs(self, points: Points) -> list[list[tuple[float, float]]]:
        """Split at gaps: a line over a gap would claim what nobody saw."""
        runs: list[list[tuple[float, float]]] = [[]]
        for at_s, value in points:
            if runs[-1] and (value is None or at_s - runs[-1][-1][0] > self.gap_s):
                runs.append([])
            if value is not None and self.start_s <= at_s <= self.end_s:
                runs[-1].append((at_s, value))
        return [run for run in runs if run]

    def values(self) -> tuple[Tick, ...]:
        """Place labels at round values, from above 0 up."""
        count = floor(self.top / self.tick)
        return tuple(Tick(self.y(i * self.tick) / PLOT * 100, number(i * self.tick)) for i in range(1, count + 1))

    def times(self, now_s: float) -> tuple[Tick, ...]:
        """Place labels at round times in UTC, and one at now."""
        span_s = self.end_s - self.start_s
        step_s = next((step for step in _TIME_STEPS_S if span_s / step <= _MOST_TIMES), _TIME_STEPS_S[-1])
        first = ceil(self.start_s / step_s) * step_s
        round_s = [first + i * step_s for i in range(floor((self.end_s - first) / step_s) + 1)]
        now = Tick(self.x(now_s) / PLOT * 100, NOW)
        ticks = [Tick(self.x(at_s) / PLOT * 100, _tick_label(at_s)) for at_s in round_s]
        # A label at the very edge would be cut off, one beside "now" would run into it.
        clear = [tick for tick in ticks if 3 <= tick.percent <= 97 and abs(tick.percent - now.percent) > 6]
        return tuple(sorted([*clear, now], key=lambda tick: tick.percent))

    def hits(self, tell: Callable[[float], str]) -> tuple[Hit, ...]:
        """Divide the plot into columns; each tells about its middle, or is left out where there is nothing to tell."""
        width_s = (self.end_s - self.start_s) / _HITS
        middles = [self.start_s + (i + 0.5) * width_s for i in range(_HITS)]
        told = [(i, at_s, tell(at_s)) for i, at_s in enumerate(middles)]
        return tuple(Hit(i * PLOT / _HITS, PLOT / _HITS, f"{_moment(at_s)}\n{text}") for i, at_s, text in told if text)


def nearest(points: Sequence[tuple[float, T]], at_s: float, within_s: float) -> T | None:
    """Give the value of the point nearest to a time; None where none is near."""
    i = bisect_left(points, at_s, key=lambda point: point[0])
    near = min(points[max(i - 1, 0) : i + 1], key=lambda point: abs(point[0] - at_s), default=None)
    return near[1] if near is not None and abs(near[0] - at_s) <= within_s else None


def frame(axis: tuple[float, float], values: Sequence[float | None], step_s: float, whole: bool = False) -> Frame:
    """Fit axes around values; ``whole`` ones get no ticks between whole numbers."""
    highest = max((value for value in values if value is not None), default=0.0)
    step = _tick_step(highest, whole)
    top = max(highest * 1.1, step)
    start_s, end_s = axis
    return Frame(start_s, max(end_s, start_s + 1), top, step, _GAP_STEPS * max(step_s, 15.0))


def _tick_step(highest: float, whole: bool) -> float:
    if highest < 1e-6:  # nothing that a label could tell from zero
        return 1.0
    rough = highest / 4
    size = 10.0 ** floor(log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough * 0.999)
    return max(1.0, step) if whole else step


def _tick_label(at_s: float) -> str:
    at = datetime.fromtimestamp(at_s, UTC)
    return f"{at:%b} {at.day}" if at.hour == 0 and at.minute == 0 else f"{at:%H:%M}"


def _moment(at_s: float) -> str:
    at = datetime.fromtimestamp(at_s, UTC)
    return f"{at:%b} {at.day}, {at:%H:%M} UTC"
