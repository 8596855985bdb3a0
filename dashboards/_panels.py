"""Dashboards as plain values, and the one place that turns them into Grafana's JSON (through grafanalib).

A dashboard file holds values of the classes below and nothing else, so what draws them can be replaced.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from grafanalib import core as grafana
from grafanalib._gen import DashboardEncoder

SCHEMA_VERSION = 39  # Grafana 11's; 12 reads it too
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
_COLUMNS = 24
_PANEL_HEIGHT = 8

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression and the name that its series get in the legend."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True)
class Line:
    """How the series of one legend name is drawn; a dash length of 0 is a solid line."""

    legend: str
    color: str | None = None
    width: int = 1
    dash: int = 0
    fill_below_to: str | None = None
    in_legend: bool = True


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel, as wide as ``width`` of 24 columns.

    ``thresholds`` are (lower bound, colour), the first bound None; ``states`` name the values of a state timeline with
    their colours. ``may_be_empty`` says why the queries of a healthy loop may answer nothing; empty means that they
    must answer. ``repeat`` names a variable for each value of which the panel is drawn.
    """

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: Literal["lines", "steps", "bars", "states", "number"] = "lines"
    width: int = 12
    lines: tuple[Line, ...] = ()
    thresholds: tuple[tuple[float | None, str], ...] = ((None, "green"),)
    states: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    minimum: int | None = None
    maximum: int | None = None
    may_be_empty: str = ""
    repeat: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice at the top of the dashboard: the values of a label, or a fixed list."""

    name: str
    label: str
    query: str
    kind: Literal["label", "list"] = "label"


@dataclass(frozen=True, slots=True)
class Annotation:
    """Marks on the time axis of every panel, where an expression answers; ``title`` and ``text`` may use labels."""

    name: str
    expr: str
    color: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A dashboard; ``uid`` is its address, and never changes."""

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...]
    annotations: tuple[Annotation, ...] = ()

    @property
    def panels(self) -> tuple[Panel, ...]:
        """The panels of all rows."""
        return tuple(panel for row in self.rows for panel in row.panels)


