from datetime import UTC, datetime

import pytest

from aiops.model.forecast import Forecast, Window


def forecast(*quantiles: tuple[float, float]) -> Forecast:
    return Forecast("input_tok_per_s", datetime(2026, 1, 1, tzinfo=UTC), Window(600, 615), quantiles)


@pytest.mark.parametrize(
    ("level", "value"),
    [
        pytest.param(0.5, 100, id="a known level"),
        pytest.param(0.7, 150, id="between two levels"),
        pytest.param(0.99, 200, id="above the last level the end holds"),
        pytest.param(0.01, 50, id="below the first level the end holds"),
    ],
)
def test_a_quantile_is_interpolated_and_never_extrapolated(level: float, value: float) -> None:
    assert forecast((0.1, 50), (0.5, 100), (0.9, 200)).quantile(level) == pytest.approx(value)


def test_nothing_forecast_is_none_and_not_zero() -> None:
    assert forecast().quantile(0.5) is None


def test_one_level_is_the_value_at_all_levels() -> None:
    assert forecast((0.5, 7)).quantile(0.99) == 7


@pytest.mark.parametrize(
    ("start_s", "end_s"),
    [
        pytest.param(20, 10, id="backwards"),
        pytest.param(-1, 10, id="from the past"),
        pytest.param(0, float("nan"), id="to NaN"),
    ],
)
def test_a_window_runs_forward_from_now(start_s: float, end_s: float) -> None:
    with pytest.raises(ValueError, match="runs forward from now"):
        Window(start_s, end_s)
