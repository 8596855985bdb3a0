import numpy as np
import pytest

from aiops.simulate.cluster import Pool, ReplicaState
from aiops.simulate.factory import Factory
from aiops.simulate.faults.truth import truth
from aiops.simulate.fleet import FULL_SPEED
from aiops.simulate.observer import FactoryObserver
from aiops.simulate.spec import FactorySpec
from tests.simulate.factories import aggregated, factory, pair, run, small_profile, workload

FIXED = {"p50": "60s", "p90": "60s", "imageShare": 0.5, "weightsShare": 0.5}
SHARED = workload(6, prefixes={"count": 20, "tokens": 320})


def with_fault(kind: str, replicas: int = 2, load: dict[str, object] | None = None, **parameters: object) -> Factory:
    """A pool with a fault from 100 s to 200 s."""
    fault = {"kind": kind, "at": "100s", "duration": "100s", **parameters}
    router = {"kind": "round_robin"}
    spec = aggregated(replicas, coldStart=FIXED, router=router, workload=load or workload(6), faults=[fault])
    return factory(spec, profile=small_profile(kvTokens=8000))


def pool_of(made: Factory, number: int = 0) -> Pool:
    return made.models[0].pools[number]


def engines(made: Factory, field: str) -> list[int]:
    made.models[0].settle()
    return [int(made.models[0].fleet.engines[replica.engine][field]) for replica in pool_of(made).replicas]


def gained(made: Factory, field: str, seconds: float) -> list[int]:
    """What the engines' counters gain in some seconds."""
    before = engines(made, field)
    run(made, seconds)
    return [later - earlier for earlier, later in zip(before, engines(made, field), strict=True)]


def states(made: Factory) -> list[str]:
    return sorted(replica.state for replica in pool_of(made).replicas)


# In engines


def test_a_slow_replica_takes_longer_for_each_token_and_only_as_long_as_the_fault() -> None:
    made = run(with_fault("slow_replica", times=3), 100)
    between_s = []
    for _ in range(2):
        total, tokens = np.array(engines(made, "itl_sum")), np.array(engines(made, "generated"))
        run(made, 100)
        between_s.append((engines(made, "itl_sum") - total) / (engines(made, "generated") - tokens))
    assert between_s[0][0] > 2.5 * between_s[0][1]
    assert between_s[1][0] < 1.3 * between_s[1][1]
    assert engines(made, "slow") == [FULL_SPEED, FULL_SPEED]


def test_two_slownesses_of_one_replica_multiply_and_end_each_at_its_time() -> None:
    faults = [
        {"kind": "slow_replica", "at": "10s", "duration": "20s", "times": 2},
        {"kind": "slow_replica", "at": "20s", "duration": "20s", "times": 3},
    ]
    made = factory(aggregated(1, faults=faults))
    slow = [engines(run(made, 10), "slow")[0] / FULL_SPEED for _ in range(4)]
    assert slow == [2, 6, 3, 1]


def test_a_slow_replica_is_slow_after_a_restart_too() -> None:
    faults = [
        {"kind": "slow_replica", "at": "0s", "duration": "500s", "times": 2},
        {"kind": "crash_loop", "at": "10s", "duration": "1s"},
    ]
    made = run(factory(aggregated(1, coldStart=FIXED, faults=faults)), 100)
    assert states(made) == ["ready"]
    assert engines(made, "slow") == [2 * FULL_SPEED]


