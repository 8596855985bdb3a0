from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiops.model.refs import PoolRef
from aiops.simulate.cluster import Pool, Replica, ReplicaState
from aiops.simulate.cold_start import ColdStarts, ColdStartSpec, Stage
from aiops.simulate.factory import Factory
from aiops.simulate.load.sources import Draws
from aiops.simulate.nodes import Node
from tests.simulate.factories import aggregated, factory, pair, run, workload

POOL = PoolRef("default", "Deployment", "pool")
FIXED = {"p50": "60s", "p90": "60s"}


def pool_of(made: Factory) -> Pool:
    return made.models[0].pools[0]


def states(made: Factory) -> list[str]:
    return sorted(replica.state for replica in pool_of(made).replicas)


def failed(made: Factory) -> int:
    return made.models[0].ledger.failed


# Cold starts


def test_a_replica_serves_only_after_its_cold_start() -> None:
    made = factory(aggregated(1, coldStart=FIXED))
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


def test_by_default_cold_starts_take_minutes_and_have_a_tail() -> None:
    starts = ColdStarts(ColdStartSpec(), Draws(1, "a").of("starts"))
    taken_s = np.array([sum(starts.draw()) for _ in range(20_000)])
    p50, p95 = np.quantile(taken_s, [0.5, 0.95])
    assert 60 <= p50 <= 120
    assert 240 <= p95 <= 300
    assert 0.02 < np.mean(taken_s > 300) < 0.05


def test_a_pools_own_cold_start_is_its_variants() -> None:
    spec = aggregated(0, coldStart=FIXED)
    spec["pools"][0]["coldStart"] = {"p50": "10s", "p90": "10s"}
    made = factory(spec)
    made.scale(POOL, 1)
    assert states(run(made, 11)) == ["ready"]


def test_a_start_goes_through_its_stages() -> None:
    shares = {"scheduling": "10s", "imageShare": 0.2, "weightsShare": 0.6}
    made = factory(aggregated(0, coldStart={"p50": "60s", "p90": "60s", **shares}))
    made.scale(POOL, 1)
    (replica,) = pool_of(made).replicas
    seen = {
        seconds: pool_of(run(made, seconds - made.now_s)).stage(replica, seconds) for seconds in (9, 15, 25, 55, 61)
    }
    assert seen == {9: None, 15: Stage.IMAGE, 25: Stage.WEIGHTS, 55: Stage.COMPILE, 61: None}


# Who goes


def test_scaling_down_cancels_what_is_still_loading_first_the_latest_order_first() -> None:
    made = factory(aggregated(2, coldStart=FIXED))
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


def test_scaling_down_drains_the_cheapest_and_cuts_no_stream() -> None:
    made = run(factory(aggregated(3, workload=workload(20, output=150))), 20)
    ready = pool_of(made).in_state(ReplicaState.READY)
    made.price(POOL)
    cheapest = min(ready, key=lambda replica: replica.deletion_cost)
    assert cheapest.deletion_cost > 0, "it has work"
    made.scale(POOL, 2)
    assert cheapest.state is ReplicaState.DRAINING
    run(made, 60)
    assert cheapest.state is ReplicaState.GONE
    assert failed(made) == 0


def test_an_idle_replica_goes_at_once() -> None:
    made = factory(aggregated(3))
    made.scale(POOL, 1)
    assert states(made) == ["ready"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(
            {"state": ReplicaState.PENDING, "deletion_cost": 9},
            {"state": ReplicaState.STARTING},
            id="one without a node before one with it",
        ),
        pytest.param(
            {"state": ReplicaState.DOWN, "deletion_cost": 9},
            {"state": ReplicaState.READY},
            id="one that is not ready before one that is",
        ),
        pytest.param({"ready_at_s": 1.0}, {"deletion_cost": 1, "ready_at_s": 2.0}, id="the cheaper before the younger"),
        pytest.param({"ready_at_s": 2.0}, {"ready_at_s": 1.0}, id="the one that became ready last"),
        pytest.param({"restarts": 2}, {"restarts": 1}, id="the one that died more often"),
        pytest.param({"ordered_at_s": 2.0}, {"ordered_at_s": 1.0}, id="the one that was ordered last"),
    ],
)
def test_a_replicaset_deletes_in_its_order(one: dict[str, object], other: dict[str, object]) -> None:
    for first in (0, 1):
        made = factory(aggregated(2, coldStart=FIXED))
        replicas = pool_of(made).replicas
        for replica, changes in zip(replicas, (one, other) if first == 0 else (other, one), strict=True):
            for name, value in changes.items():
                setattr(replica, name, value)
        kept = replicas[1 - first]
        made.scale(POOL, 1)
        assert pool_of(made).replicas == [kept]


