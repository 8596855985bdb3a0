"""What every dashboard must keep to: each check names what breaks it. Rules of Grafana's own linter among them.

``query_complaints`` is for the queries of rules and runbooks too.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import promql_parser as promql

from aiops.observe.catalogue import catalogue
from tests.dashboards.known import Series, labels_in, units_in
from tests.dashboards.labels import label_names, lost_labels
from tests.dashboards.promql import RATES, filled_in, metric_name, selectors, walk
from tests.dashboards.units import bound_of, shown_as, unit_of

Json = dict[str, Any]
_STALE_KEYS = {"rows", "gnetId", "hideControls", "sharedCrosshair", "style", "span", "minSpan", "intervalFactor"}


def complaints(dashboard: Json, known: Mapping[str, Series]) -> list[str]:
    """Everything wrong with a dashboard; ``known`` are the series that there can be."""
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


def _of_queries(dashboard: Json, known: Mapping[str, Series]) -> Iterator[str]:
    for place, expr in expressions(dashboard):
        try:
            promql.parse(filled_in(expr))
        except ValueError as error:
            yield f"{place}: {error}"
            continue
        yield from (f"{place}: {complaint}" for complaint in query_complaints(expr, known))
    for panel in panels(dashboard):
        yield from (f"{panel['title']}: {complaint}" for complaint in panel_complaints(panel, known))


def panel_complaints(panel: Json, known: Mapping[str, Series]) -> Iterator[str]:
    """What is wrong with how a panel shows what its queries give: legends and units."""
    for target in panel["targets"]:
        try:
            parsed = promql.parse(filled_in(target["expr"]))
        except ValueError:
            continue  # told above
        if re.search(rf"\b({'|'.join(RATES)})\(", target["expr"]) and "[$__r" not in target["expr"]:
            yield "a fixed rate window"
        kept = label_names(target["expr"], labels_in(known))
        for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
            if label not in kept:
                yield f"the legend names the label {label}, which {target['expr']} does not keep"
        units = units_in(known)
        measured = bound_of(parsed, units) if panel["type"] == "heatmap" else unit_of(parsed, units)
        shown = unit_shown(panel, target["refId"])
        if measured is not None and not shown_as(measured, shown):
            yield f"{target['expr']} measures {dict(measured.powers)} × {measured.size:g} and is shown as {shown!r}"


def unit_shown(panel: Json, ref: str) -> str:
    """The unit of one query of a panel: a table's columns may each have their own."""
    for override in panel["fieldConfig"].get("overrides", []):
        if override["matcher"] in (
            {"id": "byName", "options": f"Value #{ref}"},
            {"id": "byFrameRefID", "options": ref},
        ):
            for one in override["properties"]:
                if one["id"] == "unit":
                    unit: str = one["value"]
                    return unit
    shown: str = panel["fieldConfig"]["defaults"]["unit"]
    return shown


@cache
def _old_names() -> dict[str, str]:
    parts = ("", "_bucket", "_sum", "_count")
    return {
        alias.name + part: metric.name + part
        for metric in catalogue().metrics
        for alias in metric.aliases
        for part in parts
    }


def query_complaints(expr: str, known: Mapping[str, Series]) -> Iterator[str]:
    """What is wrong with a query, be it of a panel, a rule or a runbook.

    Unknown names and labels, names of the past, a gauge's rate, a bare counter, a quantile without ``le``, and labels
    that are grouped or joined by and not there.
    """
    for selector, above in selectors(expr):
        name = metric_name(selector)
        if name not in known:
            old = _old_names().get(name)
            yield f"{name} is an old name of {old}" if old else f"nobody exposes {name or 'a series without a name'}"
            continue
        for matcher in selector.matchers.matchers:
            if matcher.name not in known[name].labels:
                yield f"{name} has no label {matcher.name}"
        rated = any(isinstance(part, promql.Call) and part.func.name in RATES for part in above)
        # `x unless x offset 2m` asks whether a series is new, not how much it has counted.
        new = any(isinstance(part, promql.BinaryExpr) and str(part.op) == "unless" for part in above)
        if rated and not known[name].counter:
            yield f"{name} is a gauge and has no rate"
        if known[name].counter and not (rated or new):
            yield f"{name} is a counter and is not wrapped in a rate"
    for part, _ in walk(promql.parse(filled_in(expr))):
        if isinstance(part, promql.Call) and part.func.name == "histogram_quantile":
            inner = part.args[1]
            by = inner.modifier.labels if isinstance(inner, promql.AggregateExpr) and inner.modifier else []
            if "le" not in by:
                yield "histogram_quantile needs a sum by (le, …)"
    yield from lost_labels(expr, labels_in(known))
