"""Targets as the API server tells them, with their pods, their other scalers and what people say about them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aiops.model.cluster import PodView, TargetView
from aiops.model.refs import PoolRef
from aiops.observe.cluster_kinds import DEPLOYMENTS, LEADER_WORKER_SETS, STATEFUL_SETS
from aiops.observe.cluster_nodes import gpus_of
from aiops.observe.cluster_overrides import read_override
from aiops.observe.cluster_owners import Scaler, last_writer, scaled_by
from aiops.observe.cluster_pods import LEADER_WORKER_SET, SeenPod, controller, read_groups
from aiops.observe.cluster_rollout import deployment_rollout, leader_worker_set_rollout, stateful_set_rollout

Json = dict[str, Any]
_REVISION = "deployment.kubernetes.io/revision"


@dataclass(frozen=True, slots=True)
class OwnedSet:
    """A ReplicaSet or StatefulSet on the way from a pod to its target."""

    uid: str
    revision: int = 0


def read_owned_set(item: Json) -> tuple[str, OwnedSet]:
    """Read the metadata of a ReplicaSet or StatefulSet, and whose it is, as ``Around`` has it."""
    metadata = item["metadata"]
    revision = (metadata.get("annotations") or {}).get(_REVISION, "0")
    part_of = (metadata.get("labels") or {}).get(LEADER_WORKER_SET)
    owner = _part_of(part_of) if part_of else controller(metadata)
    return owner, OwnedSet(metadata["uid"], int(revision) if revision.isdecimal() else 0)


def _part_of(leader_worker_set: str) -> str:
    # The sets of workers belong to the pods of leaders; only the label says of which LeaderWorkerSet they are.
    return f"{LEADER_WORKER_SETS.kind}/{leader_worker_set}"


@dataclass(frozen=True, slots=True)
class Around:
    """What is around the targets of one namespace, as far as it could be read."""

    at: datetime
    pods: Mapping[str, Sequence[SeenPod]] = field(default_factory=dict)
    """By the uid of what controls them."""
    sets: Mapping[str, Sequence[OwnedSet]] = field(default_factory=dict)
    """By the uid of their Deployment, or the LeaderWorkerSet that they are a part of."""
    scalers: Sequence[Scaler] = ()

    def of(self, controller_uid: str) -> Sequence[SeenPod]:
        """Give the pods that an object controls."""
        return self.pods.get(controller_uid, ())


def read_target(pool: PoolRef, item: Json, around: Around) -> TargetView:
    """Read a target of one of the known kinds. Raises KeyError and ValueError for what is none."""
    pods, rollout, gpus = _READERS[pool.kind](item, around)
    spec = item["spec"]
    return _view(
        pool, item["metadata"], int(spec.get("replicas", 1)), around, _GROUPS[pool.kind], pods=pods, rollout=rollout,
        gpus=gpus,
    )  # fmt: skip


def read_other_target(pool: PoolRef, metadata: Json, scale: Json, group: str, around: Around) -> TargetView:
    """Read a target of another kind: what its metadata and its Scale say, and nothing of its pods."""
    return _view(pool, metadata, int((scale.get("spec") or {}).get("replicas", 0)), around, group)


def _view(
    pool: PoolRef,
    metadata: Json,
    replicas: int,
    around: Around,
    group: str,
    *,
    pods: tuple[PodView, ...] = (),
    rollout: str = "",
    gpus: int = 0,
) -> TargetView:
    manager, written_at = last_writer(metadata)
    override, problem = read_override(metadata.get("annotations") or {}, around.at)
    return TargetView(
        pool=pool,
        replicas=replicas,
        resource_version=metadata["resourceVersion"],
        pods=pods,
        rollout=rollout,
        scaled_by=scaled_by(pool, group, around.scalers),
        replicas_manager=manager,
        replicas_written_at=written_at,
        override=override,
        override_problem=problem,
        gpus_per_replica=gpus,
        honours_deletion_cost=pool.kind == DEPLOYMENTS.kind,
    )


_Told = tuple[tuple[PodView, ...], str, int]


def _deployment(item: Json, around: Around) -> _Told:
    told = [(one.revision, pod) for one in around.sets.get(item["metadata"]["uid"], ()) for pod in around.of(one.uid)]
    # A pod that leaves, of whichever revision, is no part of a rollout that is under way.
    revisions = [revision for revision, pod in told if pod.view.deleting_since is None]
    return (
        _views([pod for _, pod in told]),
        deployment_rollout(item, revisions),
        gpus_of(item["spec"]["template"]["spec"]),
    )


def _stateful_set(item: Json, around: Around) -> _Told:
    pods = around.of(item["metadata"]["uid"])
    return _views(pods), stateful_set_rollout(item), gpus_of(item["spec"]["template"]["spec"])


def _leader_worker_set(item: Json, around: Around) -> _Told:
    name, template = item["metadata"]["name"], item["spec"]["leaderWorkerTemplate"]
    parts = around.sets.get(_part_of(name), ())
    size = int(template.get("size") or 1)
    groups = read_groups([pod for part in parts for pod in around.of(part.uid)], size)
    revisions = [group.revision for group in groups if group.deleting_since is None]
    worker = template["workerTemplate"]
    leader = template.get("leaderTemplate") or worker
    gpus = gpus_of(leader["spec"]) + (size - 1) * gpus_of(worker["spec"])
    return groups, leader_worker_set_rollout(item, revisions), gpus


def _views(pods: Sequence[SeenPod]) -> tuple[PodView, ...]:
    return tuple(sorted((pod.view for pod in pods), key=lambda view: view.name))


_READERS: Mapping[str, Callable[[Json, Around], _Told]] = {
    DEPLOYMENTS.kind: _deployment,
    STATEFUL_SETS.kind: _stateful_set,
    LEADER_WORKER_SETS.kind: _leader_worker_set,
}
_GROUPS = {one.kind: one.group for one in (DEPLOYMENTS, STATEFUL_SETS, LEADER_WORKER_SETS)}
