"""Recorded requests through a factory of one model, with what becomes of each and of the pools."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from aiops.model.profile import CapacityProfile
from aiops.simulate.cluster import Pool, ReplicaState
from aiops.simulate.factory import Factory
from aiops.simulate.faults.truth import Window
from aiops.simulate.kernel.layout import PREFILLED, Records
from aiops.simulate.requests import RequestBatch
from aiops.simulate.served_model import ServedModel
from aiops.simulate.spec import FactorySpec
from aiops.simulate.tables.outcome_csv import OutcomeBatch
from aiops.simulate.tables.replica_csv import ReplicaRow

ROW_S = 15.0  # how often the pools are looked at
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)  # any midnight: only a load with a day curve looks at it
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
    until_s: float = 0.0,
    on_ended: Callable[[OutcomeBatch, Sequence[str]], None],
    on_pools: Callable[[ReplicaRow], None],
    on_truth: Callable[[Sequence[Window]], None] = lambda _: None,
) -> tuple[PoolCost, ...]:
    """Serve all requests, and run until ``until_s`` at least.

    What ended is told as it ends, with all replicas' names so far; each pool at time 0, at each change and every 15 s;
    at the end what went wrong. A pair's request is told with its prefill replica. Raises ValueError where requests can
    never be answered.
    """

    def source() -> tuple[RequestBatch, int] | None:
        batch = next(batches, None)
        return None if batch is None else (batch, int(batch.arrival_ps[-1]))

    factory = Factory((spec,), profiles, seed, EPOCH, source=source, shared=prefixes)
    (model,) = factory.models
    rows = _Rows(model, on_pools)
    model.on_outcomes = lambda ended: on_ended(_told(ended), model.engine_names)
    model.on_change = rows.look
    rows.look(0.0)
    progress, moved = 0, factory.now
    while not model.served or factory.now_s < until_s:
        factory.advance(factory.now + timedelta(seconds=ROW_S))
        rows.look(factory.now_s)
        done = model.ledger.ended
        if done > progress or not model.fleet.in_flight:
            progress, moved = done, factory.now
        elif factory.now - moved > _STUCK:
            raise ValueError(f"{model.fleet.in_flight} requests can never be answered: no replica is there for them")
    rows.finish()
    on_truth(model.faults.truth())
    end_s = max(model.last_end_s, until_s)
    return tuple(
        PoolCost(pool.ref.name, hours, hours * pool.gpus, pool.preemptions)
        for pool in model.pools
        for hours in [pool.paid_s(end_s) / 3600]
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


class _Rows:
    """Rows of ``replicas.csv``: how the pools are at each time looked at, in order; of a time only the last look."""

    def __init__(self, model: ServedModel, on_pools: Callable[[ReplicaRow], None]) -> None:
        self._model = model
        self._on_pools = on_pools
        self._latest: list[ReplicaRow] = []

    def look(self, now_s: float) -> None:
        """Look at the model's pools."""
        if self._latest and now_s > self._latest[0].t_s:
            self.finish()
        self._model.settle()
        self._latest = [_row(pool, now_s) for pool in self._model.pools]

    def finish(self) -> None:
        """Tell of the latest look too."""
        for row in self._latest:
            self._on_pools(row)


def _row(pool: Pool, now_s: float) -> ReplicaRow:
    live = [replica.engine for replica in pool.replicas if replica.live]
    blocks = pool.fleet.pools[pool.number].engines.blocks * len(live)
    used = sum(pool.fleet.used_blocks(number) for number in live)
    return ReplicaRow(
        t_s=now_s,
        pool=pool.ref.name,
        ready_replicas=len(pool.in_state(ReplicaState.READY)),
        paid_replicas=sum(replica.bound_at_s is not None for replica in pool.replicas),
        starting=len(pool.in_state(ReplicaState.PENDING, ReplicaState.STARTING, ReplicaState.DOWN)),
        draining=len(pool.in_state(ReplicaState.DRAINING)),
        running=int(pool.fleet.engines["running"][np.array(live, dtype=np.int64)].sum()),
        waiting=pool.queued + sum(pool.fleet.waiting(n) + pool.fleet.fetching(n) for n in live),
        kv_usage_ratio=used / blocks if blocks else 0.0,
    )
