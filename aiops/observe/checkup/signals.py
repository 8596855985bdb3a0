"""Which metrics of the catalogue answer, for whom, under which name, and why one does not."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from aiops.model.checkup import Finding, SignalReport, Topic, Verdict
from aiops.model.policy import ScalingPolicy
from aiops.model.quantity import format_duration
from aiops.model.refs import ModelRef, Role
from aiops.model.snapshot import SignalHealth, SignalState
from aiops.observe.catalogue import ENGINE_SIGNALS, POD_OWNER, RUNNING, Metric, catalogue
from aiops.observe.checkup.facts import Facts, SeriesSeen
from aiops.observe.queries import part_to_count

_SOURCES = {
    "epp": "the llm-d router",
    "ksm": "kube-state-metrics",
    "dcgm": "dcgm-exporter",
    "nixl": "NIXL, which moves the KV cache between prefill and decode",
}
_WITHOUT = {
    "epp": "arrivals are counted at the engines",
    "ksm": "replicas are asked of the cluster, or counted from live engines",
    "dcgm": "nothing is known of power and of what the GPUs do",
    "nixl": "nothing is known of transfers",
}


def judge_signals(facts: Facts) -> Iterator[Finding]:
    """Tell what of a model cannot be seen, and of which source nothing is there."""
    if facts.metrics.problem:
        return
    reports = report_signals(facts)
    for policy in facts.policies.policies:
        yield from _of_model(policy, facts, [one for one in reports if one.about == str(policy.ref)])
    for source in _SOURCES:
        yield from _of_source(source, facts, [one for one in reports if one.about == source])
    for ref in facts.snapshot.unmanaged:
        says = "is served, and no policy names it"
        yield Finding(Topic.SIGNAL, Verdict.WARNING, str(ref), says, "write one with: aiops discover")


def report_signals(facts: Facts) -> tuple[SignalReport, ...]:
    """Classify every core metric of the catalogue: of each model, and of the sources that no model owns."""
    if facts.metrics.problem:
        return ()
    found: list[SignalReport] = []
    for policy in facts.policies.policies:
        health = facts.snapshot.model(policy.ref).signals
        found += [_of_health(policy.ref, one, facts) for one in health if one.signal != POD_OWNER.name]
        seen = _of_model_or_pods(policy.ref, facts.metrics.seen)
        found += [_report(metric, str(policy.ref), seen) for metric in _core("vllm") if metric not in ENGINE_SIGNALS]
    everything = _by_name(facts.metrics.seen)
    return (*found, *(_report(metric, source, everything) for source in _SOURCES for metric in _core(source)))


def _core(source: str) -> Iterator[Metric]:
    return (metric for metric in catalogue().of(source) if metric.core)


def _of_health(ref: ModelRef, health: SignalHealth, facts: Facts) -> SignalReport:
    last_seen = facts.metrics.last_seen.get((health.signal, ref))
    return SignalReport(str(ref), health.signal, health.state, health.found_as, health.detail, last_seen=last_seen)


def _by_name(seen: Iterable[SeriesSeen]) -> dict[str, SeriesSeen]:
    found: dict[str, SeriesSeen] = {}
    for one in seen:
        known = found.get(one.name)
        if known is None or (one.value or 0.0) > (known.value or 0.0):
            found[one.name] = one
    return found


def _of_model_or_pods(ref: ModelRef, seen: Iterable[SeriesSeen]) -> dict[str, SeriesSeen]:
    """Give a model's series, and those of engines that name no model: where its pods are scraped, so are theirs."""
    mine = _by_name(one for one in seen if one.ref == ref)
    return _by_name(one for one in seen if "model_name" not in one.labels) | mine if mine else {}


def _report(metric: Metric, about: str, seen: Mapping[str, SeriesSeen]) -> SignalReport:
    part = part_to_count(metric)
    found = next((seen[name] for name in metric.series(part) if name in seen), None)
    if found is None:
        since = f"since {metric.since}" if metric.since else ""
        return SignalReport(about, metric.name, SignalState.ABSENT, None, since, metric.enabled_by)
    state = SignalState.OK if found.value else SignalState.ZERO
    return SignalReport(about, metric.name, state, found.name.removesuffix(part), enabled_by=metric.enabled_by)


