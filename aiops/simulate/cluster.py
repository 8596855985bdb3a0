"""The pools of a model and what becomes of their replicas: ordered, bound, ready, down, draining, gone."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256

from aiops.model.refs import PoolRef, Role
from aiops.simulate.cold_start import ColdStarts, ColdStartSpec, Stage
from aiops.simulate.fleet import VirtualFleet
from aiops.simulate.load.sources import Draws
from aiops.simulate.nodes import Inventory, Node
from aiops.simulate.replicas import Replica, ReplicaState, first_to_go

__all__ = ["Cluster", "Pool", "PoolSetup", "Replica", "ReplicaState"]

_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # Kubernetes makes the ends of pod names from these
_LOOK_S = 1.0  # how often it is looked whether a draining replica is done

At = Callable[[float, Callable[[], None]], None]
"""Has something done at a time, in seconds since the factory's start."""


@dataclass(slots=True)
class Cluster:
    """What the pools of a model share: the engines, the GPUs, the names of all engines so far, and the clock.

    ``changed`` is told the time whenever a replica's state has changed.
    """

    fleet: VirtualFleet
    inventory: Inventory
    at: At
    changed: Callable[[float], None]
    names: list[str] = field(default_factory=list)
    pending: list[Replica] = field(default_factory=list)

    def bind_pending(self, now_s: float) -> None:
        """Place the pods that wait for GPUs, the oldest order first; one that fits nowhere holds nobody up."""
        for replica in [replica for replica in self.pending if replica.schedulable]:
            node = self.inventory.take(replica.pool.gpus)
            if node is not None:
                self.pending.remove(replica)
                replica.pool.bind(replica, node, now_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSetup:
    """How a pool's replicas come and go. ``affinity`` of the requests cling to the oldest ready replica."""

    ref: PoolRef
    variant: str
    gpus: int
    cold_start: ColdStartSpec
    grace_s: float
    affinity: float


class Pool:
    """A Deployment, or a StatefulSet: ``wanted`` replicas, and those there are; ``number`` is the fleet's.

    ``start_times`` makes starts that many times longer, and those bound before ``starts_stuck_until_s`` begin to load
    only then. ``stuck`` sends a share of the requests to a replica, whatever the router says.
    """

    def __init__(self, setup: PoolSetup, cluster: Cluster, number: int, seed: int) -> None:
        self.ref, self.variant, self.gpus = setup.ref, setup.variant, setup.gpus
        self.fleet = cluster.fleet
        self.number = number
        self.wanted = 0
        self.replicas: list[Replica] = []
        self.started: deque[tuple[float, float]] = deque(maxlen=1000)
        """(ready at, seconds from order to ready) of the latest starts."""
        self.scale_events = 0
        self.cancelled_orders = 0
        self.gone_preemptions = 0
        self.revision = 0
        self.surge = 1
        self.start_times = 1.0
        self.starts_stuck_until_s = 0.0
        self.stuck: tuple[Replica, float] | None = None
        self._setup = setup
        self._cluster = cluster
        self._paid: list[tuple[float, float]] = []
        draws = Draws(seed, str(setup.ref))
        self._starts = ColdStarts(setup.cold_start, draws.of("cold starts"))
        self._letters = draws.of("names")

    @property
    def role(self) -> Role:
        """What its replicas do."""
        return self.fleet.pools[self.number].role

    @property
    def queued(self) -> int:
        """How many requests wait at the gateway for it."""
        return self.fleet.queued(self.number)

    @property
    def preemptions(self) -> int:
        """How many requests its engines have preempted so far."""
        live = [replica.engine for replica in self.replicas if replica.live]
        return self.gone_preemptions + int(self.fleet.engines["preemptions"][live].sum())

    def in_state(self, *states: ReplicaState) -> list[Replica]:
        """Give the replicas at any of some states, oldest order first."""
        return [replica for replica in self.replicas if replica.state in states]

    def oldest_ready(self) -> list[Replica]:
        """Give the ready replicas, the one that has been ready longest first."""
        return sorted(self.in_state(ReplicaState.READY), key=lambda replica: replica.ready_at_s)

    def stage(self, replica: Replica, now_s: float) -> Stage | None:
        """Tell what a starting replica does; None of any other."""
        if replica.state is not ReplicaState.STARTING:
            return None
        left = min(1.0, (replica.ready_at_s - now_s) / replica.load_s) if replica.load_s else 0.0
        with_image = self._setup.cold_start.image_share if replica.restarts else 0.0
        return self._setup.cold_start.stage(with_image + (1 - left) * (1 - with_image))

    def paid_s(self, now_s: float) -> float:
        """Give the replica-seconds paid until a time: from binding to deletion, loading and draining included."""
        begun = [replica.bound_at_s for replica in self.replicas if replica.bound_at_s is not None]
        return sum(min(end, now_s) - min(begin, now_s) for begin, end in self._paid) + sum(
            max(0.0, now_s - begin) for begin in begun
        )

    def fill(self, replicas: int) -> None:
        """Put replicas there at time 0 that are ready, as far as there are GPUs; the others wait for some."""
        self.wanted = replicas
        for _ in range(replicas):
            self.add_ready(0.0)

    def add_ready(self, now_s: float) -> Replica:
        """Put a replica there that is ready at once, where there are GPUs, with an empty cache."""
        replica = Replica(self, self._name(), now_s, self._starts.draw()[1])
        self.replicas.append(replica)
        node = self._cluster.inventory.take(self.gpus)
        if node is None:
            self._wait_for_gpus(replica, now_s)
        else:
            replica.node, replica.bound_at_s = node, now_s
            self._open(replica, now_s)
        self._cluster.changed(now_s)
        return replica

    def price(self) -> None:
        """Set what it costs to delete each replica: the work that is in it."""
        for replica in self.in_state(ReplicaState.READY):
            replica.deletion_cost = int(self.fleet.engines[replica.engine]["load"])

    def scale(self, wanted: int, now_s: float) -> None:
        """Set the wanted replicas. Who goes is told by :func:`first_to_go`; a draining one never comes back."""
        if wanted != self.wanted:
            self.scale_events += 1
        self.wanted = wanted
        self.reconcile(now_s)

    def roll_out(self, surge: int, now_s: float) -> None:
        """Replace all replicas by those of a new revision, at most ``surge`` more than wanted at a time."""
        self.revision += 1
        self.surge = surge
        self.reconcile(now_s)

    def reconcile(self, now_s: float) -> None:
        """Delete and order until there are as many as are wanted, as the controllers do; see also ``roll_out``."""
        new, old = self._revisions()
        self._delete(new, len(new) - self.wanted, now_s)
        self._retire(old, now_s)
        new, old = self._revisions()
        most = self.wanted + (self.surge if old else 0)
        self._delete(new + old, len(new) + len(old) - most, now_s)  # scaled down in the middle of a rollout
        for _ in range(min(self.wanted - len(new), most - len(new) - len(old))):
            self._order(now_s)
        self._cluster.changed(now_s)

    def bind(self, replica: Replica, node: Node, now_s: float) -> None:
        """Put a pending pod on a node, where it loads."""
        replica.node, replica.bound_at_s = node, now_s
        replica.load_s *= self.start_times
        self.load(replica, max(now_s, self.starts_stuck_until_s) + replica.load_s)
        self._cluster.changed(now_s)

    def load(self, replica: Replica, ready_at_s: float) -> None:
        """Let a bound replica load until a time."""
        replica.state, replica.ready_at_s, restarts = ReplicaState.STARTING, ready_at_s, replica.restarts
        self._cluster.at(ready_at_s, lambda: self._become_ready(replica, restarts, ready_at_s))

    def fall(self, replica: Replica, now_s: float) -> None:
        """Let a replica's container die; what it served fails, and one that drained is gone."""
        if replica.state is ReplicaState.DRAINING:
            self._remove(replica, now_s)
            return
        self._end_engine(replica)
        replica.state = ReplicaState.DOWN
        replica.restarts += 1
        self.cling()
        self._cluster.changed(now_s)

    def rise(self, replica: Replica, now_s: float) -> None:
        """Start a fallen replica's container anew, on its node."""
        if replica.state is ReplicaState.DOWN:
            replica.load_s = self._starts.redraw() * self.start_times
            self.load(replica, now_s + replica.load_s)
            self._cluster.changed(now_s)

    def evict(self, replica: Replica, now_s: float) -> None:
        """Delete a fallen replica; another is ordered in its place."""
        if replica.state is ReplicaState.DOWN:
            self._remove(replica, now_s)
            self.reconcile(now_s)

    def slow_down(self, replica: Replica, times: float) -> None:
        """Let a replica's steps take so many times longer, those of a restarted engine too."""
        replica.slow_times = times
        if replica.live:
            self.fleet.set_speed(replica.engine, times)

    def cling(self) -> None:
        """Tell the router which replica is stuck to, if any: a fault's before that of the affinity."""
        if self.stuck is None and not self._setup.affinity:
            self.fleet.stick(self.number, -1, 0.0)
            return
        ready = self.oldest_ready()
        if self.stuck and self.stuck[0] in ready:
            self.fleet.stick(self.number, self.stuck[0].engine, self.stuck[1])
        elif ready:
            self.fleet.stick(self.number, ready[0].engine, self._setup.affinity)
        else:
            self.fleet.stick(self.number, -1, 0.0)

    def _revisions(self) -> tuple[list[Replica], list[Replica]]:
        """Give the replicas that count, those of the present revision apart from older ones."""
        counted = (ReplicaState.PENDING, ReplicaState.STARTING, ReplicaState.DOWN, ReplicaState.READY)
        active = self.in_state(*counted)
        new = [replica for replica in active if replica.revision == self.revision]
        return new, [replica for replica in active if replica.revision != self.revision]

    def _retire(self, old: list[Replica], now_s: float) -> None:
        """Delete old replicas as far as those that are ready, new ones included, stay as many as are wanted."""
        if not old:
            return
        new, _ = self._revisions()
        ready = [replica for replica in old + new if replica.state is ReplicaState.READY]
        loading = [replica for replica in new if replica.state is not ReplicaState.READY]
        going = self._first_to_go(old)[: max(0, len(old) + len(new) - self.wanted - len(loading))]
        asleep = [replica for replica in going if replica.state is not ReplicaState.READY]
        awake = [replica for replica in going if replica.state is ReplicaState.READY]
        self._delete(asleep + awake[: max(0, len(ready) - self.wanted)], len(going), now_s)

    def _order(self, now_s: float) -> None:
        if self.ref.kind == "StatefulSet" and self._ordinal() >= self.wanted:
            return  # the pod of that number is still there; the next one comes when it is gone
        scheduling_s, load_s = self._starts.draw()
        replica = Replica(self, self._name(), now_s, load_s)
        self.replicas.append(replica)
        self._cluster.at(now_s + scheduling_s, lambda: self._wait_for_gpus(replica, now_s + scheduling_s))

    def _wait_for_gpus(self, replica: Replica, now_s: float) -> None:
        if replica.state is ReplicaState.PENDING:
            replica.schedulable = True
            self._cluster.pending.append(replica)
            self._cluster.bind_pending(now_s)

    def _become_ready(self, replica: Replica, restarts: int, now_s: float) -> None:
        if replica.state is not ReplicaState.STARTING or replica.restarts != restarts:
            return
        if not restarts:
            self.started.append((now_s, now_s - replica.ordered_at_s))
        self._open(replica, now_s)
        self.reconcile(now_s)

    def _open(self, replica: Replica, now_s: float) -> None:
        replica.state, replica.ready_at_s = ReplicaState.READY, now_s
        replica.engine = self.fleet.add_engine(self.number)
        replica.incarnation = int(self.fleet.engines[replica.engine]["incarnation"])
        self._cluster.names.append(replica.name)
        if replica.slow_times != 1.0:
            self.fleet.set_speed(replica.engine, replica.slow_times)
        self.fleet.open(replica.engine)
        self.cling()

    def _delete(self, replicas: list[Replica], count: int, now_s: float) -> None:
        for replica in self._first_to_go(replicas)[: max(0, count)]:
            if replica.state is ReplicaState.READY:
                self._drain(replica, now_s, self._setup.grace_s)
            else:
                self.cancelled_orders += replica.restarts == 0
                self._remove(replica, now_s)

    def _first_to_go(self, replicas: list[Replica]) -> list[Replica]:
        if self.ref.kind == "StatefulSet":
            return sorted(replicas, key=lambda replica: -int(replica.name.rsplit("-", 1)[1]))
        return first_to_go(replicas)

    def _drain(self, replica: Replica, now_s: float, grace_s: float) -> None:
        replica.state = ReplicaState.DRAINING
        self.fleet.close(replica.engine)
        self.cling()
        self._cluster.changed(now_s)
        self._watch(replica, now_s, now_s + grace_s)

    def _watch(self, replica: Replica, now_s: float, last_s: float) -> None:
        """Delete a draining replica if it is idle or its grace has ended, which cuts its streams; else look again."""
        if self.fleet.idle(replica.engine) or now_s >= last_s:
            self._remove(replica, now_s)
            return
        next_s = min(now_s + _LOOK_S, last_s)
        self._cluster.at(next_s, lambda: self._watch_on(replica, next_s, last_s))

    def _watch_on(self, replica: Replica, now_s: float, last_s: float) -> None:
        if replica.state is ReplicaState.DRAINING:
            self._watch(replica, now_s, last_s)
            self.reconcile(now_s)

    def _remove(self, replica: Replica, now_s: float) -> None:
        self._end_engine(replica)
        replica.state = ReplicaState.GONE
        self.replicas.remove(replica)
        if replica in self._cluster.pending:
            self._cluster.pending.remove(replica)
        if replica.node is not None and replica.bound_at_s is not None:
            self._paid.append((replica.bound_at_s, now_s))
            self._cluster.inventory.give_back(replica.node, self.gpus)
            self._cluster.bind_pending(now_s)
        self.cling()
        self._cluster.changed(now_s)

    def _end_engine(self, replica: Replica) -> None:
        if replica.live:
            self.gone_preemptions += int(self.fleet.engines[replica.engine]["preemptions"])
            self.fleet.remove_engine(replica.engine)
            replica.engine = -1

    def _ordinal(self) -> int:
        taken = {int(replica.name.rsplit("-", 1)[1]) for replica in self.replicas}
        return next(number for number in range(len(taken) + 1) if number not in taken)

    def _name(self) -> str:
        if self.ref.kind == "StatefulSet":
            return f"{self.ref.name}-{self._ordinal()}"
        template = f"{self.ref} {self.revision}" if self.revision else str(self.ref)
        suffix = "".join(_SUFFIX_LETTERS[i] for i in self._letters.integers(0, len(_SUFFIX_LETTERS), 5))
        return f"{self.ref.name}-{sha256(template.encode()).hexdigest()[:10]}-{suffix}"