def render(dashboard: Dashboard) -> str:
    """Write a dashboard as the JSON that Grafana 11 and 12 read; the same value gives the same bytes."""
    drawn = grafana.Dashboard(
        title=dashboard.title,
        uid=dashboard.uid,
        description=dashboard.description,
        tags=["aiops"],
        editable=False,
        graphTooltip=grafana.GRAPH_TOOLTIP_MODE_SHARED_CROSSHAIR,
        refresh="30s",
        schemaVersion=SCHEMA_VERSION,
        timezone="browser",
        time=grafana.Time("now-6h", "now"),
        templating=grafana.Templating(list=[_datasource(), *(_variable(one) for one in dashboard.variables)]),
        annotations=grafana.Annotations(
            list=[_own_annotations(), *(_annotation(one) for one in dashboard.annotations)]
        ),
        links=[grafana.DashboardLink(title="aiops", tags=["aiops"], asDropdown=True, includeVars=True, keepTime=True)],
        panels=_layout(dashboard.rows),
    )
    plain = json.loads(json.dumps(drawn.to_json_data(), cls=DashboardEncoder))
    return json.dumps(finalize(plain), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _layout(rows: tuple[Row, ...]) -> list[grafana.Panel]:
    drawn: list[grafana.Panel] = []
    y = 0
    for row in rows:
        drawn.append(grafana.RowPanel(title=row.title, gridPos=grafana.GridPos(h=1, w=_COLUMNS, x=0, y=y)))
        x, y = 0, y + 1
        for panel in row.panels:
            if x + panel.width > _COLUMNS:
                x, y = 0, y + _PANEL_HEIGHT
            drawn.append(_panel(panel, grafana.GridPos(h=_PANEL_HEIGHT, w=panel.width, x=x, y=y)))
            x += panel.width
        y += _PANEL_HEIGHT
    return drawn


def _panel(panel: Panel, place: grafana.GridPos) -> grafana.Panel:
    common: Json = {
        "title": panel.title,
        "description": panel.description,
        "dataSource": DATASOURCE,
        "gridPos": place,
        "maxDataPoints": None,
        "targets": [_target(query, chr(ord("A") + i), panel.kind) for i, query in enumerate(panel.queries)],
        "thresholds": [
            grafana.Threshold(color, i, 0.0 if bound is None else float(bound))
            for i, (bound, color) in enumerate(panel.thresholds)
        ],
        "repeat": grafana.Repeat(direction="h", variable=panel.repeat, maxPerRow=2)
        if panel.repeat
        else grafana.Repeat(),
    }
    if panel.kind == "states":
        return grafana.StateTimeline(
            **common,
            mappings=_mappings(panel),
            showValue="never",
            extraJson={"fieldConfig": {"defaults": {"unit": panel.unit}}},
        )
    if panel.kind == "number":
        return grafana.Stat(
            **common, mappings=_mappings(panel), format=panel.unit, reduceCalc="lastNotNull", noValue="no data"
        )
    bars, steps = panel.kind == "bars", panel.kind == "steps"
    return grafana.TimeSeries(
        **common,
        unit=panel.unit,
        drawStyle="bars" if bars else "line",
        fillOpacity=80 if bars else 0,
        stacking={"group": "A", "mode": "normal" if bars else "none"},
        lineInterpolation="stepAfter" if steps else "linear",
        showPoints="never",
        tooltipMode="multi",
        thresholdsStyleMode="line" if len(panel.thresholds) > 1 else "off",
        valueMin=panel.minimum,
        valueMax=panel.maximum,
        overrides=[_override(line) for line in panel.lines],
    )


def _target(query: Query, ref: str, kind: str) -> grafana.Target:
    return grafana.Target(
        expr=query.expr, legendFormat=query.legend, refId=ref, datasource=DATASOURCE, instant=kind == "number"
    )


def _mappings(panel: Panel) -> list[Json]:
    if not panel.states:
        return []
    options = {
        str(value): {"color": color, "index": i, "text": text}
        for i, (value, (text, color)) in enumerate(sorted(panel.states.items()))
    }
    return [{"type": "value", "options": options}]


def _override(line: Line) -> Json:
    properties: list[Json] = [{"id": "custom.lineWidth", "value": line.width}]
    if line.color:
        properties.append({"id": "color", "value": {"mode": "fixed", "fixedColor": line.color}})
    if line.dash:
        properties.append({"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [line.dash, line.dash]}})
    if line.fill_below_to:
        properties.append({"id": "custom.fillBelowTo", "value": line.fill_below_to})
        properties.append({"id": "custom.fillOpacity", "value": 15})
    if not line.in_legend:
        properties.append({"id": "custom.hideFrom", "value": {"legend": True, "tooltip": False, "viz": False}})
    return {"matcher": {"id": "byName", "options": line.legend}, "properties": properties}


def _datasource() -> grafana.Template:
    return grafana.Template(name="datasource", label="Data source", type="datasource", query="prometheus", refresh=1)


def _variable(variable: Variable) -> grafana.Template:
    if variable.kind == "list":
        first = variable.query.split(",")[0]
        return grafana.Template(
            name=variable.name, label=variable.label, type="custom", query=variable.query, default=first
        )
    return grafana.Template(
        name=variable.name,
        label=variable.label,
        type="query",
        dataSource=DATASOURCE,
        query={"qryType": 1, "query": variable.query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
        refresh=grafana.REFRESH_ON_TIME_RANGE_CHANGE,
        includeAll=True,
        multi=True,
        allValue=".*",
    )


def _own_annotations() -> Json:
    # Grafana's own: alerts and what people write by hand. It expects to find this entry.
    own = {"type": "grafana", "uid": "-- Grafana --"}
    return {
        "builtIn": 1,
        "datasource": own,
        "enable": True,
        "hide": True,
        "iconColor": "rgba(0, 211, 255, 1)",
        "name": "Annotations & Alerts",
        "type": "dashboard",
    }


def _annotation(annotation: Annotation) -> Json:
    return {
        "datasource": DATASOURCE,
        "enable": True,
        "expr": annotation.expr,
        "iconColor": annotation.color,
        "name": annotation.name,
        "step": "60s",
        "titleFormat": annotation.title,
        "textFormat": annotation.text,
    }


_STALE = {
    # grafanalib writes these for Grafana 5 to 8; today's neither reads nor writes them.
    *("__inputs", "gnetId", "hideControls", "rows", "sharedCrosshair", "style"),
    *("cacheTimeout", "editable", "error", "height", "hideTimeOverride", "minSpan", "span"),
    *("auto", "auto_count", "auto_min", "tagValuesQuery", "tagsQuery", "useTags"),
    *("intervalFactor", "metric", "step", "target", "query"),
}


def finalize(dashboard: Json) -> Json:
    """Turn grafanalib's JSON into that of the present Grafana: nothing stale, real nulls, ids by place."""
    done: Json = _without_nulls({key: value for key, value in dashboard.items() if key not in _STALE})
    done |= {
        "editable": False,
        "fiscalYearStartMonth": 0,
        "id": None,
        "liveNow": False,
        "preload": False,
        "weekStart": "",
    }
    done["panels"] = [_final_panel(panel) | {"id": number} for number, panel in enumerate(done["panels"], start=1)]
    done["templating"]["list"] = [_final_variable(variable) for variable in done["templating"]["list"]]
    return done


def _final_panel(panel: Json) -> Json:
    done = {key: value for key, value in panel.items() if key not in _STALE}
    if panel["type"] == "row":
        return {key: done[key] for key in ("collapsed", "gridPos", "panels", "title", "type")}
    if not panel.get("repeat"):
        done = {key: value for key, value in done.items() if key not in ("maxPerRow", "repeat", "repeatDirection")}
    steps = done["fieldConfig"]["defaults"]["thresholds"]["steps"]
    done["fieldConfig"]["defaults"]["thresholds"]["steps"] = [
        {"color": step["color"], "value": None if i == 0 else step["value"]} for i, step in enumerate(steps)
    ]
    if "legend" in done["options"]:
        done["options"]["legend"]["showLegend"] = True
    done["targets"] = [_final_target(target) for target in done["targets"]]
    return done


def _final_target(target: Json) -> Json:
    done = {key: value for key, value in target.items() if key not in _STALE and value != ""}
    return done | {"editorMode": "code", "range": not target["instant"]}


def _final_variable(variable: Json) -> Json:
    kept = {key: value for key, value in variable.items() if key not in _STALE - {"query"}}
    if variable["type"] == "query":
        kept |= {"current": {}, "definition": variable["query"]["query"]}
    elif variable["type"] == "datasource":
        kept["current"] = {}
    return kept | {"skipUrlSync": False}


def _without_nulls(value: Any) -> Any:  # noqa: ANN401  # JSON has no narrower type
    if isinstance(value, dict):
        return {key: _without_nulls(one) for key, one in value.items() if one is not None}
    if isinstance(value, list):
        return [_without_nulls(one) for one in value]
    return value
