"""Strokes, words and time axes in SVG."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

COLORS = {
    "green": "#56a64b",
    "orange": "#ff780a",
    "red": "#e02f44",
    "blue": "#3274d9",
    "yellow": "#e0b400",
    "gray": "#8e8e8e",
    "transparent": "none",
}
BOTTOM = 18
"""Room for the labels of the axis of time, in pixels."""
LETTER = 6.2
"""Width of a letter of the labels, in pixels."""
_MOST_NAMES = 8
_TIME_STEPS_S = (300, 900, 1800, 3600, 7200, 10800, 21600, 86400)


@dataclass(frozen=True, slots=True)
class Span:
    """The time that a picture shows, in Unix seconds, and the time from point to point."""

    begins_s: float
    ends_s: float
    step_s: float

    def share(self, at_s: float) -> float:
        """Where a time lies, from 0 to 1."""
        return (at_s - self.begins_s) / (self.ends_s - self.begins_s)


def words(x: float, y: float, text: str, anchor: str = "start", style: str = "", css: str = "") -> str:
    css = f' class="{css}"' if css else ""
    style = f' style="{style}"' if style else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{css}{style}>{escape(text)}</text>'


def box(x: float, y: float, width: float, height: float, color: str, opacity: float = 1.0) -> str:
    size = f'width="{max(width, 0):.1f}" height="{max(height, 0):.1f}"'
    return f'<rect x="{x:.1f}" y="{y:.1f}" {size} fill="{color}" fill-opacity="{opacity:.2f}"/>'


def stroke(d: str, color: str, width: float = 1.0, dash: str = "") -> str:
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<path class="stroke" d="{d}" stroke="{color}" style="stroke-width:{width:g}px"{dashed}/>'


def area(d: str, color: str, opacity: float) -> str:
    return f'<path d="{d}" fill="{color}" fill-opacity="{opacity}"/>'


def shortened(text: str, letters: int) -> str:
    """A text that fits: its middle goes, since names of pods differ at both ends."""
    half = letters // 2
    return text if len(text) <= letters else f"{text[:half]}…{text[half + 1 - letters :]}"


def times(span: Span, left: float, plot: float, y: float) -> Iterator[str]:
    """Round times along an axis."""
    length = span.ends_s - span.begins_s
    step = next((one for one in _TIME_STEPS_S if length / one <= plot / 45), _TIME_STEPS_S[-1])
    at_s = -(-span.begins_s // step) * step
    while at_s <= span.ends_s:
        yield words(left + plot * span.share(at_s), y, f"{datetime.fromtimestamp(at_s, UTC):%H:%M}", "middle")
        at_s += step


def legend_columns(names: Sequence[tuple[str, str]], width: float) -> int:
    """How many names stand beside each other: as many as need not be cut, and two at least."""
    longest = max((len(name) for name, _ in names), default=0)
    return min(4, max(2, int((width - 16) / (LETTER * (longest + 4)))), max(len(names), 1))


def legend_lines(names: Sequence[tuple[str, str]], width: float) -> int:
    return -(-min(len(names), _MOST_NAMES) // legend_columns(names, width))


def legend(names: Sequence[tuple[str, str]], top: float, width: float) -> Iterator[str]:
    """Names with their colours, and how many more there are."""
    columns = legend_columns(names, width)
    place = (width - 16) / columns
    for number, (name, color) in enumerate(names[:_MOST_NAMES]):
        x, y = 8 + place * (number % columns), top + 14 * (number // columns)
        more = len(names) > _MOST_NAMES and number == _MOST_NAMES - 1
        text = f"and {len(names) - number} more" if more else shortened(name, int(place / LETTER) - 4)
        yield stroke(f"M{x:.0f} {y - 4:.0f}h12", color, 3)
        yield words(x + 16, y, text)
