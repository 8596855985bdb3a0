"""Loops over simulated time: what a user would lose if the loop as a whole were wrong."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest

from aiops.control.loop import Loop
from aiops.control.protocols import Observer
from aiops.model import codec
from aiops.model.decision import Decision, Outcome, Reason
from aiops.model.fleet_policy import FleetSpec, Writes
from aiops.model.policy import PolicySet
from aiops.model.policy_part import Step
from aiops.model.snapshot import Snapshot
from aiops.plan import Recording, State, decide, learn_snapshot
from tests.control.fake_cluster import FakeCluster
from tests.plan.worlds import START, policies, policy


def run(cluster: FakeCluster, policy_set: PolicySet, minutes: float, state: State | None = None) -> State:
    loop = Loop(cluster, cluster, cluster, cluster, lambda: policy_set)
    return loop.run_forever(cluster, state or State(), 15.0, until=cluster.at + timedelta(minutes=minutes))


def steps(change_at_minute: float, before: float, after: float) -> Callable[[float], float]:
    return lambda now_s: before if now_s < change_at_minute * 60 else after


# One replica of the small world serves 8.2 req/s of 1,000 + 100 tokens at the ITL bound, 7.4 at its limit.


def test_a_jump_in_demand_is_met_and_replicas_under_way_are_not_ordered_twice() -> None:
    cluster = FakeCluster(steps(5, 10, 60), {"both": 1})
    run(cluster, policies(), 20)
    needed = {cycle.decisions[0].needed for cycle in cluster.cycles if (cycle.at - START) > timedelta(minutes=6)}
    assert cluster.replicas() == max(n for n in needed if n is not None)
    assert 9 <= cluster.replicas() <= 11


def test_a_drop_in_demand_scales_down_after_the_stabilization_and_in_steps() -> None:
    cluster = FakeCluster(steps(30, 100, 10), {"both": 12})
    run(cluster, policies(), 29)
    peak = cluster.replicas()
    run_until_quiet = run(cluster, policies(), 120)
    assert run_until_quiet.cycles > 0
    counts = [(cycle.at - START, cycle.decisions[0].current) for cycle in cluster.cycles]
    first_drop = next(at for at, current in counts if current is not None and current < peak and at.seconds > 1800)
    assert timedelta(minutes=39) <= first_drop
    assert cluster.replicas() <= 3
    for (_, earlier), (_, later) in pairwise(counts):
        assert earlier is not None
        assert later is not None
        assert later >= earlier - max(1, -(-earlier // 4))


def test_steady_demand_moves_nothing() -> None:
    cluster = FakeCluster(lambda _: 50.0, {"both": 6})
    run(cluster, policies(), 60)
    settled = [cycle.decisions[0].current for cycle in cluster.cycles[len(cluster.cycles) // 2 :]]
    assert len(set(settled)) == 1


def test_a_blind_hour_in_the_middle_of_a_quiet_night_holds_every_replica() -> None:
    cluster = FakeCluster(steps(10, 80, 5), {"both": 9})
    state = run(cluster, policies(), 9)
    before = cluster.replicas()
    cluster.blind = "Prometheus does not answer"
    state = run(cluster, policies(), 60, state)
    assert cluster.replicas() == before
    assert all(Reason.STALE_METRICS in cycle.decisions[0].reasons for cycle in cluster.cycles[-100:])
    cluster.blind = ""
    run(cluster, policies(), 9, state)
    assert cluster.replicas() == before, "sight must last a stabilization window before anything is removed"


@pytest.mark.parametrize(
    ("mode", "leads", "applied"),
    [
        pytest.param("observe", True, False, id="observe writes nothing"),
        pytest.param("emit", True, False, id="emit writes nothing"),
        pytest.param("act", True, True, id="act writes"),
        pytest.param("act", False, False, id="a follower writes nothing"),
        pytest.param({"act": "up"}, True, True, id="act: up writes upwards"),
    ],
)
def test_modes(mode: object, leads: bool, applied: bool) -> None:
    cluster = FakeCluster(lambda _: 80.0, {"both": 1}, leads=leads)
    run(cluster, policies(policy(mode)), 10)  # type: ignore[arg-type]  # a mapping is one of the spellings
    assert bool(cluster.outcomes) is applied
    assert (cluster.replicas() > 1) is applied
    assert cluster.cycles[-1].decisions[0].desired != 1


def test_act_up_never_removes() -> None:
    cluster = FakeCluster(steps(10, 80, 5), {"both": 1})
    run(cluster, policies(policy({"act": "up"})), 90)  # type: ignore[arg-type]  # as above
    assert cluster.replicas() >= 5
    assert cluster.cycles[-1].decisions[0].desired == 1 or cluster.cycles[-1].decisions[0].change < 0


def test_a_refused_decision_is_recorded_and_asked_again_at_once_and_then_ever_more_rarely() -> None:
    cluster = FakeCluster(lambda _: 80.0, {"both": 1})
    cluster.refuses = "403: no rule for deployments/scale"
    state = run(cluster, policies(), 10)
    tried_s = [(outcome.at - START).total_seconds() for outcome in cluster.outcomes]
    reasons = {reason for cycle in cluster.cycles for reason in cycle.decisions[0].reasons}
    assert cluster.replicas() == 1
    assert [later - earlier for earlier, later in pairwise(tried_s)] == [15, 30, *[60] * 9]
    assert {outcome.error for outcome in cluster.outcomes} == {cluster.refuses}
    assert Reason.COOLDOWN_AFTER_FAILURE in reasons
    cluster.refuses = ""
    run(cluster, policies(), 3, state)
    assert cluster.replicas() > 1


def test_one_conflict_now_and_then_slows_nothing_down() -> None:
    cluster, quiet = (FakeCluster(steps(5, 10, 60), {"both": 1}) for _ in range(2))
    state = State()
    for cycle in range(80):
        cluster.refuses = "409: somebody was faster" if cycle % 2 else ""
        state = run(cluster, policies(), 0.1, state)
    run(quiet, policies(), 20)
    assert cluster.replicas() == quiet.replicas()
    assert not any(Reason.COOLDOWN_AFTER_FAILURE in cycle.decisions[0].reasons for cycle in cluster.cycles)


PAIR = {"decodePerPrefill": {"min": 1, "max": 2}}


def pair_over_time(requests_per_s: Callable[[float], float], refused: str, minutes: float) -> FakeCluster:
    """A pair of which one role's writes are refused from a time on at which everything had settled."""
    cluster = FakeCluster(requests_per_s, {"prefill": 2, "decode": 2})
    policy_set = policies(policy(prefill_decode=True, ratio=PAIR))
    state = run(cluster, policy_set, 20)
    cluster.refuses, cluster.refused_roles = "409: somebody was faster", (refused,)
    run(cluster, policy_set, minutes, state)
    return cluster


