"""A replica's prefix cache hits far less than those of peers that had time to warm up."""

from datetime import datetime, timedelta
from statistics import median_high

from aiops.detect.suspicion import Suspicion
from aiops.model.detection import DetectionKind, Evidence, Severity
from aiops.model.refs import Role
from aiops.model.snapshot import ModelSnapshot, PoolSnapshot, ReplicaSample

_SETTLED = timedelta(minutes=10)
_ENOUGH_TOK_PER_S = 200.0  # looked up; below it the ratio is that of a handful of prompts
_PEERS_HIT_RATIO = 0.2  # where peers hit less, there is little to be missed
_FAR_BELOW = 0.5
_FAR_BELOW_RATIO = 0.15


def suspect(model: ModelSnapshot, at: datetime) -> tuple[Suspicion, ...]:
    """Suspect each replica whose hit ratio is at most half of what its settled peers usually reach.

    Decode pools are left out: their prompts come with their KV, from prefill.
    """
    pools = (pool for pool in model.pools if pool.role is not Role.DECODE)
    return tuple(found for pool in pools for found in _in_pool(model, pool))


def _in_pool(model: ModelSnapshot, pool: PoolSnapshot) -> list[Suspicion]:
    warmth = [_warmth(replica) for replica in pool.replicas if _may_be_settled(replica)]
    peers_ratio = median_high(warmth) if warmth else 0.0  # the higher one: in a pair, the warm replica's
    if peers_ratio < _PEERS_HIT_RATIO:
        return []
    bound = min(_FAR_BELOW * peers_ratio, peers_ratio - _FAR_BELOW_RATIO)
    return [
        _suspicion(model, pool, replica, ratio, peers_ratio)
        for replica in pool.replicas
        if (replica.prefix_queries_tok_per_s or 0.0) >= _ENOUGH_TOK_PER_S
        and (ratio := replica.prefix_hit_ratio) is not None
        and ratio <= bound
    ]


def _may_be_settled(replica: ReplicaSample) -> bool:
    young = replica.age is not None and replica.age < _SETTLED
    quiet = replica.prefix_queries_tok_per_s is not None and replica.prefix_queries_tok_per_s < _ENOUGH_TOK_PER_S
    return not young and not quiet


def _warmth(replica: ReplicaSample) -> float:
    """The hit ratio; 0 where it or the age is unknown, so that what is missing cannot make others look cold."""
    return 0.0 if replica.age is None else replica.prefix_hit_ratio or 0.0


def _suspicion(
    model: ModelSnapshot, pool: PoolSnapshot, replica: ReplicaSample, ratio: float, peers_ratio: float
) -> Suspicion:
    return Suspicion(
        kind=DetectionKind.COLD_CACHE,
        ref=model.ref,
        severity=Severity.INFO,
        evidence=(
            Evidence("prefix_hit", ratio, "ratio", peers_ratio),
            Evidence("looked up", replica.prefix_queries_tok_per_s, "tok/s", _ENOUGH_TOK_PER_S),
            Evidence("age", replica.age.total_seconds() if replica.age is not None else None, "s"),
        ),
        note=f"{replica.name} finds {ratio:.0%} of its prompt tokens in its cache, settled peers {peers_ratio:.0%}: "
        f"{_why(replica)}.",
        pool=pool.pool,
        replica=replica.name,
    )


def _why(replica: ReplicaSample) -> str:
    if replica.age is None:
        return "of unknown age"
    minutes = replica.age.total_seconds() / 60
    if replica.age < _SETTLED:
        return f"started {minutes:.0f} min ago, its cache still fills"
    return f"it has run for {minutes:.0f} min, so it evicts or is never sent its peers' prefixes"
