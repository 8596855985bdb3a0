"""A cluster that behaves: what is applied is observed next, and a replica serves once its cold start is over."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from aiops.control.loop import Loop
from aiops.model.cycle import Cycle
from aiops.model.decision import Decision, Outcome
from aiops.model.demand import TokenDemand
from aiops.model.policy import PolicySet
from aiops.model.refs import Role
from aiops.model.snapshot import ModelSnapshot, PoolSnapshot, ReplicaSample, Snapshot, StartingReplica
from aiops.plan import State
from tests.plan.worlds import REF, START, demand_of, pool_ref

NO_NODE = "waiting for nvidia.com/gpu: 2"


class FakeCluster:
    """Observer, Actuator, Recorder, Elector and Clock of a small world in virtual time."""

    def __init__(
        self,
        requests_per_s: Callable[[float], float],
        replicas: dict[str, int],
        cold_start_s: float = 90.0,
        leads: bool = True,
        room: int = 10_000,
    ) -> None:
        self.at = START
        self.requests_per_s = requests_per_s
        self.cold_start_s = cold_start_s
        self.leading = leads
        self.blind = ""
        self.refuses = ""
        self.refused_roles = tuple(replicas)
        # When each replica will serve, in seconds from the start; the ones there at the start serve.
        self.ready_s: dict[str, list[float]] = {role: [0.0] * count for role, count in replicas.items()}
        # When each replica was ordered that no node has room for; there is room for so many of all roles.
        self.unplaced_s: dict[str, list[float]] = {role: [] for role in replicas}
        self.room = room
        self.waiting: Callable[[float], float] = lambda _: 0.0
        self.saturated = False
        self.cycles: list[Cycle] = []
        self.outcomes: list[Outcome] = []
        self._looked_s = 0.0

    @property
    def now_s(self) -> float:
        return (self.at - START).total_seconds()

    def replicas(self, role: str = "both") -> int:
        return len(self.ready_s[role]) + len(self.unplaced_s[role])

    def demand(self) -> TokenDemand:
        return demand_of(self.requests_per_s(self.now_s), waiting=self.waiting(self.now_s))

    def observe(self) -> Snapshot:
        if self.blind:
            return Snapshot(self.at, blind=self.blind)
        pools = tuple(self._pool(role) for role in self.ready_s)
        self._looked_s = self.now_s
        return Snapshot(self.at, (ModelSnapshot(REF, pools, self.demand()),))

    def _pool(self, role: str) -> PoolSnapshot:
        serving = [ready for ready in self.ready_s[role] if ready <= self.now_s]
        starting = [ready for ready in self.ready_s[role] if ready > self.now_s]
        sample = ReplicaSample("", age=timedelta(hours=1), running=4.0, waiting=0.0, kv_usage_ratio=0.3)
        if self.saturated:
            sample = replace(sample, running=60.0, waiting=50.0, kv_usage_ratio=0.99)
        return PoolSnapshot(
            pool_ref(role),
            Role(role),
            "v",
            current=self.replicas(role),
            replicas=tuple(replace(sample, name=f"{role}-{i}") for i in range(len(serving))),
            starting=(
                *(
                    StartingReplica(f"{role}-new-{i}", START + timedelta(seconds=ready - self.cold_start_s), True)
                    for i, ready in enumerate(starting)
                ),
                *(
                    StartingReplica(f"{role}-no-{i}", START + timedelta(seconds=ordered_s), False, NO_NODE)
                    for i, ordered_s in enumerate(self.unplaced_s[role])
                ),
            ),
            cold_starts_s=tuple(self.cold_start_s for ready in serving if ready > self._looked_s),
        )

    def apply(self, decision: Decision) -> Outcome:
        assert decision.desired is not None
        role = decision.pool.name
        refuses = self.refuses if role in self.refused_roles else ""
        if not refuses:
            missing = decision.desired - self.replicas(role)
            self.unplaced_s[role] += [self.now_s] * missing
            # As a ReplicaSet does it: first those without a node, then those that serve least.
            self.unplaced_s[role] = self.unplaced_s[role][: max(0, decision.desired - len(self.ready_s[role]))]
            self.ready_s[role] = sorted(self.ready_s[role])[: decision.desired]
            self.place()
        return Outcome(decision.pool, self.at, decision.desired, applied=not refuses, error=refuses)

    def place(self) -> None:
        """Put those on nodes that wait for one, as far as there is room."""
        for role, waiting in self.unplaced_s.items():
            while waiting and sum(map(len, self.ready_s.values())) < self.room:
                waiting.pop(0)
                self.ready_s[role].append(self.now_s + self.cold_start_s)

    def record(self, cycle: Cycle) -> None:
        self.cycles.append(cycle)

    def outcome(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    def leads(self) -> bool:
        return self.leading

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> bool:
        self.at += timedelta(seconds=seconds)
        return True


def run(cluster: FakeCluster, policy_set: PolicySet, minutes: float, state: State | None = None) -> State:
    loop = Loop(cluster, cluster, cluster, cluster, lambda: policy_set)
    return loop.run_forever(cluster, state or State(), 15.0, until=cluster.at + timedelta(minutes=minutes))


def steps(change_at_minute: float, before: float, after: float) -> Callable[[float], float]:
    return lambda now_s: before if now_s < change_at_minute * 60 else after
