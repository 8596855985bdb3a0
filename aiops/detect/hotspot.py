"""One replica is saturated against its peers."""

from datetime import datetime

from aiops.detect import load
from aiops.detect.suspicion import Suspicion
from aiops.model.detection import DetectionKind, Evidence, Severity
from aiops.model.snapshot import ModelSnapshot, PoolSnapshot, ReplicaSample

_REQUESTS_RATIO = 1.5
_REQUESTS_MORE = 4.0
_KV_MORE_RATIO = 0.3


def suspect(model: ModelSnapshot, at: datetime) -> tuple[Suspicion, ...]:
    """Suspect each full replica whose peers have room, in pools of at least two replicas."""
    return tuple(found for pool in model.pools for found in _in_pool(model, pool))


def _in_pool(model: ModelSnapshot, pool: PoolSnapshot) -> list[Suspicion]:
    replicas = load.not_young(pool)
    if len(replicas) < 2:
        return []
    usual_requests = load.usual(replicas, [load.requests(replica) for replica in replicas])
    usual_waiting = load.usual(replicas, [replica.waiting for replica in replicas])
    usual_kv = load.usual(replicas, [replica.kv_usage_ratio for replica in replicas])

    def stands_out(replica: ReplicaSample) -> bool:
        here, kv = load.requests(replica), replica.kv_usage_ratio
        more_requests = (
            here is not None
            and usual_waiting < 1.0
            and here >= max(_REQUESTS_RATIO * usual_requests, usual_requests + _REQUESTS_MORE)
        )
        more_kv = kv is not None and kv >= load.FULL_KV_RATIO and kv >= usual_kv + _KV_MORE_RATIO
        return more_requests or more_kv

    return [
        Suspicion(
            kind=DetectionKind.HOTSPOT,
            ref=model.ref,
            severity=Severity.WARNING,
            evidence=(
                Evidence("waiting", replica.waiting, "requests", _finite(usual_waiting)),
                Evidence("running and waiting", load.requests(replica), "requests", _finite(usual_requests)),
                Evidence("kv_usage", replica.kv_usage_ratio, "ratio", _finite(usual_kv)),
                Evidence("preemptions", replica.preemptions_per_s, "1/s"),
            ),
            note=_note(replica, pool),
            pool=pool.pool,
            replica=replica.name,
        )
        for replica in replicas
        if load.is_settled(replica) and load.is_full(replica) and stands_out(replica)
    ]


def _note(replica: ReplicaSample, pool: PoolSnapshot) -> str:
    return f"{replica.name} is full while most replicas of {pool.pool} have room."


def _finite(value: float) -> float | None:
    return value if value < float("inf") else None
