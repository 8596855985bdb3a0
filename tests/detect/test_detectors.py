"""What each detector suspects in one look, and the look-alikes that it must leave alone."""

from dataclasses import fields, replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiops.detect import DETECTORS
from aiops.model.detection import DetectionKind, Severity
from aiops.model.refs import Role
from aiops.model.snapshot import ModelSnapshot, PoolSnapshot, ReplicaSample, SignalHealth, SignalState
from tests.detect.fleets import BUSY, FULL, IDLE, NOW, POOL, YOUNG, fleet

HOTSPOT, SKEW = DetectionKind.HOTSPOT, DetectionKind.ROUTING_SKEW
SATURATION, COLD, BLIND = DetectionKind.SATURATION, DetectionKind.COLD_CACHE, DetectionKind.BLIND


def suspected(model: ModelSnapshot) -> set[tuple[DetectionKind, str | None]]:
    found = [(one.kind, one.replica) for suspect in DETECTORS for one in suspect(model, NOW)]
    assert len(found) == len(set(found)), "a detector repeats itself"
    return set(found)


def cold(**age: float) -> ReplicaSample:
    return replace(BUSY, age=timedelta(**age), prefix_hits_tok_per_s=250.0)


TROUBLE = [
    pytest.param(
        fleet(FULL, IDLE, IDLE, IDLE), {(HOTSPOT, "chat-0"), (SKEW, None)}, id="one full beside idle ones is both"
    ),
    pytest.param(fleet(FULL, IDLE), {(HOTSPOT, "chat-0"), (SKEW, None)}, id="a pair is enough"),
    pytest.param(
        fleet(FULL, FULL, IDLE, IDLE, IDLE),
        {(HOTSPOT, "chat-0"), (HOTSPOT, "chat-1"), (SKEW, None)},
        id="two of five full",
    ),
    pytest.param(
        fleet(FULL, BUSY, BUSY, BUSY), {(HOTSPOT, "chat-0")}, id="peers busy but not full: a hotspot, no skew"
    ),
    pytest.param(
        fleet(replace(FULL, waiting=1.0, running=6.0), BUSY, BUSY),
        {(HOTSPOT, "chat-0")},
        id="few long contexts fill one replica's KV cache and preempt",
    ),
    pytest.param(
        fleet(replace(FULL, running=3.0, waiting=20.0, kv_usage_ratio=0.2), replace(IDLE, running=0.0), YOUNG),
        {(HOTSPOT, "chat-0"), (SKEW, None)},
        id="prefill queues at one replica and the other has nothing to do",
    ),
    pytest.param(
        fleet(replace(BUSY, running=90.0), IDLE, IDLE), {(SKEW, None)}, id="far more run at one, and nothing waits yet"
    ),
    pytest.param(fleet(FULL, FULL, FULL), {(SATURATION, None)}, id="requests wait everywhere"),
    pytest.param(fleet(FULL), {(SATURATION, None)}, id="the only replica is full"),
    pytest.param(fleet(FULL, FULL, FULL, BUSY), {(SATURATION, None)}, id="requests wait at three of four"),
    pytest.param(fleet(BUSY, BUSY, cold(minutes=3)), {(COLD, "chat-2")}, id="a new replica's cache is empty"),
    pytest.param(fleet(BUSY, BUSY, cold(hours=5)), {(COLD, "chat-2")}, id="an old replica is never sent the prefixes"),
    pytest.param(fleet(BUSY, cold(minutes=3)), {(COLD, "chat-1")}, id="a single settled peer is enough"),
    pytest.param(fleet(BUSY, cold(hours=5)), {(COLD, "chat-1")}, id="of a settled pair, the cold one"),
    pytest.param(fleet(blind="no series in 60 s"), {(BLIND, None)}, id="the model cannot be seen"),
    pytest.param(
        fleet(
            BUSY, signals=(SignalHealth("waiting", SignalState.STALE), SignalHealth("running", SignalState.MISMATCH))
        ),
        {(BLIND, None)},
        id="two bad signals are one finding",
    ),
]

LOOK_ALIKES = [
    pytest.param(fleet(), id="no replicas"),
    pytest.param(fleet(BUSY, BUSY, BUSY), id="evenly busy"),
    pytest.param(
        fleet(*(replace(BUSY, running=r, waiting=1.0) for r in (60.0, 58.0, 62.0))),
        id="evenly busy, and one prompt waits at each for a step",
    ),
    pytest.param(fleet(BUSY, BUSY, YOUNG), id="one new replica has nothing to do yet"),
    pytest.param(fleet(FULL, YOUNG), id="a full replica and the one that was just started to help it"),
    pytest.param(fleet(*(replace(IDLE, running=r) for r in (0.0, 1.0, 2.0))), id="tiny loads"),
    pytest.param(fleet(replace(IDLE, running=1.0), replace(IDLE, running=0.0)), id="1 against 0 running"),
    pytest.param(
        fleet(replace(IDLE, running=3.0, waiting=1.0), replace(IDLE, running=0.0)),
        id="a prompt waits for a step at one of two quiet replicas",
    ),
    pytest.param(
        fleet(replace(FULL, running=2.0, waiting=1.0, kv_usage_ratio=0.2), IDLE, IDLE),
        id="one of three is a little busier",
    ),
    pytest.param(
        fleet(*(replace(BUSY, kv_usage_ratio=0.99) for _ in range(3))),
        id="full KV without waiting or preemption is warm",
    ),
    pytest.param(fleet(replace(BUSY, kv_usage_ratio=0.99), BUSY), id="one warm KV cache beside a half empty one"),
    pytest.param(
        fleet(*(replace(BUSY, running=r, waiting=w) for r, w in ((64.0, 2.0), (62.0, 0.0), (63.0, 0.0)))),
        id="a short queue at one of three nearly full replicas",
    ),
    pytest.param(
        fleet(
            replace(BUSY, prefix_hits_tok_per_s=0.0), *(replace(BUSY, prefix_hits_tok_per_s=100.0) for _ in range(2))
        ),
        id="nobody hits: the traffic has no prefixes to share",
    ),
    pytest.param(
        fleet(BUSY, BUSY, replace(cold(minutes=1), prefix_queries_tok_per_s=50.0, prefix_hits_tok_per_s=0.0)),
        id="hardly a prompt was looked up",
    ),
    pytest.param(fleet(cold(minutes=3), cold(minutes=4)), id="all are new: nobody to compare with"),
    pytest.param(fleet(BUSY, BUSY, cold(minutes=3), role=Role.DECODE), id="decode gets its KV from prefill"),
    pytest.param(
        fleet(
            BUSY, signals=(SignalHealth("preemptions", SignalState.ABSENT), SignalHealth("waiting", SignalState.ZERO))
        ),
        id="absent is an engine's choice, and zero is a number",
    ),
    pytest.param(fleet(*(ReplicaSample(f"r{i}") for i in range(4))), id="nothing was measured"),
]


