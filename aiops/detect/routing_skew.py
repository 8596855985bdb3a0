"""Some replicas are full while others idle: it is the router, not the fleet."""

from datetime import datetime

from aiops.detect import load
from aiops.detect.suspicion import Suspicion
from aiops.model.detection import DetectionKind, Evidence, Severity
from aiops.model.snapshot import ModelSnapshot, PoolSnapshot, ReplicaSample

_IDLE_RATIO = 0.25  # of what runs at the fullest replica
_IDLE_KV_RATIO = 0.5
_IDLE_SHARE = 1 / 3
_ROOM_RATIO = 0.6  # mean use of the pool below which its idle replicas could take the queue
_FAR_ABOVE_RATIO = 4.0
_FAR_ABOVE_REQUESTS = 32.0
_SMALLEST_REQUESTS = 8.0  # with fewer at the fullest replica, 2 against 0 is chance


def suspect(model: ModelSnapshot, at: datetime) -> tuple[Suspicion, ...]:
    """Suspect the routing of each pool in which full replicas stand beside idle ones and the whole has room.

    What one replica can run is not known here, so the fullest replica's running requests are the measure of all.
    """
    found = (_in_pool(model, pool) for pool in model.pools)
    return tuple(suspicion for suspicion in found if suspicion)


def _in_pool(model: ModelSnapshot, pool: PoolSnapshot) -> Suspicion | None:
    replicas = load.not_young(pool)
    full = _full(replicas)
    if not full or max(load.requests(replica) or 0.0 for replica in full) < _SMALLEST_REQUESTS:
        return None
    most = max(replica.running or 0.0 for replica in full)
    if most == 0.0:
        return None
    idle = [replica for replica in replicas if _is_idle(replica, most)]
    used = [1.0 if replica.running is None else min(1.0, replica.running / most) for replica in replicas]
    use = sum(sorted(used)) / len(used)  # sorted, so that the order of the replicas changes no digit
    if len(idle) < _IDLE_SHARE * len(replicas) or use > _ROOM_RATIO:
        return None
    waits = any(load.is_full(replica) for replica in full)
    return Suspicion(
        kind=DetectionKind.ROUTING_SKEW,
        ref=model.ref,
        severity=Severity.WARNING if waits else Severity.INFO,
        evidence=(
            Evidence("full replicas", float(len(full)), "replicas", float(len(replicas))),
            Evidence("idle replicas", float(len(idle)), "replicas", float(len(replicas))),
            Evidence("running at the fullest", most, "requests"),
            Evidence("mean use of the pool", use, "ratio", _ROOM_RATIO),
        ),
        note=f"In {pool.pool}, {len(full)} of {len(replicas)} replicas run full ({_names(full)}) while {len(idle)} "
        "idle: better routing would help, more replicas would not.",
        pool=pool.pool,
    )


def _full(replicas: tuple[ReplicaSample, ...]) -> list[ReplicaSample]:
    if len(replicas) < 2:
        return []
    usual = load.usual(replicas, [replica.running for replica in replicas])
    far_above = max(_FAR_ABOVE_RATIO * usual, usual + _FAR_ABOVE_REQUESTS)
    settled = [replica for replica in replicas if load.is_settled(replica)]
    return [replica for replica in settled if load.is_full(replica) or (replica.running or 0.0) >= far_above]


def _is_idle(replica: ReplicaSample, most: float) -> bool:
    running, waiting, kv = replica.running, replica.waiting, replica.kv_usage_ratio
    if running is None or waiting is None or kv is None or not load.is_settled(replica):
        return False
    return running <= _IDLE_RATIO * most and waiting < 1.0 and kv <= _IDLE_KV_RATIO


def _names(full: list[ReplicaSample]) -> str:
    names = sorted(replica.name for replica in full)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
