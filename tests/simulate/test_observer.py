from datetime import timedelta

import pytest

from aiops.model.codec import decode, encode
from aiops.model.decision import Decision, Reason
from aiops.model.demand import DemandSource
from aiops.model.refs import ModelRef, PoolRef, Role
from aiops.model.snapshot import Snapshot
from aiops.simulate.actuator import FactoryActuator
from aiops.simulate.observer import FactoryObserver
from tests.simulate.factories import START, aggregated, factory, pair, run, small_profile, workload

POOL = PoolRef("default", "Deployment", "pool")


def decision(desired: int | None, pool: PoolRef = POOL) -> Decision:
    return Decision(ModelRef("default", "model"), pool, Role.BOTH, 2, desired, desired, (Reason.DEMAND_NOW,))


def test_rates_are_those_of_the_last_minute() -> None:
    load = workload(10, output=40, prefixes={"count": 1, "tokens": 160})
    made = run(factory(aggregated(2, workload=load), profile=small_profile(kvTokens=40_000)), 600)
    model = FactoryObserver(made).observe().models[0]
    demand = model.demand
    assert demand is not None
    assert demand.source is DemandSource.GATEWAY
    assert demand.requests_per_s == pytest.approx(10, rel=0.2)
    assert demand.input_tokens_per_request == pytest.approx(410, rel=0.1)
    assert demand.output_tokens_per_request == pytest.approx(40, rel=0.1)
    shared = 160 / (demand.input_tokens_per_request or 0)
    assert demand.cached_ratio == pytest.approx(shared, abs=0.03)
    assert demand.prefill_backlog_requests is None
    pool = model.pools[0]
    assert pool.total("finished_per_s") == pytest.approx(demand.requests_per_s, rel=0.1)
    assert pool.total("generation_tok_per_s") == pytest.approx(demand.requests_per_s * 40, rel=0.2)
    assert pool.total("prompt_tok_per_s") == pytest.approx(demand.requests_per_s * 410, rel=0.2)
    for replica in pool.replicas:
        assert replica.age == timedelta(seconds=600)
        assert replica.prefix_hit_ratio == pytest.approx(shared, abs=0.03)
        assert 0.015 < (replica.itl_mean_s or 0) < 0.05
        assert 0.02 < (replica.ttft_mean_s or 0) < 0.5
    assert model.latency.ttft_attainment_ratio == 1.0
    assert 0 < (model.latency.itl_s or 0) < 0.05


def test_what_did_not_happen_is_missing_and_not_zero() -> None:
    made = factory(aggregated(1))
    first = FactoryObserver(made).observe().models[0]
    assert first.demand is None
    assert first.pools[0].replicas[0].prompt_tok_per_s is None
    run(made, 300)
    model = FactoryObserver(made).observe().models[0]
    assert model.demand is not None
    assert model.demand.requests_per_s == 0.0
    assert model.demand.input_tokens_per_request is None
    assert model.latency.ttft_s is None
    assert model.pools[0].replicas[0].ttft_mean_s is None
    assert model.pools[0].replicas[0].prompt_tok_per_s == 0.0


def test_what_is_applied_is_observed_next() -> None:
    made = factory(aggregated(2, coldStart={"p50": "60s", "p90": "60s"}, workload=workload(2)))
    observer, actuator = FactoryObserver(made), FactoryActuator(made)
    run(made, 30)
    observer.observe()
    outcome = actuator.apply(decision(4))
    assert outcome.applied
    assert outcome.asked == 4
    pool = observer.observe().models[0].pools[0]
    assert (pool.current, pool.ready, len(pool.starting)) == (4, 2, 2)
    assert not pool.current_inferred
    assert pool.starting[0].ordered_at == START + timedelta(seconds=30)
    actuator.apply(decision(4))
    run(made, 60)
    pool = observer.observe().models[0].pools[0]
    assert (pool.ready, len(pool.starting)) == (4, 0), "asking twice for four gives four"
    assert pool.cold_starts_s == pytest.approx((60, 60))
    assert sorted(replica.age.total_seconds() for replica in pool.replicas if replica.age) == pytest.approx([90, 90])
    run(made, 15)
    assert observer.observe().models[0].pools[0].cold_starts_s == ()
    assert made.summary().scale_events == 1


def test_a_refusal_is_an_outcome() -> None:
    actuator = FactoryActuator(factory(aggregated(2)))
    nowhere = actuator.apply(decision(4, PoolRef("default", "Deployment", "none")))
    assert not nowhere.applied
    assert "default/none" in nowhere.error
    assert not actuator.apply(decision(None)).applied


@pytest.mark.parametrize(
    ("prefill", "decode_replicas", "where"),
    [
        pytest.param(0, 2, "prefill", id="no prefill replica: all wait at the gateway"),
        pytest.param(2, 0, "decode", id="no decode replica: prompts wait to be pulled"),
    ],
)
def test_the_backlog_names_the_role_that_is_short(prefill: int, decode_replicas: int, where: str) -> None:
    made = run(factory(pair(prefill, decode_replicas, workload=workload(2))), 20)
    demand = FactoryObserver(made).observe().models[0].demand
    assert demand is not None
    backlog = {"prefill": demand.prefill_backlog_requests, "decode": demand.decode_backlog_requests}
    other = "decode" if where == "prefill" else "prefill"
    assert (backlog[where] or 0) > 20
    assert backlog[other] == 0
    assert demand.backlog_requests == backlog[where]


def test_a_snapshot_can_be_recorded() -> None:
    made = run(factory(pair(workload=workload(5))), 60)
    made.scale(made.models[0].pools[0].ref, 4)
    snapshot = FactoryObserver(made).observe()
    assert decode(Snapshot, encode(snapshot)) == snapshot


def test_looking_again_without_time_passing_sees_the_same() -> None:
    made = run(factory(aggregated(workload=workload(5))), 50)
    assert FactoryObserver(made).observe() == FactoryObserver(made).observe()
