"""Loops over simulated time: what a user would lose if the loop as a whole were wrong."""

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest

from aiops.control.loop import Loop
from aiops.control.protocols import Observer
from aiops.model import codec
from aiops.model.cluster import TargetView
from aiops.model.cycle import Cycle
from aiops.model.decision import Decision, Outcome, Reason
from aiops.model.snapshot import Snapshot
from aiops.plan import Recording, State, decide, learn_snapshot
from tests.control.fake_cluster import FakeCluster, run, steps
from tests.plan.worlds import START, policies, policy

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


class Carried(FakeCluster):
    """Where others carry out what is told, two cycles later."""

    def record(self, cycle: Cycle) -> None:
        super().record(cycle)
        if len(self.cycles) > 2:
            self.apply(self.cycles[-3].decisions[0])


def test_what_others_carry_out_late_is_not_told_otherwise_meanwhile() -> None:
    # One more than five replicas for a cycle, then fewer than there are.
    cluster = Carried(lambda now_s: 34.0 if now_s < 600 else 41.0 if now_s < 615 else 20.0, {"both": 5})
    run(cluster, policies(policy("emit")), 18)
    asked = [cycle.decisions[0].desired for cycle in cluster.cycles]
    falls = [(earlier, later) for earlier, later in pairwise(asked) if (earlier or 0) > (later or 0)]
    assert asked[-1] == max(one or 0 for one in asked) == 6
    assert falls == [], falls


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


class Owned(FakeCluster):
    """A cluster that tells who wrote the replicas last."""

    writer = "aiops"

    def observe(self) -> Snapshot:
        seen = super().observe()
        (model,) = seen.models
        pools = tuple(
            replace(pool, target=TargetView(pool.pool, pool.current or 0, "1", replicas_manager=self.writer))
            for pool in model.pools
        )
        return replace(seen, models=(replace(model, pools=pools),))

    def apply(self, decision: Decision) -> Outcome:
        self.writer = "aiops"
        return super().apply(decision)


def test_somebody_elses_change_is_left_alone_for_an_hour_and_not_longer() -> None:
    cluster = Owned(lambda _: 60.0, {"both": 2})
    state = run(cluster, policies(), 20)
    needed = cluster.replicas()
    cluster.ready_s["both"], cluster.writer = [0.0] * 4, "kubectl"
    changed_s, before = cluster.now_s, len(cluster.outcomes)
    run(cluster, policies(), 65, state)

    assert needed > 4
    assert cluster.replicas() == needed
    first = cluster.outcomes[before]
    assert 3600 <= (first.at - START).total_seconds() - changed_s <= 3630
