"""What every dashboard must keep to: each check names what breaks it. Rules of Grafana's own linter among them."""

import re
from collections.abc import Iterator
from typing import Any

import promql_parser as promql

from tests.dashboards.promql import RATES, filled_in, metric_name, selectors, walk

Json = dict[str, Any]
_STALE_KEYS = {"rows", "gnetId", "hideControls", "sharedCrosshair", "style", "span", "minSpan", "intervalFactor"}
_UNITS = (
    (r"_tokens_per_second$", "suffix: tok/s"),
    (r"_requests_per_second$", "reqps"),
    (r"_usd_per_hour$", "currencyUSD"),
    (r"_duration_seconds_bucket$", "s"),
    (r"_timestamp_seconds$", "suffix: intervals"),
    (r"_seconds$", "s"),
    (r"_ratio$", "percentunit"),
    (r"", "short|none"),
)


def complaints(dashboard: Json, known: dict[str, set[str]]) -> list[str]:
    """Everything wrong with a dashboard; ``known`` are the metrics that aiops exposes, each with its labels."""
    return [*_of_dashboard(dashboard), *_of_panels(dashboard), *_of_queries(dashboard, known)]


def panels(dashboard: Json) -> list[Json]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def expressions(dashboard: Json) -> Iterator[tuple[str, str]]:
    """Where an expression stands, and the expression."""
    for panel in panels(dashboard):
        yield from ((panel["title"], target["expr"]) for target in panel["targets"])
    for annotation in dashboard["annotations"]["list"]:
        if "expr" in annotation:
            yield annotation["name"], annotation["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            match = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"])
            yield variable["name"], match[1] if match else variable["definition"]


def _of_dashboard(dashboard: Json) -> Iterator[str]:
    if dashboard["schemaVersion"] < 39 or dashboard["editable"] or not dashboard["uid"]:
        yield "the dashboard needs a uid, a schema version of 39 or later, and not to be editable"
    if "aiops" not in dashboard["tags"] or not dashboard["description"]:
        yield "the dashboard needs the tag aiops and a description"
    variables = dashboard["templating"]["list"]
    if not variables or variables[0]["type"] != "datasource":
        yield "the first variable must be the data source"
    for variable in variables:
        if variable["type"] == "query" and variable["refresh"] != 2:
            yield f"variable {variable['name']} is not read again when the time range changes"
    for place, key in _keys(dashboard):
        if key in _STALE_KEYS:
            yield f"{place} has the stale key {key}"


def _keys(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield place, key
            yield from _keys(inner, f"{place}.{key}")
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _keys(inner, f"{place}[{i}]")


def _of_panels(dashboard: Json) -> Iterator[str]:
    ids = [panel["id"] for panel in dashboard["panels"]]
    if len(ids) != len(set(ids)):
        yield "two panels have the same id"
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        if cells & taken or place["x"] + place["w"] > 24:
            yield f"{panel['title']} overlaps another panel or the edge"
        taken |= cells
    for panel in panels(dashboard):
        title, defaults = panel["title"], panel["fieldConfig"]["defaults"]
        if not title or len(panel["description"]) < 20 or not panel["targets"]:
            yield f"{title!r} needs a title, a description and a query"
        if not defaults["unit"]:
            yield f"{title} has no unit"
        for holder in (panel, *panel["targets"]):
            if holder["datasource"] != {"type": "prometheus", "uid": "${datasource}"}:
                yield f"{title} does not ask the chosen data source"
        first, *others = [step["value"] for step in defaults["thresholds"]["steps"]]
        if first is not None or others != sorted(others):
            yield f"{title}: thresholds must begin with null and ascend"
        if "maxDataPoints" in panel:
            yield f"{title} limits its data points"


def _of_queries(dashboard: Json, known: dict[str, set[str]]) -> Iterator[str]:
    units = {panel["title"]: panel["fieldConfig"]["defaults"]["unit"] for panel in panels(dashboard)}
    for place, expr in expressions(dashboard):
        try:
            promql.parse(filled_in(expr))
        except ValueError as error:
            yield f"{place}: {error}"
            continue
        yield from (f"{place}: {complaint}" for complaint in query_complaints(expr, known))
        for name in {metric_name(selector) for selector, _ in selectors(expr)} - {"aiops_loop_interval_seconds"}:
            right = next(unit for pattern, unit in _UNITS if re.search(pattern, name))
            if place in units and not re.fullmatch(right, units[place]):
                yield f"{place}: {name} is shown as {units[place]!r}, not as {right!r}"
    rates = [
        (panel["title"], target["expr"])
        for panel in panels(dashboard)
        for target in panel["targets"]
        if re.search(rf"\b({'|'.join(RATES)})\(", target["expr"])
    ]
    yield from (f"{place} has a fixed rate window" for place, expr in rates if "[$__rate_interval]" not in expr)


def query_complaints(expr: str, known: dict[str, set[str]]) -> Iterator[str]:
    """What is wrong with a query: unknown names or labels, a gauge's rate, a bare counter, a quantile without le."""
    for selector, above in selectors(expr):
        name = metric_name(selector)
        if name not in known:
            yield f"aiops exposes no {name}"
            continue
        for matcher in selector.matchers.matchers:
            if known[name] and matcher.name not in known[name]:
                yield f"{name} has no label {matcher.name}"
        rated = any(isinstance(part, promql.Call) and part.func.name in RATES for part in above)
        # `x unless x offset 2m` asks whether a series is new, not how much it has counted.
        new = any(isinstance(part, promql.BinaryExpr) and str(part.op) == "unless" for part in above)
        counter = name.endswith(("_total", "_bucket", "_count", "_sum"))
        if rated and not counter:
            yield f"{name} is a gauge and has no rate"
        if counter and not (rated or new):
            yield f"{name} is a counter and is not wrapped in a rate"
    for part, _ in walk(promql.parse(filled_in(expr))):
        if isinstance(part, promql.Call) and part.func.name == "histogram_quantile":
            inner = part.args[1]
            by = inner.modifier.labels if isinstance(inner, promql.AggregateExpr) and inner.modifier else []
            if "le" not in by:
                yield "histogram_quantile needs a sum by (le, …)"
