from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiops.model.cycle import Cycle
from aiops.model.decision import Decision, Provenance, Reason
from aiops.model.demand import DemandHistory, DemandSource, TokenDemand
from aiops.model.policy import PolicySet, ScalingPolicy
from aiops.model.snapshot import ModelSnapshot, ReplicaSample, Snapshot
from aiops.plan import State, begin, decide, learn_snapshot, remember
from tests.plan.worlds import REF, START, VARIANT, demand_of, policies, policy, snapshot


def cycle_of(seen: Snapshot, policy_set: PolicySet | None = None, state: State | None = None) -> Cycle:
    chosen = policy_set or policies()
    return decide(seen, learn_snapshot(state or State(), seen, chosen), chosen)


def only(cycle: Cycle) -> Decision:
    (decision,) = cycle.decisions
    return decision


def settled(replicas: int, demand: TokenDemand, policy_set: PolicySet) -> State:
    """A state that has watched a constant world for an hour."""
    state = State()
    for minute in range(60):
        seen = snapshot(START - timedelta(minutes=60 - minute), {"both": replicas}, demand)
        state = learn_snapshot(state, seen, policy_set)
        state = remember(state, decide(seen, state, policy_set), policy_set)
    return state


@pytest.mark.parametrize(
    ("requests_per_s", "current", "desired", "reasons"),
    [
        pytest.param(10, 2, 2, (Reason.STEADY,), id="what is needed is there"),
        pytest.param(30, 3, 5, (Reason.DEMAND_NOW,), id="the present needs more"),
        pytest.param(
            60, 3, 6, (Reason.DEMAND_NOW, Reason.SCALE_UP_STEP_LIMITED), id="the step doubles at most"
        ),
        pytest.param(
            500, 15, 20, (Reason.DEMAND_NOW, Reason.SCALE_UP_STEP_LIMITED, Reason.ABOVE_MAX), id="max is never passed"
        ),
        pytest.param(
            10, 6, 6, (Reason.DEMAND_FELL, Reason.SCALE_DOWN_STABILIZED), id="a fresh process removes nothing"
        ),
        pytest.param(0, 1, 1, (Reason.DEMAND_FELL, Reason.SCALE_DOWN_STABILIZED), id="nothing arrives and min is one"),
    ],
)  # fmt: skip
def test_one_pool_without_a_past(
    requests_per_s: float, current: int, desired: int, reasons: tuple[Reason, ...]
) -> None:
    decision = only(cycle_of(snapshot(START, {"both": current}, demand_of(requests_per_s))))
    assert (decision.desired, decision.reasons) == (desired, reasons)


def test_what_waits_is_need_of_its_own() -> None:
    calm = only(cycle_of(snapshot(START, {"both": 3}, demand_of(18))))
    queued = only(cycle_of(snapshot(START, {"both": 3}, demand_of(18, waiting=400))))
    assert calm.desired == 3
    assert queued.desired == 4
    assert queued.reasons[0] is Reason.BACKLOG


def test_a_queue_that_routing_makes_buys_nothing_and_says_so() -> None:
    policy_set = policies()
    state = State()
    cycle = None
    for second in range(0, 300, 15):
        seen = skewed(snapshot(START + timedelta(seconds=second), {"both": 4}, demand_of(18, waiting=400)))
        state = learn_snapshot(state, seen, policy_set)
        cycle = decide(seen, state, policy_set)
        state = remember(state, cycle, policy_set)
    assert cycle is not None
    decision = only(cycle)
    assert Reason.ROUTING_SKEW in decision.reasons
    assert decision.needed is not None
    assert decision.needed <= 4


