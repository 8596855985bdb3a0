"""What a factory has done and what it cost."""

from dataclasses import dataclass

from aiops.model.refs import ModelRef, PoolRef
from aiops.simulate.cluster import Pool
from aiops.simulate.served_model import ServedModel


@dataclass(frozen=True, slots=True)
class PoolTotals:
    """What a pool cost: hours from binding to deletion, loading and draining included."""

    pool: PoolRef
    replica_hours: float
    gpu_hours: float
    scale_events: int
    cancelled_orders: int


@dataclass(frozen=True, slots=True)
class RequestTotals:
    """What became of requests.

    A hit had its TTFT and its mean ITL within the objectives. ``overdue`` are in flight and can be no hit any more;
    ``lost`` failed, were refused or timed out. ``attainment_ratio`` is hits over those whose fate is known (finished,
    overdue and lost), None before the first.
    """

    requests: int
    finished: int
    lost: int
    overdue: int
    hits: int
    attainment_ratio: float | None

    @property
    def hit_ratio(self) -> float | None:
        """Hits over all arrivals: what is still under way is no hit. None where nothing arrived."""
        return self.hits / self.requests if self.requests else None


@dataclass(frozen=True, slots=True)
class ModelTotals:
    """One model's requests and pools."""

    ref: ModelRef
    requests: RequestTotals
    pools: tuple[PoolTotals, ...]


@dataclass(frozen=True, slots=True)
class FactorySummary:
    """All models together, each request counting the same, and each model alone."""

    duration_s: float
    requests: RequestTotals
    replica_hours: float
    gpu_hours: float
    scale_events: int
    cancelled_orders: int
    models: tuple[ModelTotals, ...]


def summarize(models: tuple[ServedModel, ...], now_s: float) -> FactorySummary:
    """Add up what happened until ``now_s``, in seconds since the factory's start."""
    totals = tuple(_model_totals(model, now_s) for model in models)
    pools = [pool for model in totals for pool in model.pools]
    requests = [model.requests for model in totals]
    return FactorySummary(
        duration_s=now_s,
        requests=_request_totals(
            sum(each.requests for each in requests),
            sum(each.finished for each in requests),
            sum(each.lost for each in requests),
            sum(each.overdue for each in requests),
            sum(each.hits for each in requests),
        ),
        replica_hours=sum(pool.replica_hours for pool in pools),
        gpu_hours=sum(pool.gpu_hours for pool in pools),
        scale_events=sum(pool.scale_events for pool in pools),
        cancelled_orders=sum(pool.cancelled_orders for pool in pools),
        models=totals,
    )


def _model_totals(model: ServedModel, now_s: float) -> ModelTotals:
    ledger, fleet = model.ledger, model.fleet
    lost = ledger.failed + ledger.refused + ledger.timed_out
    overdue = ledger.overdue(fleet.live_requests(), fleet.now_ps)
    requests = _request_totals(fleet.arrived, ledger.finished, lost, overdue, ledger.hits)
    return ModelTotals(model.ref, requests, tuple(_pool_totals(pool, now_s) for pool in model.pools))


def _pool_totals(pool: Pool, now_s: float) -> PoolTotals:
    hours = pool.paid_s(now_s) / 3600
    return PoolTotals(pool.ref, hours, hours * pool.gpus, pool.scale_events, pool.cancelled_orders)


def _request_totals(requests: int, finished: int, lost: int, overdue: int, hits: int) -> RequestTotals:
    known = finished + lost + overdue
    return RequestTotals(requests, finished, lost, overdue, hits, hits / known if known else None)
