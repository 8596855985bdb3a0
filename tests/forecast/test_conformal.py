from math import log
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiops.forecast import conformal
from aiops.forecast.conformal import LEVELS, MOST_RESIDUALS, Errors

finite = st.floats(0.0, 1e12)


def taught(residuals: list[float], apart_ratio: float = 1.0) -> Errors:
    """Errors of a forecaster that is judged by its own interval each time."""
    errors = Errors()
    for new in residuals:
        offsets = errors.offsets or conformal.cold_offsets(600.0)
        below, above = new < offsets[conformal.LOW], new > offsets[conformal.HIGH]
        errors = conformal.learn(errors, new, below, above, apart_ratio)
    return errors


@given(point=finite, floor=finite, residuals=st.lists(st.floats(-2.3, 2.3), max_size=60), widening=st.floats(1.0, 20.0))
def test_quantiles_ascend_from_zero_and_are_at_most_tenfold(
    point: float, floor: float, residuals: list[float], widening: float
) -> None:
    offsets = taught(residuals).offsets or conformal.cold_offsets(600.0)
    values = conformal.quantiles(point, offsets, floor, widening)

    assert len(values) == len(LEVELS)
    assert list(values) == sorted(values)
    assert values[0] >= 0.0
    assert values[-1] <= 10.0 * (point + floor) * (1 + 1e-9)


def test_a_known_spread_is_found_again() -> None:
    residuals = np.random.default_rng(5).normal(0.0, 0.2, 400)
    offsets = taught(list(map(float, residuals))).offsets

    for level, offset in zip(LEVELS, offsets, strict=True):
        assert offset == pytest.approx(0.2 * NormalDist().inv_cdf(level), abs=0.12)


def test_levels_beyond_the_residuals_continue_the_tail() -> None:
    offsets = taught([0.1 * (-1) ** i * (i % 7) for i in range(conformal.LEAST_RESIDUALS)]).offsets

    assert offsets[-1] > offsets[-2] > offsets[-3] > 0.0


def test_residuals_that_overlap_prove_less_bias() -> None:
    apart, overlapping = taught([0.3] * 100, 1.0), taught([0.3] * 100, 0.05)

    assert 0.0 < overlapping.offsets[conformal.MIDDLE] < apart.offsets[conformal.MIDDLE] < 0.3


def test_misses_widen_and_hits_narrow() -> None:
    base = taught([0.001 * (i * 7 % MOST_RESIDUALS) for i in range(MOST_RESIDUALS)])
    missed = conformal.learn(base, 0.05, False, True, 1.0)
    hit = conformal.learn(base, 0.05, False, False, 1.0)

    assert missed.high_ratio < base.high_ratio < hit.high_ratio
    assert missed.offsets[conformal.HIGH] > hit.offsets[conformal.HIGH]


def test_calm_windows_are_steered_apart_and_are_never_wider() -> None:
    residuals = [0.001 * (i * 7 % MOST_RESIDUALS) for i in range(MOST_RESIDUALS)]
    base = calmer = taught(residuals)
    missed, hit = (conformal.learn(base, 0.05, False, above, 1.0, calm=True) for above in (True, False))
    for residual in residuals:
        calmer = conformal.learn(calmer, residual, False, False, 1.0, calm=True)

    assert missed.calm_ratio < base.calm_ratio < hit.calm_ratio
    assert missed.high_ratio == base.high_ratio == hit.high_ratio
    assert calmer.calm_offsets[conformal.HIGH] < calmer.offsets[conformal.HIGH]
    assert calmer.calm_offsets[: conformal.HIGH] == calmer.offsets[: conformal.HIGH]
    assert all(each.calm_offsets[conformal.HIGH] <= each.offsets[conformal.HIGH] for each in (base, missed, hit))
    assert [conformal.is_calm(high, 100.0) for high in (90.0, 109.0, 111.0)] == [True, True, False]


def test_memory_is_bounded() -> None:
    assert len(taught([0.1] * (MOST_RESIDUALS + 50)).residuals) == MOST_RESIDUALS


@pytest.mark.parametrize(
    ("actual", "point", "floor", "expected"),
    [
        pytest.param(110.0, 100.0, 0.0, log(1.1), id="a ratio"),
        pytest.param(0.0, 0.0, 0.0, 0.0, id="nothing as forecast is no error"),
        pytest.param(5.0, 0.0, 0.0, conformal.WIDEST, id="something from nothing is capped"),
        pytest.param(0.0, 5.0, 0.0, -conformal.WIDEST, id="nothing from something is capped"),
        pytest.param(2.0, 1.0, 10.0, log(12 / 11), id="near zero the floor rules"),
    ],
)
def test_a_residual_is_the_log_of_a_ratio(actual: float, point: float, floor: float, expected: float) -> None:
    assert conformal.residual(actual, point, floor) == pytest.approx(expected, abs=1e-5)


def test_the_default_interval_widens_with_the_horizon() -> None:
    assert conformal.cold_offsets(600.0)[-1] < conformal.cold_offsets(3600.0)[-1] < conformal.cold_offsets(86400.0)[-1]