@pytest.mark.parametrize(
    "per", [pytest.param("5m", id="long steps"), pytest.param("15s", id="steps shorter than a start")]
)
def test_a_pool_that_is_full_against_its_profile_gets_one_more_and_time_to_show_it(per: str) -> None:
    policy_set = policies(policy(scaleUp={"per": per}, scaleDown={"per": per}))
    state, asked = State(), []
    replicas = 3
    for second in range(0, 900, 15):
        seen = full(snapshot(START + timedelta(seconds=second), {"both": replicas}, demand_of(5)))
        state = learn_snapshot(state, seen, policy_set)
        decision = only(decide(seen, state, policy_set))
        asked.append((second, decision.desired, decision.reasons))
        state = remember(state, decide(seen, state, policy_set), policy_set)
        replicas = decision.desired or replicas
    raised = [later for earlier, later in pairwise(asked) if later[1] != earlier[1]]
    assert all(Reason.SATURATED in reasons for _, _, reasons in raised)
    # The lead time is 90 s and 30 s for scrape and loop: one more replica in about two minutes, not one a cycle.
    assert 4 <= len(raised) <= 8
    assert all(later[0] - earlier[0] >= 120 for earlier, later in pairwise(raised))


def full(seen: Snapshot) -> Snapshot:
    """Requests wait at every replica, whatever the demand says."""
    model = seen.models[0]
    pool = model.pools[0]
    busy = tuple(
        replace(replica, running=256.0, waiting=60.0, kv_usage_ratio=0.95, preemptions_per_s=0.5)
        for replica in pool.replicas
    )
    return replace(seen, models=(replace(model, pools=(replace(pool, replicas=busy),)),))


def skewed(seen: Snapshot) -> Snapshot:
    """One replica full with a long queue, three idle."""
    model = seen.models[0]
    pool = model.pools[0]
    hot = ReplicaSample(
        "hot", timedelta(hours=1), running=200.0, waiting=400.0, kv_usage_ratio=0.97, preemptions_per_s=1.0
    )
    idle = [
        ReplicaSample(f"idle-{i}", timedelta(hours=1), running=1.0, waiting=0.0, kv_usage_ratio=0.01) for i in range(3)
    ]
    return replace(seen, models=(replace(model, pools=(replace(pool, replicas=(hot, *idle)),)),))


@pytest.mark.parametrize(
    ("seen", "policy_set", "reasons", "desired"),
    [
        pytest.param(
            Snapshot(START, blind="Prometheus does not answer"),
            policies(),
            (Reason.STALE_METRICS, Reason.UNKNOWN_REPLICAS),
            None,
            id="blind from the first cycle on asks for nothing",
        ),
        pytest.param(
            snapshot(START, {"both": 4}, demand_of(10), blind="no series has this model"),
            policies(),
            (Reason.STALE_METRICS, Reason.UNKNOWN_REPLICAS),
            None,
            id="a blind model is not planned on the numbers that came with it",
        ),
        pytest.param(Snapshot(START), policies(), (Reason.STALE_METRICS, Reason.UNKNOWN_REPLICAS), None,
                     id="a model that was not seen is blind"),
        pytest.param(
            snapshot(START, {"both": 4}, None), policies(), (Reason.NO_DEMAND_SIGNAL,), 4, id="no demand signal holds"
        ),
        pytest.param(
            snapshot(START, {"both": 4}, TokenDemand(3.0, None, None, timedelta(minutes=1), DemandSource.ENGINES)),
            policies(),
            (Reason.NO_DEMAND_SIGNAL,),
            4,
            id="requests of unknown size hold",
        ),
        pytest.param(
            snapshot(START, {"both": 4}, demand_of(10)),
            policies(variant=replace(VARIANT, profile=None)),
            (Reason.NO_PROFILE,),
            4,
            id="a variant without a profile holds",
        ),
        pytest.param(
            snapshot(START, {"both": None}, demand_of(10)),
            policies(),
            (Reason.UNKNOWN_REPLICAS,),
            None,
            id="an unknown number of replicas is not changed",
        ),
    ],
)  # fmt: skip
def test_doubt_holds_still(
    seen: Snapshot, policy_set: PolicySet, reasons: tuple[Reason, ...], desired: int | None
) -> None:
    decision = only(cycle_of(seen, policy_set))
    assert (decision.reasons, decision.desired, decision.acts) == (reasons, desired, False)


