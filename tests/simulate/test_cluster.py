import numpy as np
import pytest

from aiops.model.refs import PoolRef
from aiops.simulate.cluster import Pool, Replica, ReplicaState
from aiops.simulate.factory import Factory
from tests.simulate.factories import aggregated, factory, run, workload

POOL = PoolRef("default", "Deployment", "pool")


def pool_of(made: Factory) -> Pool:
    return made.models[0].pools[0]


def states(made: Factory) -> list[str]:
    return sorted(replica.state for replica in pool_of(made).replicas)


def test_a_replica_serves_only_after_its_cold_start() -> None:
    made = factory(aggregated(1, coldStart={"p50": "60s", "p90": "60s"}))
    made.scale(POOL, 3)
    run(made, 59)
    assert states(made) == ["ready", "starting", "starting"]
    run(made, 2)
    assert states(made) == ["ready", "ready", "ready"]
    assert [taken_s for _, taken_s in pool_of(made).started] == pytest.approx([60, 60])


def test_cold_starts_have_the_quantiles_that_were_asked_for() -> None:
    made = factory(aggregated(0, coldStart={"p50": "60s", "p90": "180s"}))
    made.scale(POOL, 900)
    run(made, 3600)
    taken_s = [taken_s for _, taken_s in pool_of(made).started]
    assert np.quantile(taken_s, [0.5, 0.9]) == pytest.approx([60, 180], rel=0.1)


def test_scaling_down_cancels_what_is_still_loading_first_the_latest_order_first() -> None:
    made = factory(aggregated(2, coldStart={"p50": "60s", "p90": "60s"}))
    made.scale(POOL, 4)
    run(made, 10)
    made.scale(POOL, 5)
    made.scale(POOL, 3)
    assert states(made) == ["ready", "ready", "starting"]
    assert pool_of(made).in_state(ReplicaState.STARTING)[0].ordered_at_s == 0.0
    assert pool_of(made).cancelled_orders == 2
    assert pool_of(made).scale_events == 3
    run(made, 120)
    assert states(made) == ["ready"] * 3, "a cancelled order never becomes ready"


def test_scaling_down_drains_the_least_loaded_and_cuts_no_stream() -> None:
    made = factory(aggregated(3, workload=workload(20, output=150)))
    run(made, 20)
    before = made.summary().requests
    replicas: list[Replica] = list(pool_of(made).ready)
    least = min(replicas, key=lambda replica: replica.engine.load)
    under_way = least.engine.load
    assert under_way > 0
    made.scale(POOL, 2)
    assert least.state is ReplicaState.DRAINING
    assert least not in pool_of(made).ready
    ended = least.engine.finished
    run(made, 60)
    assert least.state is ReplicaState.GONE
    assert least.engine.finished - ended == under_way, "it answers what it had, and gets nothing new"
    assert made.summary().requests.finished > before.finished


def test_an_idle_replica_goes_at_once() -> None:
    made = factory(aggregated(3))
    made.scale(POOL, 1)
    assert states(made) == ["ready"]


def test_hours_are_paid_from_order_to_deletion() -> None:
    made = factory(aggregated(1, coldStart={"p50": "600s", "p90": "600s"}))
    run(made, 3600)
    made.scale(POOL, 3)  # loads for 600 s, and is paid for that
    run(made, 900)
    made.scale(POOL, 2)
    run(made, 2700)
    totals = made.summary().models[0].pools[0]
    assert totals.replica_hours == pytest.approx(2 + 0.25 + 1)
    assert totals.gpu_hours == pytest.approx(2 * totals.replica_hours), "the profile has two GPUs a replica"


def test_pods_are_named_like_those_of_a_deployment_and_no_two_alike() -> None:
    made = factory(aggregated(40))
    names = [replica.name for replica in pool_of(made).replicas]
    assert len(set(names)) == 40
    for name in names:
        target, template, suffix = name.rsplit("-", 2)
        assert target == "pool"
        assert len(template) == 10
        assert int(template, 16) >= 0
        assert len(suffix) == 5
