"""Recorded requests through a factory of one model, with what becomes of each and of the pools."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from aiops.model.profile import CapacityProfile
from aiops.simulate.cluster import Pool, ReplicaState
from aiops.simulate.factory import Factory
from aiops.simulate.kernel.layout import PREFILLED, Records
from aiops.simulate.requests import RequestBatch
from aiops.simulate.served_model import ServedModel
from aiops.simulate.spec import FactorySpec
from aiops.simulate.tables.outcome_csv import OutcomeBatch
from aiops.simulate.tables.replica_csv import ReplicaRow

ROW_S = 15.0  # how often the pools are looked at
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)  # any: the requests bring their own times
_STUCK = timedelta(days=1)  # nobody was answered for so long, so nobody ever will be


@dataclass(frozen=True, slots=True)
class PoolCost:
    """What a pool cost and suffered."""

    name: str
    replica_hours: float
    gpu_hours: float
    preemptions: int


def replay_requests(
    spec: FactorySpec,
    profiles: Mapping[str, CapacityProfile],
    batches: Iterator[RequestBatch],
    *,
    prefixes: bool,
    seed: int,
    on_ended: Callable[[OutcomeBatch, Sequence[str]], None],
    on_pools: Callable[[ReplicaRow], None],
) -> tuple[PoolCost, ...]:
    """Serve all requests; what ended is told as it ends, with all replicas' names so far, and each pool every 15 s.

    A pair's request is told with its prefill replica. Raises ValueError where requests can never be answered.
    """

    def source() -> tuple[RequestBatch, int] | None:
        batch = next(batches, None)
        return None if batch is None else (batch, int(batch.arrival_ps[-1]))

    factory = Factory((spec,), profiles, seed, _EPOCH, source=source, shared=prefixes)
    (model,) = factory.models
    names: list[str] = []
    rows = _Rows(on_pools)
    model.on_outcomes = lambda ended: on_ended(_told(ended), _named(model, names))
    rows.tell(model, 0.0)
    progress, moved = 0, factory.now
    while not model.served:
        factory.advance(factory.now + timedelta(seconds=ROW_S))
        rows.tell(model, factory.now_s)
        done = model.ledger.ended
        if done > progress or not model.fleet.in_flight:
            progress, moved = done, factory.now
        elif factory.now - moved > _STUCK:
            raise ValueError(f"{model.fleet.in_flight} requests can never be answered: no replica is there for them")
    end_s = model.last_end_s
    return tuple(
        PoolCost(pool.ref.name, hours, hours * pool.gpus, pool.preemptions)
        for pool in model.pools
        for hours in [pool.paid_s(max(end_s, 0.0)) / 3600]
    )


def _told(rows: Records) -> OutcomeBatch:
    rows = rows[rows["kind"] != PREFILLED]
    return OutcomeBatch(
        number=rows["number"],
        arrival_ps=rows["arrival"],
        input_tokens=rows["prompt"],
        output_tokens=rows["output"],
        scheduled_ps=rows["scheduled"],
        first_token_ps=rows["first_token"],
        finish_ps=rows["finish"],
        replica=rows["engine"],
        cached_tokens=rows["cached"],
        status=rows["kind"],
    )


def _named(model: ServedModel, names: list[str]) -> list[str]:
    for replica in model.replicas():
        if replica.incarnation >= 0:
            names += [""] * (replica.incarnation + 1 - len(names))
            names[replica.incarnation] = replica.name
    return names


class _Rows:
    """Rows of ``replicas.csv``: at the start, at each change and every 15 s."""

    def __init__(self, on_pools: Callable[[ReplicaRow], None]) -> None:
        self._on_pools = on_pools

    def tell(self, model: ServedModel, now_s: float) -> None:
        """Tell of each pool of a model."""
        model.settle()
        for pool in model.pools:
            self._on_pools(_row(pool, now_s))


def _row(pool: Pool, now_s: float) -> ReplicaRow:
    live = [replica.engine for replica in pool.replicas if replica.live]
    blocks = pool.fleet.pools[pool.number].engines.blocks * len(live)
    used = sum(pool.fleet.used_blocks(number) for number in live)
    counts = {state: len(pool.in_state(state)) for state in ReplicaState}
    return ReplicaRow(
        t_s=now_s,
        pool=pool.ref.name,
        ready_replicas=counts[ReplicaState.READY],
        paid_replicas=len(pool.replicas),
        starting=counts[ReplicaState.STARTING],
        draining=counts[ReplicaState.DRAINING],
        running=int(pool.fleet.engines["running"][np.array(live, dtype=np.int64)].sum()),
        waiting=pool.queued + sum(pool.fleet.waiting(n) + pool.fleet.fetching(n) for n in live),
        kv_usage_ratio=used / blocks if blocks else 0.0,
    )
