"""The rights that the policies' modes need, and what is missing of them, named as the rule that would grant it."""

from collections.abc import Iterator

from aiops.model.checkup import Finding, Topic, Verdict
from aiops.model.policy import Mode, PolicySet, ScalingPolicy
from aiops.observe.checkup.facts import ACTS, Facts, Right
from aiops.observe.cluster_kinds import (
    AUTOSCALERS,
    DEPLOYMENTS,
    KNOWN,
    LEADER_WORKER_SETS,
    NODES,
    PODS,
    QUOTAS,
    REPLICA_SETS,
    SCALED_OBJECTS,
    STATEFUL_SETS,
    Kinds,
)
from aiops.observe.kubernetes import Resource

EVENTS = Resource("events.k8s.io", "v1", "events", "Event")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
_OF_PODS = {DEPLOYMENTS.kind: REPLICA_SETS, LEADER_WORKER_SETS.kind: STATEFUL_SETS}
_REPLICAS = "to see how many replicas are asked for"
_OWNERS = "to see whether another scaler owns a target"
_LEAD = "to lead: only the leader writes"
ACCOUNT = "system:serviceaccount:"
_OF_ANOTHER = "in the cluster aiops has the rights of its ServiceAccount: ask in its pod, or with its token"


def needed_rights(
    policies: PolicySet, kinds: Kinds, lease: tuple[str, str], *, victims: bool = False
) -> tuple[Right, ...]:
    """List what the policies' modes need, each once; ``lease`` is the namespace and the name of the Lease.

    ``victims`` is whether aiops shall say which pods leave first.
    """
    found: dict[tuple[object, ...], Right] = {}
    acting = any(policy.spec.mode in ACTS for policy in policies.policies)
    wanted = (
        *_to_observe(policies, kinds),
        *_to_act(policies, kinds),
        *(_to_choose(policies) if victims else ()),
        *(_to_lead(*lease) if acting else ()),
    )
    for right in wanted:
        key = (right.verb, right.resource, right.namespace, right.subresource, right.name)
        if key not in found or (right.needed and not found[key].needed):
            found[key] = right
    return tuple(found.values())


def _to_observe(policies: PolicySet, kinds: Kinds) -> Iterator[Right]:
    for policy in policies.policies:
        namespace, acts = policy.ref.namespace, policy.spec.mode in ACTS
        for kind, resource in _kinds_of(policy, kinds):
            yield Right("list", resource, namespace, _REPLICAS, "observe")
            if kind in KNOWN:
                yield Right("get", resource, namespace, "to read a manifest in this checkup", "observe", needed=False)
            else:
                yield Right("get", resource, namespace, _REPLICAS, "observe", "scale")
            if kind in _OF_PODS:
                yield Right("list", _OF_PODS[kind], namespace, "to see whose a pod is, and rollouts", "observe")
        yield Right("list", PODS, namespace, "to see which replicas start, wait and leave", "observe")
        yield Right("list", QUOTAS, namespace, "to see what a quota still grants", "observe", needed=False)
        yield Right("list", AUTOSCALERS, namespace, _OWNERS, "observe", needed=acts)
        if kinds.resources is not None and kinds.has(SCALED_OBJECTS):
            yield Right("list", SCALED_OBJECTS, namespace, _OWNERS, "observe", needed=acts)
    yield Right("list", NODES, None, "to see whether a replica would find free GPUs", "cluster", needed=False)
    yield Right("list", PODS, None, "to see which GPUs others hold", "cluster", needed=False)


def _kinds_of(policy: ScalingPolicy, kinds: Kinds) -> Iterator[tuple[str, Resource]]:
    for kind in sorted({pool.target.kind for pool in policy.spec.pools}):
        resource = kinds.target(kind)
        if resource is not None:
            yield kind, resource


def _to_act(policies: PolicySet, kinds: Kinds) -> Iterator[Right]:
    for policy in policies.policies:
        if policy.spec.mode not in ACTS:
            continue
        namespace = policy.ref.namespace
        for _, resource in _kinds_of(policy, kinds):
            for verb in ("get", "update"):
                yield Right(verb, resource, namespace, "to set replicas", "act", "scale")
        for verb in ("create", "patch"):
            yield Right(verb, EVENTS, namespace, "to tell each change on its target", "act", needed=False)


def _to_choose(policies: PolicySet) -> Iterator[Right]:
    for policy in policies.policies:
        if policy.spec.mode is Mode.ACT:
            for verb in ("list", "patch"):
                yield Right(verb, PODS, policy.ref.namespace, "to say which pods leave first", "deletion-cost")


def _to_lead(namespace: str, name: str) -> Iterator[Right]:
    yield Right("create", LEASES, namespace, _LEAD, "controller")
    for verb in ("get", "update"):
        yield Right(verb, LEASES, namespace, _LEAD, "controller", name=name)


def dangerous_rights(asked_as: str) -> tuple[Right, ...]:
    """List what no ServiceAccount of aiops should be allowed: to set replicas of any workload there is."""
    if not asked_as.startswith(ACCOUNT):
        return ()
    return tuple(
        Right("update", kind, None, "", "act", "scale") for kind in (DEPLOYMENTS, STATEFUL_SETS, LEADER_WORKER_SETS)
    )


def judge_rights(facts: Facts) -> Iterator[Finding]:
    """Name each missing rule as a Role states one, and the file that grants it."""
    if facts.cluster is None or facts.cluster.view.problem:
        return
    who = facts.cluster.asked_as or "whoever asks"
    for right in facts.cluster.refused:
        verdict = Verdict.WRONG if right.needed else Verdict.WARNING
        yield Finding(Topic.RIGHTS, verdict, who, f"{_denied(right)}; it is needed {right.why}", _granting(right))
    for right in facts.cluster.excess:
        says = f"may set the replicas of every {right.resource.kind} in the cluster, and could bring all to zero"
        yield Finding(Topic.RIGHTS, Verdict.WARNING, who, says, "grant it by a Role in each namespace: deploy/act/")
    if not any(right.needed for right in facts.cluster.refused):
        modes = ", ".join(sorted({str(policy.spec.mode) for policy in facts.policies.policies}))
        says = f"has the {len(facts.cluster.granted)} rights that were asked about (mode {modes})"
        yield Finding(Topic.RIGHTS, Verdict.FINE, who, says, "" if who.startswith(ACCOUNT) else _OF_ANOTHER)


def _denied(right: Right) -> str:
    told = right.resource.denied(right.verb, right.namespace, right.subresource)
    return f"{told}, resourceNames: [{right.name}]" if right.name else told


def _granting(right: Right) -> str:
    within = f"-n {right.namespace} " if right.namespace and right.part != "controller" else ""
    return f"kubectl apply {within}-f deploy/{right.part}/"
