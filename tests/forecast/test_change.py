"""What counts as another level, and what the ensemble makes of it."""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pytest

from aiops.forecast import MEMBERS, Forecaster, empty_series, ensemble
from aiops.forecast.change import rescaled, shift
from aiops.forecast.ensemble import Ensemble
from aiops.forecast.history import empty_history, with_bin
from aiops.forecast.state import SeriesState
from aiops.model.forecast import Window
from aiops.model.forecaster import History

BIN_S, DAY = 600.0, 144
START_S = 1_699_747_200.0  # Sunday midnight, 12 November 2023
SIX_HOURS = Window(21_600.0, 21_600.0)


def days(count: float, seed: int = 1, noise: float = 0.15, quiet_weekend: bool = False) -> np.ndarray:
    bins = np.arange(int(count * DAY))
    level = 100.0 * (1.2 + np.sin(2 * np.pi * (bins / DAY - 1 / 3)))
    if quiet_weekend:
        level = np.where(np.isin(bins // DAY % 7, (0, 6)), 0.3 * level, level)
    return level * np.random.default_rng(seed).lognormal(0.0, noise, len(bins))


def history_of(values: Sequence[float]) -> History:
    history = empty_history(BIN_S)
    for i, value in enumerate(values, 1):
        history = with_bin(history, None if np.isnan(value) else float(value), START_S + i * BIN_S, BIN_S)
    return history


def noticed(values: Sequence[float]) -> list[tuple[int, float]]:
    """Give the bin after which each shift is noticed, and its ratio; the past moves each time."""
    history, found = empty_history(BIN_S), []
    for i, value in enumerate(values, 1):
        history = with_bin(history, None if np.isnan(value) else float(value), START_S + i * BIN_S, BIN_S)
        if (seen := shift(history)) is not None:
            found.append((i, seen.ratio))
            history = rescaled(history, seen)
    return found


@pytest.mark.parametrize("ratio", [0.2, 3.0, 20.0])
@pytest.mark.parametrize("hour", [7, 11, 20])
def test_a_level_that_stays_is_noticed_once_within_an_hour(ratio: float, hour: int) -> None:
    values = days(6)
    begin = 4 * DAY + 6 * hour
    values[begin:] *= ratio

    ((when, by),) = noticed(values)

    assert begin + 4 <= when <= begin + 6
    assert abs(np.log(by / ratio)) < 0.5


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(days(15), id="two weeks of days"),
        pytest.param(days(15, noise=0.5), id="two restless weeks"),
        pytest.param(
            days(1.4) * np.where(np.arange(int(1.4 * DAY)) > 180, 5.0, 1.0), id="a shift within a day and a half"
        ),
        pytest.param(np.where(np.arange(5 * DAY) // 3 == 200, 10.0, 1.0) * days(5), id="a burst of half an hour"),
        pytest.param(np.where(np.arange(5 * DAY) // 30 == 20, np.nan, days(5)), id="a gap of five hours"),
        pytest.param(np.full(5 * DAY, 7.0), id="a constant"),
        pytest.param(np.zeros(5 * DAY), id="all zero"),
    ],
)
def test_what_is_the_days_business_is_no_shift(values: Sequence[float]) -> None:
    assert noticed(values) == []


def test_a_weekend_is_a_shift_once_and_then_the_weeks_business() -> None:
    found = noticed(days(30, quiet_weekend=True))

    assert all(when < 9 * DAY for when, _ in found)


def test_the_past_is_told_on_the_new_level_and_what_came_since_stays() -> None:
    values = days(3)
    values[-5:] *= 4.0
    history = history_of(values)
    seen = shift(history)

    assert seen is not None
    told = rescaled(history, seen).values
    assert told[-5:] == history.values[-5:]
    assert told[:-5] == pytest.approx([(value or 0.0) * seen.ratio for value in history.values[:-5]])


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
def test_a_member_that_is_carried_over_goes_on_from_the_new_level(member: Forecaster) -> None:
    """Six hours ahead, an hour after demand tripled; without being carried over, some members fall back."""
    values = days(4, noise=0.02)
    values[-6:] *= 3.0
    state = _learned(Ensemble((member,)), values)
    (answer,) = Ensemble((member,)).predict(state, "x", _made_at(state), (SIX_HOURS,))
    truth = 3.0 * 100.0 * (1.2 + np.sin(2 * np.pi * (0.25 - 1 / 3)))

    assert state.shift is not None
    knows_the_day = member.name in {"week_profile", "arima"}
    assert not knows_the_day or 0.7 * truth < (answer.quantile(0.5) or 0.0) < 1.4 * truth


def test_after_a_shift_six_hours_ahead_are_forecast_on_the_new_level() -> None:
    values = days(7, noise=0.1)
    values[5 * DAY :] *= 0.2
    state = _learned(ensemble(), values[: 5 * DAY + 12])
    (answer,) = ensemble().predict(state, "x", _made_at(state), (SIX_HOURS,))
    came = float(values[5 * DAY + 12 + 36 - 1])

    assert 0.6 * came < (answer.quantile(0.5) or 0.0) < 1.6 * came


def _learned(learner: Ensemble, values: Sequence[float]) -> SeriesState:
    state = empty_series(BIN_S)
    for i, value in enumerate(values, 1):
        state = learner.learn(state, START_S + i * BIN_S, float(value), (SIX_HOURS,))
    return state


def _made_at(state: SeriesState) -> datetime:
    return datetime.fromtimestamp(state.end_s or 0.0, UTC)
