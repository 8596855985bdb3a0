"""The replicas of a pool and what becomes of them: ordered, ready, draining, gone."""

from collections import deque
from enum import StrEnum
from hashlib import sha256
from math import exp, log

from aiops.model.policy import ColdStart
from aiops.model.refs import PoolRef, Role
from aiops.simulate.counters import Counters
from aiops.simulate.engine import Engine, EngineSettings
from aiops.simulate.request import Request
from aiops.simulate.router import Router
from aiops.simulate.workload import stream

_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # Kubernetes makes the ends of pod names from these
_Z90 = 1.2815515655446004  # the standard normal's 0.9 quantile
_MARKS = 6  # counters every 15 s, for rates over a minute


class ReplicaState(StrEnum):
    """What a replica is at; all but ``gone`` are paid for."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    GONE = "gone"


class Replica:
    """One pod of a pool. Times are seconds since the factory's start."""

    __slots__ = ("engine", "marks", "name", "ordered_at_s", "pool", "ready_at_s", "state")

    def __init__(self, pool: "Pool", name: str, engine: Engine, ordered_at_s: float) -> None:
        self.pool = pool
        self.name = name
        self.engine = engine
        self.state = ReplicaState.STARTING
        self.ordered_at_s = ordered_at_s
        self.ready_at_s = ordered_at_s
        self.marks: deque[Counters] = deque(maxlen=_MARKS)

    @property
    def live(self) -> bool:
        """Whether its engine answers."""
        return self.state in (ReplicaState.READY, ReplicaState.DRAINING)


class Pool:
    """A Deployment: ``wanted`` replicas, and those there are.

    ``ready`` holds the replicas that take requests, oldest first; ``queue`` the requests that wait at the gateway
    because there is none.
    """

    def __init__(
        self,
        ref: PoolRef,
        variant: str,
        gpus: int,
        settings: EngineSettings,
        router: Router,
        cold_start: ColdStart,
        seed: int,
    ) -> None:
        self.ref = ref
        self.variant = variant
        self.gpus = gpus
        self.settings = settings
        self.router = router
        self.wanted = 0
        self.replicas: list[Replica] = []
        self.ready: list[Replica] = []
        self.queue: deque[Request] = deque()
        self.started: deque[tuple[float, float]] = deque(maxlen=1000)
        """(ready at, seconds from order to ready) of the latest starts."""
        self.scale_events = 0
        self.cancelled_orders = 0
        self._gone_paid_s = 0.0
        p50_s, p90_s = cold_start.p50.total_seconds(), cold_start.p90.total_seconds()
        self._log_start = log(p50_s)
        self._log_start_spread = log(p90_s / p50_s) / _Z90
        self._starts = stream(seed, f"{ref} cold starts")
        self._names = stream(seed, f"{ref} names")
        self._template_hash = sha256(str(ref).encode()).hexdigest()[:10]

    @property
    def role(self) -> Role:
        """What its replicas do."""
        return self.settings.role

    def in_state(self, state: ReplicaState) -> list[Replica]:
        """Give the replicas at a state, oldest order first."""
        return [replica for replica in self.replicas if replica.state is state]

    def fill(self, replicas: int) -> None:
        """Put replicas there that have served before: ready, with a warm cache."""
        self.wanted = replicas
        for _ in range(replicas):
            replica = Replica(self, self._name(), Engine(self.settings, warm=True), 0.0)
            replica.state = ReplicaState.READY
            self.replicas.append(replica)
            self.ready.append(replica)

    def scale(self, wanted: int, now_s: float) -> list[tuple[float, Replica]]:
        """Set the wanted replicas; give those ordered, each with the time at which it will be ready.

        Down, replicas that are still loading go first (the latest order first), then those with the least load, which
        drain. A draining replica never comes back.
        """
        if wanted == self.wanted:
            return []
        self.wanted = wanted
        self.scale_events += 1
        starting = self.in_state(ReplicaState.STARTING)
        surplus = len(starting) + len(self.ready) - wanted
        if surplus < 0:
            return [self._order(now_s) for _ in range(-surplus)]
        cancelled = starting[::-1][:surplus]
        self.cancelled_orders += len(cancelled)
        for replica in cancelled:
            self._remove(replica, now_s)
        by_load = sorted(self.ready, key=lambda replica: (replica.engine.load, -replica.ready_at_s))
        for replica in by_load[: surplus - len(cancelled)]:
            self.ready.remove(replica)
            replica.state = ReplicaState.DRAINING
            self.remove_drained(replica, now_s)
        return []

    def become_ready(self, replica: Replica, now_s: float) -> None:
        """Let a replica that was starting serve."""
        replica.state, replica.ready_at_s = ReplicaState.READY, now_s
        self.ready.append(replica)
        self.started.append((now_s, now_s - replica.ordered_at_s))

    def remove_drained(self, replica: Replica, now_s: float) -> None:
        """Delete a draining replica once it has nothing left to do."""
        if replica.state is ReplicaState.DRAINING and replica.engine.empty:
            self._remove(replica, now_s)

    def paid_s(self, now_s: float) -> float:
        """Give the replica-seconds paid for: from order to deletion, loading and draining included."""
        return self._gone_paid_s + sum(now_s - replica.ordered_at_s for replica in self.replicas)

    def _order(self, now_s: float) -> tuple[float, Replica]:
        replica = Replica(self, self._name(), Engine(self.settings), now_s)
        self.replicas.append(replica)
        return now_s + exp(self._log_start + self._log_start_spread * self._starts.standard_normal()), replica

    def _remove(self, replica: Replica, now_s: float) -> None:
        replica.state = ReplicaState.GONE
        self.replicas.remove(replica)
        self._gone_paid_s += now_s - replica.ordered_at_s

    def _name(self) -> str:
        suffix = "".join(_SUFFIX_LETTERS[i] for i in self._names.integers(0, len(_SUFFIX_LETTERS), 5))
        return f"{self.ref.name}-{self._template_hash}-{suffix}"