def test_in_emit_a_blind_cycle_keeps_asking_for_what_was_asked() -> None:
    policy_set = policies(policy("emit"))
    seen = snapshot(START, {"both": 3}, demand_of(35))
    state = learn_snapshot(State(), seen, policy_set)
    first = decide(seen, state, policy_set)
    assert only(first).desired == 5
    blind = Snapshot(START + timedelta(seconds=15), blind="gone")
    state = learn_snapshot(remember(state, first, policy_set), blind, policy_set)
    held = only(decide(blind, state, policy_set))
    assert (held.current, held.desired, held.acts) == (3, 5, False)


def test_a_demand_that_fell_for_an_hour_lets_replicas_go_in_steps() -> None:
    policy_set = policies()
    state = settled(8, demand_of(10), policy_set)
    decision = only(cycle_of(snapshot(START, {"both": 8}, demand_of(10)), policy_set, state))
    assert decision.needed == 2
    assert decision.desired == 6
    assert decision.reasons == (Reason.DEMAND_FELL, Reason.SCALE_DOWN_STEP_LIMITED)


def test_zero_needs_a_gateway_that_would_notice_the_next_request() -> None:
    to_zero = policy(pools=[{"name": "both", "target": {"name": "both"}, "variant": "v", "min": 0}])
    policy_set = policies(to_zero)
    idle = demand_of(0)
    seen = snapshot(START, {"both": 1}, idle)
    assert only(cycle_of(seen, policy_set, settled(1, idle, policy_set))).desired == 0
    blindly = replace(idle, source=DemandSource.ENGINES)
    seen = snapshot(START, {"both": 1}, blindly)
    assert only(cycle_of(seen, policy_set, settled(1, blindly, policy_set))).desired == 1
    woken = snapshot(START, {"both": 0}, demand_of(0.2))
    assert only(cycle_of(woken, policy_set)).desired == 1


@pytest.mark.parametrize(
    ("requests_per_s", "waiting", "current", "desired", "reasons"),
    [
        pytest.param(0.2, 0, 0, 1, (Reason.DEMAND_NOW,), id="something arrives"),
        pytest.param(0, 3, 0, 1, (Reason.DEMAND_NOW,), id="something waits"),
        pytest.param(500, 900, 0, 1, (Reason.DEMAND_NOW,), id="much arrives, and nobody knows how much work it is"),
        pytest.param(0, 0, 0, 0, (Reason.STEADY,), id="nothing does"),
        pytest.param(0.2, 0, 1, 1, (Reason.NO_DEMAND_SIGNAL,), id="the first replica has not served one yet"),
    ],
)
def test_at_zero_the_first_request_needs_a_replica_though_nobody_can_tell_its_size(
    requests_per_s: float, waiting: float, current: int, desired: int, reasons: tuple[Reason, ...]
) -> None:
    policy_set = policies(policy(pools=[{"name": "both", "target": {"name": "both"}, "variant": "v", "min": 0}]))
    unknown = demand_of(requests_per_s, waiting=waiting)
    unknown = replace(unknown, input_tokens_per_request=None, output_tokens_per_request=None)
    decision = only(cycle_of(snapshot(START, {"both": current}, unknown), policy_set))

    assert (decision.desired, decision.reasons) == (desired, reasons)


def test_prefill_and_decode_wake_together() -> None:
    pools = [
        {"name": role, "role": role, "target": {"name": role}, "variant": "v", "min": 0}
        for role in ("prefill", "decode")
    ]
    unknown = replace(demand_of(0.2), input_tokens_per_request=None, output_tokens_per_request=None)
    cycle = cycle_of(snapshot(START, {"prefill": 0, "decode": 0}, unknown), policies(policy(pools=pools)))

    assert [decision.desired for decision in cycle.decisions] == [1, 1]


def test_every_decision_names_its_inputs_and_what_would_change_it() -> None:
    decision = only(cycle_of(snapshot(START, {"both": 5}, demand_of(30))))
    known = {entry.name: entry for entry in decision.inputs}
    assert known["arrivals"].value == 30
    assert known["arrivals"].provenance is Provenance.MEASURED
    assert known["utilization limit"].provenance is Provenance.INFERRED
    assert known["prefix cache share"].provenance is Provenance.MISSING
    assert known["prefix cache share"].value is None
    assert decision.why_not.startswith("would add 1 above")


