import numpy as np
import pytest

from aiops.forecast.history import empty_history, with_bin
from aiops.forecast.week_profile import WeekProfile, day_shape, week_departures
from aiops.model.forecaster import History, MemberState

SLOT, SLOTS = 600.0, 144
Known = tuple[MemberState, History]


def office(place: int, weekend: float = 1.0) -> float:
    """100 from nine to five and 20 otherwise; on days 5 and 6 of a week, times ``weekend``."""
    value = 100.0 if 54 <= place % SLOTS < 102 else 20.0
    return value * weekend if place // SLOTS % 7 >= 5 else value


def learned(slots: int, scale: float = 1.0, weekend: float = 1.0, noise: float = 0.05) -> Known:
    draws = np.random.default_rng(6).lognormal(0.0, noise, slots)
    state: MemberState = ()
    history = empty_history(SLOT)
    for place in range(slots):
        value = float(office(place, weekend) * draws[place] * scale)
        history = with_bin(history, value, (place + 1) * SLOT, SLOT)
        state = WeekProfile().learn(state, value, (place + 1) * SLOT, SLOT, history)
    return state, history


def ahead(known: Known, slots: int) -> float | None:
    state, history = known
    path = WeekProfile().path(state, history.end_s or 0.0, SLOT, (slots,), history)
    return None if path is None else path[0]


def test_before_a_day_is_over_there_is_no_opinion() -> None:
    assert ahead(learned(SLOTS - 1), 6) is None
    assert ahead(learned(SLOTS), 6) is not None


def test_the_morning_is_seen_from_the_night_and_the_more_clearly_the_more_days_were_seen() -> None:
    at_eight = [ahead(learned(days * SLOTS + 48), 18) or 0.0 for days in (1, 2, 6)]

    assert 25.0 < at_eight[0] < at_eight[1] < at_eight[2] < 110.0
    assert at_eight[2] > 80.0


def test_days_that_have_nothing_in_common_have_no_shape() -> None:
    logs = np.random.default_rng(8).normal(0.0, 1.0, 10 * SLOTS)
    alike = np.tile(np.sin(2.0 * np.pi * np.arange(SLOTS) / SLOTS), 10)

    assert float(np.abs(day_shape(logs, 0, SLOTS)).max()) < 0.2
    assert float(np.abs(day_shape(alike, 0, SLOTS) - alike[:SLOTS]).max()) < 0.1


def test_the_shape_lies_at_its_place_in_the_day_wherever_the_series_begins() -> None:
    logs = np.tile(np.sin(2.0 * np.pi * np.arange(SLOTS) / SLOTS), 10)

    assert int(day_shape(logs[50:], 50, SLOTS).argmax()) == SLOTS // 4
    logs[300:330] = np.nan
    assert day_shape(logs[50:], 50, SLOTS) == pytest.approx(day_shape(logs, 0, SLOTS), abs=0.02)


def test_a_quiet_weekend_is_expected_after_it_was_seen_twice_but_not_after_the_first() -> None:
    """Friday at eleven in the evening, and thirteen hours later."""
    friday = 4 * SLOTS + 138
    first, third = (ahead(learned(weeks * 7 * SLOTS + friday, weekend=0.2), 13 * 6) or 0.0 for weeks in (0, 2))

    assert first > 60.0
    assert third < 0.7 * first


def test_weeks_that_are_not_alike_add_nothing() -> None:
    rest = np.random.default_rng(3).normal(0.0, 1.0, 15 * SLOTS)
    repeated = np.tile(rest[: 7 * SLOTS], 3)[: 15 * SLOTS]

    assert float(np.abs(week_departures(rest, SLOTS)).max()) < 0.25
    assert float(np.abs(week_departures(repeated, SLOTS)).max()) > 0.4
    assert not week_departures(rest[: 7 * SLOTS], SLOTS).any()