def test_stuck_routing_sends_its_share_to_one_replica() -> None:
    made = run(with_fault("stuck_routing", 4, share=0.7, replica=1), 100)
    queries = gained(made, "first_tokens", 100)
    assert max(queries) == queries[1]
    assert queries[1] / sum(queries) == pytest.approx(0.7 + 0.3 / 4, abs=0.06)
    after = gained(made, "first_tokens", 100)
    assert max(after) / sum(after) < 0.35


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        pytest.param("cache_flush", {}, id="a flush"),
        pytest.param("short_residency", {"every": "2s"}, id="a short residency"),
    ],
)
def test_a_forgotten_cache_has_fewer_hits(kind: str, parameters: dict[str, str]) -> None:
    whole, hurt = run(with_fault("scrape_loss", load=SHARED), 99), run(with_fault(kind, load=SHARED, **parameters), 99)
    assert engines(whole, "hits") == engines(hurt, "hits")
    assert sum(gained(hurt, "hits", 10)) < 0.9 * sum(gained(whole, "hits", 10))


def test_a_short_residency_goes_on_and_ends() -> None:
    whole = run(with_fault("scrape_loss", load=SHARED), 100)
    hurt = run(with_fault("short_residency", load=SHARED, every="1s"), 100)
    flushed = run(with_fault("cache_flush", load=SHARED), 100)
    during = [sum(gained(made, "hits", 100)) for made in (whole, flushed, hurt)]
    assert during[2] < 0.6 * during[1] < 0.6 * during[0] + 1
    run(whole, 60), run(hurt, 60)
    after = [sum(gained(made, "hits", 100)) for made in (whole, hurt)]
    assert after[1] > 0.95 * after[0]


def test_a_thrashing_cache_preempts_and_gives_its_blocks_back() -> None:
    made = run(with_fault("kv_thrash", load=workload(5, output=80), share=0.8), 99)
    assert engines(made, "preemptions") == [0, 0]
    run(made, 100)
    assert min(engines(made, "preemptions")) > 0
    fleet = made.models[0].fleet
    used = [fleet.used_blocks(number) / fleet.pools[0].engines.blocks for number in (0, 1)]
    assert min(used) >= 0.8, "it shows as usage"
    made.models[0].stop_arrivals()
    run(made, 200)
    assert [fleet.used_blocks(number) for number in (0, 1)] == [0, 0]


def test_requests_that_no_longer_fit_wait_for_the_end_of_the_thrashing_and_are_served_then() -> None:
    load = {"requestsPerS": 0.5, "inputTokens": {"fixed": 3000}, "outputTokens": {"fixed": 10}}
    made = run(with_fault("kv_thrash", 1, load=load, share=0.9), 120)
    made.models[0].stop_arrivals()
    run(made, 79)
    waiting = made.models[0].fleet.in_flight
    run(made, 100)
    assert waiting > 0
    assert made.models[0].fleet.in_flight == 0


def test_slow_transfers_delay_what_starts_then() -> None:
    fault = {"kind": "slow_transfer", "at": "100s", "duration": "100s", "times": 50}
    made = factory(pair(1, 1, workload=workload(2), transfer={"latency": "4ms"}, faults=[fault]))
    waits = []
    for _ in range(3):
        run(made, 100)
        made.models[0].settle()
        decode = made.models[0].fleet.engines[pool_of(made, 1).replicas[0].engine]
        waits.append((int(decode["transfer_wait"]), int(decode["transfers"])))
    mean_s = [(b[0] - a[0]) / (b[1] - a[1]) / 1e12 for a, b in zip([(0, 0), *waits], waits, strict=False)]
    assert mean_s[1] == pytest.approx(50 * mean_s[0], rel=0.5)
    assert mean_s[2] == pytest.approx(mean_s[0], rel=0.3)


# In pods and nodes


def test_a_cold_new_replica_is_ready_at_once_with_an_empty_cache() -> None:
    made = run(with_fault("cold_new_replica", load=SHARED), 99)
    run(made, 2)
    assert states(made) == ["ready"] * 3
    run(made, 10)
    old, new = engines(made, "hits")[0] / engines(made, "queries")[0], engines(made, "hits")[2]
    assert new / engines(made, "queries")[2] < old
    assert pool_of(made).wanted == 3


