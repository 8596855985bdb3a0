"""Time series as Grafana draws them: lines, steps, bands, stacks and bars, on the console's own axes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import floor, log10
from typing import Any

from aiops.serve.console.chart import PLOT, Frame, frame
from tests.dashboards.preview.svg import (
    BOTTOM,
    COLORS,
    LETTER,
    Span,
    area,
    box,
    legend,
    legend_lines,
    stroke,
    times,
    words,
)
from tests.dashboards.preview.values import name_of, points_of, written

Json = dict[str, Any]
Points = Sequence[tuple[float, float | None]]
_PALETTE = (
    "#56a64b",
    "#e0b400",
    "#3eb0c4",
    "#ef843c",
    "#e24d42",
    "#1f78c1",
    "#ba43a9",
    "#705da0",
    "#508642",
    "#b7950b",
)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A series as it is drawn."""

    name: str
    points: Points
    color: str
    width: float
    dash: str
    fill_below_to: str
    in_legend: bool


def drawn(panel: Json, targets: Sequence[Json]) -> list[Drawn]:
    """The series of a panel with what its overrides say of them."""
    overrides = {
        one["matcher"]["options"]: {each["id"]: each["value"] for each in one["properties"]}
        for one in panel["fieldConfig"]["overrides"]
    }
    found: list[Drawn] = []
    for target in targets:
        for series in target["series"]:
            name = name_of(target["legendFormat"], series["metric"])
            own = overrides.get(name, {})
            color = own.get("color", {}).get("fixedColor")
            found.append(
                Drawn(
                    name=name,
                    points=points_of(series),
                    color=COLORS.get(color, color) if color else _PALETTE[len(found) % len(_PALETTE)],
                    width=own.get("custom.lineWidth", 1),
                    dash=" ".join(map(str, own.get("custom.lineStyle", {}).get("dash", ()))),
                    fill_below_to=own.get("custom.fillBelowTo", ""),
                    in_legend=not own.get("custom.hideFrom", {}).get("legend", False),
                )
            )
    return found


@dataclass(frozen=True, slots=True)
class Scale:
    """The axis of values: the console's own from 0 up, moved down to ``low``, or of the logarithms."""

    axes: Frame
    low: float
    logarithmic: bool

    def __call__(self, value: float) -> float:
        """Where a value stands above the lower end of the axis."""
        return (log10(max(value, 1e-9)) if self.logarithmic else value) - self.low

    def value(self, height: float) -> float:
        """The value at a height above the lower end."""
        return 10 ** (height + self.low) if self.logarithmic else height + self.low

    @property
    def ticks(self) -> list[float]:
        """The heights of the grid's lines."""
        step = max(1.0, self.axes.tick) if self.logarithmic else self.axes.tick
        return [step * number for number in range(int(self.axes.top / step + 1e-9) + 1)]


def _scale(values: Sequence[float], span: Span, minimum: float | None, *, logarithmic: bool) -> Scale:
    time = (span.begins_s, span.ends_s)
    if logarithmic:
        logs = [log10(value) for value in values if value > 1e-9] or [0.0]
        low = floor(min(logs))
        return Scale(frame(time, [value - low for value in logs], span.step_s), low, logarithmic=True)
    low = min([*values, 0.0]) if minimum is None else minimum
    if low < 0:
        tick = frame(time, [max([*values, 0.0]) - low], span.step_s).tick
        low = floor(low / tick) * tick
    return Scale(frame(time, [value - low for value in values], span.step_s), low, logarithmic=False)


def draw_lines(panel: Json, targets: Sequence[Json], span: Span, width: int, height: int) -> Iterator[str]:
    """Draw a panel of the type ``timeseries``."""
    defaults = panel["fieldConfig"]["defaults"]
    custom = defaults["custom"]
    lines = drawn(panel, targets)
    edges = _stacked(lines) if custom["stacking"]["mode"] == "normal" else []
    values = [value for line in lines for _, value in line.points if value is not None]
    values += [value for _, _, high in edges for _, value in high if value is not None]
    named = [(line.name, line.color) for line in lines if line.in_legend]
    room = height - BOTTOM - 10 - 14 * legend_lines(named, width)
    scale = _scale(values, span, defaults.get("min"), logarithmic=custom["scaleDistribution"]["type"] == "log")
    labels = [(tick, written(scale.value(tick), defaults["unit"])) for tick in scale.ticks]
    left = 12 + LETTER * max(len(text) for _, text in labels)
    plot = width - left - 8
    for tick, text in labels:
        y = 4 + room * scale.axes.y(tick) / PLOT
        yield f'<path class="grid" d="M{left:.0f} {y:.1f}h{plot:.0f}"/>'
        yield words(left - 6, y + 4, text, "end")
    yield from times(span, left, plot, room + BOTTOM)
    yield f'<svg x="{left:.0f}" y="4" width="{plot:.0f}" height="{room}" viewBox="0 0 {PLOT:.0f} {PLOT:.0f}"'
    yield ' preserveAspectRatio="none">'
    if custom["thresholdsStyle"]["mode"] == "line":
        for step in defaults["thresholds"]["steps"][1:]:
            if 0 <= scale(step["value"]) <= scale.axes.top:
                yield stroke(
                    f"M0 {scale.axes.y(scale(step['value'])):.1f}H{PLOT:.0f}", COLORS[step["color"]], dash="6 4"
                )
    if custom["drawStyle"] == "bars":
        yield from _columns(scale.axes, edges, span)
    elif edges:
        for line, lower, upper in edges:
            yield area(scale.axes.band(lower, upper), line.color, 0.35)
            yield stroke(scale.axes.line(upper), line.color)
    else:
        yield from _lines(lines, scale, steps=custom["lineInterpolation"] == "stepAfter")
    yield "</svg>"
    yield from legend(named, room + BOTTOM + 18, width)


def _lines(lines: list[Drawn], scale: Scale, *, steps: bool) -> Iterator[str]:
    axes = scale.axes
    moved = {line.name: {at: scale(value) for at, value in line.points if value is not None} for line in lines}
    for line in lines:
        own, below = moved[line.name], moved.get(line.fill_below_to, {})
        both = sorted(own.keys() & below.keys())
        if both:
            yield area(axes.band([(at, below[at]) for at in both], [(at, own[at]) for at in both]), line.color, 0.18)
        if line.width:
            path = axes.steps if steps else axes.line
            yield stroke(path(sorted(own.items())), line.color, line.width, line.dash)


def _stacked(lines: list[Drawn]) -> list[tuple[Drawn, Points, Points]]:
    """Each series with its lower and its upper edge."""
    heights: dict[float, float] = {}
    found = []
    for line in lines:
        there = [(at, value) for at, value in line.points if value is not None]
        low = [(at, heights.get(at, 0.0)) for at, _ in there]
        for at, value in there:
            heights[at] = heights.get(at, 0.0) + value
        found.append((line, low, [(at, heights[at]) for at, _ in there]))
    return found


def _columns(axes: Frame, edges: list[tuple[Drawn, Points, Points]], span: Span) -> Iterator[str]:
    wide = max(PLOT * span.step_s / (span.ends_s - span.begins_s), 2.0)
    for line, lower, upper in edges:
        for (at, low), (_, high) in zip(lower, upper, strict=True):
            if low is not None and high is not None and high > low:
                yield box(axes.x(at), axes.y(high), wide, axes.y(low) - axes.y(high), line.color)
