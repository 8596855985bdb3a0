"""Every query of every dashboard, asked of a Prometheus as Grafana would: what a panel shows, and what stays empty.

What may stay empty, and why, is in may_be_empty.yaml.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.dashboards.checks import expressions
from tests.dashboards.promql import names
from tests.mixin.recording import SCRAPE_S
from tests.mixin.rules import read_rules
from tests.mixin.server import Asked
from tests.mixin.troubles import HERE

DASHBOARDS = Path(__file__).parents[2] / "dashboards" / "json"
# What Grafana puts in: $__rate_interval is four scrapes long. `.*` is what "All" stands for.
_GRAFANA = {"__rate_interval": f"{4 * SCRAPE_S:g}s", "__interval": f"{SCRAPE_S:g}s", "horizon": "10m"}

LOOK_S = 5 * SCRAPE_S
"""The step at which days are looked at."""
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)(?::\w+)?\}|([A-Za-z_]\w*))")

Json = dict[str, Any]


def dashboards() -> list[Json]:
    """The dashboards that ship."""
    return [json.loads(path.read_text()) for path in sorted(DASHBOARDS.glob("*.json"))]


def panels(dashboard: Json) -> Iterator[Json]:
    """The panels that ask something, those in rows included."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panels(panel) if panel.get("panels") else ()
        else:
            yield panel


def filled_in(expr: str, span_s: float) -> str:
    """A query with Grafana's variables replaced by what "All" and a look at ``span_s`` make of them."""
    values = _GRAFANA | {"__range": f"{span_s:.0f}s", "__range_s": f"{span_s:.0f}"}
    return _VARIABLE.sub(lambda match: values.get(match[1] or match[2], ".*"), expr)


def evaluated(asked: Asked, dashboard: Json, *, begins_s: float = 0.0, step_s: float = SCRAPE_S) -> Json:
    """What a dashboard's panels show from ``begins_s`` on: per panel its targets, and per target the series.

    Times are Unix seconds, values the text that Prometheus gives.
    """
    span_s = asked.hours * 3600 - begins_s

    def target(one: Json) -> Json:
        expr = filled_in(one["expr"], span_s)
        return {
            "refId": one.get("refId"),
            "expr": expr,
            "legendFormat": one.get("legendFormat", ""),
            "series": asked.range(expr, step_s, begins_s),
        }

    return {
        "uid": dashboard["uid"],
        "title": dashboard["title"],
        "begins_s": asked.ends_s + SCRAPE_S - span_s,
        "ends_s": asked.ends_s,
        "step_s": step_s,
        "panels": [
            {"id": panel["id"], "title": panel["title"], "targets": [target(one) for one in panel["targets"]]}
            for panel in panels(dashboard)
        ],
    }


def names_asked_for() -> frozenset[str]:
    """The series that dashboards and rules read, by name."""
    exprs = [rule.expr for rule in read_rules()]
    exprs += [filled_in(expr, 3600) for dashboard in dashboards() for _, expr in expressions(dashboard)]
    return frozenset(name for expr in exprs for name in names(expr))


def silent_panels(shown: Json) -> dict[str, list[str]]:
    """The panels of an evaluated dashboard with queries that gave nothing, and these queries."""
    found = {
        panel["title"]: [target["expr"] for target in panel["targets"] if not target["series"]]
        for panel in shown["panels"]
    }
    return {title: exprs for title, exprs in found.items() if exprs}


def silent_rules(asked: Asked, step_s: float = LOOK_S) -> set[str]:
    """The recording rules that recorded nothing, by the names that they record."""
    return {rule.name for rule in read_rules() if not rule.alert and not asked.range(rule.name, step_s)}


def may_be_empty() -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """The panels, by dashboard and title, and the recording rules that may show nothing, with the reasons."""
    listed = yaml.safe_load((HERE / "may_be_empty.yaml").read_text())
    return listed["panels"], listed["rules"]
