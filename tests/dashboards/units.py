"""What the numbers of an expression measure, and as what a panel may show them."""

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import promql_parser as promql

from tests.dashboards.promql import metric_name, walk


@dataclass(frozen=True, slots=True)
class Unit:
    """Powers of what is measured, and how large one of it is: a millijoule is a thousandth of a joule."""

    powers: Mapping[str, int] = field(default_factory=dict)
    size: float = 1.0

    def times(self, other: "Unit", sign: int = 1) -> "Unit":
        """Multiply, or with a ``sign`` of -1 divide."""
        if sign == 1 and TRUTH in self.powers:  # what is multiplied by 1 or 0 is chosen, and stays what it is
            return other
        if sign == 1 and TRUTH in other.powers:
            return self
        powers = Counter(self.powers)
        for name, power in other.powers.items():
            powers[name] += sign * power
        return Unit({name: power for name, power in powers.items() if power}, self.size * other.size**sign)

    def scaled(self, factor: float) -> "Unit":
        """The unit of numbers that were multiplied by a constant; nought of anything is nought in its unit."""
        return Unit(self.powers, self.size / factor) if factor else self

    def same_as(self, other: "Unit") -> bool:
        return dict(self.powers) == dict(other.powers) and math.isclose(self.size, other.size)


TRUTH, THINGS = "truth", "things"


_NAMED = {
    "seconds": Unit({"s": 1}),
    "unix_seconds": Unit({"s": 1}),
    "nanoseconds": Unit({"s": 1}, 1e-9),
    "ratio": Unit(),
    "samples": Unit(),
    "percent_0_100": Unit({}, 0.01),
    "bool": Unit({TRUTH: 1}),
    "info": Unit({TRUTH: 1}),
    "millijoules": Unit({"J": 1}, 1e-3),
    "watts": Unit({"J": 1, "s": -1}),
    "bytes_per_second": Unit({"bytes": 1, "s": -1}),
    "MiB": Unit({"bytes": 1}, 2.0**20),
    "MHz": Unit({"s": -1}, 1e6),
    "tokens_per_second": Unit({"tokens": 1, "s": -1}),
    "requests_per_second": Unit({"requests": 1, "s": -1}),
    "usd_per_hour": Unit({"USD": 1, "s": -1}, 1 / 3600),
}
_OWN = (
    ("_timestamp_seconds", "unix_seconds"),
    *((f"_{unit}", unit) for unit in ("tokens_per_second", "requests_per_second", "usd_per_hour")),
    *((f"_{unit}", unit) for unit in ("seconds", "ratio", "replicas", "queries", "gpus")),
    ("_total", "events"),
)


def named(unit: str) -> Unit:
    """The unit that the catalogue names; what it counts is a unit of its own."""
    return _NAMED.get(unit) or Unit({unit: 1})


def own(name: str) -> Unit:
    """The unit of a metric of aiops, which its name ends in; those without one are 1 or 0."""
    return next((named(unit) for end, unit in _OWN if name.endswith(end)), named("bool"))


def shown_as(unit: Unit, panel: str) -> bool:
    """Whether a panel may show numbers of this unit under Grafana's unit ``panel``."""
    # What is counted for each thing is counted in the same unit.
    powers = {name: power for name, power in unit.powers.items() if name != THINGS or power > 0}
    size = unit.size
    counted = {name: power for name, power in powers.items() if name not in ("s", "J", "USD", "bytes", TRUTH)}
    is_count = len(counted) == 1 and powers == counted and list(powers.values()) == [1]
    is_rate = powers.get("s") == -1 and set(powers) - {"s"} == set(counted)
    exact = {
        "s": {"s": 1},
        "watt": {"J": 1, "s": -1},
        "joule": {"J": 1},
        "Bps": {"bytes": 1, "s": -1},
        "bytes": {"bytes": 1},
        "celsius": {"celsius": 1},
        "suffix: tok/s": {"tokens": 1, "s": -1},
        "suffix: tok/J": {"tokens": 1, "J": -1},
        "percentunit": {},
        "suffix: ×": {},
    }
    if panel in exact:
        return powers == exact[panel] and math.isclose(size, 1.0)
    if panel == "percent":
        return powers == {} and math.isclose(size, 0.01)
    if panel == "hertz":
        return powers == {"s": -1} and math.isclose(size, 1.0)
    if panel == "currencyUSD":
        dollars = (Unit({"USD": 1}), _NAMED["usd_per_hour"], Unit({"USD": 1, "tokens": -1}, 1e-6))
        return any(unit.same_as(one) for one in dollars)
    if panel == "suffix: GPU-hours":
        return powers == {"gpus": 1}
    if panel == "suffix: intervals":
        return powers == {} and math.isclose(size, 1.0)
    if panel == "m":
        return powers in ({TRUTH: 1}, {THINGS: 1})  # a share of the time, times that time
    if panel in ("reqps", "cps"):
        right = set(counted) <= {"requests"} if panel == "reqps" else "tokens" not in counted
        return is_rate and right and math.isclose(size, 1.0)
    if panel == "short":
        return is_count and math.isclose(size, 1.0)
    return panel == "none" and powers in ({TRUTH: 1}, {"xid_code": 1})


