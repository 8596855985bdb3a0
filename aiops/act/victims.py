"""Lets those replicas leave first that the plan chose, where Kubernetes lets itself be told."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from aiops.act.deletion_cost import DeletionCosts, Marked, PodCost
from aiops.model.cluster import ClusterView
from aiops.model.decision import Decision, Outcome
from aiops.model.refs import PoolRef


@dataclass(frozen=True, slots=True)
class _Marks:
    """The pods of a pool that were given a cost, and when."""

    pods: frozenset[str]
    at: datetime


class VictimActuator:
    """Marks the victims of a decision, and then scales; fits ``control.protocols.Actuator``.

    Only victims get a cost, one below the 0 that every other pod counts as, so a scale-down of three costs three writes
    however many pods there are, and nothing stays behind on those that live on. Where the right to mark is missing that
    is told once, and the pool shrinks as Kubernetes would have it. For any other reason a scale-down is refused: it is
    wanted again in the next cycle. ``scale`` carries the decision out, ``may_write`` says who leads.
    """

    def __init__(
        self,
        scale: Callable[[Decision], Outcome],
        costs: DeletionCosts,
        may_write: Callable[[], bool],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._scale, self._costs, self._may_write, self._now = scale, costs, may_write, now
        self._marks: dict[PoolRef, _Marks] = {}
        self._swept: set[str] = set()
        self._told: set[str] = set()

    def apply(self, decision: Decision) -> Outcome:
        """Mark the victims if the pool shrinks, and ask for ``decision.desired`` replicas."""
        if decision.change < 0 and decision.victims:
            marked = self._mark(decision)
            if marked.problem and not marked.forbidden:
                error = f"which pods of {decision.pool} shall leave could not be told: {marked.problem}"
                return Outcome(decision.pool, self._now(), decision.desired or 0, applied=False, error=error)
        return self._scale(decision)

    def settle(self, view: ClusterView | None, namespaces: Iterable[str]) -> None:
        """Take costs back: once those that a former process left, and those whose scale-down is over or was refused.

        ``view`` is a look at the cluster. A cost stays until one that was taken after it shows no more pods than are
        asked for: before, the ReplicaSet controller may not have chosen yet.
        """
        if not self._may_write():
            self._swept.clear()
            self._marks.clear()
            return
        for namespace in namespaces:
            self._sweep(namespace)
        for pool, marks in list(self._marks.items()):
            if view is not None and not view.problem and view.at > marks.at and _chosen(view, pool):
                self._taken_back(pool, marks)

    def _mark(self, decision: Decision) -> Marked:
        pool, victims = decision.pool, decision.victims
        self._sweep(pool.namespace)
        formerly = self._marks[pool].pods if pool in self._marks else frozenset()
        costs = [PodCost(victim.replica, place - len(victims)) for place, victim in enumerate(victims)]
        # Kept even where marking fails halfway: what was written must go again.
        self._marks[pool] = _Marks(frozenset(cost.pod for cost in costs) | formerly, self._now())
        marked = self._costs.mark(pool.namespace, costs, formerly)
        # A look that began before the last write may not show it.
        self._marks[pool] = _Marks(self._marks[pool].pods, self._now())
        self._tell(marked)
        return marked

    def _sweep(self, namespace: str) -> None:
        if namespace not in self._swept and not any(pool.namespace == namespace for pool in self._marks):
            cleared = self._costs.clear(namespace)
            self._tell(cleared)
            if not cleared.problem or cleared.forbidden:
                self._swept.add(namespace)

    def _taken_back(self, pool: PoolRef, marks: _Marks) -> None:
        cleared = self._costs.clear(pool.namespace, sorted(marks.pods))
        self._tell(cleared)
        if not cleared.problem or cleared.forbidden:
            del self._marks[pool]

    def _tell(self, marked: Marked) -> None:
        if marked.forbidden and marked.problem not in self._told:
            self._told.add(marked.problem)
            structlog.get_logger().warning(
                "which pods leave first cannot be told, so Kubernetes chooses", problem=marked.problem
            )


def _chosen(view: ClusterView, pool: PoolRef) -> bool:
    """Whether the pods that leave are seen to leave, or none shall."""
    target = view.target(pool)
    return target is None or sum(pod.deleting_since is None for pod in target.pods) <= target.replicas
