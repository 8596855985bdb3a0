from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiops.model.codec import decode, encode, to_plain
from aiops.model.decision import Decision, Input, Provenance, Reason
from aiops.model.demand import DemandSource, TokenDemand
from aiops.model.refs import ModelRef, PoolRef, Role
from aiops.model.snapshot import ModelSnapshot, PoolSnapshot, ReplicaSample, SignalHealth, SignalState, Snapshot

_NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
_NUMBERS = st.none() | st.floats(0, 1e12, allow_nan=False)
_TIMES = st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # bounds are naive by contract
_REFS = st.builds(ModelRef, _NAMES, _NAMES)
_POOLS = st.builds(PoolRef, _NAMES, _NAMES, _NAMES)
_REPLICAS = st.builds(
    ReplicaSample,
    name=_NAMES,
    age=st.none() | st.timedeltas(timedelta(), timedelta(days=99)),
    running=_NUMBERS,
    waiting=_NUMBERS,
    kv_usage_ratio=st.none() | st.floats(0, 1),
)
_DEMANDS = st.builds(
    TokenDemand,
    requests_per_s=st.floats(0, 1e6),
    input_tokens_per_request=_NUMBERS,
    output_tokens_per_request=_NUMBERS,
    window=st.timedeltas(timedelta(seconds=1), timedelta(hours=1)),
    source=st.sampled_from(DemandSource),
    censored=st.booleans(),
)
_SNAPSHOTS = st.builds(
    Snapshot,
    at=_TIMES,
    models=st.lists(
        st.builds(
            ModelSnapshot,
            ref=_REFS,
            pools=st.lists(
                st.builds(
                    PoolSnapshot,
                    pool=_POOLS,
                    role=st.sampled_from(Role),
                    variant=_NAMES,
                    current=st.none() | st.integers(0, 9999),
                    replicas=st.lists(_REPLICAS, max_size=3).map(tuple),
                ),
                max_size=2,
            ).map(tuple),
            demand=st.none() | _DEMANDS,
            signals=st.lists(st.builds(SignalHealth, _NAMES, st.sampled_from(SignalState)), max_size=2).map(tuple),
            blind=st.just("") | _NAMES,
        ),
        max_size=2,
    ).map(tuple),
    unmanaged=st.lists(_REFS, max_size=2).map(tuple),
    queries=st.integers(0, 99),
)
_DECISIONS = st.builds(
    Decision,
    ref=_REFS,
    pool=_POOLS,
    role=st.sampled_from(Role),
    current=st.none() | st.integers(0, 9999),
    desired=st.none() | st.integers(0, 9999),
    needed=st.none() | st.integers(0, 9999),
    reasons=st.lists(st.sampled_from(Reason), max_size=4).map(tuple),
    inputs=st.lists(st.builds(Input, _NAMES, _NUMBERS, _NAMES, st.sampled_from(Provenance)), max_size=2).map(tuple),
)


@given(_SNAPSHOTS)
def test_a_snapshot_reads_back_equal(snapshot: Snapshot) -> None:
    assert decode(Snapshot, encode(snapshot)) == snapshot


@given(_DECISIONS)
def test_a_decision_reads_back_equal(decision: Decision) -> None:
    assert decode(Decision, encode(decision)) == decision


def test_what_is_missing_stays_missing_and_never_becomes_zero() -> None:
    assert to_plain(ReplicaSample("a"))["waiting"] is None


@pytest.mark.parametrize(
    ("text", "place"),
    [
        pytest.param("{}", "at at, Field required", id="a field that is missing"),
        pytest.param("not JSON", "at the whole, Invalid JSON", id="no JSON"),
        pytest.param(b"\xff", "at the whole, Invalid JSON", id="no text"),
        pytest.param('{"at": "yesterday"}', "at at, Input should be a valid datetime", id="a value of another kind"),
    ],
)
def test_what_is_no_recording_says_where(text: str | bytes, place: str) -> None:
    with pytest.raises(ValueError, match=f"this is no recorded Snapshot: {place}"):
        decode(Snapshot, text)
