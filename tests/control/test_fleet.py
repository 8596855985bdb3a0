"""What holds for all models together, over simulated time."""

from dataclasses import replace

from aiops.control.loop import Loop
from aiops.model.decision import Decision, Outcome, Reason
from aiops.model.fleet_policy import FleetSpec, Writes
from aiops.model.policy import PolicySet
from aiops.model.policy_part import Step
from aiops.model.snapshot import Snapshot
from aiops.plan import State
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
    one, other = (FakeCluster(steps(20, 70, 5), {"both": 10}) for _ in range(2))
    both = TwoWorlds(one, other)
    policy_set = two_models(maxRemovedPerHour=5)
    loop = Loop(both, both, one, one, lambda: policy_set)
    state, sizes = State(), []
    for _ in range(6 * 240):
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
