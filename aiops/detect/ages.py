"""How long each replica has answered, as far as aiops saw it.

An engine's own age is that of its process, which loads weights for minutes before it answers, and some engines tell
none. What aiops saw itself is the better half of the truth.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from aiops.model.refs import PoolRef
from aiops.model.snapshot import ModelSnapshot, PoolSnapshot, ReplicaSample

_REMEMBERED = timedelta(minutes=5)  # a replica that misses a few scrapes does not come back as a new one


@dataclass(frozen=True, slots=True)
class Sighting:
    """When a replica was first and last seen; ``came`` marks one that was not there when the first were seen."""

    pool: PoolRef
    replica: str
    first_at: datetime
    last_at: datetime
    came: bool


def sight(model: ModelSnapshot, at: datetime, before: tuple[Sighting, ...]) -> tuple[Sighting, ...]:
    """Note which replicas are seen; those gone for five minutes are forgotten, so the model bounds the memory."""
    known = {(one.pool, one.replica): one for one in before if at - one.last_at <= _REMEMBERED}
    came = bool(known)  # of the replicas of a first look nobody knows since when they answer
    for pool in model.pools:
        for replica in pool.replicas:
            key = (pool.pool, replica.name)
            last = known.get(key)
            known[key] = replace(last, last_at=at) if last else Sighting(*key, first_at=at, last_at=at, came=came)
    return tuple(known.values())


def with_ages(model: ModelSnapshot, at: datetime, sightings: tuple[Sighting, ...]) -> ModelSnapshot:
    """Give the model with each replica's age since it answers: the shorter one of what it tells and what was seen."""
    known = {(one.pool, one.replica): one for one in sightings}

    def aged(pool: PoolSnapshot, replica: ReplicaSample) -> ReplicaSample:
        seen = known[(pool.pool, replica.name)]
        if replica.age is not None and (not seen.came or replica.age <= at - seen.first_at):
            return replica
        return replace(replica, age=at - seen.first_at)

    pools = (replace(pool, replicas=tuple(aged(pool, one) for one in pool.replicas)) for pool in model.pools)
    return replace(model, pools=tuple(pools))
