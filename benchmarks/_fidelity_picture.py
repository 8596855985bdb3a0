"""What the scrapes saw and what is simulated, over time, as a drawing in SVG: no plotting library is needed."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from _fidelity_runs import Timeline

WIDTH, HEIGHT = 250, 110
LEFT, TOP, GAP_X, GAP_Y = 104, 62, 26, 26
REAL, SIMULATED = "#6b7280", "#d9480f"
ROWS = (("running", "running"), ("waiting", "waiting"), ("kv_usage", "KV usage"))


def draw(path: Path, runs: dict[str, tuple[Timeline, Timeline]], title: str) -> None:
    """A column a run and a row a gauge; each panel from 0 to its own highest value."""
    wide = LEFT + len(runs) * (WIDTH + GAP_X)
    high = TOP + len(ROWS) * (HEIGHT + GAP_Y) + 22
    size = f'width="{wide}" height="{high}" viewBox="0 0 {wide} {high}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12" fill="#374151">',
        f'<rect width="{wide}" height="{high}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="22" font-size="14" font-weight="600">{escape(title)}</text>',
        *_key(wide - 250),
    ]
    for column, (name, pair) in enumerate(runs.items()):
        left = LEFT + column * (WIDTH + GAP_X)
        parts.append(f'<text x="{left}" y="{TOP - 10}" font-weight="600">{escape(name.replace("_", " "))}</text>')
        for row, (field, label) in enumerate(ROWS):
            top = TOP + row * (HEIGHT + GAP_Y)
            if column == 0:
                parts.append(f'<text x="{LEFT - 36}" y="{top + HEIGHT / 2}" text-anchor="end">{label}</text>')
            parts += _panel(left, top, pair, field, last=row == len(ROWS) - 1)
    path.write_text("\n".join([*parts, "</svg>\n"]))


def _key(left: float) -> list[str]:
    return [
        f'<line x1="{left}" y1="18" x2="{left + 20}" y2="18" stroke="{REAL}" stroke-width="2.5"/>',
        f'<text x="{left + 26}" y="22">scraped</text>',
        f'<line x1="{left + 90}" y1="18" x2="{left + 110}" y2="18" stroke="{SIMULATED}" stroke-width="1.5"/>',
        f'<text x="{left + 116}" y="22">simulated</text>',
    ]


def _panel(left: float, top: float, pair: tuple[Timeline, Timeline], field: str, *, last: bool) -> list[str]:
    values = [getattr(seen, field) for seen in pair]
    highest = max(1.0 if field == "kv_usage" else 4.0, *(max(row) for row in values))
    end_s = max(seen.t_s[-1] for seen in pair)
    bottom = top + HEIGHT
    parts = [
        f'<path d="M{left} {top}V{bottom}H{left + WIDTH}" fill="none" stroke="#d1d5db"/>',
        f'<text x="{left - 5}" y="{top + 10}" text-anchor="end" font-size="10">{highest:g}</text>',
        f'<text x="{left - 5}" y="{bottom}" text-anchor="end" font-size="10">0</text>',
    ]
    if last:
        parts.append(f'<text x="{left}" y="{bottom + 15}" font-size="10">0 s</text>')
        parts.append(
            f'<text x="{left + WIDTH}" y="{bottom + 15}" text-anchor="end" font-size="10">{end_s:.0f} s</text>'
        )
    for seen, heights, colour, width in zip(pair, values, (REAL, SIMULATED), (2.5, 1.5), strict=True):
        parts.append(
            f'<polyline points="{_points(left, bottom, seen.t_s, heights, end_s, highest)}" fill="none" '
            f'stroke="{colour}" stroke-width="{width}" stroke-linejoin="round"/>'
        )
    return parts


def _points(
    left: float, bottom: float, t_s: Sequence[float], values: Sequence[float], end_s: float, highest: float
) -> str:
    return " ".join(
        f"{left + WIDTH * at / end_s:.1f},{bottom - HEIGHT * value / highest:.1f}"
        for at, value in zip(t_s, values, strict=True)
    )
