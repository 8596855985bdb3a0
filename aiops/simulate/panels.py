"""Panels over one axis of time as a drawing in SVG, readable on light and on dark."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

import numpy as np
from numpy.typing import NDArray

_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP = 720, 130, 56, 82, 46
_STYLES = ("first", "second", "third", "fourth")

_STYLE = """
text { font: 12px sans-serif; fill: #24292f }
.title { font-size: 15px; font-weight: 600 }
.small { font-size: 11px; fill: #57606a }
.back { fill: #ffffff }
.grid { stroke: #d0d7de; fill: none }
.band { fill: #bf8700; opacity: .14 }
.first { stroke: #0969da; fill: none; stroke-width: 2 }
.second { stroke: #bc4c00; fill: none; stroke-width: 2; stroke-dasharray: 5 3 }
.third { stroke: #1a7f37; fill: none; stroke-width: 1.5 }
.fourth { stroke: #8250df; fill: none; stroke-width: 1.5; stroke-dasharray: 2 2 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .small { fill: #9198a1 }
  .back { fill: #0d1117 }
  .grid { stroke: #3d444d }
  .band { fill: #e3b341; opacity: .2 }
  .first { stroke: #58a6ff }
  .second { stroke: #f0883e }
  .third { stroke: #3fb950 }
  .fourth { stroke: #a371f7 }
}
"""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a panel, straight from point to point or in steps; it breaks where a value is missing (NaN)."""

    name: str
    at_s: NDArray[np.float64]
    values: NDArray[np.float64]
    steps: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """A few lines over one scale, at most four."""

    label: str
    lines: Sequence[Line]
    logarithmic: bool = False


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of time that is shaded in all panels and named in the first; without an end it goes on."""

    name: str
    begin_s: float
    end_s: float | None = None


def drawing(title: str, about: str, panels: Sequence[Panel], end_s: float, bands: Sequence[Band] = ()) -> str:
    """Draw panels one below the other, from 0 to ``end_s``."""
    end_s = end_s or 1.0
    high = _TOP + len(panels) * (_HEIGHT + _GAP)
    wide = _LEFT + _WIDTH + 24
    size = f'width="{wide}" height="{high}" viewBox="0 0 {wide} {high}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}>',
        f"<style>{_STYLE}</style>",
        f'<rect class="back" width="{wide}" height="{high}"/>',
        f'<text class="title" x="{_LEFT}" y="24">{escape(title)}</text>',
        f'<text class="small" x="{_LEFT}" y="42">{escape(about)}</text>',
    ]
    for number, panel in enumerate(panels):
        top = _TOP + number * (_HEIGHT + _GAP)
        parts += _bands(bands, top, end_s, named=number == 0)
        parts += _panel(panel, top, end_s)
    return "\n".join([*parts, "</svg>", ""])


def _bands(bands: Sequence[Band], top: float, end_s: float, *, named: bool) -> list[str]:
    parts = []
    for number, band in enumerate(bands):
        begin = _LEFT + _WIDTH * min(band.begin_s / end_s, 1.0)
        last_s = end_s if band.end_s is None else min(band.end_s, end_s)
        width = max(_LEFT + _WIDTH * last_s / end_s - begin, 2.0)
        parts.append(f'<rect class="band" x="{begin:.1f}" y="{top}" width="{width:.1f}" height="{_HEIGHT}"/>')
        if named:
            y = top + 13 + 12 * (number % 3)
            parts.append(f'<text class="small" x="{begin + 4:.1f}" y="{y}">{escape(band.name)}</text>')
    return parts


def _panel(panel: Panel, top: float, end_s: float) -> list[str]:
    lines, logarithmic, bottom = panel.lines, panel.logarithmic, top + _HEIGHT
    low, high = _range(lines, logarithmic=logarithmic)
    parts = [
        f'<text x="{_LEFT}" y="{top - 8}">{escape(panel.label)}</text>',
        f'<path class="grid" d="M{_LEFT} {top}V{bottom}H{_LEFT + _WIDTH}"/>',
    ]
    for value in _ticks(low, high, logarithmic=logarithmic):
        y = _height(value, low, high, bottom, logarithmic=logarithmic)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{_LEFT + _WIDTH}" stroke-dasharray="1 4"/>')
        parts.append(f'<text class="small" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    step_s = 60 * max(1, ceil(end_s / 60 / 14))
    for minute in range(0, floor(end_s) + 1, step_s):
        x = _LEFT + _WIDTH * minute / end_s
        parts.append(
            f'<text class="small" x="{x:.1f}" y="{bottom + 15}" text-anchor="middle">{minute // 60} min</text>'
        )
    for number, (line, style) in enumerate(zip(lines, _STYLES, strict=False)):
        x = _LEFT + _WIDTH - 150 + 80 * (number - max(0, len(lines) - 2))
        parts.append(
            f'<path class="{style}" d="M{x} {top - 12}h22"/><text x="{x + 28}" y="{top - 8}">{escape(line.name)}</text>'
        )
        parts.append(f'<path class="{style}" d="{_path(line, end_s, low, high, bottom, logarithmic=logarithmic)}"/>')
    return parts


def _range(lines: Sequence[Line], *, logarithmic: bool) -> tuple[float, float]:
    values = np.concatenate([line.values for line in lines])
    values = values[~np.isnan(values)]
    if not logarithmic:
        return 0.0, max(float(values.max(initial=0.0)), 4.0) * 1.08
    values = np.maximum(values, 1e-3)
    low, high = float(values.min(initial=1.0)), float(values.max(initial=1.0))
    return 10.0 ** floor(log10(low)), 10.0 ** max(ceil(log10(high)), floor(log10(low)) + 1)


def _ticks(low: float, high: float, *, logarithmic: bool) -> list[float]:
    if logarithmic:
        return [10.0**power for power in range(round(log10(low)), round(log10(high)) + 1)]
    size = 10.0 ** floor(log10(high))
    step = next(step for step in (size / 5, size / 2, size, 2 * size) if high / step <= 5)
    return [step * number for number in range(floor(high / step) + 1)]


def _height(value: float, low: float, high: float, bottom: float, *, logarithmic: bool) -> float:
    if logarithmic:
        return bottom - _HEIGHT * log10(max(value, low) / low) / log10(high / low)
    return bottom - _HEIGHT * (value - low) / (high - low)


def _path(line: Line, end_s: float, low: float, high: float, bottom: float, *, logarithmic: bool) -> str:
    parts, drawing, before = [], False, 0.0
    for at_s, value in zip(line.at_s, line.values, strict=True):
        if np.isnan(value):
            drawing = False
            continue
        x = _LEFT + _WIDTH * min(at_s / end_s, 1.0)
        y = _height(float(value), low, high, bottom, logarithmic=logarithmic)
        if drawing and line.steps:
            parts.append(f"L{x:.1f} {before:.1f}")
        parts.append(f"{'L' if drawing else 'M'}{x:.1f} {y:.1f}")
        drawing, before = True, y
    return "".join(parts)