def sizes(cluster: FakeCluster, after_minutes: float = 20) -> list[tuple[int, int]]:
    """Prefill and decode replicas, cycle by cycle."""
    found = [cycle.decisions for cycle in cluster.cycles if cycle.at - START > timedelta(minutes=after_minutes)]
    return [(prefill.current or 0, decode.current or 0) for prefill, decode in found]


def test_both_roles_of_a_pair_are_ordered_in_the_same_cycle() -> None:
    cluster = FakeCluster(steps(10, 10, 60), {"prefill": 2, "decode": 2})
    run(cluster, policies(policy(prefill_decode=True, ratio=PAIR)), 20)
    moved = [cycle for cycle in cluster.cycles if any(decision.change for decision in cycle.decisions)]
    growing = [cycle for cycle in moved if cycle.at - START >= timedelta(minutes=10)]

    assert all(decision.change > 0 for decision in growing[0].decisions)
    assert {outcome.at for outcome in cluster.outcomes} == {cycle.at for cycle in moved}


@pytest.mark.parametrize("refused", ["prefill", "decode"])
def test_a_role_does_not_shrink_out_of_its_pair_while_the_other_cannot(refused: str) -> None:
    cluster = pair_over_time(steps(25, 60, 5), refused, 120)
    seen = sizes(cluster)
    first, last = seen[0], seen[-1]
    other = 1 if refused == "prefill" else 0

    assert all(prefill <= decode <= 2 * prefill for prefill, decode in seen), seen
    assert {pair[1 - other] for pair in seen} == {first[1 - other]}, "whose writes are refused stays"
    assert last[other] <= first[other]
    moves = [later[other] - earlier[other] for earlier, later in pairwise(seen) if later != earlier]
    assert all(move < 0 for move in moves), "what can move goes down within the band, and never up again"