def test_the_past_is_forecast_and_the_forecast_only_adds() -> None:
    policy_set = policies()
    ends = tuple((START - timedelta(minutes=m)).timestamp() for m in range(2 * 1440 - 1, -1, -1))
    # Each day from midnight: a peak of 90 req/s in the first three hours. The next midnight is now.
    rates = tuple(90.0 if end % 86400 < 3 * 3600 else 12.0 for end in ends)
    history = DemandHistory(REF, 60.0, ends, rates, tuple(r * 1000 for r in rates), tuple(r * 100 for r in rates))
    told = begin(State(), policy_set, [history], START)
    before = START - timedelta(minutes=4)
    cycle = cycle_of(snapshot(before, {"both": 3}, demand_of(12)), policy_set, told)
    assert all(f.basis.value in {"history", "last_value"} for f in cycle.models[0].forecasts if f.window.end_s <= 1800)
    assert (only(cycle).needed or 0) >= (only(cycle_of(snapshot(before, {"both": 3}, demand_of(12)))).needed or 0)


def test_a_model_of_another_namespace_is_another_model() -> None:
    seen = snapshot(START, {"both": 4}, demand_of(10))
    other = replace(seen, models=(replace(seen.models[0], ref=replace(REF, namespace="elsewhere")),))
    assert only(cycle_of(other)).reasons[0] is Reason.STALE_METRICS


demands = st.none() | st.builds(
    TokenDemand,
    requests_per_s=st.floats(0, 1e4),
    input_tokens_per_request=st.none() | st.floats(0, 1e5),
    output_tokens_per_request=st.none() | st.floats(0, 1e5),
    window=st.just(timedelta(minutes=1)),
    source=st.sampled_from(DemandSource),
    cached_ratio=st.none() | st.floats(0, 1),
    backlog_requests=st.none() | st.floats(0, 1e5),
    prefill_backlog_requests=st.none() | st.floats(0, 1e5),
    decode_backlog_requests=st.none() | st.floats(0, 1e5),
    censored=st.booleans(),
)


@settings(max_examples=60)
@given(
    turns=st.lists(
        st.tuples(demands, st.none() | st.integers(0, 30), st.none() | st.integers(0, 30), st.booleans()),
        min_size=1,
        max_size=8,
    ),
    gpus=st.none() | st.integers(4, 80),
)
def test_whatever_is_seen_the_decision_stays_within_the_policy(
    turns: list[tuple[TokenDemand | None, int | None, int | None, bool]], gpus: int | None
) -> None:
    chosen: ScalingPolicy = policy(prefill_decode=True, budget={"gpus": gpus} if gpus else {})
    policy_set = policies(chosen)
    state = State()
    for turn, (demand, prefill, decode, blind) in enumerate(turns):
        at = START + timedelta(seconds=20 * turn)
        seen = snapshot(at, {"prefill": prefill, "decode": decode}, demand, blind="lost" if blind else "")
        state = learn_snapshot(state, seen, policy_set)
        cycle = decide(seen, state, policy_set)
        assert cycle == decide(seen, state, policy_set)
        state = remember(state, cycle, policy_set)
        for decision in cycle.decisions:
            assert decision.reasons
            if decision.acts:
                assert decision.desired is not None
                assert 1 <= decision.desired <= 20
            if blind:
                assert not decision.acts
        held = {d.needed is None for d in cycle.decisions}
        assert len(held) == 1
        if not held.pop() and gpus:
            assert sum((d.desired or 0) * VARIANT.gpus for d in cycle.decisions) <= max(gpus, 2 * VARIANT.gpus)
    assert state.cycles == len(turns)


def test_the_model_snapshot_of_a_blind_model_needs_no_pools() -> None:
    seen = Snapshot(START, (ModelSnapshot(REF, blind="no series has model_name m; seen: n"),))
    cycle = cycle_of(seen)
    assert cycle.models[0].blind.startswith("no series")
    assert [str(found.kind) for found in cycle.detections] in (["blind"], [])
