"""Days of demand, bin by bin, each forecast judged by what came."""

import csv
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

import numpy as np
import pytest

from aiops import forecast
from aiops.model.forecast import Forecast, ForecastBasis, Window
from tests.parts import shared_data

START_S = 1_699_920_000.0  # midnight, 14 November 2023
DAY = 1440
NEAR, POINT, LONG = Window(240.0, 540.0), Window(600.0, 600.0), Window(0.0, 1800.0)
WINDOWS = (NEAR, POINT, LONG)


def replayed(values: Sequence[float], bin_s: float, windows: tuple[Window, ...]) -> list[tuple[Forecast, ...]]:
    """The forecasts made at the end of each bin."""
    state = forecast.empty_series(bin_s)
    made = []
    for i, value in enumerate(values, 1):
        state = forecast.learn(state, START_S + i * bin_s, value, windows)
        made.append(forecast.predict(state, "input", datetime.fromtimestamp(START_S + i * bin_s, UTC), windows))
    return made


def actual(values: Sequence[float], i: int, window: Window, bin_s: float) -> float | None:
    """The maximum over the window that begins at the end of bin ``i``; None beyond the end."""
    last = i + round(window.end_s / bin_s)
    first = min(i + round(window.start_s / bin_s) + 1, last)
    return max(values[first : last + 1]) if last < len(values) else None


def day_curve() -> list[float]:
    """Five days of a night, a morning ramp from eight to ten, and a busy day, with noise of 8 %."""
    hour = np.arange(5 * DAY) / 60.0 % 24.0
    curve = 20.0 + 80.0 * np.clip((hour - 8.0) / 2.0, 0.0, 1.0) * np.clip((23.0 - hour) / 4.0, 0.0, 1.0)
    return list(map(float, curve * np.random.default_rng(7).lognormal(0.0, 0.08, 5 * DAY)))


@lru_cache(maxsize=1)
def five_days() -> tuple[list[float], list[tuple[Forecast, ...]]]:
    values = day_curve()
    return values, replayed(values, 60.0, WINDOWS)


@pytest.mark.parametrize("place", [0, 1, 2], ids=["4 to 9 min", "10 min", "half an hour"])
def test_nine_of_ten_windows_stay_below_q90(place: int) -> None:
    values, made = five_days()
    covered = []
    for i in range(3 * DAY, 5 * DAY):
        came = actual(values, i, WINDOWS[place], 60.0)
        if came is not None:
            assert made[i][place].basis is ForecastBasis.HISTORY
            covered.append(came <= (made[i][place].quantile(0.9) or 0.0))

    assert 0.85 <= float(np.mean(covered)) <= 0.95


def test_a_morning_ramp_is_seen_five_minutes_ahead() -> None:
    values, _ = five_days()
    ramp = range(4 * DAY + 8 * 60 + 20, 4 * DAY + 9 * 60 + 50)
    five = Window(300.0, 300.0)
    made = replayed(values[: ramp.stop], 60.0, (five,))
    level = [float(np.mean(values[i - 2 : i + 1])) for i in ramp]
    expected = [made[i][0].quantile(0.5) or 0.0 for i in ramp]

    assert float(np.mean([ahead > now for ahead, now in zip(expected, level, strict=True)])) > 0.8
    assert float(np.mean(expected)) > float(np.mean(level))


def test_the_ramp_is_visible_from_the_night_after_two_days() -> None:
    """At half past seven demand is flat, and only the day profile can know."""
    values, made = five_days()
    i = 4 * DAY + 7 * 60 + 45
    lead = Window(3600.0, 3600.0)
    ahead = replayed(values[: i + 1], 60.0, (lead,))[-1][0]

    assert (ahead.quantile(0.5) or 0.0) > 1.3 * float(np.mean(values[i - 30 : i]))


def test_a_level_shift_is_followed_within_half_an_hour() -> None:
    values = [*np.random.default_rng(2).lognormal(np.log(100.0), 0.05, 2 * DAY), *[300.0] * 30]
    answer = replayed(list(map(float, values)), 60.0, (POINT,))[-1][0]

    assert 270.0 < (answer.quantile(0.5) or 0.0) < 330.0


@pytest.mark.parametrize("column", ["req_per_s", "input_tok_per_s", "output_tok_per_s"])
def test_a_production_fortnight_is_forecast_about_as_well_as_can_be(column: str) -> None:
    with shared_data("servegen", "m-large_10min.csv").open() as file:
        values = [float(row[column]) for row in csv.DictReader(file)]
    ten, thirty = Window(600.0, 600.0), Window(1800.0, 1800.0)
    made = replayed(values, 600.0, (ten, thirty))

    error = {ten: 0.0, thirty: 0.0}
    last_error = {ten: 0.0, thirty: 0.0}
    covered = []
    for i in range(len(values) // 2, len(values)):
        for answer in made[i]:
            came = actual(values, i, answer.window, 600.0)
            if came is None:
                continue
            error[answer.window] += abs(came - (answer.quantile(0.5) or 0.0))
            last_error[answer.window] += abs(came - values[i])
            if answer.window == thirty:
                covered.append(came <= (answer.quantile(0.9) or 0.0))

    assert 0.85 <= float(np.mean(covered)) <= 0.95
    assert error[ten] <= 1.03 * last_error[ten]
    assert error[thirty] <= last_error[thirty]
