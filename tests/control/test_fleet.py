"""What holds for all models together, over simulated time."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from aiops.act.journal import Journal
from aiops.control.loop import Loop
from aiops.model.decision import Decision, Outcome, Reason
from aiops.model.fleet_policy import FleetSpec, Writes
from aiops.model.policy import PolicySet
from aiops.model.policy_part import Step
from aiops.model.snapshot import Snapshot
from aiops.plan import State, recall
from tests.control.fake_cluster import FakeCluster, run, steps
from tests.plan.worlds import policies, policy


def two_models(**fleet: object) -> PolicySet:
    """The small world's model twice, one of which matters less."""
    lesser = policy(priority=1)
    elsewhere = lesser.metadata.model_copy(update={"namespace": "other"})
    second = lesser.model_copy(update={"metadata": elsewhere})
    return replace(policies(policy(), second), fleet=FleetSpec.model_validate(fleet))


class TwoWorlds:
    """Two small worlds under one loop."""

    def __init__(self, one: FakeCluster, other: FakeCluster) -> None:
        self.worlds = {"llm": one, "other": other}

    def observe(self) -> Snapshot:
        first, second = (world.observe() for world in self.worlds.values())
        (model,) = second.models
        pools = tuple(replace(pool, pool=replace(pool.pool, namespace="other")) for pool in model.pools)
        moved = replace(model, ref=replace(model.ref, namespace="other"), pools=pools)
        return replace(first, models=(*first.models, moved))

    def apply(self, decision: Decision) -> Outcome:
        return self.worlds[decision.pool.namespace].apply(decision)

    def sleep(self, seconds: float) -> bool:
        for world in self.worlds.values():
            world.sleep(seconds)
        return True


def test_the_fleet_loses_no_more_in_any_hour_than_the_policy_allows_and_the_lesser_model_first() -> None:
    one, other = (FakeCluster(steps(65, 70, 5), {"both": 10}) for _ in range(2))
    both = TwoWorlds(one, other)
    policy_set = two_models(maxRemovedPerHour=5)
    loop = Loop(both, both, one, one, lambda: policy_set)
    state, sizes = State(), []
    for _ in range(7 * 240):
        state = loop.run_once(state).state
        both.sleep(15)
        sizes.append((one.replicas(), other.replicas()))

    totals = [sum(pair) for pair in sizes]
    in_an_hour = [totals[i] - totals[i + 240] for i in range(len(totals) - 240)]
    assert max(in_an_hour) == 5
    assert sizes[-1] == (1, 1), "in the end demand has its way"
    limited = [cycle for cycle in one.cycles if Reason.FLEET_LIMIT in cycle.decisions[0].reasons]
    assert limited
    each = [(sizes[i][0] - sizes[i + 240][0], sizes[i][1] - sizes[i + 240][1]) for i in range(len(sizes) - 240)]
    while_both_shrink = [pair for pair, (_, left) in zip(each, sizes[240:], strict=True) if left > 1]
    assert max(abs(a - b) for a, b in while_both_shrink) == 1, "neither model pays for the other"
    first = next(pair for pair in each if sum(pair) == 5)
    assert first == (2, 3), "the odd one is of the model that matters less"


QUICK = {"maxStep": "50%", "per": "30s", "stabilization": "1m"}


def quick(bound: int) -> PolicySet:
    """A policy that removes within minutes what is not needed, but for the fleet's bound."""
    return replace(policies(policy(scaleDown=QUICK)), fleet=FleetSpec(max_removed_per_hour=Step(bound)))


def most_in_an_hour(sizes: list[int]) -> int:
    """The most that went within any hour of numbers that never rise, one each 15 s."""
    return max(sizes[i] - sizes[i + 240] for i in range(len(sizes) - 240))


@pytest.mark.parametrize(
    ("keeps_journal", "bound", "least"),
    [
        pytest.param(True, 3, 3, id="with its journal it goes on as if nothing had been"),
        pytest.param(False, 6, 1, id="without one it may remove by the time that it ran"),
    ],
)
def test_a_process_that_crashes_every_quarter_of_an_hour_removes_no_more_than_one_that_does_not(
    tmp_path: Path, keeps_journal: bool, bound: int, least: int
) -> None:
    cluster, policy_set = FakeCluster(steps(200, 5, 5), {"both": 18}), quick(bound)
    sizes = []
    for life in range(12):
        journal = Journal(tmp_path / ("journal.db" if keeps_journal else f"journal-{life}.db"))
        last = journal.latest()
        state = State() if last is None else recall(State(), last, cluster.at)
        loop = Loop(cluster, cluster, journal, cluster, lambda: policy_set)
        for _ in range(60):
            state = loop.run_once(state).state
            sizes.append(cluster.replicas())
            cluster.sleep(15)
        journal.close()

    assert least <= most_in_an_hour(sizes) <= bound
    assert sizes[-1] < sizes[0] - bound, "it goes on in the next hour"


def test_a_follower_that_becomes_leader_has_seen_what_the_leader_removed() -> None:
    cluster, policy_set = FakeCluster(steps(200, 5, 5), {"both": 18}), quick(4)
    leads = [True, False]
    loops = [Loop(cluster, cluster, cluster, Elected(leads, i), lambda: policy_set) for i in range(2)]
    states, sizes = [State(), State()], []
    for beat in range(4 * 240):
        # The lead goes from one to the other every twenty minutes.
        leads[:] = [beat // 80 % 2 == 0, beat // 80 % 2 == 1]
        states = [loop.run_once(state).state for loop, state in zip(loops, states, strict=True)]
        sizes.append(cluster.replicas())
        cluster.sleep(15)

    assert most_in_an_hour(sizes) == 4
    assert sizes[-1] <= 18 - 3 * 4


@dataclass(frozen=True)
class Elected:
    """One of several loops, which leads when it is told to."""

    leads_of: list[bool]
    place: int

    def leads(self) -> bool:
        return self.leads_of[self.place]


def test_a_bound_on_what_the_fleet_may_lose_keeps_nothing_from_growing() -> None:
    cluster = FakeCluster(steps(5, 10, 60), {"both": 1})
    run(cluster, replace(policies(), fleet=FleetSpec(max_removed_per_hour=Step(0))), 20)

    assert cluster.replicas() >= 9


def test_the_switch_stops_a_loop_in_its_tracks_and_lets_it_go_on() -> None:
    cluster = FakeCluster(steps(5, 10, 60), {"both": 2})
    off = replace(policies(), fleet=FleetSpec(writes=Writes.OFF))
    state = run(cluster, off, 20)
    stopped, asked = cluster.replicas(), len(cluster.outcomes)
    run(cluster, policies(), 10, state)

    assert (stopped, asked) == (2, 0)
    assert cluster.replicas() >= 9
