"""Pods as the API server tells them, and groups of them that serve as one."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from aiops.model.cluster import PodView
from aiops.observe.cluster_nodes import gpus_of, requested

Json = dict[str, Any]

LEADER_WORKER_SET = "leaderworkerset.sigs.k8s.io/name"
_GROUP = "leaderworkerset.sigs.k8s.io/group-index"
_WORKER = "leaderworkerset.sigs.k8s.io/worker-index"
_REVISION_LABELS = (
    "leaderworkerset.sigs.k8s.io/template-revision-hash",
    "pod-template-hash",
    "controller-revision-hash",
)
_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_USUAL_WAITS = {"ContainerCreating", "PodInitializing"}
_INSUFFICIENT = re.compile(r"Insufficient ([\w./-]+[\w])")
_NO_NODE = re.compile(r"^\d+/\d+ nodes are available: (.*?)\.?( preemption: .*)?$", re.DOTALL)
_MOST_CHARACTERS = 160


@dataclass(frozen=True, slots=True)
class SeenPod:
    """One pod, and where it belongs: the uid of its controller, and of a LeaderWorkerSet, its group and index."""

    namespace: str
    owner: str
    view: PodView
    group: str = ""
    worker: str = ""


def held_gpus(pod: Json) -> tuple[str, int]:
    """Give the node that a pod is bound to (empty: none), and the GPUs that it holds there."""
    node = pod["spec"].get("nodeName") or ""
    return node, gpus_of(pod["spec"]) if node else 0


def read_pod(pod: Json) -> SeenPod:
    """Read one pod. Raises KeyError and ValueError for what is no pod."""
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    labels = metadata.get("labels") or {}
    conditions = {one["type"]: one for one in status.get("conditions") or ()}
    view = PodView(
        name=metadata["name"],
        revision=next((labels[label] for label in _REVISION_LABELS if label in labels), ""),
        created_at=datetime.fromisoformat(metadata["creationTimestamp"]),
        scheduled_at=_since(conditions.get("PodScheduled")),
        ready_at=_since(conditions.get("Ready")),
        deleting_since=_deleting_since(metadata),
        pending_reason=_pending_reason(spec, status, conditions.get("PodScheduled") or {}),
        restarts=sum(int(one.get("restartCount") or 0) for one in status.get("containerStatuses") or ()),
        grace_s=float(spec.get("terminationGracePeriodSeconds", 30)),
        deletion_cost=_deletion_cost(metadata),
        node=spec.get("nodeName"),
    )
    return SeenPod(metadata["namespace"], controller(metadata), view, labels.get(_GROUP, ""), labels.get(_WORKER, ""))


def controller(metadata: Json) -> str:
    """Give the uid of the object that manages this one; empty where none does."""
    owners = metadata.get("ownerReferences") or ()
    return next((one["uid"] for one in owners if one.get("controller")), "")


def _since(condition: Json | None) -> datetime | None:
    if condition is None or condition["status"] != "True" or not condition.get("lastTransitionTime"):
        return None
    return datetime.fromisoformat(condition["lastTransitionTime"])


def _deleting_since(metadata: Json) -> datetime | None:
    # What Kubernetes keeps is when the grace period ends.
    ends = metadata.get("deletionTimestamp")
    grace_s = metadata.get("deletionGracePeriodSeconds") or 0
    return datetime.fromisoformat(ends) - timedelta(seconds=grace_s) if ends else None


def _deletion_cost(metadata: Json) -> int | None:
    try:
        return int((metadata.get("annotations") or {})[_DELETION_COST])
    except (KeyError, ValueError):
        return None


def _pending_reason(spec: Json, status: Json, scheduled: Json) -> str:
    if scheduled.get("status") == "False":
        return _unplaced_reason(spec, str(scheduled.get("reason") or ""), str(scheduled.get("message") or ""))
    containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    for one in containers:
        waiting = (one.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") and waiting["reason"] not in _USUAL_WAITS:
            return _joined(waiting["reason"], waiting.get("message"))
    return ""


def _unplaced_reason(spec: Json, reason: str, message: str) -> str:
    if reason == "SchedulingGated":
        gates = ", ".join(gate["name"] for gate in spec.get("schedulingGates") or ())
        return f"held back by its scheduling gates: {gates}" if gates else "held back by its scheduling gates"
    if reason != "Unschedulable":
        return _joined(reason, message)
    lacking = [(name, " + ".join(requested(spec, name))) for name in dict.fromkeys(_INSUFFICIENT.findall(message))]
    if lacking:
        # GPUs are what people wait for; a node without them often lacks other things too.
        name, asked = min(lacking, key=lambda one: "/" not in one[0])
        return f"waiting for {name}: {_total(asked)}" if asked else f"waiting for {name}"
    no_node = _NO_NODE.match(message.strip())
    return _joined("no node fits", no_node[1] if no_node else message)


def _total(asked: str) -> str:
    parts = asked.split(" + ")
    return str(sum(map(int, parts))) if all(part.isdecimal() for part in parts) else asked


def _joined(reason: str, message: str | None) -> str:
    said = " ".join((message or "").split())
    short = said if len(said) <= _MOST_CHARACTERS else f"{said[: _MOST_CHARACTERS - 1]}…"
    return ": ".join(part for part in (reason, short) if part)


def read_groups(pods: Iterable[SeenPod], size: int) -> tuple[PodView, ...]:
    """Give one view for each group of a LeaderWorkerSet of ``size`` pods a group, told by its leader, by name.

    A group is placed and ready when all of its pods are, and leaves when one of them does.
    """
    groups: dict[str, list[SeenPod]] = {}
    for pod in pods:
        groups.setdefault(pod.group, []).append(pod)
    leaders = [(leader.view, members) for members in groups.values() for leader in members if leader.worker == "0"]
    whole = [_whole(leader, [one.view for one in members], size) for leader, members in leaders]
    return tuple(sorted(whole, key=lambda one: one.name))


def _whole(leader: PodView, members: Sequence[PodView], size: int) -> PodView:
    complete = len(members) >= size
    return replace(
        leader,
        scheduled_at=_latest([one.scheduled_at for one in members]) if complete else None,
        ready_at=_latest([one.ready_at for one in members]) if complete else None,
        deleting_since=min((one.deleting_since for one in members if one.deleting_since), default=None),
        pending_reason=next((one.pending_reason for one in members if one.pending_reason), ""),
        restarts=sum(one.restarts for one in members),
        grace_s=max(one.grace_s for one in members),
    )


def _latest(moments: Sequence[datetime | None]) -> datetime | None:
    """Give the last of them; None while one is missing."""
    known = [moment for moment in moments if moment is not None]
    return max(known) if known and len(known) == len(moments) else None
