"""Days of demand, bin by bin, each forecast judged by what came."""

import csv
from collections.abc import Sequence
from datetime import UTC, datetime

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


def day_curve(noise: float) -> tuple[list[float], list[float]]:
    """Five days of a night, a morning ramp from eight to ten, and a busy day; bare, and with log-normal noise."""
    hour = np.arange(5 * DAY) / 60.0 % 24.0
    curve = 20.0 + 80.0 * np.clip((hour - 8.0) / 2.0, 0.0, 1.0) * np.clip((23.0 - hour) / 4.0, 0.0, 1.0)
    return curve.tolist(), (curve * np.random.default_rng(7).lognormal(0.0, noise, 5 * DAY)).tolist()


@pytest.fixture(scope="module")
def five_days() -> tuple[list[float], list[tuple[Forecast, ...]]]:
    _, values = day_curve(noise=0.08)
    return values, replayed(values, 60.0, WINDOWS)


@pytest.mark.parametrize("place", [0, 1, 2], ids=["4 to 9 min", "10 min", "half an hour"])
def test_nine_of_ten_windows_stay_below_q90(
    five_days: tuple[list[float], list[tuple[Forecast, ...]]], place: int
) -> None:
    values, made = five_days
    covered = []
    for i in range(3 * DAY, 5 * DAY):
        came = actual(values, i, WINDOWS[place], 60.0)
        if came is not None:
            assert made[i][place].basis is ForecastBasis.HISTORY
            covered.append(came <= (made[i][place].quantile(0.9) or 0.0))

    assert 0.85 <= float(np.mean(covered)) <= 0.95


def test_a_morning_ramp_is_forecast_above_the_last_value_five_minutes_ahead() -> None:
    curve, values = day_curve(noise=0.03)
    ramp = range(4 * DAY + 8 * 60 + 20, 4 * DAY + 9 * 60 + 50)
    made = replayed(values[: ramp.stop], 60.0, (Window(300.0, 300.0),))
    ahead = [made[i][0].quantile(0.5) or 0.0 for i in ramp]

    assert float(np.mean([ahead > curve[i] for i, ahead in zip(ramp, ahead, strict=True)])) > 0.7
    assert float(np.mean(ahead)) > 1.01 * float(np.mean([values[i] for i in ramp]))


def test_the_ramp_is_visible_from_the_night_after_two_days() -> None:
    """At a quarter to eight demand is flat, and only the day profile can know."""
    _, values = day_curve(noise=0.08)
    i = 2 * DAY + 7 * 60 + 45
    ahead = replayed(values[: i + 1], 60.0, (Window(3600.0, 3600.0),))[-1][0]

    assert (ahead.quantile(0.5) or 0.0) > 1.3 * float(np.mean(values[i - 30 : i]))


def test_a_level_shift_is_followed_within_half_an_hour() -> None:
    values = [*np.random.default_rng(2).lognormal(np.log(100.0), 0.05, 2 * DAY), *[300.0] * 30]
    answer = replayed(list(map(float, values)), 60.0, (POINT,))[-1][0]

    assert 270.0 < (answer.quantile(0.5) or 0.0) < 330.0


def test_a_production_fortnight_is_forecast_no_worse_than_by_its_last_value() -> None:
    with shared_data("servegen", "m-large_10min.csv").open() as file:
        rows = list(csv.DictReader(file))
    windows = (Window(600.0, 600.0), Window(1800.0, 1800.0))
    ratios: dict[Window, list[float]] = {window: [] for window in windows}
    for column in ("req_per_s", "input_tok_per_s", "output_tok_per_s"):
        values = [float(row[column]) for row in rows]
        made = replayed(values, 600.0, windows)
        for place, window in enumerate(windows):
            judged = [
                (came, made[i][place], values[i])
                for i in range(len(values) // 2, len(values))
                if (came := actual(values, i, window, 600.0)) is not None
            ]
            error = sum(abs(came - (answer.quantile(0.5) or 0.0)) for came, answer, _ in judged)
            ratios[window].append(error / sum(abs(came - last) for came, _, last in judged))
            covered = float(np.mean([came <= (answer.quantile(0.9) or 0.0) for came, answer, _ in judged]))
            assert 0.85 <= covered <= 0.95, (column, window)

    ten, thirty = (float(np.exp(np.mean(np.log(ratios[window])))) for window in windows)
    assert ten <= 1.03
    assert thirty <= 1.0