@pytest.mark.parametrize(
    ("kind", "ordered_at_s", "ready_after_s"),
    [
        pytest.param("slow_start", 120, 1 + 4 * 59, id="a slow start takes four times as long"),
        pytest.param("stuck_start", 120, 80 + 59, id="a stuck one hangs until the end and begins then"),
        pytest.param("slow_start", 50, 60, id="one that was bound before is not slow"),
        pytest.param("stuck_start", 50, 60, id="one that was bound before is not stuck"),
        pytest.param("stuck_start", 210, 60, id="one that comes later is not stuck"),
    ],
)
def test_a_start_is_disturbed(kind: str, ordered_at_s: float, ready_after_s: float) -> None:
    made = run(with_fault(kind), ordered_at_s)
    made.scale(pool_of(made).ref, 3)
    run(made, ready_after_s - 0.1)
    assert "starting" in states(made)
    run(made, 0.2)
    assert states(made) == ["ready"] * 3


def test_a_crashing_container_fails_its_requests_and_comes_and_goes_until_the_fault_ends() -> None:
    made = run(with_fault("crash_loop", lives="5s"), 99)
    assert made.models[0].ledger.failed == 0
    changes: list[tuple[float, str]] = []
    crashing = pool_of(made).oldest_ready()[0]
    made.models[0].on_change = lambda now_s: changes.append((now_s, crashing.state))
    run(made, 300)
    assert made.models[0].ledger.failed > 0
    # It starts anew at once, loads for half of 59 s, lives for 5 s, waits for 10 s, loads again, lives for 5 s ...
    assert changes == [
        (100.0, "starting"), (129.5, "ready"), (134.5, "down"), (144.5, "starting"), (174.0, "ready"),
        (179.0, "down"), (199.0, "starting"), (228.5, "ready"),
    ]  # fmt: skip
    assert crashing.restarts == 3
    assert pool_of(made).paid_s(400) == pytest.approx(800), "a pod is paid for while its container is down"


def test_a_lost_node_takes_its_pods_along_and_they_come_back_elsewhere() -> None:
    fault = {"kind": "node_loss", "at": "100s", "duration": "1h", "eviction": "50s"}
    nodes = [{"name": "a", "gpus": 4}, {"name": "b", "gpus": 4}]
    made = run(factory(aggregated(3, coldStart=FIXED, nodes=nodes, workload=workload(20), faults=[fault])), 101)
    assert states(made) == ["down", "down", "ready"], "two were on the node of the oldest"
    assert made.models[0].ledger.failed > 0
    run(made, 50)
    assert states(made) == ["pending", "ready", "starting"] or states(made) == ["pending", "pending", "ready"]
    run(made, 60)
    assert states(made) == ["pending", "ready", "ready"], "the other node has room for one more"
    run(made, 3600)
    assert states(made) == ["ready"] * 3, "the node is back"


def test_pods_of_a_node_that_is_back_before_their_eviction_start_anew_there() -> None:
    made = with_fault("node_loss", eviction="200s")
    names = [replica.name for replica in pool_of(made).replicas]
    run(made, 199)
    assert states(made) == ["down", "ready"]
    run(made, 40)
    assert states(made) == ["ready", "ready"]
    assert [replica.name for replica in pool_of(made).replicas] == names


def test_a_rollout_replaces_all_and_never_has_fewer_than_are_wanted() -> None:
    made = run(with_fault("rollout", 3, surge=1), 99)
    old = {replica.name for replica in pool_of(made).replicas}
    seen: list[tuple[int, int]] = []

    def look(_: float) -> None:
        counted = [replica for replica in pool_of(made).replicas if replica.state is not ReplicaState.DRAINING]
        seen.append((len(pool_of(made).in_state(ReplicaState.READY)), len(counted)))

    made.models[0].on_change = look
    run(made, 300)
    assert min(ready for ready, _ in seen) == 3
    assert max(counted for _, counted in seen) == 4
    names = {replica.name for replica in pool_of(made).replicas}
    assert len(names) == 3
    assert not names & old
    assert {name.rsplit("-", 1)[0] for name in names}.isdisjoint({name.rsplit("-", 1)[0] for name in old})
    assert made.models[0].ledger.failed == 0