def _of_model(policy: ScalingPolicy, facts: Facts, reports: list[SignalReport]) -> Iterator[Finding]:
    model, about = facts.snapshot.model(policy.ref), str(policy.ref)
    if model.demand is None and _at_zero(policy, facts):
        says = "no replica is asked for, and no router tells what arrives: nothing will wake it"
        yield Finding(Topic.SIGNAL, Verdict.WARNING, about, says, "have the llm-d router scraped, or min: 1")
        return
    if model.blind:
        last_seen = facts.metrics.last_seen.get((RUNNING.name, policy.ref))
        yield Finding(Topic.SIGNAL, Verdict.WRONG, about, f"cannot be seen: {model.blind}{_ago(last_seen, facts.at)}")
        return
    yield from (Finding(Topic.SIGNAL, Verdict.WARNING, about, one.detail) for one in model.signals if _half_seen(one))
    if model.demand is None and model.pools and any(pool.replicas for pool in model.pools):
        says = "what arrives cannot be told: the engines' scrapes have a gap, or began less than a minute ago"
        yield Finding(Topic.SIGNAL, Verdict.WARNING, about, says, "run this again in a minute")
    yield from _renamed(about, reports)
    yield from _absent(about, reports, facts)
    usable = [one for one in reports if one.state in (SignalState.OK, SignalState.ZERO)]
    idle = sum(one.state is SignalState.ZERO for one in usable)
    zero = f", {idle} of them at zero" if idle else ""
    yield Finding(Topic.SIGNAL, Verdict.FINE, about, f"{len(usable)} of {len(reports)} metrics answer{zero}")


def _at_zero(policy: ScalingPolicy, facts: Facts) -> bool:
    """Whether the cluster says that nobody asks for any replica of a model."""
    if facts.cluster is None or facts.snapshot.blind:
        return False
    targets = [facts.cluster.target(policy.pool_ref(pool)) for pool in policy.spec.pools]
    return all(target is not None and target.replicas == 0 for target in targets)


def _half_seen(health: SignalHealth) -> bool:
    """Whether some of the engines are lost, or belong to no pool."""
    return health.state in (SignalState.STALE, SignalState.MISMATCH)


def _renamed(about: str, reports: Iterable[SignalReport]) -> Iterator[Finding]:
    old = [one for one in reports if one.found_as is not None and one.found_as != one.signal]
    if old:
        names = ", ".join(f"{one.signal} is found as {one.found_as}" for one in old)
        says = f"retired names: {names}. aiops reads both; the shipped dashboards and alerts read the new ones alone"
        yield Finding(Topic.SIGNAL, Verdict.WARNING, about, says, "a newer version of the exporter has the new names")


def _absent(about: str, reports: Iterable[SignalReport], facts: Facts) -> Iterator[Finding]:
    read_by_us = {metric.name for metric in ENGINE_SIGNALS}
    missing = [one for one in reports if one.state is SignalState.ABSENT]
    for one in missing:
        if one.signal in read_by_us:
            says = f"{one.signal}: {one.detail}{_ago(one.last_seen, facts.at)}"
            yield Finding(Topic.SIGNAL, Verdict.WARNING, about, says, "see what the engines' /metrics page calls it")
    shown = [one for one in missing if one.signal not in read_by_us]
    if shown:
        names = ", ".join(f"{one.signal} ({one.detail or 'not exported'})" for one in shown)
        yield Finding(Topic.SIGNAL, Verdict.FINE, about, f"for dashboards alone, and not there: {names}")


def _of_source(source: str, facts: Facts, reports: list[SignalReport]) -> Iterator[Finding]:
    there = [one for one in reports if one.state is not SignalState.ABSENT]
    if not there:
        yield from _without(source, facts)
        return
    yield from _renamed(source, there)
    missing = [_named(one) for one in reports if one.state is SignalState.ABSENT]
    rest = f"; not there, or without an event so far: {', '.join(missing)}" if missing else ""
    says = f"{_SOURCES[source]}: {len(there)} of {len(reports)} metrics answer{rest}"
    yield Finding(Topic.SIGNAL, Verdict.FINE, source, says)


def _without(source: str, facts: Facts) -> Iterator[Finding]:
    apart = any(pool.role is Role.PREFILL for policy in facts.policies.policies for pool in policy.spec.pools)
    if source == "nixl" and not apart:
        return
    way_out = "the engines need --kv-transfer-config with the NixlConnector" if source == "nixl" else ""
    says = f"no series of {_SOURCES[source]}: {_WITHOUT[source]}"
    yield Finding(Topic.SIGNAL, Verdict.FINE, source, says, way_out)


def _named(report: SignalReport) -> str:
    return f"{report.signal} (needs: {report.enabled_by})" if report.enabled_by else report.signal


def _ago(last_seen: datetime | None, at: datetime) -> str:
    if last_seen is None:
        return ""
    since = timedelta(seconds=round((at - last_seen).total_seconds()))
    return f"; last seen {last_seen:%Y-%m-%d %H:%M:%S} UTC, {format_duration(since)} ago"
