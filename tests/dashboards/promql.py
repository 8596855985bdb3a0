"""Reads PromQL the way the checks of dashboards and alerts need it."""

import re
from collections.abc import Iterator

import promql_parser as promql

# What Grafana puts in before it asks Prometheus. `.*` is what "All" stands for.
_GRAFANA = {
    "__rate_interval": "2m",
    "__interval": "30s",
    "__range": "1h",
    "__range_s": "3600",
    "horizon": "10m",
}
RATES = {"rate", "irate", "increase"}


def filled_in(expr: str) -> str:
    """Replace Grafana's variables by values that Prometheus reads; the groups of ``label_replace`` are none."""
    return re.sub(r"\$\{?([a-z_]\w*)\}?", lambda match: _GRAFANA.get(match[1], ".*"), expr)


def parts(expr: promql.Expr) -> list[promql.Expr]:
    """What an expression is made of."""
    if isinstance(expr, promql.Call):
        return list(expr.args)
    if isinstance(expr, promql.BinaryExpr):
        return [expr.lhs, expr.rhs]
    if isinstance(expr, promql.MatrixSelector):
        return [expr.vector_selector]
    if isinstance(expr, promql.AggregateExpr | promql.ParenExpr | promql.UnaryExpr | promql.SubqueryExpr):
        return [expr.expr]
    return []


def walk(
    expr: promql.Expr, above: tuple[promql.Expr, ...] = ()
) -> Iterator[tuple[promql.Expr, tuple[promql.Expr, ...]]]:
    """Every part of an expression, with the parts that it stands in, outermost first."""
    yield expr, above
    for part in parts(expr):
        yield from walk(part, (*above, expr))


def selectors(expr: str) -> Iterator[tuple[promql.VectorSelector, tuple[promql.Expr, ...]]]:
    """Every selector of a metric, with what it stands in."""
    for part, above in walk(promql.parse(filled_in(expr))):
        if isinstance(part, promql.VectorSelector):
            yield part, above


def metric_name(selector: promql.VectorSelector) -> str:
    """The metric that a selector selects; empty where it names none."""
    name: str | None = selector.name
    return name or ""


def names(expr: str) -> set[str]:
    """The metrics that an expression reads."""
    return {metric_name(selector) for selector, _ in selectors(expr)}
