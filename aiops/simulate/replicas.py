"""A replica as Kubernetes sees it, and the order in which replicas go where there are too many."""

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING

from aiops.simulate.nodes import Node

if TYPE_CHECKING:
    from aiops.simulate.cluster import Pool


class ReplicaState(StrEnum):
    """What a replica is at; from its binding to a node until it is gone it is paid for."""

    PENDING = "pending"
    """Ordered and not bound to a node: the scheduler has not looked yet, or no node has the GPUs free."""
    STARTING = "starting"
    READY = "ready"
    DOWN = "down"
    """Its container has died, or its node."""
    DRAINING = "draining"
    GONE = "gone"


class Replica:
    """One pod of a pool. Times are seconds since the factory's start.

    ``engine`` is -1 while no engine runs, ``incarnation`` says how many-eth of the fleet's engines the latest was,
    ``restarts`` how often its container has died.
    Where fewer replicas are wanted, one with a lower ``deletion_cost`` goes before one with a higher.
    """

    __slots__ = (
        "bound_at_s", "deletion_cost", "engine", "incarnation", "load_s", "name", "node", "ordered_at_s",
        "pool", "ready_at_s", "restarts", "revision", "schedulable", "slow_times", "state",
    )  # fmt: skip

    def __init__(self, pool: "Pool", name: str, ordered_at_s: float, load_s: float) -> None:
        self.pool = pool
        self.name = name
        self.engine = -1
        self.incarnation = -1
        self.state = ReplicaState.PENDING
        self.schedulable = False
        self.ordered_at_s = ordered_at_s
        self.bound_at_s: float | None = None
        self.ready_at_s = ordered_at_s
        self.load_s = load_s
        self.node: Node | None = None
        self.restarts = 0
        self.revision = pool.revision
        self.deletion_cost = 0
        self.slow_times = 1.0

    @property
    def live(self) -> bool:
        """Whether its engine answers."""
        return self.state in (ReplicaState.READY, ReplicaState.DRAINING)

    @property
    def unschedulable(self) -> bool:
        """Whether the scheduler found no node for it."""
        return self.state is ReplicaState.PENDING and self.schedulable


_PHASES = {ReplicaState.PENDING: 0, ReplicaState.STARTING: 1, ReplicaState.DOWN: 1, ReplicaState.READY: 2}


def first_to_go(replicas: Iterable[Replica]) -> list[Replica]:
    """Sort replicas as a ReplicaSet deletes them.

    Not bound before bound, not ready before ready, then the lower deletion cost, then those that share a node with more
    of them, then the younger. Source: ``ActivePodsWithRanks`` in ``pkg/controller/controller_utils.go``, whose ages are
    compared by powers of two and then at random; here the younger always goes.
    """
    chosen = list(replicas)
    together = Counter(id(replica.node) for replica in chosen if replica.node is not None)
    return sorted(
        chosen,
        key=lambda replica: (
            _PHASES[replica.state],
            replica.deletion_cost,
            -together[id(replica.node)],
            -replica.ready_at_s,
            -replica.restarts,
            -replica.ordered_at_s,
        ),
    )
