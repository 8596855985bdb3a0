"""The one place that turns dashboards into Grafana's JSON, through grafanalib."""

import json
from typing import Any

from grafanalib import core as grafana
from grafanalib._gen import DashboardEncoder

from dashboards._finalize import Json, finalize
from dashboards._values import Annotation, Dashboard, Line, Panel, Query, Row, Variable

SCHEMA_VERSION = 39  # Grafana 11's; 12 reads it too
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
_COLUMNS = 24
_KEPT = "${__url_time_range}&${datasource:queryparam}&${cluster:queryparam}&${namespace:queryparam}"


class _Raw(grafana.Panel):  # type: ignore[misc]  # grafanalib ships no types
    """A panel whose class in grafanalib writes what Grafana read years ago: all it is stands in ``extraJson``."""

    def to_json_data(self) -> Json:
        drawn: Json = self.panel_json({})
        return drawn


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
        links=[
            grafana.DashboardLink(title="aiops", tags=["aiops"], asDropdown=True, includeVars=True, keepTime=True),
            _console(),
        ],
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
                x, y = 0, y + row.height
            drawn.append(_panel(panel, grafana.GridPos(h=row.height, w=panel.width, x=x, y=y)))
            x += panel.width
        y += row.height
    return drawn


def _panel(panel: Panel, place: grafana.GridPos) -> grafana.Panel:
    common: Json = {
        "title": panel.title,
        "description": panel.description,
        "dataSource": DATASOURCE,
        "gridPos": place,
        "maxDataPoints": None,
        "targets": [_target(query, chr(ord("A") + i), panel) for i, query in enumerate(panel.queries)],
        "thresholds": [
            grafana.Threshold(color, i, 0.0 if bound is None else float(bound))
            for i, (bound, color) in enumerate(panel.thresholds)
        ],
        "links": [_runbook(alert) for alert in panel.runbooks],
        "repeat": grafana.Repeat(direction="h", variable=panel.repeat, maxPerRow=2)
        if panel.repeat
        else grafana.Repeat(),
    }
    extra: Json = {"fieldConfig": {"defaults": {"unit": panel.unit, **_drill(panel)}, "overrides": []}}
    if panel.kind == "states":
        return grafana.StateTimeline(**common, mappings=_mappings(panel), showValue="never", extraJson=extra)
    if panel.kind == "number":
        return grafana.Stat(
            **common,
            mappings=_mappings(panel),
            format=panel.unit,
            decimals=panel.decimals,
            reduceCalc="lastNotNull",
            noValue="no data",
            graphMode="none" if panel.states else "area",
            extraJson=extra,
        )
    if panel.kind in ("ranks", "table", "heatmap"):
        drawn = {"ranks": _ranks, "table": _table, "heatmap": _heatmap}[panel.kind](panel)
        drawn["fieldConfig"]["defaults"] = extra["fieldConfig"]["defaults"] | drawn["fieldConfig"]["defaults"]
        return _Raw(**common, extraJson=drawn)
    return _time_series(panel, common, extra)


def _time_series(panel: Panel, common: Json, extra: Json) -> grafana.Panel:
    bars, filled = panel.kind == "bars", panel.kind in ("bars", "stacked")
    extra["fieldConfig"]["overrides"] = [_override(line) for line in panel.lines]
    return grafana.TimeSeries(
        **common,
        unit=panel.unit,
        drawStyle="bars" if bars else "line",
        fillOpacity=80 if bars else 30 if filled else 0,
        stacking={"group": "A", "mode": "normal" if filled else "none"},
        lineInterpolation="stepAfter" if panel.kind == "steps" else "linear",
        showPoints="never",
        tooltipMode="multi",
        thresholdsStyleMode="line" if len(panel.thresholds) > 1 else "off",
        valueMin=panel.minimum,
        valueMax=panel.maximum,
        scaleDistributionType="log" if panel.logarithmic else "linear",
        scaleDistributionLog=10,
        extraJson=extra,
    )


