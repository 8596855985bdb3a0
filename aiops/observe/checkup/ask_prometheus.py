"""Asks Prometheus for what a checkup judges: which names are there, of whom, since when not, and how they are cut."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from aiops.model.policy import PolicySet
from aiops.model.refs import ModelRef
from aiops.observe.catalogue import (
    ENGINE_SIGNALS,
    GATEWAY_TTFT,
    ITL,
    REQUEST_TIME,
    TTFT,
    UP,
    Metric,
    any_of,
    catalogue,
)
from aiops.observe.checkup.facts import Down, MetricFacts, SeriesSeen
from aiops.observe.engines import read_timelines
from aiops.observe.gateway import gateway_model, served_names
from aiops.observe.identity import Naming, Pod, namespace_of
from aiops.observe.prometheus import PrometheusClient, PrometheusError, Series
from aiops.observe.queries import ROLE_LABELS, part_to_count

OWN = "aiops_.+"
_OWNER = ("namespace", "exported_namespace", "model_name", "target_model_name")
_LOOK = "4m"
_PAST = "6h"
_PAST_STEP = "5m"
_SLOW = "1h"
_AT_LEAST = 100
"""Requests: fewer have no P99."""


class _Ask(StrEnum):
    SEEN = "seen"
    DOWN = "down"
    LOAD = "load"
    BOUNDS = "bounds"


def ask_prometheus(client: PrometheusClient, policies: PolicySet) -> MetricFacts:
    """Ask what is there now, by Prometheus' own clock: where clocks differ, it still finds what there is."""
    matchers, whose = client.access.matchers, _Whose(policies)
    try:
        ahead_s = client.ahead_s()
        at = datetime.now(UTC) + timedelta(seconds=ahead_s)
        present = client.ask(_present(matchers), at, client.deadline())
    except PrometheusError as error:
        return MetricFacts(problem=str(error))
    gone = [metric for metric in ENGINE_SIGNALS if not whose.all_have(metric, present[_Ask.SEEN])]
    return MetricFacts(
        ahead_s=ahead_s,
        seen=tuple(
            SeriesSeen(one.labels.get("__name__", ""), one.labels, one.value, whose.ref(one.labels))
            for one in present[_Ask.SEEN]
        ),
        down=tuple(_down(one.labels) for one in present[_Ask.DOWN]),
        last_seen=_last_seen(client, gone, whose, at),
        bounds_s=_bounds(present[_Ask.BOUNDS], whose),
        slowest_s=_slowest(client, whose, at),
        pace_s=_paces(present[_Ask.LOAD], whose.naming),
    )


def _present(matchers: Sequence[str]) -> dict[_Ask, str]:
    core = [name for metric in catalogue().metrics if metric.core for name in metric.series(part_to_count(metric))]
    load = next(metric for metric in ENGINE_SIGNALS).series()
    cut = [name for metric in (TTFT, ITL, GATEWAY_TTFT) for name in metric.series("_bucket")]
    # The pods of others are not asked for: an exporter that a scrape overwrote shows it in any of them.
    owner = ", ".join((*_OWNER, "exported_pod"))
    return {
        _Ask.SEEN: f"max by (__name__, {owner}) ({any_of([*core, OWN], matchers)})",
        _Ask.DOWN: f"max by (job, instance, namespace, pod) ({UP.queries(matchers)[0]} == 0)",
        _Ask.LOAD: f"{any_of(load, matchers)}[{_LOOK}]",
        _Ask.BOUNDS: f"count by (__name__, le, {', '.join(_OWNER)}) ({any_of(cut, matchers)})",
    }


class _Whose:
    """Finds the model of a policy that a series is about, whether an engine or a router exposes it."""

    def __init__(self, policies: PolicySet) -> None:
        self.refs = tuple(policy.ref for policy in policies.policies)
        self.naming = Naming(self.refs)
        self._routed = {name: policy.ref for policy in policies.policies for name in served_names(policy)}

    def ref(self, labels: Mapping[str, str]) -> ModelRef | None:
        engine = self.naming.ref(labels)
        return engine if engine in self.refs else self._routed.get(gateway_model(labels))

    def all_have(self, metric: Metric, seen: Iterable[Series]) -> bool:
        names = metric.series(part_to_count(metric))
        return set(self.refs) <= {self.ref(one.labels) for one in seen if one.labels.get("__name__") in names}


def _down(labels: Mapping[str, str]) -> Down:
    return Down(labels.get("job", ""), labels.get("instance", ""), namespace_of(labels), labels.get("pod", ""))


def _last_seen(
    client: PrometheusClient, gone: Sequence[Metric], whose: _Whose, at: datetime
) -> dict[tuple[str, ModelRef], datetime]:
    """Find when series that are gone were there; what lies further back than some hours is not looked for."""
    asked = {metric.name: _last(metric, client.access.matchers) for metric in gone}
    found: dict[tuple[str, ModelRef], datetime] = {}
    for name, answer in _if_answered(client, asked, at).items():
        for one in answer:
            ref = whose.ref(one.labels)
            if ref is not None and one.value is not None:
                found[name, ref] = datetime.fromtimestamp(one.value, UTC)
    return found


def _last(metric: Metric, matchers: Sequence[str]) -> str:
    moments = (
        f"max_over_time(timestamp({selector})[{_PAST}:{_PAST_STEP}])"
        for selector in metric.queries(matchers, part_to_count(metric))
    )
    return f"max by ({', '.join(_OWNER)}) ({' or '.join(moments)})"


def _slowest(client: PrometheusClient, whose: _Whose, at: datetime) -> dict[ModelRef, float]:
    """Give the P99 of a whole request, that of the slower role: a prefill replica is done after one token."""
    whole = ", ".join((*_OWNER, *ROLE_LABELS))

    def grown(part: str) -> str:
        return " or ".join(
            f"increase({selector}[{_SLOW}])" for selector in REQUEST_TIME.queries(client.access.matchers, part)
        )

    enough = f"sum by ({whole}) ({grown('_count')}) >= {_AT_LEAST}"
    p99 = f"histogram_quantile(0.99, sum by (le, {whole}) ({grown('_bucket')})) and on ({whole}) ({enough})"
    found: dict[ModelRef, float] = {}
    for one in _if_answered(client, {"p99": p99}, at).get("p99", ()):
        ref = whose.ref(one.labels)
        if ref is not None and one.value is not None:
            found[ref] = max(found.get(ref, 0.0), one.value)
    return found


def _if_answered(client: PrometheusClient, asked: Mapping[str, str], at: datetime) -> dict[str, tuple[Series, ...]]:
    """Ask what is worth knowing and may be too dear for a Prometheus; nothing where it refuses."""
    try:
        return client.ask(asked, at, client.deadline())
    except PrometheusError:
        return {}


def _bounds(series: Iterable[Series], whose: _Whose) -> dict[tuple[str, ModelRef], tuple[float, ...]]:
    found: dict[tuple[str, ModelRef], set[float]] = defaultdict(set)
    for one in series:
        ref, metric = whose.ref(one.labels), catalogue().find(one.labels.get("__name__", ""))
        if ref is not None and metric is not None and "le" in one.labels:
            found[metric.name, ref].add(float(one.labels["le"]))
    return {key: tuple(sorted(bounds)) for key, bounds in found.items()}


def _paces(series: Iterable[Series], naming: Naming) -> dict[ModelRef, float]:
    found: dict[ModelRef, float] = {}
    place: tuple[ModelRef, Pod]
    for place, line in read_timelines(series, naming).items():
        if line.interval_s is not None:
            found[place[0]] = max(found.get(place[0], 0.0), line.interval_s)
    return found
