"""The panels that are no plain time series: numbers, bars, states, tables and heatmaps."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from aiops.serve.console.chart import PLOT, frame
from tests.dashboards.preview.lines import Points, draw_lines, drawn
from tests.dashboards.preview.svg import (
    BOTTOM,
    COLORS,
    LETTER,
    Span,
    area,
    box,
    legend,
    shortened,
    stroke,
    times,
    words,
)
from tests.dashboards.preview.values import last_of, name_of, points_of, written

Json = dict[str, Any]
_ROW = 20
_LEFT = 62
_HEAT = "#d94701"


def draw(panel: Json, targets: Sequence[Json], span: Span, width: int, height: int) -> str:
    """Draw a panel's inside; ``targets`` are its queries with the ``series`` that they gave."""
    if not any(target["series"] for target in targets):
        return words(width / 2, height / 2, "No data", "middle", css="none")
    drawers = {
        "stat": _number,
        "bargauge": _ranks,
        "table": _table,
        "heatmap": _heatmap,
        "state-timeline": _states,
        "timeseries": draw_lines,
    }
    return "".join(drawers[panel["type"]](panel, targets, span, width, height))


def _threshold(panel: Json, value: float) -> str:
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    return COLORS[next(step["color"] for step in reversed(steps) if step["value"] is None or value >= step["value"])]


def _mapped(panel: Json, value: float) -> tuple[str, str] | None:
    """Text and colour of a value that has a name."""
    mappings = panel["fieldConfig"]["defaults"].get("mappings", [])
    found = next((one["options"][f"{value:g}"] for one in mappings if f"{value:g}" in one["options"]), None)
    return (found["text"], COLORS[found["color"]]) if found else None


def _number(panel: Json, targets: Sequence[Json], span: Span, width: int, height: int) -> Iterator[str]:
    series = targets[0]["series"][0]
    value, defaults = last_of(series), panel["fieldConfig"]["defaults"]
    if value is None:
        yield words(width / 2, height / 2, "no data", "middle", css="none")
        return
    text, color = _mapped(panel, value) or (
        written(value, defaults["unit"], defaults.get("decimals")),
        _threshold(panel, value),
    )
    if panel["options"]["graphMode"] == "area" and panel["targets"][0]["range"]:
        points = points_of(series)
        axes = frame((span.begins_s, span.ends_s), [number for _, number in points], span.step_s)
        floor = [(at, None if number is None else 0.0) for at, number in points]
        top, tall = height * 0.55, height * 0.45
        yield f'<svg y="{top:.0f}" width="{width}" height="{tall:.0f}" viewBox="0 0 {PLOT:.0f} {PLOT:.0f}"'
        yield f' preserveAspectRatio="none">{area(axes.band(floor, points), color, 0.15)}'
        yield f"{stroke(axes.line(points), color)}</svg>"
    size = min(34.0, 1.6 * width / max(len(text), 6))
    yield words(width / 2, height * 0.45, text, "middle", f"font-size:{size:.0f}px;fill:{color}")


