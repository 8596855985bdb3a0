"""Whether what is promised can be measured: only at the bounds of the histograms' buckets is anything counted."""

from bisect import bisect_left
from collections.abc import Iterator
from math import isclose, isfinite

from aiops.model.checkup import Finding, Topic, Verdict
from aiops.model.policy import Bound, ScalingPolicy
from aiops.observe.catalogue import GATEWAY_TTFT, ITL, TTFT, Metric
from aiops.observe.checkup.facts import Facts


def judge_objectives(facts: Facts) -> Iterator[Finding]:
    """Say which objective lies between two bounds, and which: those that are exposed, else vLLM's own."""
    for policy in facts.policies.policies:
        objectives = policy.spec.objectives
        yield _on_a_bound(facts, policy, "TTFT", objectives.ttft, (GATEWAY_TTFT, TTFT))
        yield _on_a_bound(facts, policy, "ITL", objectives.itl, (ITL,))


def _on_a_bound(
    facts: Facts, policy: ScalingPolicy, name: str, objective: Bound, metrics: tuple[Metric, ...]
) -> Finding:
    exposed = (
        (metric, bounds) for metric in metrics if (bounds := facts.metrics.bounds_s.get((metric.name, policy.ref)))
    )
    metric, bounds_s = next(exposed, (metrics[-1], metrics[-1].buckets))
    finite = [bound_s for bound_s in bounds_s if isfinite(bound_s)]
    stated = f"{name} {objective.bound_s:g} s"
    if any(isclose(bound_s, objective.bound_s) for bound_s in finite):
        says = f"{stated} is a bucket bound of {metric.name}"
        return Finding(Topic.OBJECTIVE, Verdict.FINE, str(policy.ref), says)
    place = bisect_left(finite, objective.bound_s)
    nearest = " and ".join(f"{bound_s:g} s" for bound_s in finite[max(0, place - 1) : place + 1])
    says = f"{stated} is no bucket bound of {metric.name}: attainment is measured at the nearest; those are {nearest}"
    way_out = "set the objective to one of them"
    if metric is not GATEWAY_TTFT:
        way_out += ", or give the engines that bound (--custom-histogram-buckets, vLLM 0.33)"
    return Finding(Topic.OBJECTIVE, Verdict.WARNING, str(policy.ref), says, way_out)
