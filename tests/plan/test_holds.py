"""What Kubernetes and people say is above what demand asks for."""

from dataclasses import replace
from datetime import timedelta

import pytest

from aiops.model.cluster import Override, TargetView
from aiops.model.decision import Decision, Reason
from aiops.model.mark import Mark
from aiops.model.policy import Mode
from aiops.model.snapshot import Snapshot, StartingReplica
from aiops.plan import State, decide, learn_snapshot
from aiops.plan.state import PoolMemory
from tests.plan.test_decide import only
from tests.plan.worlds import START, demand_of, policies, policy, snapshot

HEAVY, LIGHT = 60.0, 1.0


def with_target(seen: Snapshot, **said: object) -> Snapshot:
    (model,) = seen.models
    (pool,) = model.pools
    target = TargetView(pool.pool, pool.current or 0, "1", **said)  # type: ignore[arg-type]
    return replace(seen, models=(replace(model, pools=(replace(pool, target=target),)),))


def decided(requests_per_s: float, mode: Mode = Mode.ACT, memory: PoolMemory | None = None, **said: object) -> Decision:
    policy_set = policies(policy(mode=mode.value))
    seen = with_target(snapshot(START, {"both": 4}, demand_of(requests_per_s)), **said)
    state = learn_snapshot(State(), seen, policy_set)
    if memory is not None:
        (model,) = state.models
        state = replace(state, models=(replace(model, pools=(memory,)),))
    return only(decide(seen, state, policy_set))


@pytest.mark.parametrize(
    ("said", "reason", "desired"),
    [
        pytest.param({"scaled_by": "HorizontalPodAutoscaler llm/chat"}, Reason.OWNED_BY_ANOTHER_SCALER, 4, id="an HPA"),
        pytest.param({"override": Override(None, None)}, Reason.PAUSED, 4, id="paused"),
        pytest.param({"override": Override(3, None)}, Reason.HELD, 3, id="held below"),
        pytest.param({"override": Override(99, None)}, Reason.HELD, 99, id="held above the policy's maximum"),
        pytest.param({"override": Override(0, None)}, Reason.HELD, 0, id="held at none, below the minimum"),
    ],
)
def test_a_hold_is_the_last_word_whatever_demand_asks_for(
    said: dict[str, object], reason: Reason, desired: int
) -> None:
    for requests_per_s in (HEAVY, LIGHT):
        decision = decided(requests_per_s, **said)

        assert decision.desired == desired
        assert reason in decision.reasons


def test_another_scaler_is_what_emit_is_for() -> None:
    decision = decided(HEAVY, Mode.EMIT, scaled_by="ScaledObject llm/chat")

    assert (decision.desired or 0) > 4
    assert Reason.OWNED_BY_ANOTHER_SCALER not in decision.reasons


@pytest.mark.parametrize(
    ("ago", "manager", "kept"),
    [
        pytest.param(timedelta(minutes=10), "kubectl", True, id="ten minutes ago by kubectl"),
        pytest.param(timedelta(minutes=59), "argocd", True, id="within the hour by Argo"),
        pytest.param(timedelta(minutes=61), "kubectl", False, id="more than an hour ago"),
        pytest.param(timedelta(minutes=10), "aiops", False, id="by ourselves"),
        pytest.param(timedelta(minutes=10), "", False, id="by nobody who is named"),
    ],
)
def test_somebody_elses_change_is_respected_for_an_hour(ago: timedelta, manager: str, kept: bool) -> None:
    ref = snapshot(START, {"both": 4}, None).models[0].pools[0].pool
    then_s = START.timestamp()
    marks = (Mark(then_s - 86400.0, 7), Mark((START - ago).timestamp(), 4))
    decision = decided(HEAVY, memory=PoolMemory(ref, currents=marks), replicas_manager=manager)

    assert (Reason.CHANGED_BY_ANOTHER in decision.reasons, decision.desired == 4) == (kept, kept)


def test_the_first_number_seen_is_nobodys_change() -> None:
    assert Reason.CHANGED_BY_ANOTHER not in decided(HEAVY, replicas_manager="kubectl").reasons


def test_a_rollout_holds_what_is_there_and_lets_it_grow() -> None:
    ref = snapshot(START, {"both": 4}, None).models[0].pools[0].pool
    long_ago = START.timestamp() - 86400.0
    settled = PoolMemory(ref, proposals=(Mark(long_ago, 1),), currents=(Mark(long_ago, 4),))
    rollout = "2 of 4 pods are of the new revision"
    shrunk, free = decided(LIGHT, memory=settled, rollout=rollout), decided(LIGHT, memory=settled)
    grown = decided(HEAVY, rollout=rollout)

    assert (free.desired or 0) < 4
    assert (shrunk.desired, Reason.ROLLOUT in shrunk.reasons) == (4, True)
    assert (grown.desired or 0) > 4
    assert Reason.ROLLOUT not in grown.reasons


@pytest.mark.parametrize(
    ("ordered", "scheduled", "reason", "told"),
    [
        pytest.param(timedelta(hours=1), False, "waiting for nvidia.com/gpu: 4", True, id="an hour without a node"),
        pytest.param(timedelta(seconds=20), False, "waiting for nvidia.com/gpu: 4", False, id="not yet late"),
        pytest.param(timedelta(hours=1), True, "", False, id="still loading"),
        pytest.param(timedelta(hours=1), True, "ImagePullBackOff", False, id="on a node, and in trouble there"),
        pytest.param(timedelta(hours=1), False, "", False, id="nobody has looked for a node yet"),
    ],
)
def test_replicas_that_find_no_node_are_told(ordered: timedelta, scheduled: bool, reason: str, told: bool) -> None:
    policy_set = policies()
    seen = snapshot(START, {"both": 4}, demand_of(LIGHT))
    (model,) = seen.models
    waiting = StartingReplica("chat-x", START - ordered, scheduled, reason)
    seen = replace(seen, models=(replace(model, pools=(replace(model.pools[0], starting=(waiting,)),)),))
    decision = only(decide(seen, learn_snapshot(State(), seen, policy_set), policy_set))

    assert (Reason.UNSCHEDULABLE in decision.reasons) == told


@pytest.mark.parametrize(
    ("said", "reason", "desired"),
    [
        pytest.param({}, Reason.COOLDOWN_AFTER_FAILURE, 4, id="demand asks in vain"),
        pytest.param({"override": Override(6, None)}, Reason.COOLDOWN_AFTER_FAILURE, 4, id="a person's number, too"),
        pytest.param({"override": Override(None, None)}, Reason.PAUSED, 4, id="a pause would not have moved it"),
        pytest.param({"rollout": "1 of 4"}, Reason.COOLDOWN_AFTER_FAILURE, 4, id="a rollout would have let it grow"),
    ],
)
def test_a_target_whose_writes_were_refused_is_left_alone(
    said: dict[str, object], reason: Reason, desired: int
) -> None:
    ref = snapshot(START, {"both": 4}, None).models[0].pools[0].pool
    seen = (Mark(START.timestamp() - 86400.0, 4),)
    refused = PoolMemory(ref, currents=seen, refusals=3, refused_at_s=START.timestamp() - 59)
    over = replace(refused, refused_at_s=START.timestamp() - 61)
    left_alone, tried = (decided(HEAVY, memory=memory, **said) for memory in (refused, over))

    assert (left_alone.desired, reason in left_alone.reasons) == (desired, True)
    assert Reason.COOLDOWN_AFTER_FAILURE not in tried.reasons
