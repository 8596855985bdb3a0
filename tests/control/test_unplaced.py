"""Replicas that no node has room for, over simulated time: told, taken back, and followed by no others."""

from dataclasses import replace
from datetime import timedelta

import pytest

from aiops.model.decision import Reason
from aiops.model.fleet_policy import FleetSpec
from aiops.model.policy_part import Step
from tests.control.fake_cluster import NO_NODE, FakeCluster, run, steps
from tests.plan.worlds import START, policies, policy


def test_what_no_node_has_room_for_is_told_and_taken_back_when_demand_ends() -> None:
    cluster = FakeCluster(steps(30, 70, 10), {"both": 2}, room=6)
    state = run(cluster, policies(), 29)
    ordered, told = cluster.replicas(), cluster.cycles[-1]
    run(cluster, policies(), 8, state)
    later = cluster.replicas()

    assert ordered >= 10
    assert Reason.UNSCHEDULABLE in told.decisions[0].reasons
    (summary,) = told.models[0].pools
    assert (summary.ready, summary.unplaced, summary.unplaced_reason) == (6, ordered - 6, NO_NODE)
    assert later == 6, "within minutes nobody waits any more, and those that serve are given their time"
    assert not any(
        cycle.models[0].pools[0].ready < 6 for cycle in cluster.cycles if cycle.at - START > timedelta(minutes=5)
    )


def test_a_short_dip_takes_no_order_back() -> None:
    cluster = FakeCluster(lambda now_s: 10.0 if 1200 <= now_s < 1245 else 70.0, {"both": 2}, room=6)
    state = run(cluster, policies(), 19)
    ordered = cluster.replicas()
    cluster.cycles.clear()
    run(cluster, policies(), 5, state)

    assert {cycle.decisions[0].current for cycle in cluster.cycles} == {ordered}


@pytest.mark.parametrize("saturated", [False, True], ids=["requests wait", "and all replicas are full"])
def test_a_queue_that_grows_because_nothing_can_be_placed_orders_nothing_more(saturated: bool) -> None:
    cluster = FakeCluster(lambda _: 50.0, {"both": 2}, room=4)
    cluster.waiting = lambda now_s: now_s * 20.0
    cluster.saturated = saturated
    run(cluster, policies(), 60)
    ordered = [cycle.decisions[0].desired or 0 for cycle in cluster.cycles]
    late = next(i for i, cycle in enumerate(cluster.cycles) if Reason.UNSCHEDULABLE in cycle.decisions[0].reasons)

    assert max(ordered[late:]) == ordered[late]


def test_orders_are_filled_when_room_is_made_and_growth_goes_on() -> None:
    cluster = FakeCluster(lambda now_s: 40.0 if now_s < 1800 else 80.0, {"both": 2}, room=4)
    state = run(cluster, policies(), 20)
    stuck = cluster.replicas()
    cluster.room = 20
    cluster.place()
    run(cluster, policies(), 20, state)

    assert stuck > 4
    assert cluster.replicas() >= 11
    assert Reason.UNSCHEDULABLE not in cluster.cycles[-1].decisions[0].reasons


def test_a_role_that_finds_no_node_does_not_keep_the_other_from_growing_or_shrinking() -> None:
    def demand(now_s: float) -> float:
        return 10.0 if now_s < 600 or now_s > 3600 else 60.0

    cluster = FakeCluster(demand, {"prefill": 2, "decode": 2}, room=10_000)
    policy_set = policies(policy(prefill_decode=True))
    state = run(cluster, policy_set, 9)
    cluster.room = sum(cluster.replicas(role) for role in ("prefill", "decode"))
    state = run(cluster, policy_set, 20, state)
    grown = {role: cluster.replicas(role) for role in ("prefill", "decode")}
    needed = {decision.pool.name: decision.needed for decision in cluster.cycles[-1].decisions}
    unplaced = {role: len(since_s) for role, since_s in cluster.unplaced_s.items()}
    run(cluster, policy_set, 60, state)

    assert unplaced["prefill"] > 0
    assert grown["prefill"] == needed["prefill"]
    assert grown["decode"] >= max(4, needed["decode"] or 0)
    assert sum(map(len, cluster.unplaced_s.values())) < sum(unplaced.values())
    assert all(cluster.replicas(role) < grown[role] for role in grown)


def test_the_fleet_may_lose_any_number_of_orders_that_found_no_node() -> None:
    cluster = FakeCluster(steps(30, 70, 10), {"both": 2}, room=6)
    bounded = replace(policies(), fleet=FleetSpec(max_removed_per_hour=Step(1)))
    state = run(cluster, bounded, 29)
    run(cluster, bounded, 58, state)

    assert cluster.replicas() == 5, "all that waited, and one that served"
