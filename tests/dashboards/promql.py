"""Reads PromQL the way the checks of dashboards and alerts need it."""

import re
from collections.abc import Iterator

import promql_parser as promql

# What Grafana puts in before it asks Prometheus. `.*` is what "All" stands for.
_GRAFANA = {"__rate_interval": "2m", "__interval": "30s", "__range": "1h", "horizon": "10m"}
RATES = {"rate", "irate", "increase"}


def filled_in(expr: str) -> str:
    """Replace Grafana's variables by values that Prometheus reads."""
    return re.sub(r"\$\{?(\w+)\}?", lambda match: _GRAFANA.get(match[1], ".*"), expr)


def walk(
    expr: promql.Expr, above: tuple[promql.Expr, ...] = ()
) -> Iterator[tuple[promql.Expr, tuple[promql.Expr, ...]]]:
    """Every part of an expression, with the parts that it stands in, outermost first."""
    yield expr, above
    inner: list[promql.Expr] = []
    if isinstance(expr, promql.Call):
        inner = list(expr.args)
    elif isinstance(expr, promql.BinaryExpr):
        inner = [expr.lhs, expr.rhs]
    elif isinstance(expr, promql.MatrixSelector):
        inner = [expr.vector_selector]
    elif isinstance(expr, promql.AggregateExpr | promql.ParenExpr | promql.UnaryExpr | promql.SubqueryExpr):
        inner = [expr.expr]
    for part in inner:
        yield from walk(part, (*above, expr))


def selectors(expr: str) -> Iterator[tuple[promql.VectorSelector, tuple[promql.Expr, ...]]]:
    """Every selector of a metric, with what it stands in."""
    for part, above in walk(promql.parse(filled_in(expr))):
        if isinstance(part, promql.VectorSelector):
            yield part, above


def metric_name(selector: promql.VectorSelector) -> str:
    """The metric that a selector selects."""
    name: str = selector.name
    return name


def names(expr: str) -> set[str]:
    """The metrics that an expression reads."""
    return {metric_name(selector) for selector, _ in selectors(expr)}
