"""Which cause stands first."""

from datetime import timedelta

import pytest

from aiops.detect import DetectMemory, diagnose, look
from aiops.model.detection import Detection, DetectionKind, Severity
from aiops.model.refs import ModelRef, PoolRef
from tests.detect.fleets import CHAT, FULL, IDLE, NOW, POOL, fleet

HOTSPOT, SKEW = DetectionKind.HOTSPOT, DetectionKind.ROUTING_SKEW
SATURATION, COLD, BLIND = DetectionKind.SATURATION, DetectionKind.COLD_CACHE, DetectionKind.BLIND


def found(kind: DetectionKind, replica: str | None = None, **others: object) -> Detection:
    of = {"severity": Severity.WARNING, "since": NOW, "evidence": (), "note": f"{kind} {replica}", "pool": POOL}
    return Detection(kind=kind, ref=CHAT, replica=replica, **{**of, **others})  # type: ignore[arg-type]  # keywords


@pytest.mark.parametrize(
    ("detections", "expected"),
    [
        pytest.param([], [], id="nothing found, nothing wrong"),
        pytest.param([found(HOTSPOT, "a"), found(SKEW)], [SKEW, HOTSPOT], id="the router explains its hotspot"),
        pytest.param(
            [found(HOTSPOT, "a"), found(COLD, "a")],
            [COLD, HOTSPOT],
            id="a cold cache explains a hotspot on its replica",
        ),
        pytest.param([found(HOTSPOT, "a"), found(COLD, "b")], [HOTSPOT, COLD], id="a cold cache elsewhere does not"),
        pytest.param([found(COLD, "a"), found(SATURATION)], [SATURATION, COLD], id="a full pool before a cold cache"),
        pytest.param(
            [found(SATURATION), found(BLIND, pool=None)], [SATURATION, BLIND], id="a bad signal is no cause of slowness"
        ),
        pytest.param(
            [found(SATURATION), found(BLIND, pool=None, severity=Severity.CRITICAL)],
            [BLIND, SATURATION],
            id="blind first",
        ),
        pytest.param(
            [found(HOTSPOT, "a"), found(SKEW, pool=PoolRef("llm", "Deployment", "other"))],
            [SKEW, HOTSPOT],
            id="a skew of another pool stands by itself",
        ),
    ],
)
def test_the_likeliest_cause_stands_first(detections, expected):
    diagnosis = diagnose(CHAT, detections)
    assert [cause.kind for cause in diagnosis.causes] == expected
    assert diagnose(CHAT, detections[::-1]).causes == diagnosis.causes


def test_a_blind_model_gives_no_confidence_in_anything_else():
    causes = diagnose(CHAT, [found(HOTSPOT, "a"), found(BLIND, pool=None, severity=Severity.CRITICAL)]).causes
    assert [cause.confidence_ratio for cause in causes] == [1.0, None]


def test_a_hotspot_that_the_router_explains_counts_less_than_one_by_itself():
    (alone,) = diagnose(CHAT, [found(HOTSPOT, "a")]).causes
    _, explained = diagnose(CHAT, [found(HOTSPOT, "a"), found(SKEW)]).causes
    assert explained.confidence_ratio < alone.confidence_ratio


def test_several_of_a_kind_are_one_cause_that_tells_the_oldest_and_the_number():
    older = found(COLD, "b", since=NOW - timedelta(hours=1))
    (cause,) = diagnose(CHAT, [found(COLD, "a"), older, found(COLD, "c")]).causes
    assert cause.sentence.startswith(older.note)
    assert "2 more" in cause.sentence


def test_findings_of_another_model_are_none_of_this_ones_causes():
    assert diagnose(ModelRef("llm", "other"), [found(SATURATION)]).causes == ()


@pytest.mark.parametrize("kind", DetectionKind)
def test_every_kind_has_a_next_step_that_names_where_to_look(kind):
    (cause,) = diagnose(CHAT, [found(kind, "chat-0")]).causes
    assert "aiops" in cause.next_step or "kubectl" in cause.next_step or "router" in cause.next_step


def test_a_skewed_fleet_from_snapshot_to_answer():
    memory = DetectMemory()
    for turn in range(6):
        detections, memory = look(fleet(FULL, IDLE, IDLE), NOW + timedelta(seconds=15 * turn), memory)
    first, second = diagnose(CHAT, detections).causes
    assert (first.kind, second.kind) == (SKEW, HOTSPOT)
    assert "Add no replicas" in first.next_step
