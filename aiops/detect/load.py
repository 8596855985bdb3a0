"""How full a replica is, as its own metrics tell, and what is usual in its pool.

What was not measured never speaks for trouble: an unmeasured replica is not full, and as somebody's peer it counts as
a busy one. So hiding a value can only silence a detector.
"""

from datetime import timedelta
from math import inf
from statistics import median_low

from aiops.model.snapshot import PoolSnapshot, ReplicaSample

FULL_KV_RATIO = 0.9
_QUEUE_REQUESTS = 2.0  # an engine shows 1 waiting for the length of a step whenever a prompt arrives
# A new replica is idle because it is new: what queues at the old ones stays there, and takes minutes to clear (in the
# simulator, nine for the 8,000 requests of a quarter of an hour of gross overload; so long a queue still looks skewed).
_FILLS_WITHIN = timedelta(minutes=5)


def is_full(replica: ReplicaSample) -> bool:
    """Whether requests queue at the replica, or its full KV cache makes them wait or be preempted.

    A full KV cache alone is a warm one.
    """
    waiting = replica.waiting or 0.0
    if waiting >= _QUEUE_REQUESTS:
        return True
    hindered = waiting >= 1.0 or (replica.preemptions_per_s or 0.0) > 0.0
    return hindered and (replica.kv_usage_ratio or 0.0) >= FULL_KV_RATIO


def requests(replica: ReplicaSample) -> float | None:
    """Requests at the replica, running and waiting; None where either is unknown."""
    if replica.running is None or replica.waiting is None:
        return None
    return replica.running + replica.waiting


def is_settled(replica: ReplicaSample) -> bool:
    """Whether the replica is known to have had the time to fill up."""
    return replica.age is not None and replica.age >= _FILLS_WITHIN


def not_young(pool: PoolSnapshot) -> tuple[ReplicaSample, ...]:
    """The replicas of a pool without those known to be so young that they are still filling up."""
    return tuple(replica for replica in pool.replicas if replica.age is None or is_settled(replica))


def usual(replicas: tuple[ReplicaSample, ...], values: list[float | None]) -> float:
    """The lower median of one value over replicas: in a pair, the smaller of the two.

    ``values`` stand in the order of ``replicas``. A value that is missing, or whose replica may still be
    filling up, counts as infinitely high.
    """
    known = (
        value if value is not None and is_settled(replica) else inf
        for replica, value in zip(replicas, values, strict=True)
    )
    return median_low(known)
