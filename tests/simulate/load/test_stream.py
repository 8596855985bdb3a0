from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiops.simulate.load import Load, LoadSpec
from aiops.simulate.requests import PS, RequestBatch
from tests.simulate.load.loads import START, check, drawn, in_slices, rate, same, spec, within

SPAN_S = 600.0
RATE = 200.0  # of which the load draws 256 s at once
EVENTS = [
    {"kind": "flash_crowd", "at": "2m", "duration": "90s", "times": 4, "ramp": "20s"},
    {"kind": "ramp", "at": "4m", "duration": "5m", "to": 1.5},
    {"kind": "length_shift", "at": "3m", "inputTimes": 2, "ramp": "1m"},
]
JOB = {
    "kind": "batch_job",
    "at": "3m",
    "duration": "5m",
    "requestsPerS": 4,
    "inputTokens": {"fixed": 500},
    "outputTokens": {"fixed": 2000},
}
WINDOWS = [{"at": "0s", "requestsPerS": 50}, {"at": "5m", "requestsPerS": 500}]
KINDS = {
    "plain": spec(RATE),
    "gamma on a day curve": spec(RATE, nightRatio=0.2, peakHour=1, arrivals={"kind": "gamma", "cv": 3}),
    "weibull with a share of prefixes": spec(RATE, prefixShare=0.3, arrivals={"kind": "weibull", "cv": 2}),
    "events and a batch job": spec(RATE, events=[*EVENTS, JOB], prefixes={"count": 5, "tokens": 64, "share": 0.5}),
    "sessions": spec(RATE, sessions={"turns": 3, "thinkTime": {"mean": "40s"}}, prefixes={"tokens": 100}),
    "windows of demand": spec(None, demand={"windows": WINDOWS}),
    "percentiles": spec(RATE, outputTokens={"percentiles": {"p5": 4, "p50": 60, "p99": 900}}),
}


@cache
def whole(kind: str) -> RequestBatch:
    return drawn(KINDS[kind], SPAN_S)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_what_it_promises(kind: str) -> None:
    batch = whole(kind)
    check(batch)
    assert len(batch) > 1000
    alone = ~batch.own_public
    assert len(np.unique(batch.own_ids[alone])) == alone.sum()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=8)
@given(ends=st.lists(st.floats(0, SPAN_S), max_size=12))
def test_the_same_requests_come_however_they_are_read(kind: str, ends: list[float]) -> None:
    assert same(in_slices(KINDS[kind], [*sorted(ends), SPAN_S]), whole(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_and_a_name_make_the_stream(kind: str) -> None:
    assert same(drawn(KINDS[kind], 60), drawn(KINDS[kind], 60))
    assert not same(drawn(KINDS[kind], 60), drawn(KINDS[kind], 60, seed=2))
    assert not same(drawn(KINDS[kind], 60), drawn(KINDS[kind], 60, name="b"))


def test_batches_are_of_bounded_size_and_none_is_empty() -> None:
    sizes = [len(batch) for batch in Load(spec(5000.0), 1, "a", START).batches(120 * PS)]
    assert sum(sizes) == pytest.approx(600_000, rel=0.01)
    assert 0 < min(sizes) <= max(sizes) < 100_000


def test_what_arrives_at_the_end_of_a_slice_is_in_the_next(tmp_path: Path) -> None:
    file = tmp_path / "trace.jsonl"
    file.write_text(
        "".join(
            f'{{"timestamp": {t}, "requests": [{{"Prompt Length": 5, "Output Length": 6}}]}}\n' for t in (1000, 2000)
        )
    )
    load = Load(LoadSpec.model_validate({"trace": {"kind": "aibrix", "path": str(file)}}), 1, "a", START)
    assert load.next_batch(2 * PS).arrival_ps.tolist() == [PS]
    assert load.next_batch(2 * PS + 1).arrival_ps.tolist() == [2 * PS]
    assert len(load.next_batch(10**6 * PS)) == 0


def test_the_clock_has_an_end() -> None:
    with pytest.raises(ValueError, match="104 days at most"):
        Load(spec(), 1, "a", START).next_batch(2**63)
    waiting = spec(0.01, sessions={"thinkTime": {"mean": "90d", "spread": 3}})
    check(drawn(waiting, 20_000))


def test_nothing_arrives_without_a_load_or_after_the_stop() -> None:
    assert len(Load(None, 1, "a", START).next_batch(3600 * PS)) == 0
    load = Load(spec(), 1, "a", START)
    assert len(load.next_batch(PS * 10)) > 0
    load.stop()
    assert len(load.next_batch(3600 * PS)) == 0


def test_a_batch_job_adds_its_own_requests_for_its_time() -> None:
    without, with_job = drawn(spec(), 900), drawn(spec(events=[JOB]), 900)
    extra = with_job.output_tokens == 2000
    assert columns_of(with_job, ~extra) == columns_of(without, np.ones(len(without), bool))
    assert rate_of(with_job, extra, 180, 480) == pytest.approx(4, rel=0.1)
    assert (with_job.prompt_tokens[extra] == 500).all()
    assert extra.sum() == (extra & within(with_job, 180, 480)).sum()


def columns_of(batch: RequestBatch, chosen: np.ndarray) -> list[list[int]]:
    return [
        getattr(batch, name)[chosen].tolist() for name in ("arrival_ps", "prompt_tokens", "output_tokens", "own_ids")
    ]


def rate_of(batch: RequestBatch, chosen: np.ndarray, begin_s: float, end_s: float) -> float:
    return float((chosen & within(batch, begin_s, end_s)).sum() / (end_s - begin_s))


def test_a_share_of_prefixes_leaves_arrivals_and_lengths_as_they_were() -> None:
    without, shared = drawn(spec(), 600), drawn(spec(prefixShare=0.4), 600)
    everyone = np.ones(len(without), bool)
    assert columns_of(shared, everyone) == columns_of(without, everyone)


def test_rare_requests_come_too() -> None:
    batch = drawn(spec(0.001), 14 * 86_400)
    assert rate(batch, 0, 14 * 86_400) == pytest.approx(0.001, rel=0.1)
