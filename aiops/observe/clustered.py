"""One snapshot of two worlds: what Prometheus measures, and what Kubernetes says of the same pools."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

import structlog

from aiops.model.cluster import ClusterView, TargetView
from aiops.model.snapshot import PoolSnapshot, Snapshot, StartingReplica

_SCALERS = ("horizontalpodautoscalers", "scaledobjects")


class SnapshotSource(Protocol):
    """Gives what the metrics show."""

    def observe(self, view: ClusterView | None = None) -> Snapshot:
        """Take one snapshot, knowing what Kubernetes says of the pods."""
        ...


@dataclass(slots=True)
class ClusteredObserver:
    """Puts what the cluster says into the snapshot of the metrics; fits ``control.protocols.Observer``.

    Where a cluster is connected only it may say how many replicas are asked for: while it does not answer, the number
    is not known, and nothing is changed. What it lacks rights for is logged once.
    """

    metrics: SnapshotSource
    read: Callable[[], ClusterView]
    view: ClusterView | None = None
    """The last look at the cluster."""
    _looked_at: datetime | None = field(default=None, init=False)
    _told: tuple[str, ...] = field(default=(), init=False)

    def observe(self) -> Snapshot:
        """Take one frozen snapshot."""
        view = self.read()
        snapshot = self.metrics.observe(view)
        self._tell(view)
        models = tuple(
            replace(model, pools=tuple(merged(pool, view, self._looked_at) for pool in model.pools))
            for model in snapshot.models
        )
        self.view = view
        if not view.problem:
            self._looked_at = view.at
        return replace(snapshot, models=models)

    def _tell(self, view: ClusterView) -> None:
        problems = tuple(
            [view.problem] * bool(view.problem)
            + [f"{pool.kind} {pool} does not exist" for pool in view.missing]
            + [f"not allowed: {rule}" for rule in view.forbidden]
            + [each.override_problem for each in view.targets if each.override_problem]
        )
        log = structlog.get_logger()
        for problem in problems:
            if problem not in self._told:
                log.warning("the cluster is not seen as a whole", problem=problem)
        if self._told and not problems:
            log.info("the cluster is seen as a whole again")
        self._told = problems


def merged(pool: PoolSnapshot, view: ClusterView, since: datetime | None) -> PoolSnapshot:
    """Give a pool as the cluster has it; ``since`` is the last look, from which on ended starts are told."""
    target = view.target(pool.pool)
    if target is None:
        return _unseen(pool, view)
    return replace(
        pool,
        current=target.replicas,
        current_inferred=False,
        starting=_starting(target),
        draining=sum(pod.deleting_since is not None for pod in target.pods),
        cold_starts_s=_cold_starts_s(target, since),
        target=_owned(target, view),
    )


def _unseen(pool: PoolSnapshot, view: ClusterView) -> PoolSnapshot:
    """Give a pool whose target was not read: if rights lack, what the metrics count still stands, but not to act on."""
    if view.problem or pool.pool in view.missing or not view.forbidden or pool.current is None:
        return replace(pool, current=None, current_inferred=False)
    nobody_knows = f"unknown: {view.forbidden[0]}"
    return replace(pool, target=TargetView(pool.pool, pool.current, "", scaled_by=nobody_knows))


def _owned(target: TargetView, view: ClusterView) -> TargetView:
    """Take a target whose other scalers may not be listed for another's: nobody can say that it is not."""
    unseen = [rule for rule in view.forbidden if any(scaler in rule for scaler in _SCALERS)]
    return replace(target, scaled_by=f"unknown: {unseen[0]}") if unseen and not target.scaled_by else target


def _starting(target: TargetView) -> tuple[StartingReplica, ...]:
    return tuple(
        StartingReplica(pod.name, pod.created_at, pod.scheduled_at is not None, pod.pending_reason)
        for pod in target.pods
        if pod.ready_at is None and pod.deleting_since is None and not pod.restarts
    )


def _cold_starts_s(target: TargetView, since: datetime | None) -> tuple[float, ...]:
    """Give the starts that ended since; of a pod that restarted nobody knows when it was ordered."""
    if since is None:
        return ()
    return tuple(
        (pod.ready_at - pod.created_at).total_seconds()
        for pod in target.pods
        if pod.ready_at is not None and pod.ready_at > since and not pod.restarts
    )