def test_of_equals_one_that_shares_its_node_goes() -> None:
    made = factory(aggregated(3, nodes=[{"name": "shared", "gpus": 4}, {"name": "own", "gpus": 2}]))
    alone = [replica for replica in pool_of(made).replicas if replica.node and replica.node.name == "own"]
    alone[0].ready_at_s = 99.0  # the youngest, but alone
    made.scale(POOL, 2)
    assert alone[0] in pool_of(made).replicas


def test_a_statefulset_drops_its_highest_number_and_takes_it_again() -> None:
    spec = aggregated(3, coldStart=FIXED)
    spec["pools"][0]["kind"] = "StatefulSet"
    made = factory(spec)
    ref = pool_of(made).ref
    made.scale(ref, 2)
    assert [replica.name for replica in pool_of(made).replicas] == ["pool-0", "pool-1"]
    made.scale(ref, 4)
    assert [replica.name for replica in pool_of(made).replicas] == ["pool-0", "pool-1", "pool-2", "pool-3"]
    assert ref.kind == "StatefulSet"


def test_a_number_that_still_drains_is_taken_when_it_is_gone() -> None:
    spec = aggregated(2, coldStart=FIXED, workload=workload(5, output=150))
    spec["pools"][0]["kind"] = "StatefulSet"
    made = run(factory(spec), 20)
    ref = pool_of(made).ref
    made.scale(ref, 1)
    made.scale(ref, 2)
    assert [(replica.name, replica.state) for replica in pool_of(made).replicas] == [
        ("pool-0", "ready"), ("pool-1", "draining"),
    ]  # fmt: skip
    run(made, 40)
    assert [(replica.name, replica.state) for replica in pool_of(made).replicas] == [
        ("pool-0", "ready"), ("pool-1", "starting"),
    ]  # fmt: skip


# Streams and the grace


@pytest.mark.parametrize(
    ("grace", "cut"),
    [
        pytest.param("60s", False, id="streams that end within the grace are not cut"),
        pytest.param("2s", True, id="those that do not, fail when it ends"),
        pytest.param("0s", True, id="without grace they fail at once"),
    ],
)
def test_a_deleted_replica_has_its_grace(grace: str, cut: bool) -> None:
    made = run(factory(aggregated(2, terminationGracePeriod=grace, workload=workload(16, output=200))), 20)
    going = min(pool_of(made).replicas, key=lambda replica: (-replica.ready_at_s, -replica.ordered_at_s))
    made.scale(POOL, 1)
    assert len(pool_of(made).in_state(ReplicaState.READY)) == 1, "it takes nothing any more, at once"
    seconds = float(grace[:-1])
    run(made, max(seconds, 1e-3))
    assert len(pool_of(made).replicas) == 1
    assert going not in pool_of(made).replicas
    assert (failed(made) > 0) is cut


# GPUs


def test_a_pod_that_fits_nowhere_waits_unpaid_until_gpus_are_free() -> None:
    made = factory(aggregated(1, coldStart=FIXED, nodes=[{"gpus": 4}]))  # a replica has two
    made.scale(POOL, 3)
    run(made, 100)
    (waiting,) = pool_of(made).in_state(ReplicaState.PENDING)
    assert waiting.unschedulable
    assert states(made) == ["pending", "ready", "ready"]
    paid_s = pool_of(made).paid_s(100)
    assert paid_s == pytest.approx(100 + 99), "one from the start, one from its binding after a second"
    first = min(pool_of(made).in_state(ReplicaState.READY), key=lambda replica: replica.ordered_at_s)
    first.deletion_cost = -1
    made.scale(POOL, 3)
    waiting.deletion_cost = 5
    pool_of(made).fall(first, 100.0)
    pool_of(made).evict(first, 100.0)
    assert (waiting.state, waiting.bound_at_s) == (ReplicaState.STARTING, 100.0)
    run(made, 59)
    assert waiting.state is ReplicaState.READY


