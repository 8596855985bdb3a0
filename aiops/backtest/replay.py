"""The loop on a simulated factory, as fast as it goes: the same decisions in virtual time."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from aiops.control.lead import Alone
from aiops.control.loop import Loop, Turn
from aiops.model.cycle import Cycle
from aiops.model.decision import Outcome
from aiops.model.policy import PolicySet
from aiops.model.profile import CapacityProfile
from aiops.model.refs import PoolRef
from aiops.plan import State, begin
from aiops.simulate.actuator import FactoryActuator
from aiops.simulate.factory import Factory
from aiops.simulate.load import past_demand
from aiops.simulate.observer import FactoryObserver
from aiops.simulate.spec import FactorySpec
from aiops.simulate.summary import FactorySummary

_LOOK_EVERY = timedelta(minutes=15)
_RUN_OUT = timedelta(minutes=15)  # what is in flight at the end may still finish; nothing new arrives


@dataclass(frozen=True)
class World:
    """A factory to be made: its models, what they promise, its load's seed, its start, and the past that is known."""

    specs: tuple[FactorySpec, ...]
    profiles: Mapping[str, CapacityProfile]
    policies: PolicySet
    seed: int
    start: datetime
    history: timedelta = timedelta(0)

    def factory(self, replicas: Mapping[PoolRef, int] | None = None) -> Factory:
        """Make the factory, with other numbers of replicas at the start if they are given."""
        specs = [_with_replicas(spec, replicas or {}) for spec in self.specs]
        objectives = {policy.ref: policy.spec.objectives for policy in self.policies.policies}
        return Factory(specs, self.profiles, self.seed, self.start, objectives)

    def state(self) -> State:
        """Make the loop's first state: what it learns from the past."""
        if not self.history:
            return State()
        histories = [past_demand(spec.workload, spec.ref, self.seed, self.start, self.history) for spec in self.specs]
        return begin(State(), self.policies, histories, self.start)


@dataclass(frozen=True)
class VirtualClock:
    """The factory's time: sleeping lets the factory run."""

    factory: Factory

    def now(self) -> datetime:
        """Give the virtual time."""
        return self.factory.now

    def sleep(self, seconds: float) -> bool:
        """Let the factory run for some seconds; never broken off."""
        self.factory.advance(self.factory.now + timedelta(seconds=seconds))
        return True


class Tally:
    """Counts what the loop concluded; fits ``control.protocols.Recorder``."""

    def __init__(self) -> None:
        self.cycles = 0
        self.decisions: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()

    def record(self, cycle: Cycle) -> None:
        """Count a cycle's decisions by direction and reason."""
        self.cycles += 1
        for decision in cycle.decisions:
            self.decisions[decision.direction] += 1
            self.reasons.update(str(reason) for reason in decision.reasons)

    def outcome(self, outcome: Outcome) -> None:
        """Outcomes are counted by the factory itself."""


@dataclass(frozen=True)
class Replay:
    """What came of a run: what it cost until its end, and what became of every request that arrived until then."""

    cost: FactorySummary
    fate: FactorySummary
    tally: Tally


def replay(
    world: World, duration: timedelta, interval_s: float = 15.0, on_turn: Callable[[Turn], None] = lambda _: None
) -> Replay:
    """Run the loop on the factory for a span of virtual time. Same world, same result, byte for byte."""
    factory, tally = world.factory(), Tally()
    loop = Loop(FactoryObserver(factory), FactoryActuator(factory), tally, Alone(), lambda: world.policies)
    loop.run_forever(VirtualClock(factory), world.state(), interval_s, until=world.start + duration, on_turn=on_turn)
    return _concluded(factory, world.start + duration, tally)


def hold(world: World, duration: timedelta, replicas: Mapping[PoolRef, int]) -> Replay:
    """Run the factory with constant replicas and no loop."""
    return _concluded(world.factory(replicas), world.start + duration, Tally())


def hold_while(world: World, duration: timedelta, replicas: Mapping[PoolRef, int], most_misses: int) -> Replay | None:
    """Run the factory with constant replicas; None as soon as more than ``most_misses`` requests are no hits."""
    factory, end = world.factory(replicas), world.start + duration
    while factory.now + _LOOK_EVERY < end:
        factory.advance(factory.now + _LOOK_EVERY)
        requests = factory.summary().requests
        if requests.finished + requests.lost + requests.overdue - requests.hits > most_misses:
            return None
    return _concluded(factory, end, Tally())


def _concluded(factory: Factory, end: datetime, tally: Tally) -> Replay:
    factory.advance(end)
    cost = factory.summary()
    factory.run_out(_RUN_OUT)
    return Replay(cost, factory.summary(), tally)


def _with_replicas(spec: FactorySpec, replicas: Mapping[PoolRef, int]) -> FactorySpec:
    def count(name: str, default: int) -> int:
        return replicas.get(PoolRef(spec.namespace, "Deployment", name), default)

    pools = tuple(pool.model_copy(update={"replicas": count(pool.name, pool.replicas)}) for pool in spec.pools)
    return spec.model_copy(update={"pools": pools})


def alone(world: World, spec: FactorySpec) -> World:
    """Give the world of one model; its load is the same as among the others."""
    return replace(world, specs=(spec,))
