"""What the page of the recorded day says, on a day that is written down here."""

from dataclasses import replace

import pytest

from tests.cluster.demo import SETTINGS, prefill_decode
from tests.cluster.demo_report import Report
from tests.cluster.live import Settings
from tests.cluster.recording import Decided, Event, Mark, PodSeen, Recording, ReplicasSet, Sample

POOL = "chat-8b"


def ready(t_s: float, count: int) -> Sample:
    return Sample(t_s=t_s, pool=POOL, ready=count, starting=0, unplaced=0, leaving=0, waiting=2.0)


def pod(t_s: float, name: str, state: str, running: float | None = None, cost: int | None = None) -> PodSeen:
    reason = "waiting for nvidia.com/gpu: 1" if state == "unplaced" else ""
    return PodSeen(t_s=t_s, pool=POOL, pod=name, state=state, running=running, deletion_cost=cost, reason=reason)


DAY: list[Event] = [
    ReplicasSet(t_s=0.0, pool=POOL, replicas=3, generation=1, by="kubectl"),
    ready(0.0, 3),
    Mark(t_s=10.0, text="morning"),
    Decided(t_s=20.0, pool=POOL, current=3, needed=4, desired=4, reasons=("forecast",)),
    ReplicasSet(t_s=20.1, pool=POOL, replicas=4, generation=2, by="aiops"),
    pod(20.2, "d", "unplaced"),
    ready(50.0, 4),
    *(pod(50.0, name, "ready", running) for name, running in (("a", 9.0), ("b", 2.0), ("c", 5.0), ("d", 7.0))),
    ReplicasSet(t_s=90.0, pool=POOL, replicas=3, generation=3, by="aiops"),
    replace(pod(90.1, "b", "leaving", 2.0, -1), fewest_elsewhere=5.0),
    ready(100.0, 3),
]


def report(*needed: tuple[float, float]) -> Report:
    return Report(Recording(DAY), needed, Settings(replicas=3), greatest_lag_s=0.4, unanswered=0)


@pytest.mark.parametrize(
    ("needed_s", "early_s"),
    [pytest.param(62.0, 12.0, id="it is there before"), pytest.param(45.0, -5.0, id="it comes late")],
)
def test_a_replica_is_early_by_the_time_from_ready_to_needed(needed_s: float, early_s: float) -> None:
    made = report((0.0, 3.0), (needed_s, 4.0))

    assert made.figures()["least_margin_s"] == early_s
    assert f"| 4 | {needed_s:.0f} s | 50 s | {early_s:.0f} s |" in made.markdown()


def test_a_replica_that_never_comes_is_told() -> None:
    made = report((0.0, 3.0), (60.0, 4.0), (70.0, 5.0))

    assert made.figures()["never_ready"] == 1
    assert "| 5 | 70 s | never |  |" in made.markdown()


def test_who_left_is_told_with_the_fewest_requests_on_another() -> None:
    assert "| 90 s | b | -1 | 2 | 5 |" in report((0.0, 3.0), (62.0, 4.0)).markdown()


def test_the_log_has_every_move_with_its_reason_and_what_found_no_place() -> None:
    page = report((0.0, 3.0), (62.0, 4.0)).markdown()

    for line in (
        "== morning",
        "chat-8b: has 3, needs 4, shall have 4: forecast",
        "chat-8b: spec.replicas 4, by aiops",
        "chat-8b: d is waiting for nvidia.com/gpu: 1",
    ):
        assert line in page


@pytest.mark.parametrize(
    ("at_s", "rate"), [(0.0, 4.0), (160.0, 4.0), (370.0, 35.0), (580.0, 66.0), (640.0, 66.0), (910.0, 35.0), (2e3, 4.0)]
)
def test_the_day_goes_from_night_to_noon_and_back(at_s: float, rate: float) -> None:
    assert SETTINGS.rate(at_s) == pytest.approx(rate)


def test_both_models_of_the_day_are_valid_and_have_their_policies() -> None:
    other = prefill_decode(SETTINGS)

    assert [server.role for server in other.servers] == ["prefill", "decode"]
    assert {pool.name for pool in other.spec.pools} == {server.name for server in other.servers}
    assert SETTINGS.workload.policy["spec"]["pools"][0]["min"] == SETTINGS.replicas
