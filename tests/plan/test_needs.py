"""Which forecast a need stands on."""

import pytest

from aiops.model.forecast import Forecast, ForecastBasis, Window
from aiops.plan.needs import find
from tests.plan.worlds import START


def forecast(series: str, window: Window, basis: ForecastBasis = ForecastBasis.HISTORY) -> Forecast:
    return Forecast(series, START, window, ((0.5, 1.0),), basis=basis)


AHEAD, FURTHER, DOWN = Window(60, 120), Window(300, 360), Window(0, 660)
MADE = [forecast("work_both", AHEAD), forecast("work_both", DOWN), forecast("work_decode", FURTHER)]


@pytest.mark.parametrize(
    ("series", "window", "found"),
    [
        pytest.param("work_both", AHEAD, AHEAD, id="the window itself"),
        pytest.param("work_both", Window(120, 180), AHEAD, id="a lead time that has grown since it was made"),
        pytest.param("work_both", Window(0, 120), DOWN, id="a shorter way down is still one that begins now"),
        pytest.param("work_decode", AHEAD, FURTHER, id="a lead time that has shrunk"),
        pytest.param("work_decode", DOWN, None, id="what begins later says nothing of the way down"),
        pytest.param("work_prefill", AHEAD, None, id="nothing of another role"),
    ],
)
def test_a_lead_time_learned_anew_does_not_take_the_forecast_away(
    series: str, window: Window, found: Window | None
) -> None:
    forecast_found = find(MADE, series, window)
    assert (forecast_found and forecast_found.window) == found


def test_what_stands_on_no_point_is_no_forecast() -> None:
    assert find([forecast("work_both", AHEAD, ForecastBasis.NONE)], "work_both", AHEAD) is None