def _ranks(panel: Panel) -> Json:
    """The latest value of each series as a bar."""
    return {
        "type": "bargauge",
        "fieldConfig": {
            "defaults": {"min": panel.minimum or 0, "max": panel.maximum, "noValue": "no data"},
            "overrides": [],
        },
        "options": {
            "displayMode": "basic",
            "orientation": "horizontal",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "showUnfilled": True,
            "valueMode": "color",
        },
    }


def _table(panel: Panel) -> Json:
    """One line for each set of labels, one column for each query."""
    columns = [
        {
            "matcher": {"id": "byName", "options": f"Value #{chr(ord('A') + i)}"},
            "properties": [
                {"id": "displayName", "value": query.legend},
                {"id": "unit", "value": query.unit or panel.unit},
            ],
        }
        for i, query in enumerate(panel.queries)
    ]
    return {
        "type": "table",
        "fieldConfig": {
            "defaults": {"custom": {"align": "auto", "cellOptions": {"type": "auto"}, "filterable": True}},
            "overrides": columns,
        },
        "options": {"cellHeight": "sm", "footer": {"show": False}, "showHeader": True},
        "transformations": [
            {"id": "merge", "options": {}},
            {"id": "organize", "options": {"excludeByName": {"Time": True}, "indexByName": {}, "renameByName": {}}},
        ],
    }


def _heatmap(panel: Panel) -> Json:
    """How many there are in each bucket over time; the buckets are those of the histogram."""
    return {
        "type": "heatmap",
        "fieldConfig": {
            "defaults": {"custom": {"hideFrom": {"legend": False, "tooltip": False, "viz": False}}},
            "overrides": [],
        },
        "options": {
            "calculate": False,
            "cellGap": 1,
            "color": {"exponent": 0.5, "mode": "scheme", "scale": "exponential", "scheme": "Oranges", "steps": 64},
            "filterValues": {"le": 1e-9},
            "legend": {"show": True},
            "rowsFrame": {"layout": "auto"},
            "tooltip": {"mode": "single", "yHistogram": False},
            "yAxis": {"axisPlacement": "left", "reverse": False, "unit": panel.unit},
        },
    }


def _target(query: Query, ref: str, panel: Panel) -> grafana.Target:
    # What is summed over the whole range, or is a state, is one number; other numbers have their past behind them.
    whole = panel.kind == "number" and ("$__range" in query.expr.replace("$__rate", "") or bool(panel.states))
    return grafana.Target(
        expr=query.expr,
        legendFormat="{{le}}" if panel.kind == "heatmap" else query.legend,
        refId=ref,
        datasource=DATASOURCE,
        format={"table": "table", "heatmap": "heatmap"}.get(panel.kind, "time_series"),
        instant=whole or panel.kind in ("table", "ranks"),
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


def _drill(panel: Panel) -> Json:
    if not panel.drill:
        return {}
    # A table's cells know their line, all else knows the labels of its series.
    clicked = "__data.fields" if panel.kind == "table" else "__field.labels"
    url = f"/d/{panel.drill}?var-model=${{{clicked}.model_name}}&{_KEPT}"
    return {"links": [{"title": "This model alone", "url": url, "targetBlank": False}]}


def _runbook(alert: str) -> Json:
    return {"title": f"Runbook: {alert}", "url": f"${{console}}/runbook/{alert}", "targetBlank": True}


def _console() -> Json:
    return {
        "title": "aiops' own page",
        "type": "link",
        "url": "${console}/",
        "icon": "external link",
        "targetBlank": True,
        "tooltip": "Decisions with their reasons, as aiops shows them itself",
        "asDropdown": False,
        "includeVars": False,
        "keepTime": False,
        "tags": [],
    }


def _datasource() -> grafana.Template:
    return grafana.Template(name="datasource", label="Data source", type="datasource", query="prometheus", refresh=1)


def _variable(variable: Variable) -> grafana.Template:
    if variable.kind == "constant":
        return grafana.Template(name=variable.name, type="constant", query=variable.query, hide=grafana.HIDE_VARIABLE)
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


def _annotation(annotation: Annotation) -> dict[str, Any]:
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
