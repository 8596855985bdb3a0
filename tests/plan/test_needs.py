"""Which forecast a need stands on."""

import pytest

from aiops.model.capacity import Capacity, CapacityBasis
from aiops.model.forecast import Forecast, ForecastBasis, Window
from aiops.model.refs import Role
from aiops.plan.needs import find, role_need
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


def tailed(window: Window, median: float) -> Forecast:
    """Errors of a steep morning: the tail is five times the median."""
    return Forecast("work_both", START, window, ((0.5, median), (0.99, 5 * median)))


@pytest.mark.parametrize(
    ("now", "median", "young", "low", "high"),
    [
        pytest.param(2.0, 2.0, False, 10, 10, id="who has seen a day is believed"),
        pytest.param(2.0, 2.0, True, 4, 4, id="the errors of a morning order no more than twice the present"),
        pytest.param(2.0, 7.0, True, 7, 7, id="what is expected, and not only feared, is ordered"),
        pytest.param(2.0, 0.5, True, 3, 3, id="a tail within twice the present counts"),
        pytest.param(0.0, 0.0, True, 0, 0, id="nothing comes"),
    ],
)
def test_a_forecast_that_has_not_seen_a_day_is_not_paid_for_all_its_fears(
    now: float, median: float, young: bool, low: int, high: int
) -> None:
    capacity = Capacity(Role.BOTH, 1.0, CapacityBasis.INFERRED)
    need = role_need(now, 0.0, tailed(AHEAD, median), tailed(DOWN, median), 0.01, capacity, young=young)
    assert (need.low, need.high) == (low, high)
