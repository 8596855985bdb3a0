import numpy as np
import pytest
from statsmodels.tsa.holtwinters import ExponentialSmoothing as Reference

from aiops.forecast.exponential_smoothing import ExponentialSmoothing
from aiops.model.forecaster import History


@pytest.mark.parametrize("bin_s", [60.0, 600.0])
def test_a_step_and_a_path_are_those_of_statsmodels_damped_holt(bin_s: float) -> None:
    values = np.random.default_rng(3).gamma(9.0, 10.0, 200)
    member = ExponentialSmoothing()
    alpha, beta, phi = member.shares(bin_s)
    ahead = (1, 2, 3, 8, 20)

    state = (float(values[0]), 0.0)
    for i, value in enumerate(values[1:], 1):
        state = member.learn(state, float(value), i * bin_s, bin_s, History())
    model = Reference(
        values[1:],
        trend="add",
        damped_trend=True,
        initialization_method="known",
        initial_level=values[0],
        initial_trend=0.0,
    )
    fit = model.fit(smoothing_level=alpha, smoothing_trend=beta, damping_trend=phi, optimized=False)

    assert state == pytest.approx((fit.level[-1], fit.trend[-1]))
    forecast = fit.forecast(max(ahead))
    assert member.path(state, 0.0, bin_s, ahead, History()) == pytest.approx([forecast[k - 1] for k in ahead])


def test_the_first_value_is_the_level() -> None:
    assert ExponentialSmoothing().learn((), 5.0, 60.0, 60.0, History()) == (5.0, 0.0)


def test_a_steep_fall_ends_at_zero() -> None:
    member = ExponentialSmoothing()
    state = member.learn((), 1000.0, 60.0, 60.0, History())
    for i in range(2, 11):
        state = member.learn(state, 1100.0 - 100.0 * i, i * 60.0, 60.0, History())

    assert member.path(state, 600.0, 60.0, (30,), History()) == (0.0,)