# In what is seen


def test_a_replica_that_is_not_scraped_serves_and_shows_only_its_name() -> None:
    made = run(with_fault("scrape_loss", replica=1), 150)
    first, second = FactoryObserver(made).observe().models[0].pools[0].replicas
    assert (first.running is None, second.running is None) == (False, True)
    assert second.name == pool_of(made).replicas[1].name
    assert min(gained(made, "generated", 10)) > 0
    run(made, 60)
    assert FactoryObserver(made).observe().models[0].pools[0].replicas[1].running is not None


def test_in_a_gap_nothing_of_the_model_is_seen() -> None:
    made = run(with_fault("metric_gap"), 150)
    seen = FactoryObserver(made).observe().models[0]
    assert seen.demand is None
    assert [replica.running for replica in seen.pools[0].replicas] == [None, None]
    assert FactoryObserver(run(made, 60)).observe().models[0].demand is not None


def test_a_pod_that_waits_for_gpus_is_seen_with_its_reason() -> None:
    made = factory(aggregated(1, coldStart=FIXED, nodes=[{"gpus": 2}]))
    made.scale(pool_of(made).ref, 2)
    (starting,) = FactoryObserver(run(made, 5)).observe().models[0].pools[0].starting
    assert (starting.scheduled, starting.reason) == (False, "waiting for nvidia.com/gpu: 2")


# Labels


def test_all_that_goes_wrong_is_labelled_and_what_only_looks_like_it_is_benign() -> None:
    events = [
        {"kind": "flash_crowd", "at": "5s", "duration": "60s", "ramp": "10s"},
        {"kind": "length_shift", "at": "50s", "inputTimes": 2},
    ]
    faults = [
        {"kind": "slow_replica", "at": "20s", "duration": "30s", "replica": 1},
        {"kind": "rollout", "at": "10s", "duration": "40s"},
    ]
    spec = FactorySpec.model_validate(aggregated(2, workload=workload(5, events=events), faults=faults))
    told = [
        (window.kind, window.pool, window.replica, window.begin_s, window.end_s, window.benign)
        for window in truth(spec)
    ]
    assert told == [
        ("flash_crowd", None, None, 5.0, 85.0, True),
        ("rollout", "pool", None, 10.0, 50.0, True),
        ("slow_replica", "pool", 1, 20.0, 50.0, False),
        ("length_shift", None, None, 50.0, None, False),
    ]


def test_a_run_names_whom_it_hit() -> None:
    made = run(with_fault("slow_replica", replica=1), 150)
    (window,) = made.models[0].faults.truth()
    assert window.hit == (pool_of(made).replicas[1].name,)


def test_a_fault_for_a_replica_that_is_not_there_hits_nobody() -> None:
    made = run(with_fault("crash_loop", replica=7), 300)
    assert made.models[0].faults.truth()[0].hit == ()
    assert states(made) == ["ready", "ready"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param(
            {"faults": [{"kind": "rollout", "at": "1s", "pool": "x"}]}, "no pool 'x'", id="a fault in no pool"
        ),
        pytest.param({"scale": [{"at": "1s", "pool": "x", "replicas": 1}]}, "no pool 'x'", id="scaling no pool"),
        pytest.param(
            {"faults": [{"kind": "slow_transfer", "at": "1s", "duration": "1s"}]}, "transfers no KV", id="no transfers"
        ),
        pytest.param({"nodes": [{"gpus": 1}, {"gpus": 2}]}, "same name", id="two nodes of one name"),
        pytest.param({"coldStart": {"imageShare": 0.6, "weightsShare": 0.6}}, "exceed 1", id="more than a whole start"),
    ],
)
def test_what_makes_no_sense_is_told(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FactorySpec.model_validate(aggregated(**changes))
