"""What the cluster says of the policies' targets: that they exist, and who else sets their replicas."""

from collections.abc import Iterator

from aiops.model.checkup import Finding, Topic, Verdict
from aiops.model.cluster import Override, TargetView
from aiops.model.policy import Mode, PoolSpec, ScalingPolicy
from aiops.model.refs import PoolRef
from aiops.observe.checkup.facts import ACTS, ClusterFacts, Facts
from aiops.observe.cluster_template import Template

_IN_GIT = {
    "kubectl-client-side-apply": "kubectl apply",
    "argocd-controller": "Argo CD",
    "argocd-application-controller": "Argo CD",
    "kustomize-controller": "Flux",
    "helm-controller": "Flux",
    "helm": "Helm",
}
"""Who writes what a repository says, again and again."""
_OURS = "aiops"


def judge_targets(facts: Facts) -> Iterator[Finding]:
    """Say which targets exist, whom else they obey, and whether a repository holds their replicas."""
    if facts.cluster is None or facts.cluster.view.problem:
        return
    for policy in facts.policies.policies:
        for pool in policy.spec.pools:
            yield from _of_pool(policy, pool, facts.cluster)


def judge_switch(facts: Facts) -> Iterator[Finding]:
    """Say whether the switch for everything is off."""
    if facts.policies.fleet.writes_off:
        says = "writes: off keeps all replicas as they are, whatever the modes of the policies"
        yield Finding(Topic.TARGET, Verdict.WARNING, "FleetPolicy", says, "set writes: on when that is over")


def _of_pool(policy: ScalingPolicy, pool: PoolSpec, cluster: ClusterFacts) -> Iterator[Finding]:
    ref = policy.pool_ref(pool)
    about = f"{ref.kind} {ref}"
    target, template = cluster.target(ref), cluster.template(ref)
    if target is None:
        yield _unseen(about, ref, cluster)
        return
    yield Finding(Topic.TARGET, Verdict.FINE, about, _present(target))
    if target.override_problem:
        yield Finding(Topic.TARGET, Verdict.WARNING, about, target.override_problem)
    if not pool.min <= target.replicas <= pool.max:
        says = f"has {target.replicas} replicas, and the policy allows {pool.min} to {pool.max}"
        yield Finding(
            Topic.TARGET, Verdict.WARNING, about, says, "set min and max as they are meant: the first step leads there"
        )
    if target.override is not None:
        yield _overridden(about, target.override)
    yield _scaler(policy, about, target)
    if template is not None:
        yield _in_git(policy, about, template)


def _unseen(about: str, ref: PoolRef, cluster: ClusterFacts) -> Finding:
    if ref in cluster.view.missing:
        says = "does not exist"
        way_out = f"kubectl get {ref.kind.lower()} -n {ref.namespace}; then correct the target of the policy"
        return Finding(Topic.TARGET, Verdict.WRONG, about, says, way_out)
    return Finding(Topic.TARGET, Verdict.WRONG, about, "cannot be read for want of rights", "see the rights above")


def _present(target: TargetView) -> str:
    ready = sum(pod.ready_at is not None for pod in target.pods)
    held = f", {target.gpus_per_replica} GPUs each" if target.gpus_per_replica else ""
    return f"{target.replicas} replicas are asked for, {ready} are ready{held}"


def _scaler(policy: ScalingPolicy, about: str, target: TargetView) -> Finding:
    mode, other = policy.spec.mode, target.scaled_by
    if mode in ACTS and other:
        says = f"{other} sets its replicas too, so aiops never touches it in mode {mode}"
        way_out = f"delete {other}, or set mode: emit"
        return Finding(Topic.SCALER, Verdict.WRONG, about, says, way_out)
    if mode is Mode.EMIT and not other:
        says = "nothing reads the number that mode emit exports for it"
        return Finding(Topic.SCALER, Verdict.WARNING, about, says, "apply the ScaledObject that aiops keda prints")
    if other:
        refused = "" if mode is Mode.EMIT else "; mode act would leave it alone"
        return Finding(Topic.SCALER, Verdict.FINE, about, f"{other} sets its replicas{refused}")
    return Finding(Topic.SCALER, Verdict.FINE, about, "no other scaler owns it")


def _overridden(about: str, word: Override) -> Finding:
    until = "until somebody resumes it" if word.until is None else f"until {word.until:%Y-%m-%d %H:%M} UTC"
    what = "is paused" if word.replicas is None else f"is held at {word.replicas} replicas"
    return Finding(Topic.TARGET, Verdict.WARNING, about, f"{what} by a person, {until}", "aiops resume ends it")


def _in_git(policy: ScalingPolicy, about: str, template: Template) -> Finding:
    keeper = _keeper(template)
    if not keeper:
        return Finding(Topic.GIT, Verdict.FINE, about, "no repository is seen to hold spec.replicas")
    says = f"{keeper} writes spec.replicas from its files, and will set it back"
    verdict = Verdict.WRONG if policy.spec.mode in ACTS else Verdict.WARNING
    way_out = "leave spec.replicas out of the manifest (Argo CD: ignoreDifferences on /spec/replicas)"
    return Finding(Topic.GIT, verdict, about, says, way_out)


def _keeper(template: Template) -> str:
    for owner in template.replicas_owners:
        if owner.manager == _OURS or owner.subresource:
            continue
        named = _IN_GIT.get(owner.manager)
        if named is not None or owner.operation == "Apply":
            return f"{named or 'server-side apply'} (field manager {owner.manager})"
    return "kubectl apply (its last-applied-configuration)" if template.replicas_applied else ""


def judge_grace(facts: Facts) -> Iterator[Finding]:
    """Hold the time that a pod has for its last requests against the slowest of them."""
    if facts.cluster is None or facts.cluster.view.problem:
        return
    for policy in facts.policies.policies:
        slowest_s = facts.metrics.slowest_s.get(policy.ref)
        for pool in policy.spec.pools:
            template = facts.cluster.template(policy.pool_ref(pool))
            if template is not None:
                yield _grace(f"{template.pool.kind} {template.pool}", template.grace_s, slowest_s)


def _grace(about: str, grace_s: float, slowest_s: float | None) -> Finding:
    if slowest_s is None:
        says = f"grace period {grace_s:g} s; too few requests in the last hour to hold it against"
        return Finding(Topic.GRACE, Verdict.FINE, about, says)
    if grace_s >= slowest_s:
        says = f"grace period {grace_s:g} s, P99 of a request {slowest_s:.3g} s"
        return Finding(Topic.GRACE, Verdict.FINE, about, says)
    says = f"a pod that leaves has {grace_s:g} s, and one request in a hundred takes {slowest_s:.3g} s: it is cut off"
    least = -(-slowest_s * 1.2 // 10) * 10
    way_out = f"set terminationGracePeriodSeconds: {least:.0f}"
    return Finding(Topic.GRACE, Verdict.WARNING, about, says, way_out)
