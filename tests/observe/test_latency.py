"""Percentiles and shares from buckets."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiops.model.policy import Bound, Objectives
from aiops.observe.latency import Histogram, read_histogram, read_latency, snapped
from aiops.observe.prometheus import Series

INF = float("inf")
FEW = Histogram((0.1, 0.5, 1.0, INF), (0.0, 50.0, 90.0, 100.0))


def bucket(le: str, count: float | None) -> Series:
    return Series({"le": le}, (0.0,), (count,))


@pytest.mark.parametrize(
    ("share", "seconds"),
    [
        pytest.param(0.25, 0.3, id="inside the first bucket that holds any"),
        pytest.param(0.5, 0.5, id="on a bound"),
        pytest.param(0.7, 0.75, id="inside a later bucket"),
        pytest.param(0.99, 1.0, id="beyond the last finite bound: that bound"),
    ],
)
def test_a_quantile_is_interpolated_inside_its_bucket(share: float, seconds: float) -> None:
    assert FEW.quantile(share) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("bound_s", "share", "note"),
    [
        pytest.param(0.5, 0.5, "", id="a bound of the buckets"),
        pytest.param(0.6, 0.5, "measured at 0.5 s", id="between two bounds: the nearer"),
        pytest.param(30.0, 0.9, "measured at 1 s", id="beyond all: the last finite one"),
    ],
)
def test_attainment_is_the_share_at_the_nearest_bound(bound_s: float, share: float, note: str) -> None:
    objective = Bound(attainment=0.95, bound=timedelta(seconds=bound_s))
    latency = read_latency(FEW, None, Objectives(ttft=objective))

    assert latency.ttft_attainment_ratio == pytest.approx(share)
    assert note in snapped(FEW, objective)
    assert bool(note) == bool(snapped(FEW, objective))
    assert (latency.itl_s, latency.itl_attainment_ratio) == (None, None)


def test_bounds_are_compared_as_numbers_and_added_up() -> None:
    found = read_histogram([bucket("1", 2.0), bucket("1.0", 3.0), bucket("+Inf", 4.0), bucket("Inf", 6.0)])
    assert found == Histogram((1.0, INF), (5.0, 10.0))


@pytest.mark.parametrize(
    "series",
    [
        pytest.param([], id="no bucket"),
        pytest.param([bucket("1", 0.0), bucket("+Inf", 0.0)], id="no request ended"),
        pytest.param([bucket("1", None), bucket("+Inf", None)], id="no numbers"),
        pytest.param([bucket("1", 3.0), bucket("2", 3.0)], id="the last bucket is missing"),
        pytest.param([bucket("+Inf", 3.0)], id="only the last bucket"),
    ],
)
def test_nothing_counted_is_no_histogram(series: list[Series]) -> None:
    assert read_histogram(series) is None
    assert snapped(None, Objectives().ttft) == ""


def test_a_bucket_below_the_one_before_counts_as_much() -> None:
    found = read_histogram([bucket("1", 5.0), bucket("2", 4.9), bucket("+Inf", 6.0)])
    assert found is not None
    assert found.counts == (5.0, 5.0, 6.0)


@given(
    counts=st.lists(st.floats(0, 1e6), min_size=2, max_size=20),
    shares=st.lists(st.floats(0.001, 0.999), min_size=2, max_size=2),
)
def test_quantiles_rise_with_the_share_and_stay_within_the_bounds(counts: list[float], shares: list[float]) -> None:
    bounds = [*(str(n) for n in range(1, len(counts))), "+Inf"]
    found = read_histogram(map(bucket, bounds, counts))
    if found is None:
        assert max(counts) == 0
        return
    low, high = (found.quantile(share) for share in sorted(shares))
    assert 0 <= low <= high <= len(counts) - 1
