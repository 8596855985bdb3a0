"""Turns what grafanalib writes into what Grafana 11 and 12 read."""

from typing import Any

Json = dict[str, Any]

PLUGIN_VERSION = "11.0.0"
_STALE = {
    # grafanalib writes these for Grafana 5 to 8; today's neither reads nor writes them.
    *("__inputs", "gnetId", "hideControls", "rows", "sharedCrosshair", "style"),
    *("cacheTimeout", "editable", "error", "height", "hideTimeOverride", "minSpan", "span"),
    *("auto", "auto_count", "auto_min", "tagValuesQuery", "tagsQuery", "useTags"),
    *("intervalFactor", "metric", "step", "target", "query"),
}


def finalize(dashboard: Json) -> Json:
    """Leave nothing stale, write real nulls, and number the panels by their place."""
    done: Json = _without_nulls({key: value for key, value in dashboard.items() if key not in _STALE})
    done |= {
        "editable": False,
        "fiscalYearStartMonth": 0,
        "id": None,
        "liveNow": False,
        "preload": False,
        "timepicker": {},
        "weekStart": "",
    }
    done["panels"] = [_panel(panel) | {"id": number} for number, panel in enumerate(done["panels"], start=1)]
    done["templating"]["list"] = [_variable(variable) for variable in done["templating"]["list"]]
    return done


def _panel(panel: Json) -> Json:
    done = {key: value for key, value in panel.items() if key not in _STALE}
    if panel["type"] == "row":
        return {key: done[key] for key in ("collapsed", "gridPos", "panels", "title", "type")}
    if not panel.get("repeat"):
        done = {key: value for key, value in done.items() if key not in ("maxPerRow", "repeat", "repeatDirection")}
    defaults = done["fieldConfig"]["defaults"]
    defaults["thresholds"]["steps"] = [
        {"color": step["color"], "value": None if i == 0 else step["value"]}
        for i, step in enumerate(defaults["thresholds"]["steps"])
    ]
    if panel["type"] == "timeseries":
        done["options"]["legend"]["showLegend"] = True
    done["targets"] = [_target(target) for target in done["targets"]]
    return done | {"pluginVersion": PLUGIN_VERSION}


def _target(target: Json) -> Json:
    done = {key: value for key, value in target.items() if key not in _STALE and value != ""}
    return done | {"editorMode": "code", "range": not target["instant"]}


def _variable(variable: Json) -> Json:
    kept = {key: value for key, value in variable.items() if key not in _STALE - {"query"}}
    if variable["type"] == "query":
        kept |= {"current": {}, "definition": variable["query"]["query"]}
    elif variable["type"] == "datasource":
        kept["current"] = {}
    elif variable["type"] == "constant":
        kept = {key: kept[key] for key in ("hide", "name", "query", "type")}
    return kept | {"skipUrlSync": variable["type"] == "constant"}


def _without_nulls(value: Any) -> Any:  # noqa: ANN401  # JSON has no narrower type
    if isinstance(value, dict):
        return {key: _without_nulls(one) for key, one in value.items() if one is not None}
    if isinstance(value, list):
        return [_without_nulls(one) for one in value]
    return value
