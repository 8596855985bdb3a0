from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiops.simulate.quantiles import RELATIVE_ERROR, Quantiles
from aiops.simulate.requests import PS

DURATIONS = st.lists(
    st.one_of(st.integers(0, 2**63 - 1), st.integers(0, 5), st.integers(0, 100 * PS)), min_size=1, max_size=60
)


def counted(*parts: list[int]) -> Quantiles:
    quantiles = Quantiles()
    for part in parts:
        quantiles.add(np.array(part, np.int64))
    return quantiles


@given(DURATIONS, st.floats(0, 1))
def test_a_quantile_is_as_near_as_promised(durations: list[int], level: float) -> None:
    found = counted(durations).quantile_s(level)
    exact = float(np.quantile(np.array(durations, np.float64), level)) / PS
    assert found is not None
    assert abs(found - exact) <= RELATIVE_ERROR * exact * (1 + 1e-6) + 1e-30


@given(DURATIONS)
def test_mean_and_longest_are_exact(durations: list[int]) -> None:
    quantiles = counted(durations)
    assert quantiles.count == len(durations)
    assert quantiles.mean_s == float(Fraction(sum(durations), len(durations) * PS))
    assert quantiles.max_s == max(durations) / PS


@given(DURATIONS, st.integers(0, 60), st.randoms(use_true_random=False))
def test_neither_order_nor_calls_matter(durations: list[int], cut: int, chance: object) -> None:
    whole = counted(durations)
    chance.shuffle(durations)
    parts = counted(durations[:cut], durations[cut:])
    assert [parts.quantile_s(level / 20) for level in range(21)] == [
        whole.quantile_s(level / 20) for level in range(21)
    ]
    assert (parts.mean_s, parts.max_s) == (whole.mean_s, whole.max_s)


@given(st.integers(0, 2**63 - 1), st.integers(1, 9), st.floats(0, 1))
def test_equal_durations_have_that_one_as_every_quantile(duration: int, count: int, level: float) -> None:
    assert counted([duration] * count).quantile_s(level) == duration / PS


@given(DURATIONS)
def test_a_higher_level_is_never_a_lower_quantile(durations: list[int]) -> None:
    quantiles = counted(durations)
    found = [quantiles.quantile_s(level / 100) for level in range(101)]
    assert found == sorted(found)


def test_many_durations_of_a_usual_shape() -> None:
    drawn = (np.random.default_rng(1).lognormal(-1, 1.2, 500_000) * PS).astype(np.int64)
    quantiles = counted(*(part.tolist() for part in np.array_split(drawn, 9)))
    for level in (0.01, 0.5, 0.95, 0.99, 0.999):
        assert quantiles.quantile_s(level) == pytest.approx(np.quantile(drawn, level) / PS, rel=RELATIVE_ERROR)


def test_nothing_has_no_quantile() -> None:
    empty = counted([])
    assert (empty.count, empty.mean_s, empty.max_s, empty.quantile_s(0.5)) == (0, None, None, None)


def test_a_negative_duration_is_refused() -> None:
    with pytest.raises(ValueError, match="-1 ps is negative"):
        counted([1, -1])