def _ranks(panel: Json, targets: Sequence[Json], _: Span, width: int, height: int) -> Iterator[str]:
    defaults = panel["fieldConfig"]["defaults"]
    found = [
        (name_of(target["legendFormat"], series["metric"]), value)
        for target in targets
        for series in target["series"]
        if (value := last_of(series)) is not None
    ]
    most = max([value for _, value in found] + [step["value"] or 0 for step in defaults["thresholds"]["steps"]]) or 1
    bar = width - 120
    for number, (name, value) in enumerate(found[: (height - 8) // 36]):
        y, color = 14 + 36 * number, _threshold(panel, value)
        yield words(8, y, shortened(name, bar // 7))
        yield box(8, y + 5, bar, 14, "#e8e8e8")
        yield box(8, y + 5, bar * min(value / most, 1.0), 14, color)
        yield words(width - 8, y + 17, written(value, defaults["unit"]), "end", f"font-size:14px;fill:{color}")


def _states(panel: Json, targets: Sequence[Json], span: Span, width: int, height: int) -> Iterator[str]:
    lines = drawn(panel, targets)
    most, left = (height - BOTTOM - 24) // _ROW, int(width * 0.42)
    plot = width - left - 8
    shown = lines if len(lines) <= most else lines[: most - 1]
    for number, line in enumerate(shown):
        y = 6 + _ROW * number
        yield words(left - 6, y + 12, shortened(line.name, int(left / LETTER) - 2), "end")
        for begin_s, end_s, value in _runs(line.points, span.step_s):
            mapped = _mapped(panel, value)
            x, end = (plot * min(span.share(at), 1.0) for at in (begin_s, end_s))
            yield box(left + x, y, max(end - x, 1.5), _ROW - 4, mapped[1] if mapped else line.color)
    if len(shown) < len(lines):
        yield words(left - 6, 18 + _ROW * len(shown), f"and {len(lines) - len(shown)} more", "end")
    yield from times(span, left, plot, height - BOTTOM - 4)
    states = [one for mapping in panel["fieldConfig"]["defaults"]["mappings"] for one in mapping["options"].values()]
    yield from legend([(one["text"], COLORS[one["color"]]) for one in states], height - 6, width)


def _runs(points: Points, step_s: float) -> Iterator[tuple[float, float, float]]:
    """Times in which a value stays the same."""
    begin: float | None = None
    for (at, value), (then, following) in pairwise([*points, (float("inf"), None)]):
        if value is None:
            continue
        begin = at if begin is None else begin
        if following != value or then - at > 1.5 * step_s:
            yield begin, at + step_s, value
            begin = None


def _table(panel: Json, targets: Sequence[Json], _: Span, width: int, height: int) -> Iterator[str]:
    overrides = {
        one["matcher"]["options"]: {each["id"]: each["value"] for each in one["properties"]}
        for one in panel["fieldConfig"]["overrides"]
    }
    rows: dict[str, dict[str, str]] = {}
    columns = ["model_name"]
    for target in targets:
        own = overrides[f"Value #{target['refId']}"]
        columns.append(own["displayName"])
        for series in target["series"]:
            value = last_of(series)
            if value is not None:
                cells = rows.setdefault(series["metric"]["model_name"], {})
                cells[own["displayName"]] = written(value, own["unit"])
    first = 280
    place = (width - first) / (len(columns) - 1)
    yield f'<path class="grid" d="M8 22H{width - 8}"/>'
    for number, column in enumerate(columns):
        x, anchor = (first + place * number - 8, "end") if number else (8, "start")
        yield words(x, 16, column, anchor, css="head")
        for line, (name, cells) in enumerate(sorted(rows.items())[: (height - 30) // 26]):
            yield words(x, 42 + 26 * line, cells.get(column, "") if number else name, anchor, "font-size:13px")


def _heatmap(panel: Json, targets: Sequence[Json], span: Span, width: int, height: int) -> Iterator[str]:
    cells = _cells(targets[0]["series"])
    bounds = sorted({bound for bound, _, _ in cells})
    most = max((count for _, _, count in cells), default=1.0)
    room, plot = height - BOTTOM - 8, width - _LEFT - 8
    tall, wide = room / max(len(bounds), 1), plot * span.step_s / (span.ends_s - span.begins_s)
    unit, every = panel["options"]["yAxis"]["unit"], -(-len(bounds) // max(1, room // 15))
    for number, bound in enumerate(bounds[::every]):
        text = "more" if bound == float("inf") else written(bound, unit)
        yield words(_LEFT - 6, 8 + room - tall * (number * every + 0.5), text, "end")
    for bound, at, count in cells:
        y = 4 + room - tall * (bounds.index(bound) + 1)
        yield box(_LEFT + plot * span.share(at), y, wide + 0.3, tall - 1, _HEAT, (count / most) ** 0.5)
    yield from times(span, _LEFT, plot, height - 8)


def _cells(series: Sequence[Json]) -> list[tuple[float, float, float]]:
    """Bound, time and count of each bucket that holds anything; buckets come with all below them in."""
    found: list[tuple[float, float, float]] = []
    below: Mapping[float, float | None] = {}
    for bound, values in sorted(
        ((float(one["metric"]["le"]), dict(points_of(one))) for one in series), key=lambda b: b[0]
    ):
        counts = ((at, (value or 0.0) - (below.get(at) or 0.0)) for at, value in values.items())
        found += [(bound, at, count) for at, count in counts if count > 1e-9]
        below = values
    return found
