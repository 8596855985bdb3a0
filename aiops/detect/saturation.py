"""The whole pool is full."""

from datetime import datetime

from aiops.detect import load
from aiops.detect.suspicion import Suspicion
from aiops.model.detection import DetectionKind, Evidence, Severity
from aiops.model.snapshot import ModelSnapshot, PoolSnapshot

_MOST = 2 / 3


def suspect(model: ModelSnapshot, at: datetime) -> tuple[Suspicion, ...]:
    """Suspect each pool in which requests wait at more than two replicas in three."""
    return tuple(_in_pool(model, pool) for pool in model.pools if _is_saturated(pool))


def _is_saturated(pool: PoolSnapshot) -> bool:
    return _full_count(pool) > _MOST * pool.ready  # 0 is not more than 0: an empty pool is not a full one


def _full_count(pool: PoolSnapshot) -> int:
    return sum(load.is_full(replica) for replica in pool.replicas)


def _in_pool(model: ModelSnapshot, pool: PoolSnapshot) -> Suspicion:
    coming = f"; {len(pool.starting)} more are starting" if pool.starting else ""
    return Suspicion(
        kind=DetectionKind.SATURATION,
        ref=model.ref,
        severity=Severity.WARNING,
        evidence=(
            Evidence("full replicas", float(_full_count(pool)), "replicas", float(pool.ready)),
            Evidence("waiting", pool.total("waiting"), "requests"),
            Evidence("starting", float(len(pool.starting)), "replicas"),
        ),
        note=f"Requests wait at {_full_count(pool)} of {pool.ready} replicas of {pool.pool}{coming}.",
        pool=pool.pool,
    )