@pytest.mark.parametrize(("model", "expected"), TROUBLE)
def test_trouble_is_suspected(model, expected):
    assert suspected(model) == expected


@pytest.mark.parametrize("model", LOOK_ALIKES)
def test_a_look_alike_is_not(model):
    assert suspected(model) == set()


def test_severity_says_how_soon_somebody_should_look():
    severities = {
        one.kind: one.severity
        for model in (fleet(FULL, IDLE), fleet(FULL), fleet(BUSY, BUSY, cold(minutes=3)), fleet(blind="gone"))
        for suspect in DETECTORS
        for one in suspect(model, NOW)
    }
    assert severities == {
        HOTSPOT: Severity.WARNING,
        SKEW: Severity.WARNING,
        SATURATION: Severity.WARNING,
        COLD: Severity.INFO,
        BLIND: Severity.CRITICAL,
    }


def test_evidence_stands_beside_what_it_was_held_against():
    (hotspot,) = (one for suspect in DETECTORS for one in suspect(fleet(FULL, BUSY, BUSY), NOW))
    assert [(e.name, e.value, e.reference) for e in hotspot.evidence] == [
        ("waiting", 30.0, 0.0),
        ("running and waiting", 94.0, 40.0),
        ("kv_usage", 0.97, 0.5),
        ("preemptions", 0.2, None),
    ]
    assert "chat-0" in hotspot.note
    assert str(POOL) in hotspot.note


def test_ten_thousand_replicas_are_one_look():
    model = fleet(FULL, *[IDLE] * 9999)
    assert suspected(model) == {(HOTSPOT, "chat-0"), (SKEW, None)}


def one_of(*values: float | None) -> st.SearchStrategy[float | None]:
    return st.sampled_from([None, *values])


samples = st.builds(
    ReplicaSample,
    name=st.just(""),
    age=st.sampled_from([None, timedelta(seconds=30), timedelta(minutes=8), timedelta(hours=3)]),
    running=one_of(0.0, 1.0, 2.0, 5.0, 9.0, 40.0, 64.0),
    waiting=one_of(0.0, 1.0, 2.0, 6.0, 30.0),
    kv_usage_ratio=one_of(0.0, 0.05, 0.45, 0.6, 0.9, 1.0),
    preemptions_per_s=one_of(0.0, 0.5),
    prefix_queries_tok_per_s=one_of(0.0, 100.0, 1000.0),
    prefix_hits_tok_per_s=one_of(0.0, 50.0, 300.0, 800.0),
)
fleets = st.lists(samples, min_size=1, max_size=7)
MEASURED = [field.name for field in fields(ReplicaSample) if field.name != "name"]


@given(fleets, st.randoms(use_true_random=False))
@settings(max_examples=200)
def test_the_order_of_the_replicas_changes_nothing(replicas, random):
    model = fleet(*replicas)
    (pool,) = model.pools
    shuffled = list(pool.replicas)
    random.shuffle(shuffled)
    other = replace(model, pools=(replace(pool, replicas=tuple(shuffled)),))

    def everything(one: ModelSnapshot) -> set[object]:
        return {suspicion for suspect in DETECTORS for suspicion in suspect(one, NOW)}

    assert everything(model) == everything(other)


@given(fleets, st.data())
@settings(max_examples=200)
def test_hiding_a_value_only_silences(replicas, data):
    hidden = replicas[:]
    for place in data.draw(st.sets(st.integers(0, len(replicas) - 1), min_size=1), "replicas"):
        names = data.draw(st.sets(st.sampled_from(MEASURED), min_size=1), "fields")
        hidden[place] = replace(hidden[place], **dict.fromkeys(names))
    assert suspected(fleet(*hidden)) <= suspected(fleet(*replicas))


def test_each_pool_is_looked_at_by_itself():
    prefill = fleet(FULL, FULL, role=Role.PREFILL).pools[0]
    decode = PoolSnapshot(
        replace(POOL, name="decode"), Role.DECODE, "h100", 2, replicas=fleet(BUSY, BUSY).pools[0].replicas
    )
    assert suspected(replace(fleet(), pools=(prefill, decode))) == {(SATURATION, None)}