_PER_SECOND = {"rate", "irate", "deriv"}
_TOLD = {"absent": TRUTH, "absent_over_time": TRUTH, "count_over_time": THINGS, "changes": "events", "resets": "events"}
_COMPARED = {"==", "!=", ">", "<", ">=", "<="}


def unit_of(expr: promql.Expr, units: Mapping[str, tuple[Unit | None, Unit | None]]) -> Unit | None:
    """What an expression's numbers measure; None where that cannot be told.

    ``units`` gives of each series the unit of its values, and of a histogram's buckets the unit of their bounds.
    """
    if isinstance(expr, promql.VectorSelector):
        return units.get(metric_name(expr), (None, None))[0]
    if isinstance(expr, promql.MatrixSelector):
        return unit_of(expr.vector_selector, units)
    if isinstance(expr, promql.ParenExpr | promql.UnaryExpr | promql.SubqueryExpr):
        return unit_of(expr.expr, units)
    if isinstance(expr, promql.AggregateExpr):
        inner = unit_of(expr.expr, units)
        if str(expr.op) in ("count", "group", "count_values"):
            return Unit({TRUTH if str(expr.op) == "group" else THINGS: 1})
        if inner is not None and inner.powers == {TRUTH: 1}:  # truths are counted, or shared out
            return {"sum": Unit({THINGS: 1}), "avg": Unit()}.get(str(expr.op), inner)
        return inner
    if isinstance(expr, promql.Call):
        return _of_call(expr, units)
    return _of_binary(expr, units) if isinstance(expr, promql.BinaryExpr) else None


def bound_of(expr: promql.Expr, units: Mapping[str, tuple[Unit | None, Unit | None]]) -> Unit | None:
    """The unit of the bounds of the buckets that an expression reads; None where it reads none."""
    found = (
        units.get(metric_name(part), (None, None))[1]
        for part, _ in walk(expr)
        if isinstance(part, promql.VectorSelector)
    )
    return next((bound for bound in found if bound is not None), None)


def _of_call(call: promql.Call, units: Mapping[str, tuple[Unit | None, Unit | None]]) -> Unit | None:
    name = call.func.name
    if name in ("time", "timestamp"):
        return Unit({"s": 1})
    if name in _TOLD:
        return Unit({_TOLD[name]: 1})
    if name == "histogram_quantile":
        return bound_of(call.args[1], units)
    vector = next((arg for arg in call.args if not isinstance(arg, promql.NumberLiteral | promql.StringLiteral)), None)
    inner = unit_of(vector, units) if vector is not None else None
    return inner.times(Unit({"s": -1})) if inner is not None and name in _PER_SECOND else inner


def _of_binary(expr: promql.BinaryExpr, units: Mapping[str, tuple[Unit | None, Unit | None]]) -> Unit | None:
    op = str(expr.op)
    left, right = unit_of(expr.lhs, units), unit_of(expr.rhs, units)
    if op in _COMPARED and expr.modifier is not None and expr.modifier.return_bool:
        return Unit({TRUTH: 1})
    if op in ("*", "/"):
        first, second = _number(expr.lhs), _number(expr.rhs)
        if second is not None:
            return left and left.scaled(second if op == "*" else 1 / second)
        if first is not None and right is not None:
            return right.scaled(first) if op == "*" else Unit().times(right, -1).scaled(first)
        return left.times(right, 1 if op == "*" else -1) if left is not None and right is not None else None
    return right if left is None else left


def _number(expr: promql.Expr) -> float | None:
    """The value of a constant; None where it is none."""
    if isinstance(expr, promql.ParenExpr):
        return _number(expr.expr)
    if isinstance(expr, promql.BinaryExpr):
        first, second = _number(expr.lhs), _number(expr.rhs)
        known = first is not None and second is not None and re.fullmatch(r"[*/]", str(expr.op))
        return (
            None
            if not known or first is None or second is None
            else (first * second if str(expr.op) == "*" else first / second)
        )
    return float(expr.val) if isinstance(expr, promql.NumberLiteral) else None
