"""What the whole fleet may lose within an hour, and the switch that keeps everything where it is."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiops.model.cycle import Cycle
from aiops.model.decision import Reason
from aiops.model.fleet_policy import FleetSpec, Writes
from aiops.model.mark import Mark
from aiops.model.policy import Mode, PolicySet
from aiops.model.policy_part import Step
from aiops.model.snapshot import StartingReplica
from aiops.plan import State, decide, learn_snapshot, recall
from aiops.plan.fleet_limit import HOUR_S, Removals, deal, still_removable, within_the_hour
from tests.plan.test_decide import only, settled
from tests.plan.worlds import START, demand_of, policies, policy, snapshot

NOW_S = START.timestamp()


@pytest.mark.parametrize(
    ("wanted", "allowed", "dealt"),
    [
        pytest.param([Removals(100, (5,)), Removals(100, (3,))], None, ((5,), (3,)), id="without a bound all go"),
        pytest.param([Removals(100, (5,)), Removals(100, (3,))], 9, ((5,), (3,)), id="a bound that is far away"),
        pytest.param([Removals(100, (5,)), Removals(100, (1,))], 4, ((3,), (1,)), id="what one leaves another takes"),
        pytest.param([Removals(200, (5,)), Removals(100, (5,))], 3, ((1,), (2,)), id="who matters least begins"),
        pytest.param([Removals(100, (5,)), Removals(100, (5,))], 3, ((2,), (1,)), id="of equals the first begins"),
        pytest.param([Removals(100, (4, 2))], 3, ((3, 0),), id="a pair shrinks where it would shrink most"),
        pytest.param([Removals(100, (5,)), Removals(100, ())], 0, ((0,), ()), id="nothing is left"),
        pytest.param([], 3, (), id="nobody asks"),
    ],
)
def test_deal(wanted: Sequence[Removals], allowed: int | None, dealt: tuple[tuple[int, ...], ...]) -> None:
    assert deal(wanted, allowed) == dealt


@given(st.lists(st.tuples(st.integers(0, 3), st.lists(st.integers(0, 9), max_size=2)), max_size=6), st.integers(0, 40))
def test_a_deal_gives_all_that_may_go_to_those_who_want_it_and_nobody_is_passed_over(
    asked: list[tuple[int, list[int]]], allowed: int
) -> None:
    wanted = [Removals(priority, tuple(pools)) for priority, pools in asked]
    dealt = [sum(one) for one in deal(wanted, allowed)]
    asked_for = [sum(one.pools) for one in wanted]

    assert sum(dealt) == min(allowed, sum(asked_for))
    assert all(0 <= got <= want for got, want in zip(dealt, asked_for, strict=True))
    short = [got for got, want in zip(dealt, asked_for, strict=True) if got < want]
    assert all(got <= min(short) + 1 for got in dealt) if short else True


@pytest.mark.parametrize(
    ("bound", "present", "removals", "left"),
    [
        pytest.param(None, 10, [], None, id="no bound"),
        pytest.param(Step(6), 10, [(600, 2), (30, 1)], 3, id="what went counts for an hour"),
        pytest.param(Step(6), 10, [(3600, 2), (30, 1)], 5, id="and no longer"),
        pytest.param(Step(2), 10, [(60, 5)], 0, id="never less than nothing"),
        pytest.param(Step(share=0.5), 8, [(60, 2)], 3, id="a share is of what there was before"),
        pytest.param(Step(0), 8, [], 0, id="none at all"),
    ],
)
def test_still_removable(bound: Step | None, present: int, removals: list[tuple[float, int]], left: int | None) -> None:
    marks = [Mark(NOW_S - ago_s, count) for ago_s, count in removals]

    fleet = FleetSpec(max_removed_per_hour=bound)
    assert still_removable(fleet, present, marks, NOW_S, counted_since_s=NOW_S - HOUR_S) == left


@pytest.mark.parametrize(
    ("watched_s", "gone", "left"),
    [
        pytest.param(None, 0, 0, id="before the first look"),
        pytest.param(0, 0, 0, id="at the first look"),
        pytest.param(599, 0, 0, id="the tenth minute is not over"),
        pytest.param(600, 0, 1, id="a sixth of an hour"),
        pytest.param(1800, 1, 2, id="half an hour, in which one went"),
        pytest.param(3600, 1, 5, id="an hour"),
        pytest.param(86400, 1, 5, id="a day"),
    ],
)
def test_of_a_bound_on_six_there_is_as_much_as_was_watched_of_the_hour(
    watched_s: float | None, gone: int, left: int
) -> None:
    since_s = None if watched_s is None else NOW_S - watched_s
    marks = [Mark(NOW_S - 60.0, gone)]

    assert still_removable(FleetSpec(max_removed_per_hour=Step(6)), 20, marks, NOW_S, since_s) == left
    assert still_removable(FleetSpec(), 20, marks, NOW_S, since_s) is None


def last_cycle(replicas: int, *removals: Mark, unplaced: int = 0) -> Cycle:
    """The last cycle of a process that had counted for two hours."""
    policy_set = policies()
    seen = snapshot(START, {"both": replicas}, demand_of(10))
    (model,) = seen.models
    waiting = tuple(StartingReplica(f"new-{i}", START, False, "no room") for i in range(unplaced))
    pools = tuple(replace(pool, starting=waiting) for pool in model.pools)
    seen = replace(seen, models=(replace(model, pools=pools),))
    state = State(removals=removals, counted_since_s=NOW_S - 7200)
    return decide(seen, learn_snapshot(state, seen, policy_set), policy_set)


@pytest.mark.parametrize(
    ("after", "now", "removed"),
    [
        pytest.param(timedelta(seconds=20), 8, [2], id="all that were there"),
        pytest.param(timedelta(seconds=20), 5, [2, 3], id="less what the last write took"),
        pytest.param(timedelta(seconds=20), 9, [2], id="more than there were"),
        pytest.param(timedelta(seconds=20), None, [2], id="a number that is not known"),
        pytest.param(timedelta(minutes=58), 5, [2, 3], id="what went may have gone within the hour"),
        pytest.param(timedelta(minutes=59, seconds=59), 5, [3], id="what went before it did not"),
        pytest.param(timedelta(hours=1), 5, [], id="an hour later nothing is known"),
        pytest.param(timedelta(seconds=-1), 5, [], id="nor of a cycle that is yet to come"),
    ],
)
def test_a_new_process_counts_on_from_the_last_cycle_of_the_one_before(
    after: timedelta, now: int | None, removed: list[int]
) -> None:
    at, policy_set = START + after, policies()
    state = recall(State(), last_cycle(8, Mark(NOW_S - 60, 2)), at)
    state = learn_snapshot(state, snapshot(at, {"both": now}, demand_of(10)), policy_set)
    known = timedelta() <= after < timedelta(hours=1)

    assert [mark.replicas for mark in state.removals] == removed
    assert state.counted_since_s == (NOW_S - 7200 if known else at.timestamp())


def test_what_went_while_nobody_looked_is_counted_once_and_less_those_without_a_node() -> None:
    state, policy_set = recall(State(), last_cycle(8, unplaced=2), START), policies()
    for second in (15, 30, 45):
        state = learn_snapshot(state, snapshot(START.replace(second=second), {"both": 5}, demand_of(10)), policy_set)

    assert [mark.replicas for mark in state.removals] == [1]


@pytest.mark.parametrize("before", [1, 3, 12])
def test_what_was_counted_keeps_nothing_from_growing(before: int) -> None:
    at, policy_set = START + timedelta(seconds=20), bounded(1, policies())
    seen = snapshot(at, {"both": 3}, demand_of(60))
    fresh, recalled = (
        only(decide(seen, learn_snapshot(state, seen, policy_set), policy_set))
        for state in (State(), recall(State(), last_cycle(before, Mark(NOW_S - 60, 5)), at))
    )

    assert (recalled.desired, recalled.reasons) == (fresh.desired, fresh.reasons)
    assert (fresh.desired or 0) > 3


def test_what_somebody_else_takes_counts_too_and_what_is_added_does_not_make_up_for_it() -> None:
    policy_set, state = policies(), State()
    for minute, replicas in enumerate((8, 6, 9, 8)):
        seen = snapshot(START.replace(minute=minute), {"both": replicas}, demand_of(10))
        state = learn_snapshot(state, seen, policy_set)

    assert [mark.replicas for mark in state.removals] == [2, 1]
    assert [mark.replicas for mark in within_the_hour(state.removals, NOW_S + 3600 + 60)] == [1]


def test_pools_that_aiops_only_observes_do_not_count() -> None:
    policy_set, state = policies(policy("observe")), State()
    for minute, replicas in enumerate((8, 6)):
        seen = snapshot(START.replace(minute=minute), {"both": replicas}, demand_of(10))
        state = learn_snapshot(state, seen, policy_set)

    assert state.removals == ()


def bounded(bound: int, base: PolicySet) -> PolicySet:
    return replace(base, fleet=FleetSpec(max_removed_per_hour=Step(bound)))


@pytest.mark.parametrize(
    ("bound", "desired", "told"),
    [
        pytest.param(9, 6, False, id="far away"),
        pytest.param(2, 6, False, id="just enough"),
        pytest.param(1, 7, True, id="one of two"),
        pytest.param(0, 8, True, id="none"),
    ],
)
def test_a_bound_is_a_guard_with_its_reason(bound: int, desired: int, told: bool) -> None:
    policy_set = bounded(bound, policies())
    state = settled(8, demand_of(10), policy_set)
    seen = snapshot(START, {"both": 8}, demand_of(10))
    cycle = decide(seen, learn_snapshot(state, seen, policy_set), policy_set)

    assert (only(cycle).desired, Reason.FLEET_LIMIT in only(cycle).reasons) == (desired, told)
    assert cycle.fleet.may_remove == bound


def test_a_maximum_that_a_person_lowered_is_above_the_bound() -> None:
    shrunk = policy(pools=[{"name": "both", "target": {"name": "both"}, "variant": "v", "min": 1, "max": 3}])
    policy_set = bounded(0, policies(shrunk))
    seen = snapshot(START, {"both": 8}, demand_of(10))

    assert only(decide(seen, learn_snapshot(State(), seen, policy_set), policy_set)).desired == 3


# The switch


@pytest.mark.parametrize("requests_per_s", [pytest.param(200, id="more is needed"), pytest.param(5, id="less is")])
@pytest.mark.parametrize(
    ("mode", "still"),
    [
        pytest.param(Mode.ACT, True, id="act"),
        pytest.param(Mode.ACT_UP, True, id="act: up"),
        pytest.param(Mode.EMIT, True, id="emit, since others act on the number"),
        pytest.param(Mode.OBSERVE, False, id="observe goes on to say what it would do"),
    ],
)
def test_the_switch_keeps_everything_where_it_is(mode: Mode, still: bool, requests_per_s: float) -> None:
    policy_set = replace(policies(policy(mode)), fleet=FleetSpec(writes=Writes.OFF))
    state = settled(8, demand_of(requests_per_s), policy_set)
    seen = snapshot(START, {"both": 8}, demand_of(requests_per_s))
    cycle = decide(seen, learn_snapshot(state, seen, policy_set), policy_set)
    decision = only(cycle)

    assert (decision.change == 0, Reason.WRITES_OFF in decision.reasons) == (still, still)
    assert decision.needed != 8
    assert cycle.fleet.writes_off


def test_the_switch_is_above_a_persons_hold_and_the_policys_bounds() -> None:
    base = policies(policy(pools=[{"name": "both", "target": {"name": "both"}, "variant": "v", "min": 9, "max": 12}]))
    policy_set = replace(base, fleet=FleetSpec(writes=Writes.OFF))
    seen = snapshot(START, {"both": 8}, demand_of(10))

    assert only(decide(seen, learn_snapshot(State(), seen, policy_set), policy_set)).desired == 8
