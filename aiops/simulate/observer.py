"""The factory as an observer sees it: the same nouns that a Prometheus observer fills."""

from datetime import timedelta
from math import ceil

import numpy as np
from numpy.typing import NDArray

from aiops.model.demand import DemandSource, TokenDemand
from aiops.model.policy import Bound
from aiops.model.refs import Role
from aiops.model.snapshot import Latency, ModelSnapshot, PoolSnapshot, ReplicaSample, Snapshot, StartingReplica
from aiops.simulate.cluster import Pool, Replica, ReplicaState
from aiops.simulate.counters import Counters, read_counters
from aiops.simulate.factory import Factory
from aiops.simulate.ledger import KEPT_S
from aiops.simulate.served_model import ServedModel

RATE_WINDOW_S = 60.0


class FactoryObserver:
    """Looks at a factory at its present time; fits the Observer Protocol.

    Rates are over the last minute, demand is what came to the router, and the size of a request is that of those that
    ended in the last five minutes. What did not happen in its window is None, and so is what a fault hides.
    """

    def __init__(self, factory: Factory) -> None:
        self._factory = factory
        self._looked_at_s = -1.0

    def observe(self) -> Snapshot:
        """Take one snapshot; cold starts are those that ended since the last one."""
        now_s = self._factory.now_s
        models = tuple(self._model(model, now_s) for model in self._factory.models)
        self._looked_at_s = now_s
        return Snapshot(at=self._factory.now, models=models)

    def _model(self, model: ServedModel, now_s: float) -> ModelSnapshot:
        model.settle()
        pools = tuple(self._pool(model, pool, now_s) for pool in model.pools)
        if not model.faults.gateway_answers:
            return ModelSnapshot(ref=model.ref, pools=pools, demand=None, latency=Latency())
        return ModelSnapshot(
            ref=model.ref, pools=pools, demand=_demand(model, pools, now_s), latency=_latency(model, now_s)
        )

    def _pool(self, model: ServedModel, pool: Pool, now_s: float) -> PoolSnapshot:
        return PoolSnapshot(
            pool=pool.ref,
            role=pool.role,
            variant=pool.variant,
            current=pool.wanted,
            replicas=tuple(_sample(model, replica, now_s) for replica in pool.in_state(ReplicaState.READY)),
            starting=tuple(
                StartingReplica(
                    replica.name,
                    self._factory.time(replica.ordered_at_s),
                    scheduled=replica.node is not None,
                    reason=f"waiting for nvidia.com/gpu: {pool.gpus}" if replica.unschedulable else "",
                )
                for replica in pool.in_state(ReplicaState.PENDING, ReplicaState.STARTING, ReplicaState.DOWN)
            ),
            draining=len(pool.in_state(ReplicaState.DRAINING)),
            cold_starts_s=tuple(taken_s for ready_s, taken_s in pool.started if ready_s > self._looked_at_s),
        )


def _sample(model: ServedModel, replica: Replica, now_s: float) -> ReplicaSample:
    if not model.faults.answers(replica):
        return ReplicaSample(replica.name)
    fleet, number, prefill = model.fleet, replica.engine, replica.pool.role is Role.PREFILL
    present = read_counters(fleet.engines, number, now_s, prefill=prefill)
    added = present.since(_baseline(model, replica, now_s, prefill=prefill))
    shown, seconds, settings = fleet.shown(number), added.at_s, fleet.pools[replica.pool.number].engines
    return ReplicaSample(
        name=replica.name,
        age=timedelta(seconds=now_s - replica.ready_at_s),
        running=float(shown.running),
        waiting=float(shown.waiting + shown.fetching),
        kv_usage_ratio=shown.kv_usage_ratio,
        kv_tokens=settings.kv_tokens,
        preemptions_per_s=_over(added.preemptions, seconds),
        prefix_queries_tok_per_s=_over(added.queried_tokens, seconds),
        prefix_hits_tok_per_s=_over(added.hit_tokens, seconds),
        prompt_tok_per_s=_over(added.prompt_tokens, seconds),
        generation_tok_per_s=_over(added.generated_tokens, seconds),
        finished_per_s=_over(added.finished, seconds),
        ttft_mean_s=_over(added.ttft_sum_s, added.ttft_count),
        itl_mean_s=_over(added.itl_sum_s, added.itl_count),
    )


def _baseline(model: ServedModel, replica: Replica, now_s: float, *, prefill: bool) -> Counters:
    """Give the latest counters that are a window old; of a younger replica, the zeros it began with."""
    for at_s, engines in reversed(model.marks):
        if replica.ready_at_s <= at_s <= now_s - RATE_WINDOW_S:
            return read_counters(engines, replica.engine, at_s, prefill=prefill)
    return Counters(replica.ready_at_s)


def _demand(model: ServedModel, pools: tuple[PoolSnapshot, ...], now_s: float) -> TokenDemand | None:
    seconds, arrived, _ = model.ledger.window(now_s, RATE_WINDOW_S, model.fleet.arrived)
    if not seconds:
        return None
    _, _, ended = model.ledger.window(now_s, KEPT_S, model.fleet.arrived)
    waiting = {pool.role: _waiting(pool) for pool in model.pools}
    computing = [replica for pool in pools if pool.role is not Role.DECODE for replica in pool.replicas]
    queries = sum(replica.prefix_queries_tok_per_s or 0.0 for replica in computing)
    hits = sum(replica.prefix_hits_tok_per_s or 0.0 for replica in computing)
    return TokenDemand(
        requests_per_s=arrived / seconds,
        input_tokens_per_request=float(ended[:, 2].mean()) if len(ended) else None,
        output_tokens_per_request=float(ended[:, 3].mean()) if len(ended) else None,
        window=timedelta(seconds=seconds),
        source=DemandSource.GATEWAY,
        cached_ratio=_over(hits, queries),
        backlog_requests=sum(waiting.values()),
        prefill_backlog_requests=waiting.get(Role.PREFILL),
        decode_backlog_requests=waiting.get(Role.DECODE),
    )


def _waiting(pool: Pool) -> float:
    """Count what waits for a place, at the gateway and in the engines; KV that is on its way waits for none."""
    return float(
        pool.queued + sum(pool.fleet.shown(replica.engine).waiting for replica in pool.replicas if replica.live)
    )


def _latency(model: ServedModel, now_s: float) -> Latency:
    _, _, ended = model.ledger.window(now_s, RATE_WINDOW_S, model.fleet.arrived)
    if not len(ended):
        return Latency()
    objectives = model.ledger.objectives
    ttft_s, ttft_ratio = _against(ended[:, 0], objectives.ttft)
    itl_s, itl_ratio = _against(ended[:, 1], objectives.itl)
    return Latency(ttft_s, itl_s, ttft_ratio, itl_ratio)


def _against(seconds: NDArray[np.float64], objective: Bound) -> tuple[float, float]:
    """Give the objective's percentile (nearest rank) and the share within its bound."""
    rank = ceil(objective.attainment * len(seconds) - 1e-9) - 1
    return float(np.partition(seconds, rank)[rank]), float((seconds <= objective.bound_s).mean())


def _over(amount: float, divisor: float) -> float | None:
    return amount / divisor if divisor else None
