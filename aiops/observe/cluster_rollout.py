"""Why a target is not of one revision, in the words that a person reads; empty where it is."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Json = dict[str, Any]


def deployment_rollout(item: Json, revisions: Iterable[int]) -> str:
    """Say it of a Deployment; ``revisions`` are those of its pods' ReplicaSets, one for each pod that stays."""
    counted = Counter(revisions)
    if len(counted) > 1:
        return _share(counted[max(counted)], counted.total(), "pods")
    return _updated(item, "pods") or _unseen(item)


def stateful_set_rollout(item: Json) -> str:
    """Say it of a StatefulSet."""
    status = _status(item)
    mixed = status.get("currentRevision") != status.get("updateRevision")
    return (_updated(item, "pods") if mixed else "") or _unseen(item)


def leader_worker_set_rollout(item: Json, revisions: Sequence[str]) -> str:
    """Say it of a LeaderWorkerSet; ``revisions`` are the template hashes of its leaders."""
    conditions = {one["type"]: one["status"] for one in _status(item).get("conditions") or ()}
    if conditions.get("UpdateInProgress") == "True":
        return _updated(item, "groups") or "its groups are brought to a new revision"
    mixed = len(set(revisions))
    return f"its groups are of {mixed} revisions" if mixed > 1 else _unseen(item)


def _updated(item: Json, unit: str) -> str:
    status = _status(item)
    updated, total = int(status.get("updatedReplicas") or 0), int(status.get("replicas") or 0)
    return _share(updated, total, unit) if updated < total else ""


def _unseen(item: Json) -> str:
    # Until its controller has looked, the status is that of the object before the change.
    wanted, seen = item["metadata"].get("generation"), _status(item).get("observedGeneration")
    if wanted is None or seen is None or seen >= wanted:
        return ""
    return "its controller has not seen the latest change yet"


def _share(updated: int, total: int, unit: str) -> str:
    return f"{updated} of {total} {unit} are of the new revision"


def _status(item: Json) -> Mapping[str, Any]:
    return item.get("status") or {}
