"""What the whole fleet may lose within an hour, dealt fairly over its models."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from aiops.model.cycle import Cycle
from aiops.model.fleet_policy import FleetSpec
from aiops.model.mark import Mark
from aiops.model.policy import Mode
from aiops.plan.state import ModelMemory, PoolMemory, State

HOUR_S = 3600.0
MOVES = frozenset({Mode.EMIT, Mode.ACT})
"""The modes in which the plan's numbers take replicas away."""


@dataclass(frozen=True, slots=True)
class Removals:
    """What one model would take away from each of its pools, and how much its users matter (``priority``)."""

    priority: int
    pools: tuple[int, ...]


def removed_between(before: ModelMemory, after: ModelMemory) -> int:
    """Count the replicas that the pools of a model lost from one look to the next, whoever took them.

    Those that had found no node are no loss.
    """
    pairs = ((before.pool(pool.pool), pool.current) for pool in after.pools)
    return sum(
        max(0, had - was.unplaced - has)
        for was, has in pairs
        if (had := was.last_known if was.current is None else was.current) is not None and has is not None
    )


def within_the_hour(removals: Sequence[Mark], now_s: float) -> tuple[Mark, ...]:
    """Give the removals of the last hour."""
    return tuple(mark for mark in removals if mark.at_s > now_s - HOUR_S)


def still_removable(
    fleet: FleetSpec, present: int, removals: Sequence[Mark], now_s: float, counted_since_s: float | None
) -> int | None:
    """Give how many of the replicas that are ``present`` may still go; None where no bound is set.

    What went before anybody counted is not known. So a process without a past may remove half of the bound within its
    first half hour: however often it is started anew, the bound holds for the time that it ran.
    """
    watched_s = 0.0 if counted_since_s is None else now_s - counted_since_s
    removed = sum(mark.replicas for mark in within_the_hour(removals, now_s))
    return fleet.may_remove(present, removed, known=min(1.0, watched_s / HOUR_S))


def recall(state: State, last: Cycle, at: datetime) -> State:
    """Let a state go on counting where a process stopped whose ``last`` cycle is less than an hour old.

    What went since then is counted at the first look, by the numbers that were seen last.
    """
    if not timedelta(0) <= at - last.at < timedelta(seconds=HOUR_S):
        return state
    models = {memory.ref: memory for memory in state.models}
    for model in last.models:
        unplaced = {pool.pool: pool.unplaced for pool in model.pools}
        pools = (
            PoolMemory(one.pool, unplaced=unplaced.get(one.pool, 0), last_known=one.current) for one in model.decisions
        )
        models[model.ref] = replace(models.get(model.ref, ModelMemory(model.ref)), pools=tuple(pools))
    fleet = last.fleet
    return replace(state, models=tuple(models.values()), removals=fleet.removals, counted_since_s=fleet.counted_since_s)


def deal(wanted: Sequence[Removals], allowed: int | None) -> tuple[tuple[int, ...], ...]:
    """Give each model what it may take away, in the order of ``wanted``: one replica each in turn, while any are left.

    The turn begins where users matter least. Within a model the pool goes first that would lose the most.

    >>> deal([Removals(100, (5,)), Removals(1, (1,))], 3)
    ((2,), (1,))
    """
    if allowed is None:
        return tuple(one.pools for one in wanted)
    left = [list(one.pools) for one in wanted]
    turns = sorted(range(len(wanted)), key=lambda i: wanted[i].priority)
    while allowed > 0 and any(map(any, left)):
        for i in turns:
            if allowed > 0 and any(left[i]):
                left[i][left[i].index(max(left[i]))] -= 1
                allowed -= 1
    return tuple(
        tuple(want - rest for want, rest in zip(one.pools, rests, strict=True))
        for one, rests in zip(wanted, left, strict=True)
    )