@pytest.mark.parametrize("refused", ["prefill", "decode"])
def test_a_role_grows_even_where_the_other_cannot(refused: str) -> None:
    cluster = pair_over_time(steps(25, 10, 60), refused, 20)
    other = "decode" if refused == "prefill" else "prefill"
    needed = max(cycle.decisions[other == "decode"].needed or 0 for cycle in cluster.cycles)

    assert cluster.replicas(other) >= min(needed, 20)
    assert cluster.replicas(refused) == 2


def test_one_conflict_on_the_way_down_is_made_up_for_in_the_next_cycle() -> None:
    cluster = FakeCluster(steps(20, 60, 5), {"prefill": 2, "decode": 2})
    policy_set = policies(policy(prefill_decode=True, ratio=PAIR))
    state = run(cluster, policy_set, 20)
    cluster.refused_roles = ("decode",)
    refused = 0
    for _ in range(400):
        cluster.refuses = "409: somebody was faster" if refused % 2 == 0 else ""
        before = len(cluster.outcomes)
        state = run(cluster, policy_set, 0.1, state)
        refused += any(outcome.pool.name == "decode" for outcome in cluster.outcomes[before:])
    seen = sizes(cluster)

    assert all(prefill <= decode <= 2 * prefill for prefill, decode in seen), seen
    assert seen[-1] == (1, 1)


def test_prefill_and_decode_stay_within_the_ratio_band_all_day() -> None:
    band = {"decodePerPrefill": {"min": 1, "max": 3}}
    cluster = FakeCluster(lambda now_s: 120.0 if 3600 < now_s < 7200 else 8.0, {"prefill": 1, "decode": 1})
    run(cluster, policies(policy(prefill_decode=True, ratio=band)), 240)
    for cycle in cluster.cycles:
        desired = {decision.pool.name: decision.desired or 0 for decision in cycle.decisions}
        assert desired["prefill"] <= desired["decode"] <= 3 * desired["prefill"], cycle.at
    assert max(cycle.decisions[0].desired or 0 for cycle in cluster.cycles) >= 8


@pytest.mark.slow
def test_a_daily_ramp_is_met_before_it_comes_once_a_day_was_seen() -> None:
    noise = np.random.default_rng(7).normal(1.0, 0.05, 3 * 24 * 60 + 1)

    def demand(now_s: float) -> float:
        hour = now_s / 3600 % 24
        level = 10.0 if hour < 8 else min(90.0, 10.0 + (hour - 8) * 80)
        return level * float(noise[int(now_s // 60)])

    cluster = FakeCluster(demand, {"both": 2}, cold_start_s=240)
    late = policies(policy(scaleUp={"maxStep": 4, "per": "1m"}))
    run(cluster, late, 3 * 24 * 60)

    # What a replica serves at its very bound: 8.1 req/s.
    short = [
        demand((cycle.at - START).total_seconds()) / 8.1 - cycle.models[0].pools[0].ready
        for cycle in cluster.cycles[-4 * 24 * 60 :]
    ]
    assert max(short) < 1, "on the third day capacity is never a whole replica behind demand"
    assert sum(lack > 0 for lack in short) / 4 <= 8, "minutes of the third day in which it is behind at all"


class Noting:
    """An observer that keeps what it saw."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self.snapshots: list[Snapshot] = []

    def observe(self) -> Snapshot:
        self.snapshots.append(self._observer.observe())
        return self.snapshots[-1]


def test_every_recorded_cycle_replays_decision_for_decision() -> None:
    cluster = FakeCluster(lambda now_s: 40 + 30 * (now_s // 600 % 2), {"both": 3})
    policy_set = policies()
    seen = Noting(cluster)
    loop = Loop(seen, cluster, cluster, cluster, lambda: policy_set)
    state = State()
    for _ in range(80):
        before = state
        turn = loop.run_once(before)
        recording = Recording(seen.snapshots[-1], before)
        text = codec.encode(recording)
        again = codec.decode(Recording, text)
        assert again == recording
        assert decide(again.snapshot, learn_snapshot(again.state, again.snapshot, policy_set), policy_set) == turn.cycle
        state = turn.state
        cluster.sleep(15)


def test_state_stays_bounded() -> None:
    cluster = FakeCluster(lambda now_s: 40 + 30 * ((now_s // 15) % 2), {"both": 3})
    state = run(cluster, policies(), 60)
    early = len(codec.encode(state))
    state = run(cluster, policies(), 10 * 60, state)
    assert len(codec.encode(state)) < 400_000
    assert len(codec.encode(state)) < 6 * early


# The whole fleet


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
