"""The replicas of a pool and what becomes of them: ordered, ready, draining, gone."""

from collections import deque
from collections.abc import Callable
from enum import StrEnum
from hashlib import sha256
from math import exp, log

from aiops.model.policy import ColdStart
from aiops.model.refs import PoolRef, Role
from aiops.simulate.fleet import VirtualFleet
from aiops.simulate.load.sources import Draws
from aiops.simulate.requests import PS

_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # Kubernetes makes the ends of pod names from these
_Z90 = 1.2815515655446004  # the standard normal's 0.9 quantile

At = Callable[[float, Callable[[], None]], None]
"""Has something done at a time, in seconds since the factory's start."""


class ReplicaState(StrEnum):
    """What a replica is at; all but ``gone`` are paid for."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    GONE = "gone"


class Replica:
    """One pod of a pool. Times are seconds since the factory's start; ``engine`` is -1 until it is ready.

    Where fewer are wanted, a replica with a lower ``deletion_cost`` goes before one with a higher.
    """

    __slots__ = ("deletion_cost", "engine", "incarnation", "name", "ordered_at_s", "pool", "ready_at_s", "state")

    def __init__(self, pool: "Pool", name: str, ordered_at_s: float) -> None:
        self.pool = pool
        self.name = name
        self.engine = -1
        self.incarnation = -1
        self.state = ReplicaState.STARTING
        self.ordered_at_s = ordered_at_s
        self.ready_at_s = ordered_at_s
        self.deletion_cost = 0

    @property
    def live(self) -> bool:
        """Whether its engine answers."""
        return self.state in (ReplicaState.READY, ReplicaState.DRAINING)


class Pool:
    """A Deployment: ``wanted`` replicas, and those there are; ``number`` is the pool's in the fleet."""

    def __init__(
        self, ref: PoolRef, variant: str, gpus: int, fleet: VirtualFleet, number: int, cold_start: ColdStart,
        affinity: float, seed: int, at: At,
    ) -> None:  # fmt: skip
        self.ref = ref
        self.variant = variant
        self.gpus = gpus
        self.fleet = fleet
        self.number = number
        self.wanted = 0
        self.replicas: list[Replica] = []
        self.started: deque[tuple[float, float]] = deque(maxlen=1000)
        """(ready at, seconds from order to ready) of the latest starts."""
        self.scale_events = 0
        self.cancelled_orders = 0
        self.gone_preemptions = 0
        self._gone_paid_s = 0.0
        self._affinity = affinity
        self._at = at
        p50_s, p90_s = cold_start.p50.total_seconds(), cold_start.p90.total_seconds()
        self._log_start = log(p50_s)
        self._log_start_spread = log(p90_s / p50_s) / _Z90
        draws = Draws(seed, str(ref))
        self._starts = draws.of("cold starts")
        self._names = draws.of("names")
        self._template_hash = sha256(str(ref).encode()).hexdigest()[:10]

    @property
    def role(self) -> Role:
        """What its replicas do."""
        return self.fleet.pools[self.number].role

    @property
    def queued(self) -> int:
        """How many requests wait at the gateway for it."""
        return self.fleet.queued(self.number)

    def in_state(self, state: ReplicaState) -> list[Replica]:
        """Give the replicas at a state, oldest order first."""
        return [replica for replica in self.replicas if replica.state is state]

    def fill(self, replicas: int) -> None:
        """Put replicas there that are ready."""
        self.wanted = replicas
        for _ in range(replicas):
            replica = Replica(self, self._name(), 0.0)
            self.replicas.append(replica)
            self._open(replica, 0.0)

    def price(self) -> None:
        """Set what it costs to delete each replica: the work that is in it."""
        for replica in self.in_state(ReplicaState.READY):
            replica.deletion_cost = int(self.fleet.engines[replica.engine]["load"])

    def scale(self, wanted: int, now_s: float) -> None:
        """Set the wanted replicas.

        Down, replicas that are still loading go first (the latest order first), then those that cost least to delete
        (the youngest first), which drain. A draining replica never comes back.
        """
        if wanted != self.wanted:
            self.scale_events += 1
        self.wanted = wanted
        starting, ready = self.in_state(ReplicaState.STARTING), self.in_state(ReplicaState.READY)
        surplus = len(starting) + len(ready) - wanted
        for _ in range(-surplus):
            self._order(now_s)
        if surplus <= 0:
            return
        cancelled = starting[::-1][:surplus]
        self.cancelled_orders += len(cancelled)
        for replica in cancelled:
            self._remove(replica, now_s)
        by_cost = sorted(ready, key=lambda replica: (replica.deletion_cost, -replica.ready_at_s))
        for replica in by_cost[: surplus - len(cancelled)]:
            replica.state = ReplicaState.DRAINING
            self.fleet.close(replica.engine)
        self._cling()

    def remove_drained(self) -> None:
        """Delete the draining replicas that have nothing left to do."""
        for replica in self.in_state(ReplicaState.DRAINING):
            if self.fleet.idle(replica.engine):
                self._remove(replica, int(self.fleet.engines[replica.engine]["idle_since"]) / PS)

    def paid_s(self, now_s: float) -> float:
        """Give the replica-seconds paid for: from order to deletion, loading and draining included."""
        return self._gone_paid_s + sum(now_s - replica.ordered_at_s for replica in self.replicas)

    @property
    def preemptions(self) -> int:
        """How many requests its engines have preempted so far."""
        live = [replica.engine for replica in self.replicas if replica.live]
        return self.gone_preemptions + int(self.fleet.engines["preemptions"][live].sum())

    def _order(self, now_s: float) -> None:
        replica = Replica(self, self._name(), now_s)
        self.replicas.append(replica)
        ready_at_s = now_s + exp(self._log_start + self._log_start_spread * self._starts.standard_normal())
        self._at(ready_at_s, lambda: self._become_ready(replica, ready_at_s))

    def _become_ready(self, replica: Replica, now_s: float) -> None:
        if replica.state is ReplicaState.STARTING:
            self._open(replica, now_s)
            self.started.append((now_s, now_s - replica.ordered_at_s))

    def _open(self, replica: Replica, now_s: float) -> None:
        replica.state, replica.ready_at_s = ReplicaState.READY, now_s
        replica.engine = self.fleet.add_engine(self.number)
        replica.incarnation = int(self.fleet.engines[replica.engine]["incarnation"])
        self.fleet.open(replica.engine)
        self._cling()

    def _cling(self) -> None:
        ready = self.in_state(ReplicaState.READY)
        if self._affinity and ready:
            self.fleet.stick(self.number, ready[0].engine, self._affinity)

    def _remove(self, replica: Replica, now_s: float) -> None:
        if replica.live:
            self.gone_preemptions += int(self.fleet.engines[replica.engine]["preemptions"])
            self.fleet.remove_engine(replica.engine)
        replica.state = ReplicaState.GONE
        self.replicas.remove(replica)
        self._gone_paid_s += now_s - replica.ordered_at_s

    def _name(self) -> str:
        suffix = "".join(_SUFFIX_LETTERS[i] for i in self._names.integers(0, len(_SUFFIX_LETTERS), 5))
        return f"{self.ref.name}-{self._template_hash}-{suffix}"
