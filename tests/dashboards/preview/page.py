"""A dashboard as a static page: each panel in its place, drawn from what its queries gave."""

from collections.abc import Iterator
from html import escape
from typing import Any

from tests.dashboards.preview.kinds import draw
from tests.dashboards.preview.svg import Span

Json = dict[str, Any]
COLUMN_PX, ROW_PX, GAP_PX = 58, 30, 6
WIDTH_PX = 24 * COLUMN_PX + 2 * 12
_TITLE_PX = 24
_STYLE = f"""
body {{ margin: 0; padding: 12px; width: {24 * COLUMN_PX}px; background: #f4f5f5; color: #24292e }}
body {{ font: 12px sans-serif }}
h1 {{ margin: 0; font-size: 18px; font-weight: 500 }}
p {{ margin: 4px 0 10px; color: #6e7176 }}
main {{ position: relative }}
section, h2 {{ position: absolute; margin: 0; box-sizing: border-box }}
section {{ background: #fff; border: 1px solid #dcdee3; border-radius: 2px; overflow: hidden }}
h2 {{ font-size: 14px; font-weight: 500 }}
h3 {{ margin: 0; padding: 5px 8px; font-size: 13px; font-weight: 500; height: {_TITLE_PX - 10}px }}
text {{ font: 11px sans-serif; fill: #464c54 }}
.head {{ font-weight: 600 }}
.none {{ fill: #8e8e8e; font-size: 13px }}
.grid {{ stroke: #e4e5e8; fill: none }}
.stroke {{ fill: none; vector-effect: non-scaling-stroke }}
"""


def page(dashboard: Json, shown: Json, about: str) -> str:
    """The page of a dashboard; ``shown`` has for each panel, by its id, the targets with their series."""
    span = Span(shown["begins_s"], shown["ends_s"], shown["step_s"])
    targets = {panel["id"]: panel["targets"] for panel in shown["panels"]}
    high = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"]) * ROW_PX
    body = "".join(_panel(panel, targets.get(panel["id"], []), span) for panel in dashboard["panels"])
    head = f"<h1>{escape(dashboard['title'])}</h1><p>{escape(about)}</p>"
    title = escape(dashboard["title"])
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        f'</head><body>{head}<main style="height:{high}px">{body}</main></body></html>'
    )


def _panel(panel: Json, targets: list[Json], span: Span) -> str:
    place = panel["gridPos"]
    left, top = place["x"] * COLUMN_PX, place["y"] * ROW_PX
    width, height = place["w"] * COLUMN_PX - GAP_PX, place["h"] * ROW_PX - GAP_PX
    style = f"left:{left}px;top:{top}px;width:{width}px;height:{height}px"
    if panel["type"] == "row":
        return f'<h2 style="{style}">{escape(panel["title"])}</h2>'
    inside = height - _TITLE_PX - 2
    drawing = draw(panel, targets, span, width - 2, inside)
    title = escape(filled(panel["title"]))
    svg = f'<svg width="{width - 2}" height="{inside}">{drawing}</svg>'
    return f'<section style="{style}" title="{escape(panel["description"])}"><h3>{title}</h3>{svg}</section>'


def filled(title: str) -> str:
    """A title with what "All" and the first horizon put in."""
    return title.replace("$horizon", "10m").replace("$pool", "all pools")


def titles(dashboard: Json) -> Iterator[str]:
    """The titles that a page must show."""
    for panel in dashboard["panels"]:
        yield filled(panel["title"])
