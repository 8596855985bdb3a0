"""Every series that a dashboard or a rule may ask for: aiops' own, the catalogue's, and what the rules record."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import promql_parser as promql
import yaml

from aiops.act.families import GAUGES
from aiops.observe.catalogue import HISTOGRAM_PARTS, Metric, MetricType, catalogue
from tests.dashboards.emitted import exposed
from tests.dashboards.labels import labels_of
from tests.dashboards.promql import selectors
from tests.dashboards.units import Unit, bound_of, named, own, unit_of

ALERTS = Path(__file__).parents[2] / "alerts"
_SCRAPED = frozenset({"job", "instance", "cluster"})
_OF_POD = _SCRAPED | {"namespace", "pod", "container", "service", "endpoint", "node"}
_LLM_D = frozenset({"llm_d_ai_role", "llm_d_ai_model"})
# What a scrape adds; an exporter's own label of that name then has "exported_" before it, unless labels are honoured.
_ADDED: Mapping[str, frozenset[str]] = {
    "vllm": _OF_POD | _LLM_D,
    "nixl": _OF_POD | _LLM_D,
    "epp": _OF_POD,
    "dcgm": _OF_POD,
    "ksm": _SCRAPED,
    "prometheus": _OF_POD | _LLM_D,
}
_HONOURED = {"ksm"}
_ALERT_LABELS = frozenset({"alertname", "alertstate", "severity", "team", "cluster", "namespace", "model_name", "pool"})


@dataclass(frozen=True, slots=True)
class Series:
    """One name that PromQL may select. ``labels`` are all it can have; ``bound`` is what a bucket's ``le`` measures."""

    counter: bool
    labels: frozenset[str]
    unit: Unit | None = None
    bound: Unit | None = None


@cache
def known() -> dict[str, Series]:
    """All there is. A rule may build on another one, so they are read until nothing new is learned."""
    found = {**_catalogued(), **own_series(), "ALERTS": Series(False, _ALERT_LABELS, named("bool"))}
    waiting = dict(recording_rules())
    while ready := [name for name, expr in waiting.items() if _reads(expr) <= set(found)]:
        found |= {name: recorded(waiting.pop(name), found) for name in ready}
    return found


def recording_rules() -> Iterator[tuple[str, str]]:
    """The name and the expression of each recording rule that ships."""
    for rule in rules():
        if "record" in rule:
            yield rule["record"], rule["expr"]


def rules() -> list[dict[str, Any]]:
    """The rules of all files, in order."""
    return [
        rule
        for path in sorted(ALERTS.glob("*.rules.yaml"))
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]


def read_by(expr: str) -> set[str]:
    """The series that an expression reads, through the rules that it builds on."""
    recording = dict(recording_rules())
    found, waiting = set(), _reads(expr)
    while waiting:
        name = waiting.pop()
        found.add(name)
        if name in recording:
            waiting |= _reads(recording[name]) - found
    return found


def recorded(expr: str, series: Mapping[str, Series]) -> Series:
    """What a recording rule makes of what there is."""
    parsed = promql.parse(expr)
    units = units_in(series)
    labels = labels_of(parsed, labels_in(series))
    return Series(False, labels, unit_of(parsed, units), bound_of(parsed, units) if "le" in labels else None)


def labels_in(series: Mapping[str, Series]) -> dict[str, frozenset[str]]:
    return {name: one.labels for name, one in series.items()}


def units_in(series: Mapping[str, Series]) -> dict[str, tuple[Unit | None, Unit | None]]:
    return {name: (one.unit, one.bound) for name, one in series.items()}


def own_series() -> dict[str, Series]:
    """What aiops exposes, as its code has it."""
    labels = {name: set(family.labels) for name, family in GAUGES.items()}
    for name, seen in exposed().items():
        labels[name] = labels.get(name, set()) | seen
    histograms = {name for name in labels if f"{name}_bucket" in labels}
    return {
        name: Series(name not in GAUGES, frozenset(names) | _SCRAPED | {"namespace"}, *_own_units(name))
        for name, names in labels.items()
        if name not in histograms
    }


def _own_units(name: str) -> tuple[Unit | None, Unit | None]:
    for part in HISTOGRAM_PARTS:
        if name.endswith(part):
            base = own(name.removesuffix(part))
            return (base, None) if part == "_sum" else (named("samples"), base if part == "_bucket" else None)
    return own(name), None


def _catalogued() -> dict[str, Series]:
    return {name: one for metric in catalogue().metrics for name, one in _series(metric)}


def _series(metric: Metric) -> Iterator[tuple[str, Series]]:
    labels, added = set(metric.labels), _ADDED[metric.source]
    if metric.source not in _HONOURED:
        labels |= {f"exported_{label}" for label in labels & added}
    unit, every = named(metric.unit), frozenset(labels | added)
    if metric.type is not MetricType.HISTOGRAM:
        yield metric.name, Series(metric.type is MetricType.COUNTER, every, unit)
        return
    yield metric.name + "_sum", Series(True, every, unit)
    yield metric.name + "_count", Series(True, every, named("samples"))
    yield metric.name + "_bucket", Series(True, every | {"le"}, named("samples"), unit)


def _reads(expr: str) -> set[str]:
    return {selector.name or "" for selector, _ in selectors(expr)}