def test_pods_spread_over_the_nodes_with_most_free_gpus() -> None:
    made = factory(aggregated(3, nodes=[{"name": "a", "gpus": 4}, {"name": "b", "gpus": 6}]))
    assert [replica.node.name for replica in pool_of(made).replicas if replica.node] == ["b", "a", "b"]


def test_fragments_of_nodes_are_no_place_for_a_pod() -> None:
    made = factory(aggregated(0, coldStart=FIXED, nodes=[{"name": "n", "count": 3, "gpus": 3}]))
    made.scale(POOL, 4)  # nine GPUs, but only three pairs of them
    run(made, 100)
    assert states(made) == ["pending", "ready", "ready", "ready"]


def test_a_pod_larger_than_every_node_is_told() -> None:
    with pytest.raises(ValueError, match="needs 2 GPUs on one node, and the largest node has 1"):
        factory(aggregated(1, nodes=[{"gpus": 1}]))


def test_hours_are_paid_from_binding_to_deletion() -> None:
    made = factory(aggregated(1, coldStart={"p50": "600s", "p90": "600s", "scheduling": "60s"}))
    run(made, 3600)
    made.scale(POOL, 3)  # is bound after 60 s and loads for 540 s, and is paid for that
    run(made, 900)
    made.scale(POOL, 2)
    run(made, 2700)
    totals = made.summary().models[0].pools[0]
    assert totals.replica_hours == pytest.approx(2 + 840 / 3600 + 3540 / 3600)
    assert totals.gpu_hours == pytest.approx(2 * totals.replica_hours), "the profile has two GPUs a replica"


# Names


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


# At any time

MOVES = st.lists(st.tuples(st.floats(0.1, 40), st.integers(0, 1), st.integers(0, 6)), min_size=1, max_size=10)
ONE_OF = st.sampled_from(
    [
        {"kind": "slow_replica", "times": 3}, {"kind": "stuck_routing"}, {"kind": "cache_flush"},
        {"kind": "short_residency"}, {"kind": "cold_new_replica"}, {"kind": "slow_start"}, {"kind": "stuck_start"},
        {"kind": "kv_thrash"}, {"kind": "metric_gap"}, {"kind": "scrape_loss"}, {"kind": "crash_loop", "lives": "3s"},
        {"kind": "node_loss", "eviction": "10s"}, {"kind": "rollout"},
    ]
)  # fmt: skip
FAULTS = st.lists(st.tuples(ONE_OF, st.integers(0, 120), st.integers(1, 90), st.integers(0, 1)), max_size=5)


class Watch:
    """Looks at a model at each change: what must hold at any time, and what has been paid by what is seen."""

    def __init__(self, made: Factory) -> None:
        (self.model,) = made.models
        self.paid_s = dict.fromkeys(self.model.pools, 0.0)
        self.seen: list[float] = [0.0]
        self.paying = dict.fromkeys(self.model.pools, 0)
        self.model.on_change = self.look

    def look(self, now_s: float) -> None:
        for pool in self.model.pools:
            self.paid_s[pool] += self.paying[pool] * (now_s - self.seen[-1])
            self.paying[pool] = sum(replica.bound_at_s is not None for replica in pool.replicas)
            assert all((replica.node is None) is (replica.bound_at_s is None) for replica in pool.replicas)
        self.seen.append(now_s)
        bound = [replica for replica in self.model.replicas() if replica.node is not None]
        for node in self.model.inventory.nodes:
            used = sum(replica.pool.gpus for replica in bound if replica.node is node)
            assert node.free == node.gpus - used >= 0, "GPUs are given out once"
        fleet = self.model.fleet
        live_engines = [replica.engine for replica in bound if replica.live]
        assert len(set(live_engines)) == len(live_engines)
        assert [replica for replica in self.model.replicas() if not replica.live and replica.engine >= 0] == []
        assert int(fleet.engines["alive"].sum()) == len(live_engines)


