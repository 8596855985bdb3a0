"""Findings over simulated time: what lasts opens once, what stays gone resolves, what flickers does neither."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiops.detect import DetectMemory, look
from aiops.model.codec import decode, encode
from aiops.model.detection import Detection, DetectionKind, Severity
from aiops.model.snapshot import ModelSnapshot, SignalHealth, SignalState
from tests.detect.fleets import BUSY, CHAT, FULL, IDLE, NOW, POOL, fleet

CALM, SKEWED, GONE = fleet(BUSY, BUSY), fleet(FULL, IDLE), fleet(blind="no series in 60 s")
STALE = fleet(BUSY, BUSY, signals=(SignalHealth("waiting", SignalState.STALE),))


def watch(
    world: Callable[[float], ModelSnapshot], until_s: float, step_s: float = 15.0
) -> list[tuple[float, tuple[Detection, ...]]]:
    """Look every ``step_s`` seconds at what the world is by then."""
    looks, memory, at_s = [], DetectMemory(), 0.0
    while at_s <= until_s:
        found, memory = look(world(at_s), NOW + timedelta(seconds=at_s), memory)
        looks.append((at_s, found))
        at_s += step_s
    return looks


def spans(looks: list[tuple[float, tuple[Detection, ...]]], kind: DetectionKind) -> list[tuple[float, float]]:
    """When findings of a kind were open: (first, last) look of each run."""
    runs: list[tuple[float, float]] = []
    was_open = False
    for at_s, found in looks:
        is_open = any(one.kind is kind for one in found)
        if is_open:
            runs[-1:] = [(runs[-1][0], at_s)] if was_open else [*runs[-1:], (at_s, at_s)]
        was_open = is_open
    return runs


@pytest.mark.parametrize(
    ("world", "kind", "expected"),
    [
        pytest.param(lambda s: CALM, DetectionKind.HOTSPOT, [], id="a calm fleet opens nothing"),
        pytest.param(
            lambda s: SKEWED if 60 <= s < 300 else CALM,
            DetectionKind.HOTSPOT,
            [(120, 330)],
            id="a hotspot opens after 60 s and resolves 60 s after it was last seen",
        ),
        pytest.param(
            lambda s: SKEWED if 60 <= s < 300 else CALM, DetectionKind.ROUTING_SKEW, [(120, 330)], id="so does the skew"
        ),
        pytest.param(
            lambda s: SKEWED if s % 60 < 45 else CALM,
            DetectionKind.HOTSPOT,
            [],
            id="a flicker every minute does not open",
        ),
        pytest.param(
            lambda s: CALM if s % 60 == 45 else SKEWED,
            DetectionKind.HOTSPOT,
            [],
            id="one calm look starts the minute anew",
        ),
        pytest.param(
            lambda s: CALM if s > 120 and s % 60 == 45 else SKEWED,
            DetectionKind.HOTSPOT,
            [(60, 600)],
            id="once open, a flicker does not resolve it",
        ),
        pytest.param(
            lambda s: GONE if 60 <= s < 120 else CALM, DetectionKind.BLIND, [(60, 150)], id="blind opens at once"
        ),
        pytest.param(
            lambda s: STALE if 60 <= s < 300 else CALM, DetectionKind.BLIND, [(90, 330)], id="a stale signal after 30 s"
        ),
        pytest.param(
            lambda s: SKEWED if s < 150 else GONE if s < 450 else CALM,
            DetectionKind.HOTSPOT,
            [(60, 435)],
            id="what cannot be seen is not gone: a hotspot stays open while blind, and resolves when seen to be gone",
        ),
        pytest.param(
            lambda s: SKEWED if s < 45 else GONE if s < 90 else SKEWED,
            DetectionKind.HOTSPOT,
            [(150, 600)],
            id="blindness interrupts the minute that opens a hotspot",
        ),
    ],
)
def test_over_time(world, kind, expected):
    assert spans(watch(world, 600), kind) == expected


def test_since_is_when_it_was_first_seen_and_stays():
    looks = watch(lambda s: SKEWED if s >= 30 else CALM, 600)
    assert {one.since for _, found in looks for one in found} == {NOW + timedelta(seconds=30)}


def test_an_open_finding_shows_the_latest_evidence():
    worse = fleet(replace(FULL, waiting=90.0), IDLE)
    looks = watch(lambda s: SKEWED if s < 300 else worse, 600)
    waiting = [one.evidence[0].value for _, found in looks for one in found if one.kind is DetectionKind.HOTSPOT]
    assert (waiting[0], waiting[-1]) == (30.0, 90.0)


def test_stale_signals_that_become_blindness_are_one_finding_that_grows():
    looks = watch(lambda s: STALE if s < 60 else replace(STALE, blind="all is stale"), 120)
    assert [[one.severity for one in found] for _, found in looks if found] == [
        *[[Severity.WARNING]] * 2,
        *[[Severity.CRITICAL]] * 5,
    ]
    assert {one.since for _, found in looks for one in found} == {NOW}


def test_a_loop_that_stood_still_does_not_take_the_gap_for_duration():
    _, memory = look(SKEWED, NOW, DetectMemory())
    found, memory = look(SKEWED, NOW + timedelta(minutes=6), memory)
    assert found == ()
    found, _ = look(SKEWED, NOW + timedelta(minutes=7), memory)
    assert {one.since for one in found} == {NOW + timedelta(minutes=6)}


def test_a_slow_loop_still_opens():
    assert spans(watch(lambda s: SKEWED, 600, step_s=120.0), DetectionKind.HOTSPOT) == [(120, 600)]


def test_the_memory_forgets_replicas_that_left():
    memory, watched, sighted = DetectMemory(), set(), set()
    for turn in range(500):
        model = fleet(FULL, IDLE)
        (pool,) = model.pools
        renamed = tuple(replace(one, name=f"{one.name}-{turn}") for one in pool.replicas)
        at = NOW + timedelta(seconds=15 * turn)
        _, memory = look(replace(model, pools=(replace(pool, replicas=renamed),)), at, memory)
        watched.add(len(memory.watched))
        sighted.add(len(memory.sightings))
    assert max(watched) == 2
    assert max(sighted) == 2 * (5 * 60 // 15 + 1), "nobody is remembered for longer than five minutes"


def test_the_memory_survives_a_recording():
    found, memory = (), DetectMemory()
    for turn in range(6):
        found, memory = look(SKEWED, NOW + timedelta(seconds=15 * turn), memory)
    again = decode(DetectMemory, encode(memory))
    assert again == memory
    at = NOW + timedelta(seconds=90)
    assert look(SKEWED, at, again) == look(SKEWED, at, memory)
    assert found != ()


def test_findings_stand_by_kind_then_by_subject():
    found = watch(lambda s: fleet(IDLE, FULL, FULL, IDLE, IDLE), 60)[-1][1]
    assert [(one.kind, one.subject) for one in found] == [
        (DetectionKind.HOTSPOT, "chat-1"),
        (DetectionKind.HOTSPOT, "chat-2"),
        (DetectionKind.ROUTING_SKEW, str(POOL)),
    ]
    assert all(one.ref == CHAT for one in found)


@given(st.lists(st.sampled_from([CALM, SKEWED, STALE, GONE, fleet(FULL, FULL), fleet()]), max_size=60))
@settings(max_examples=100)
def test_whatever_happens_no_finding_stands_twice_and_none_is_from_the_future(worlds):
    memory = DetectMemory()
    for turn, model in enumerate(worlds):
        at = NOW + timedelta(seconds=15 * turn)
        found, memory = look(model, at, memory)
        subjects = [(one.kind, one.ref, one.pool, one.replica) for one in found]
        assert len(subjects) == len(set(subjects))
        assert all(one.since <= at for one in found)
        assert look(model, at, memory)[1] == memory, "a second look at the same moment changes nothing"


def grown(age: timedelta | None) -> Callable[[float], ModelSnapshot]:
    """A full replica, which an idle one joins at 120 s, telling ``age``."""
    full, idle = replace(FULL, age=timedelta(hours=3)), replace(IDLE, age=age)
    return lambda s: fleet(full) if s < 120 else fleet(full, idle)


@pytest.mark.parametrize("age", [None, timedelta(minutes=6)], ids=["tells no age", "tells how long it loaded"])
def test_a_replica_that_just_came_is_young_whatever_its_process_says(age):
    assert spans(watch(grown(age), 600), DetectionKind.ROUTING_SKEW) == [(120 + 300 + 60, 600)]


def test_replicas_of_unknown_age_count_as_settled_once_they_were_seen_for_long_enough():
    ageless = fleet(replace(FULL, age=None), replace(IDLE, age=None))
    assert spans(watch(lambda s: ageless, 600), DetectionKind.ROUTING_SKEW) == [(300 + 60, 600)]


def test_a_replica_that_misses_some_scrapes_is_not_new():
    def world(at_s: float) -> ModelSnapshot:
        return fleet(FULL) if 300 <= at_s < 345 else SKEWED

    assert spans(watch(world, 600), DetectionKind.ROUTING_SKEW) == [(60, 600)]


def test_a_restarted_engine_is_young_though_its_name_is_old():
    restarted = fleet(FULL, replace(IDLE, age=timedelta(seconds=20)))
    looks = watch(lambda s: CALM if s < 300 else restarted, 390)
    assert spans(looks, DetectionKind.ROUTING_SKEW) == []


def test_a_look_at_ten_thousand_replicas_keeps_one_sighting_each():
    model = fleet(FULL, *[IDLE] * 9999)
    found, memory = look(model, NOW, DetectMemory())
    found, memory = look(model, NOW + timedelta(minutes=1), memory)
    assert (len(found), len(memory.sightings)) == (2, 10_000)
