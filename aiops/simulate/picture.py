"""A run over time as a drawing in SVG: replicas, queue and time to first token, readable on light and on dark."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

import numpy as np
from numpy.typing import NDArray

from aiops.simulate.faults.truth import Window
from aiops.simulate.requests import PS
from aiops.simulate.tables.outcome_csv import OutcomeBatch, Status
from aiops.simulate.tables.replica_csv import ReplicaRow

_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP = 720, 130, 56, 82, 46
_BIN_S = 15.0

_STYLE = """
text { font: 12px sans-serif; fill: #24292f }
.title { font-size: 15px; font-weight: 600 }
.small { font-size: 11px; fill: #57606a }
.back { fill: #ffffff }
.grid { stroke: #d0d7de; fill: none }
.band { fill: #bf8700; opacity: .14 }
.first { stroke: #0969da; fill: none; stroke-width: 2 }
.second { stroke: #bc4c00; fill: none; stroke-width: 2; stroke-dasharray: 5 3 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .small { fill: #9198a1 }
  .back { fill: #0d1117 }
  .grid { stroke: #3d444d }
  .band { fill: #e3b341; opacity: .2 }
  .first { stroke: #58a6ff }
  .second { stroke: #f0883e }
}
"""


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a panel, straight from point to point or in steps; it breaks where a value is missing (NaN)."""

    name: str
    at_s: NDArray[np.float64]
    values: NDArray[np.float64]
    steps: bool = False


class Picture:
    """Gathers what a drawing needs while a run goes on.

    Memory holds the time to first token of every request that was answered, so it is for runs of minutes.
    """

    def __init__(self, title: str, about: str = "") -> None:
        self._title = title
        self._about = about
        self._rows: list[ReplicaRow] = []
        self._answered: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        self._windows: Sequence[Window] = ()

    def add_pools(self, row: ReplicaRow) -> None:
        """Take a row of ``replicas.csv``."""
        self._rows.append(row)

    def add_outcomes(self, outcomes: OutcomeBatch) -> None:
        """Take requests that have ended."""
        done = outcomes.status == Status.COMPLETED
        arrival = outcomes.arrival_ps[done]
        self._answered.append((arrival, outcomes.first_token_ps[done] - arrival))

    def add_truth(self, windows: Sequence[Window]) -> None:
        """Take what went wrong, to be shaded."""
        self._windows = windows

    def svg(self) -> str:
        """Draw it."""
        end_s = max((row.t_s for row in self._rows), default=0.0) or 1.0
        high = _TOP + 3 * (_HEIGHT + _GAP)
        wide = _LEFT + _WIDTH + 24
        size = f'width="{wide}" height="{high}" viewBox="0 0 {wide} {high}"'
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size}>',
            f"<style>{_STYLE}</style>",
            f'<rect class="back" width="{wide}" height="{high}"/>',
            f'<text class="title" x="{_LEFT}" y="24">{escape(self._title)}</text>',
            f'<text class="small" x="{_LEFT}" y="42">{escape(self._about)}</text>',
        ]
        panels = (
            ("replicas", self._replicas(), False),
            ("requests waiting", self._waiting(), False),
            ("time to first token by arrival, s (log)", self._first_tokens(end_s), True),
        )
        for number, (label, lines, logarithmic) in enumerate(panels):
            top = _TOP + number * (_HEIGHT + _GAP)
            parts += self._bands(top, end_s, named=number == 0)
            parts += _panel(label, lines, top, end_s, logarithmic=logarithmic)
        return "\n".join([*parts, "</svg>", ""])

    def _replicas(self) -> list[_Line]:
        at_s, ready = self._summed("ready_replicas")
        _, paid = self._summed("paid_replicas")
        return [_Line("ready", at_s, ready, steps=True), _Line("paid", at_s, paid, steps=True)]

    def _waiting(self) -> list[_Line]:
        return [_Line("waiting", *self._summed("waiting"))]

    def _summed(self, field: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Add a field of all pools up, at each time; every pool has a row at each."""
        sums: dict[float, float] = {}
        for row in self._rows:
            sums[row.t_s] = sums.get(row.t_s, 0.0) + getattr(row, field)
        return np.array([*sums]), np.array([*sums.values()])

    def _first_tokens(self, end_s: float) -> list[_Line]:
        arrivals = np.concatenate([each for each, _ in self._answered] or [np.zeros(0, np.int64)]) / PS
        ttft_s = np.concatenate([each for _, each in self._answered] or [np.zeros(0, np.int64)]) / PS
        bins = np.minimum(arrivals // _BIN_S, ceil(end_s / _BIN_S) - 1).astype(int)
        spread = np.full((ceil(end_s / _BIN_S), 2), np.nan)
        for place in np.unique(bins):
            spread[place] = np.quantile(ttft_s[bins == place], (0.5, 0.95))
        middle_s = _BIN_S * np.arange(0.5, len(spread), dtype=np.float64)
        return [_Line("p50", middle_s, spread[:, 0]), _Line("p95", middle_s, spread[:, 1])]

    def _bands(self, top: float, end_s: float, *, named: bool) -> list[str]:
        parts = []
        for number, window in enumerate(self._windows):
            begin = _LEFT + _WIDTH * min(window.begin_s / end_s, 1.0)
            last_s = end_s if window.end_s is None else min(window.end_s, end_s)
            width = max(_LEFT + _WIDTH * last_s / end_s - begin, 2.0)
            parts.append(f'<rect class="band" x="{begin:.1f}" y="{top}" width="{width:.1f}" height="{_HEIGHT}"/>')
            if named:
                text = escape(window.kind.replace("_", " "))
                parts.append(
                    f'<text class="small" x="{begin + 4:.1f}" y="{top + 13 + 12 * (number % 3)}">{text}</text>'
                )
        return parts


def _panel(label: str, lines: list[_Line], top: float, end_s: float, *, logarithmic: bool) -> list[str]:
    bottom = top + _HEIGHT
    low, high = _range(lines, logarithmic=logarithmic)
    parts = [
        f'<text x="{_LEFT}" y="{top - 8}">{escape(label)}</text>',
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
    for number, (line, style) in enumerate(zip(lines, ("first", "second"), strict=False)):
        x = _LEFT + _WIDTH - 150 + 80 * number
        parts.append(
            f'<path class="{style}" d="M{x} {top - 12}h22"/><text x="{x + 28}" y="{top - 8}">{line.name}</text>'
        )
        parts.append(f'<path class="{style}" d="{_path(line, end_s, low, high, bottom, logarithmic=logarithmic)}"/>')
    return parts


def _range(lines: list[_Line], *, logarithmic: bool) -> tuple[float, float]:
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


def _path(line: _Line, end_s: float, low: float, high: float, bottom: float, *, logarithmic: bool) -> str:
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
