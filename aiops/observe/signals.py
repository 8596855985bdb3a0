"""How far each metric of a model can be believed: absent, zero, stale and mismatched are told apart."""

from collections.abc import Iterable
from difflib import get_close_matches

from aiops.model.policy import ScalingPolicy
from aiops.model.refs import ModelRef
from aiops.model.snapshot import SignalHealth, SignalState
from aiops.observe.catalogue import ENGINE_SIGNALS, POD_OWNER, RUNNING, Metric
from aiops.observe.engines import Engine
from aiops.observe.fleet import Fleet, Lost, Values
from aiops.observe.identity import Pod
from aiops.observe.listed import listed
from aiops.observe.queries import RECENT_S, part_to_count


def signal_health(ref: ModelRef, fleet: Fleet, policy: ScalingPolicy) -> tuple[SignalHealth, ...]:
    """Tell the state of every metric that a model's numbers stand on, each with a sentence where it is not plain."""
    if not fleet.engines.get(ref):
        state, detail = why_unseen(ref, fleet, policy)
        return tuple(SignalHealth(metric.name, state, detail=detail) for metric in ENGINE_SIGNALS)
    found = tuple(_found(metric, fleet.names.get(ref, {}), _note(ref, fleet)) for metric in ENGINE_SIGNALS)
    lost = fleet.lost.get(ref, ())
    if not lost:
        return found
    detail = f"{_lost(lost)}: their load is missing from all sums"
    return tuple(
        SignalHealth(one.signal, SignalState.STALE, one.found_as, detail) if one.signal == RUNNING.name else one
        for one in found
    )


def stray_health(strays: Iterable[Engine]) -> tuple[SignalHealth, ...]:
    """Tell of engines that serve a model and belong to no pool of its policy."""
    names = [engine.pod.name for engine in strays]
    if not names:
        return ()
    detail = (
        f"{listed(names)} serve this model and belong to no pool of its policy, so they are left out of all sums: "
        "name their Deployment or StatefulSet as a target, or label the pods with llm-d.ai/role"
    )
    return (SignalHealth(POD_OWNER.name, SignalState.MISMATCH, detail=detail),)


def why_unseen(ref: ModelRef, fleet: Fleet, policy: ScalingPolicy) -> tuple[SignalState, str]:
    """Say why no engine of a model is seen, naming what was found instead and the way out."""
    if lost := fleet.lost.get(ref):
        return SignalState.STALE, f"{_lost(lost)}: what the model's users do now is not known"
    if removed := fleet.removed.get(ref):
        names = listed(pod.name for pod in removed)
        detail = f"its last engines ({names}) ended within {RECENT_S // 60} min; only kube-state-metrics tells why"
        return SignalState.STALE, detail
    down = [pod for pod in fleet.down if _may_serve(pod, policy)]
    if down:
        return SignalState.ABSENT, f"{listed(pod.name for pod in down)} do not answer their scrapes (up is 0)"
    return _instead(ref, fleet)


def _instead(ref: ModelRef, fleet: Fleet) -> tuple[SignalState, str]:
    elsewhere = sorted(other.namespace or "none at all" for other in fleet.engines if other.model == ref.model)
    here = sorted(other.model for other in fleet.engines if other.namespace == ref.namespace)
    if elsewhere:
        detail = (
            f"{RUNNING.name} has model_name {ref.model!r} in the namespace {listed(elsewhere)}, not in "
            f"{ref.namespace!r}: set metadata.namespace, or let the scrape add the namespace label"
        )
    elif here:
        close = get_close_matches(ref.model, here, n=1)
        meant = f"; did you mean {close[0]!r}?" if close else ""
        detail = (
            f"the namespace {ref.namespace!r} serves {listed(map(repr, here))} and no model_name {ref.model!r}: "
            f"spec.model must be what --served-model-name says{meant}"
        )
    elif fleet.engines:
        others = listed(sorted(map(str, fleet.engines)))
        detail = f"no series has model_name {ref.model!r} in the namespace {ref.namespace!r}; there are {others}"
    else:
        detail = f"this Prometheus has no series {RUNNING.name} at all: is it the one that scrapes the engines?"
        return SignalState.ABSENT, detail
    return SignalState.MISMATCH, detail


def _may_serve(pod: Pod, policy: ScalingPolicy) -> bool:
    named = any(pod.name.startswith(f"{pool.target.name}-") for pool in policy.spec.pools)
    return named and pod.namespace in ("", policy.ref.namespace)


def _found(metric: Metric, names: Values, note: str) -> SignalHealth:
    part = part_to_count(metric)
    name = next((name for name in metric.series(part) if name in names), None)
    if name is None:
        return SignalHealth(metric.name, SignalState.ABSENT, detail=_absent(metric))
    value = names[name]
    if value is None:
        return SignalHealth(metric.name, SignalState.ABSENT, name.removesuffix(part), "its value is no number")
    old = "" if name == metric.name + part else f"found under its old name {name.removesuffix(part)}"
    state = SignalState.OK if value else SignalState.ZERO
    return SignalHealth(metric.name, state, name.removesuffix(part), "; ".join(filter(None, (old, note))))


def _absent(metric: Metric) -> str:
    names = " or ".join(metric.names)
    since = f"; engines have it since {metric.since}" if metric.since else ""
    return f"the model has no series {names}{since}"


def _note(ref: ModelRef, fleet: Fleet) -> str:
    if ref not in fleet.exported:
        return ""
    return "the namespace is read from exported_namespace: the scrape lacks honorLabels: true"


def _lost(lost: tuple[Lost, ...]) -> str:
    return listed(f"{one.pod.name} {one.why}" for one in lost)
