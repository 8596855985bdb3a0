"""Whether the engines that Prometheus knows are the pods that the cluster knows: held against each other both ways."""

from collections.abc import Iterator

from aiops.model.checkup import Finding, Topic, Verdict
from aiops.model.cluster import TargetView
from aiops.model.snapshot import PoolSnapshot
from aiops.observe.checkup.facts import Facts
from aiops.observe.listed import listed

_SETTLED_S = 120.0
"""A pod that is ready for less may not have been scraped yet."""


def judge_join(facts: Facts) -> Iterator[Finding]:
    """Name engines that are no pods of their pool's target, and ready pods that nothing is known of."""
    if facts.cluster is None or facts.cluster.view.problem or facts.metrics.problem:
        return
    for policy in facts.policies.policies:
        model = facts.snapshot.model(policy.ref)
        for pool in () if model.blind else model.pools:
            target = facts.cluster.target(pool.pool)
            if target is not None:
                yield from _joined(facts, pool, target)


def _joined(facts: Facts, pool: PoolSnapshot, target: TargetView) -> Iterator[Finding]:
    about = f"{pool.pool.kind} {pool.pool}"
    engines, pods = {replica.name for replica in pool.replicas}, {pod.name for pod in target.pods}
    strangers = engines - pods
    if strangers:
        verdict = Verdict.WRONG if strangers == engines else Verdict.WARNING
        says = f"{listed(sorted(strangers))} serve the model and are counted here, and are no pods of it"
        yield Finding(Topic.TARGET, verdict, about, says, "name the object that owns them as the pool's target")
    settled_s = facts.at.timestamp() - _SETTLED_S
    silent = {
        pod.name
        for pod in target.pods
        if pod.ready_at is not None and pod.ready_at.timestamp() < settled_s and pod.deleting_since is None
    } - engines
    if silent:
        says = f"{listed(sorted(silent))} are ready, and nothing of theirs is in Prometheus: their load is missing"
        way_out = "see that the PodMonitor selects them, and that its port is the one of /metrics"
        yield Finding(Topic.TARGET, Verdict.WARNING, about, says, way_out)