@given(
    split=st.booleans(),
    nodes=st.sampled_from([[], [{"gpus": 6}], [{"name": "a", "gpus": 4}, {"name": "b", "gpus": 3}]]),
    grace=st.sampled_from(["0s", "3s", "130s"]),
    requests_per_s=st.floats(0.5, 25),
    share=st.sampled_from([0.0, 0.4]),
    affinity=st.sampled_from([0.0, 0.5]),
    faults=FAULTS,
    moves=MOVES,
    seed=st.integers(0, 5),
)
@settings(max_examples=60)
def test_requests_and_gpus_and_hours_are_conserved_whatever_goes_wrong(
    split: bool,
    nodes: list[dict[str, object]],
    grace: str,
    requests_per_s: float,
    share: float,
    affinity: float,
    faults: list[tuple[dict[str, object], int, int, int]],
    moves: list[tuple[float, int, int]],
    seed: int,
) -> None:
    names = ("prefill", "decode") if split else ("pool", "pool")
    spec = (pair if split else aggregated)(
        coldStart={"p50": "5s", "p90": "15s"},
        nodes=nodes,
        terminationGracePeriod=grace,
        router={"affinity": affinity},
        workload=workload(requests_per_s, prefixShare=share),
        faults=[{**kind, "at": f"{at}s", "duration": f"{lasts}s", "pool": names[i]} for kind, at, lasts, i in faults],
    )
    made = factory(spec, seed=seed)
    watch = Watch(made)
    (model,) = made.models
    for seconds, which, wanted in moves:
        run(made, seconds)
        made.scale(model.pools[which % len(model.pools)].ref, wanted)
        assert model.fleet.arrived == model.ledger.ended + model.fleet.in_flight, "a request was lost or doubled"
    run(made, 200)
    watch.look(made.now_s)
    for pool in model.pools:
        assert watch.paid_s[pool] == pytest.approx(pool.paid_s(made.now_s))
        there = sum(replica.state is not ReplicaState.DRAINING for replica in pool.replicas)
        # A rollout's extra replica may wait for GPUs for ever, as it does in a full cluster.
        rolling = any(kind["kind"] == "rollout" for kind, *_ in faults)
        assert pool.wanted <= there <= pool.wanted + rolling, "as many as are wanted, or on their way"
    assert all(later >= earlier for earlier, later in pairwise(watch.seen))
    model.fleet.settle()
    for replica in model.replicas():
        if replica.live:
            assert 0 <= model.fleet.used_blocks(replica.engine) <= model.fleet.pools[replica.pool.number].engines.blocks


def test_cutting_a_run_into_pieces_changes_nothing_of_what_goes_wrong() -> None:
    faults = [
        {"kind": "crash_loop", "at": "10s", "duration": "60s", "lives": "5s"},
        {"kind": "node_loss", "at": "70s", "duration": "60s", "eviction": "20s"},
        {"kind": "kv_thrash", "at": "30s", "duration": "40s"},
        {"kind": "rollout", "at": "100s"},
    ]
    spec = aggregated(3, coldStart={"p50": "5s", "p90": "15s"}, faults=faults, workload=workload(12))

    def total(step_s: float) -> object:
        made = factory(spec)
        while made.now_s < 300:
            run(made, step_s)
        return made.summary(), [(replica.name, replica.state, replica.ready_at_s) for replica in pool_of(made).replicas]

    assert total(300) == total(2.5)


def test_a_node_knows_what_it_has() -> None:
    made = factory(aggregated(2, nodes=[{"gpus": 5}]))
    nodes: list[Node] = made.models[0].inventory.nodes
    assert [(node.name, node.gpus, node.free, node.up) for node in nodes] == [("node", 5, 1, True)]


def test_the_oldest_ready_replica_is_told_first() -> None:
    made = factory(aggregated(2))
    replicas: list[Replica] = pool_of(made).replicas
    replicas[0].ready_at_s = 5.0
    assert pool_of(made).oldest_ready() == [replicas[1], replicas[0]]
