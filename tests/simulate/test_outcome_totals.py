import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiops.simulate.requests import PS
from aiops.simulate.tables.outcome_csv import OutcomeBatch, Status
from aiops.simulate.tables.outcome_totals import OutcomeTotals

MS = PS // 1000
COLUMNS = (
    "number arrival_ps input_tokens output_tokens scheduled_ps first_token_ps finish_ps replica cached_tokens status"
)


def batch(*rows: tuple[int, ...]) -> OutcomeBatch:
    columns = np.array(rows, np.int64).reshape(-1, 10).T
    return OutcomeBatch(**dict(zip(COLUMNS.split(), columns, strict=True)))


def completed(number: int, ttft_ms: int, itl_ms: int, output: int = 11, cached: int = 0) -> tuple[int, ...]:
    """It arrives after as many seconds as its number and waits 1 ms for its first step; its prompt is of 100 tokens."""
    arrival = number * PS
    first = arrival + ttft_ms * MS
    return (number, arrival, 100, output, arrival + MS, first, first + itl_ms * MS * (output - 1), 0, cached, 0)


def summary(*rows: tuple[int, ...]) -> dict[str, object]:
    totals = OutcomeTotals(ttft_bound_s=1.0, itl_bound_s=0.05)
    totals.add(batch(*rows))
    return totals.summary()


def test_counts_tokens_and_times() -> None:
    refused = (2, 2 * PS, 9000, 10, -1, -1, -1, -1, -1, int(Status.REFUSED))
    timed_out = (3, 3 * PS, 60, 10, 4 * PS, -1, 19 * PS, 0, 20, int(Status.TIMED_OUT))
    failed = (4, 4 * PS, 40, 10, 5 * PS, 6 * PS, 20 * PS, 0, 0, int(Status.FAILED))
    found = summary(completed(0, 200, 40, cached=40), completed(1, 400, 20), refused, timed_out, failed)
    assert {name: found[name] for name in ("requests", "completed", "failed", "refused", "timed_out")} == {
        "requests": 5,
        "completed": 2,
        "failed": 1,
        "refused": 1,
        "timed_out": 1,
    }
    assert (found["input_tokens"], found["output_tokens"], found["cached_tokens"]) == (200, 22, 60)
    assert found["prefix_hit_ratio"] == pytest.approx(60 / 300), "over all that were scheduled"
    assert found["duration_s"] == 20
    assert (found["completed_per_s"], found["output_tokens_per_s"]) == (0.1, 1.1)
    assert found["ttft_s"] == pytest.approx({"mean": 0.3, "p50": 0.3, "p95": 0.39, "p99": 0.398, "max": 0.4}, rel=2e-3)
    assert found["itl_s"] == pytest.approx(
        {"mean": 0.03, "p50": 0.03, "p95": 0.039, "p99": 0.0398, "max": 0.04}, rel=2e-3
    )
    assert found["latency_s"]["max"] == 0.6
    assert found["wait_s"]["mean"] == 0.001


@pytest.mark.parametrize(
    ("row", "hits"),
    [
        pytest.param(completed(0, 1000, 50), 1, id="both on their bounds"),
        pytest.param(completed(0, 1001, 1), 0, id="too long to the first token"),
        pytest.param(completed(0, 1, 51), 0, id="too long between tokens"),
        pytest.param(completed(0, 1, 0, output=1), 1, id="a single token has no time between tokens"),
        pytest.param((*completed(0, 1, 1)[:-1], int(Status.TIMED_OUT)), 0, id="not completed"),
    ],
)
def test_a_hit_has_both_within_their_bounds(row: tuple[int, ...], hits: int) -> None:
    found = summary(row)
    assert (found["hits"], found["attainment_ratio"]) == (hits, hits)


def test_what_cannot_be_measured_is_none_and_all_of_it_is_json() -> None:
    found = summary()
    assert (found["requests"], found["duration_s"], found["attainment_ratio"]) == (0, 0, None)
    assert (found["prefix_hit_ratio"], found["completed_per_s"], found["ttft_s"]["p95"]) == (None, None, None)
    single = summary(completed(0, 1, 0, output=1))
    assert (single["itl_s"]["mean"], single["ttft_s"]["mean"]) == (None, 0.001)
    json.dumps(found, allow_nan=False)


@given(
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 90), st.integers(1, 50)), max_size=30), st.integers(0, 30)
)
def test_calls_leave_no_trace(sizes: list[tuple[int, int, int]], cut: int) -> None:
    rows = [completed(number, *size) for number, size in enumerate(sizes)]
    totals = OutcomeTotals(1.0, 0.05)
    totals.add(batch(*rows[cut:]))
    totals.add(batch(*rows[:cut]))
    assert totals.summary() == summary(*rows)
