"""A fan chart in SVG: what demand was, and what had been forecast for each time a horizon ahead."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from itertools import pairwise
from math import ceil, floor, log10
from typing import TypeVar

from aiops.forecast.scoring import RollingForecast

_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 800, 300, 78, 92, 24, 62
_STEPS_S = (60, 300, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
_MOST_TICKS = 9
_FIRST_DATE_S = 1e8  # smaller times count from the start of a recording, not from 1970

_Item = TypeVar("_Item")

_STYLE = """
text { font: 12px sans-serif; fill: #24292f }
.title { font-size: 15px; font-weight: 600 }
.small { font-size: 11px; fill: #57606a }
.back { fill: #ffffff }
.grid { stroke: #d0d7de; fill: none }
.outer { fill: #cfe3fb }
.inner { fill: #8dbdf3 }
.middle { stroke: #0550ae; fill: none; stroke-width: 1.6 }
.actual { stroke: #24292f; fill: none; stroke-width: 1.4 }
"""


@dataclass(frozen=True, slots=True)
class FanChart:
    """``forecasts`` are all at one horizon, by target; ``times_s`` and ``values`` what came, None being a gap.

    ``unit`` names the axis of values; lines and bands break where two points are over ``longest_gap_s`` apart.
    """

    title: str
    about: str
    unit: str
    times_s: Sequence[float]
    values: Sequence[float | None]
    forecasts: Sequence[RollingForecast]
    longest_gap_s: float

    def svg(self) -> str:
        """Draw it."""
        frame = _Frame.around(self)
        wide, high = _LEFT + _WIDTH + _RIGHT, _TOP + _HEIGHT + _BOTTOM
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" viewBox="0 0 {wide} {high}">',
            f"<title>{escape(self.title)}</title>",
            f"<style>{_STYLE}</style>",
            f'<rect class="back" width="{wide}" height="{high}"/>',
            f'<text class="title" x="{_LEFT}" y="24">{escape(self.title)}</text>',
            f'<text class="small" x="{_LEFT}" y="42">{escape(self.about)}</text>',
            *_legend(),
        ]
        for stretch in self._stretches():
            parts += [frame.band("outer", stretch, 0, 4), frame.band("inner", stretch, 1, 3)]
        parts += frame.axes(self.unit)
        for stretch in self._stretches():
            parts.append(frame.line("middle", [(each.target_s, each.quantiles[2]) for each in stretch]))
        parts += [frame.line("actual", points) for points in self._seen()]
        return "\n".join([*parts, "</svg>", ""])

    def _stretches(self) -> Iterator[list[RollingForecast]]:
        """Give the forecasts that hang together."""
        made = [each for each in self.forecasts if each.quantiles]
        yield from _unbroken(made, [each.target_s for each in made], self.longest_gap_s)

    def _seen(self) -> Iterator[list[tuple[float, float]]]:
        seen = [(at_s, value) for at_s, value in zip(self.times_s, self.values, strict=True) if value is not None]
        yield from _unbroken(seen, [at_s for at_s, _ in seen], self.longest_gap_s)


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where a time and a value lie on the sheet."""

    begin_s: float
    end_s: float
    most: float

    @classmethod
    def around(cls, chart: FanChart) -> "_Frame":
        at_s = [*chart.times_s, *(each.target_s for each in chart.forecasts)]
        said = [each.quantiles[-1] for each in chart.forecasts if each.quantiles]
        most = max([value for value in chart.values if value is not None] + said, default=0.0)
        return cls(min(at_s), max(*at_s, min(at_s) + 1.0), 1.05 * most or 1.0)

    def point(self, at_s: float, value: float) -> str:
        x = _LEFT + _WIDTH * (at_s - self.begin_s) / (self.end_s - self.begin_s)
        return f"{x:.1f} {_TOP + _HEIGHT * (1.0 - value / self.most):.1f}"

    def line(self, style: str, points: Sequence[tuple[float, float]]) -> str:
        return f'<path class="{style}" d="M{"L".join(self.point(*point) for point in points)}"/>'

    def band(self, style: str, stretch: Sequence[RollingForecast], low: int, high: int) -> str:
        edge = [self.point(each.target_s, each.quantiles[high]) for each in stretch]
        edge += [self.point(each.target_s, each.quantiles[low]) for each in reversed(stretch)]
        return f'<path class="{style}" d="M{"L".join(edge)}Z"/>'

    def axes(self, unit: str) -> list[str]:
        bottom = _TOP + _HEIGHT
        parts = [f'<path class="grid" d="M{_LEFT} {_TOP}V{bottom}H{_LEFT + _WIDTH}"/>']
        for value in _values(self.most):
            y = self.point(self.begin_s, value).split()[1]
            parts.append(f'<path class="grid" d="M{_LEFT} {y}H{_LEFT + _WIDTH}" stroke-dasharray="1 4"/>')
            parts.append(
                f'<text class="small" x="{_LEFT - 6}" y="{float(y) + 4:.1f}" text-anchor="end">{value:,.10g}</text>'
            )
        for at_s in _times(self.begin_s, self.end_s):
            x = self.point(at_s, 0.0).split()[0]
            parts.append(f'<path class="grid" d="M{x} {_TOP}V{bottom}" stroke-dasharray="1 4"/>')
            for row, text in enumerate(_clock(at_s)):
                y = f"{bottom + 16 + 13 * row}"
                parts.append(f'<text class="small" x="{x}" y="{y}" text-anchor="middle">{text}</text>')
        middle = _LEFT + _WIDTH / 2
        parts.append(f'<text x="{middle:.0f}" y="{bottom + 50}" text-anchor="middle">time (day and hour, UTC)</text>')
        parts.append(f'<text x="{_LEFT}" y="{_TOP - 10}">{escape(unit)}</text>')
        return parts


def _legend() -> list[str]:
    parts, x = [], _LEFT + 150
    for style, name, width in (
        ("actual", "demand", 96),
        ("middle", "forecast, median", 146),
        ("inner", "q10 to q90", 112),
        ("outer", "q05 to q95", 112),
    ):
        mark = f"M{x} {_TOP - 14}h24" if style in ("actual", "middle") else f"M{x} {_TOP - 20}h24v11h-24Z"
        parts.append(f'<path class="{style}" d="{mark}"/><text x="{x + 30}" y="{_TOP - 10}">{name}</text>')
        x += 30 + width
    return parts


def _unbroken(items: Sequence[_Item], at_s: Sequence[float], longest_gap_s: float) -> Iterator[list[_Item]]:
    begin = 0
    for place, (before, after) in enumerate(pairwise(at_s), 1):
        if after - before > longest_gap_s:
            yield list(items[begin:place])
            begin = place
    if items:
        yield list(items[begin:])


def _values(most: float) -> list[float]:
    size = 10.0 ** floor(log10(most))
    step = next(step for step in (size / 5, size / 2, size, 2 * size) if most / step <= 6)
    return [step * number for number in range(floor(most / step) + 1)]


def _times(begin_s: float, end_s: float) -> list[float]:
    day = 86_400 * ceil((end_s - begin_s) / 86_400 / _MOST_TICKS)
    step = next((step for step in _STEPS_S if (end_s - begin_s) / step < _MOST_TICKS), day)
    return [float(step * number) for number in range(ceil(begin_s / step), floor(end_s / step) + 1)]


def _clock(at_s: float) -> tuple[str, str]:
    at = datetime.fromtimestamp(at_s, UTC)
    day = f"{at:%Y-%m-%d}" if at_s >= _FIRST_DATE_S else f"day {floor(at_s / 86_400)}"
    return f"{at:%H:%M}", day
