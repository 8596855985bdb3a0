"""Which pool an engine belongs to, and what kube-state-metrics says of pools, where it is scraped."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from aiops.model.policy import PoolSpec, ScalingPolicy
from aiops.model.refs import PoolRef
from aiops.observe.identity import Group, Pod, namespace_of
from aiops.observe.prometheus import Series
from aiops.observe.queries import DEPLOYMENT_POD, STATEFULSET_POD, Now

_POD_SHAPES = {
    "Deployment": (DEPLOYMENT_POD,),
    "StatefulSet": (STATEFULSET_POD,),
    "LeaderWorkerSet": (STATEFULSET_POD,),
}
_ANY_SHAPE = (DEPLOYMENT_POD, STATEFULSET_POD)
_OWNER = "(.+)"  # where the owner's name stands in a shape


@dataclass(frozen=True, slots=True)
class Owner:
    """The object that made a pod: a Deployment rather than its ReplicaSet."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class ClusterState:
    """What kube-state-metrics says; all empty where it is not scraped."""

    owners: Mapping[Pod, Owner]
    replicas: Mapping[PoolRef, int]
    unready: frozenset[Pod]


def read_cluster_state(answers: Mapping[Now, Sequence[Series]]) -> ClusterState:
    """Join pods to their owners, and read the replicas that are asked for."""
    makers = {
        (namespace_of(one.labels), one.labels.get("replicaset", "")): _owner(one.labels)
        for one in answers[Now.REPLICASET_OWNERS]
    }

    def maker(pod: Pod, owner: Owner) -> Owner:
        return makers.get((pod.namespace, owner.name), owner) if owner.kind == "ReplicaSet" else owner

    owners = {(pod := Pod.of(one.labels)): maker(pod, _owner(one.labels)) for one in answers[Now.POD_OWNERS]}
    replicas = {_target(one.labels): round(one.value) for one in answers[Now.REPLICAS] if one.value is not None}
    return ClusterState(owners, replicas, frozenset(Pod.of(one.labels) for one in answers[Now.UNREADY]))


def _owner(labels: Mapping[str, str]) -> Owner:
    return Owner(labels.get("owner_kind", ""), labels.get("owner_name", ""))


def _target(labels: Mapping[str, str]) -> PoolRef:
    if "deployment" in labels:
        return PoolRef(namespace_of(labels), "Deployment", labels["deployment"])
    return PoolRef(namespace_of(labels), "StatefulSet", labels.get("statefulset", ""))


def pool_of(pod: Pod, group: Group, policy: ScalingPolicy, cluster: ClusterState) -> PoolSpec | None:
    """Find an engine's pool: by its owner, by its name, by its role label, or because the model has only one.

    None where none of them tells, or where the owner is another object of the same kind: nothing is guessed.
    """
    pools = policy.spec.pools
    owner = cluster.owners.get(pod)
    if owner is not None:
        # By name alone: a LeaderWorkerSet or a custom kind owns its pods through a StatefulSet of its own name.
        owned = _only(pool for pool in pools if pool.target.name == owner.name)
        if owned is not None or any(pool.target.kind == owner.kind for pool in pools):
            return owned
    named = _only(pool for pool in pools if _is_named_after(pod.name, pool))
    if named is not None:
        return named
    by_role = _only(pool for pool in pools if pool.role == group.role)
    if by_role is not None:
        return by_role
    only = _only(pools)
    return None if only is None or _belongs_to_another(pod.name, only) else only


def shape_of(pod: str) -> str:
    """Guess from a pod's name the kind of what made it, Deployment or StatefulSet; empty where it is like neither."""
    return next((kind for kind, shapes in _POD_SHAPES.items() if any(re.fullmatch(one, pod) for one in shapes)), "")


def _is_named_after(pod: str, pool: PoolSpec) -> bool:
    name = re.escape(pool.target.name)
    shapes = _POD_SHAPES.get(pool.target.kind, _ANY_SHAPE)
    return any(re.fullmatch(shape.replace(_OWNER, name), pod) for shape in shapes)


def _belongs_to_another(pod: str, pool: PoolSpec) -> bool:
    """Whether a pod that is not named after the pool is named after another object of its kind."""
    return any(re.fullmatch(shape, pod) for shape in _POD_SHAPES.get(pool.target.kind, ()))


def _only(pools: Iterable[PoolSpec]) -> PoolSpec | None:
    found = tuple(pools)
    return found[0] if len(found) == 1 else None
