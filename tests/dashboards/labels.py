"""Which labels an expression's series can have."""

from collections.abc import Iterator, Mapping

import promql_parser as promql

from tests.dashboards.promql import filled_in, metric_name, parts, walk

Known = Mapping[str, frozenset[str]]
_SETS = ("and", "unless")


def labels_of(expr: promql.Expr, known: Known) -> frozenset[str]:
    """The labels that an expression's series can have; an unknown metric has none."""
    if isinstance(expr, promql.VectorSelector):
        return known.get(metric_name(expr), frozenset())
    if isinstance(expr, promql.AggregateExpr):
        return _of_aggregate(expr, known)
    if isinstance(expr, promql.Call):
        return _of_call(expr, known)
    if isinstance(expr, promql.BinaryExpr):
        return _of_binary(expr, known)
    return frozenset().union(*(labels_of(part, known) for part in parts(expr)))


def label_names(expr: str, known: Known) -> frozenset[str]:
    """The same for an expression as text."""
    return labels_of(promql.parse(filled_in(expr)), known)


def lost_labels(expr: str, known: Known) -> Iterator[str]:
    """What an expression groups or joins by that its series do not have."""
    for part, _ in walk(promql.parse(filled_in(expr))):
        if isinstance(part, promql.AggregateExpr) and part.modifier is not None:
            missing = sorted(set(part.modifier.labels) - labels_of(part.expr, known) - {"cluster"})
            yield from (f"{part.op} by ({label}): its series have no label {label}" for label in missing)
        if isinstance(part, promql.BinaryExpr) and _on(part) is not None:
            for side in (part.lhs, part.rhs):
                missing = sorted(set(_on(part) or ()) - labels_of(side, known) - {"cluster"})
                yield from (f"{part.op} on ({label}): a side has no label {label}" for label in missing)


def _of_aggregate(expr: promql.AggregateExpr, known: Known) -> frozenset[str]:
    inner = labels_of(expr.expr, known)
    if str(expr.op) in ("topk", "bottomk", "limitk"):
        return inner
    if expr.modifier is None:
        return frozenset()
    named = frozenset(expr.modifier.labels)
    return inner & named if str(expr.modifier.type).endswith(".By") else inner - named


def _of_call(call: promql.Call, known: Known) -> frozenset[str]:
    name = call.func.name
    if name in ("scalar", "vector", "time"):
        return frozenset()
    inner = frozenset().union(*(labels_of(arg, known) for arg in call.args))
    if name in ("label_replace", "label_join"):
        return inner | {call.args[1].val}
    return inner - {"le"} if name == "histogram_quantile" else inner


def _of_binary(expr: promql.BinaryExpr, known: Known) -> frozenset[str]:
    left, right, op = labels_of(expr.lhs, known), labels_of(expr.rhs, known), str(expr.op)
    if op in _SETS or isinstance(expr.rhs, promql.NumberLiteral):
        return left
    if isinstance(expr.lhs, promql.NumberLiteral):
        return right
    if op == "or":
        return left | right
    modifier = expr.modifier
    if modifier is None:
        return left | right if _is_scalar(expr.lhs) or _is_scalar(expr.rhs) else left & right
    many = str(modifier.card)
    extra = frozenset(modifier.group_labels or ())
    if many.endswith("ManyToOne"):
        return left | extra
    if many.endswith("OneToMany"):
        return right | extra
    if modifier.matching is None:
        return left | right if _is_scalar(expr.lhs) or _is_scalar(expr.rhs) else left & right
    named = frozenset(modifier.matching.labels)
    return named if "Include" in str(modifier.matching.type) else left - named


def _is_scalar(expr: promql.Expr) -> bool:
    if isinstance(expr, promql.ParenExpr | promql.UnaryExpr):
        return _is_scalar(expr.expr)
    if isinstance(expr, promql.BinaryExpr):
        return _is_scalar(expr.lhs) and _is_scalar(expr.rhs)
    call = isinstance(expr, promql.Call) and expr.func.name in ("scalar", "time")
    return call or isinstance(expr, promql.NumberLiteral)


def _on(expr: promql.BinaryExpr) -> tuple[str, ...] | None:
    matching = expr.modifier.matching if expr.modifier is not None else None
    if matching is None or "Include" not in str(matching.type):
        return None
    return tuple(matching.labels)
