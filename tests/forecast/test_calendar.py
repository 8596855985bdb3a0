from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiops.forecast.calendar import foreseen, ordinary, with_events
from aiops.model.calendar import Event
from aiops.model.forecast import Forecast, Window

LEVELS = (0.05, 0.1, 0.5, 0.9, 0.95)
HOUR_S = 3600.0


def event(multiplier: float = 2.0, uncertainty: float = 0.0, name: str = "e", **when: Any) -> Event:
    known = when or {"start": "2026-03-02T09:00", "end": "2026-03-02T12:00"}
    return Event.model_validate({"name": name, "multiplier": multiplier, "uncertainty": uncertainty, **known})


def nightly(zone: str, at: str = "02:30", **more: Any) -> Event:
    return event(at=at, lasts="30m", timeZone=zone, **more)


def forecast(at: str, window: Window, *values: float) -> Forecast:
    made_at = datetime.fromisoformat(at).replace(tzinfo=UTC)
    return Forecast("s", made_at, window, tuple(zip(LEVELS, values or (8.0, 9.0, 10.0, 12.0, 13.0), strict=True)))


def begins(one: Event, day: str) -> list[str]:
    """When an event begins in the 24 h from a UTC midnight, minute by minute."""
    midnight = datetime.fromisoformat(day).replace(tzinfo=UTC)
    ends = [midnight + timedelta(minutes=minute + 1) for minute in range(24 * 60)]
    values = ordinary([1.0] * len(ends), [end.timestamp() for end in ends], 60.0, (one,))
    return [
        f"{end - timedelta(minutes=1):%H:%M}"
        for end, value, before in zip(ends, values, [1.0, *values], strict=False)
        if value == 0.5 and before == 1.0
    ]


@pytest.mark.parametrize(
    ("zone", "day", "at"),
    [
        pytest.param("UTC", "2026-03-02", "02:30", id="UTC has no summer"),
        pytest.param("Europe/Berlin", "2026-03-28", "01:30", id="the day before Berlin's summer"),
        pytest.param("Europe/Berlin", "2026-03-29", "01:30", id="the night that skips 02:30 has it at 03:30"),
        pytest.param("Europe/Berlin", "2026-03-30", "00:30", id="the first day of summer"),
        pytest.param("Europe/Berlin", "2026-10-25", "00:30", id="the night that has 02:30 twice has the event once"),
        pytest.param("Europe/Berlin", "2026-10-26", "01:30", id="the first day of winter"),
        pytest.param("America/New_York", "2026-03-07", "07:30", id="the day before New York's summer"),
        pytest.param("America/New_York", "2026-03-09", "06:30", id="New York's summer is three weeks earlier"),
        pytest.param("Asia/Kolkata", "2026-03-02", "21:00", id="a zone at half hours, on the day before in UTC"),
    ],
)
def test_an_event_keeps_to_the_clocks_of_its_zone(zone: str, day: str, at: str) -> None:
    assert begins(nightly(zone), day) == [at]


def test_an_event_of_some_days_comes_on_those_alone() -> None:
    mondays = nightly("UTC", days=["mon"])
    found = [begins(mondays, f"2026-03-{day:02}") for day in range(1, 9)]
    assert found == [[], ["02:30"], [], [], [], [], [], []]


def test_an_event_over_midnight_goes_on_the_next_day() -> None:
    late = event(at="23:00", lasts="3h", days=["mon"])
    noon, night = ("2026-03-03T12:00", "2026-03-03T01:30")
    point = Window(0, 0)
    assert foreseen(forecast(noon, point), (late,)) is None
    assert foreseen(forecast(night, point), (late,)) is late


@pytest.mark.parametrize(
    ("at", "window", "factor"),
    [
        pytest.param("2026-03-02T08:00", Window(600, 600), 1.0, id="before the event"),
        pytest.param("2026-03-02T08:50", Window(600, 600), 2.0, id="a point at its beginning"),
        pytest.param("2026-03-02T11:50", Window(600, 600), 1.0, id="a point at its end"),
        pytest.param("2026-03-02T08:00", Window(0, 2 * HOUR_S), 2.0, id="a window into it"),
        pytest.param("2026-03-02T11:30", Window(0, 2 * HOUR_S), 2.0, id="a window out of it"),
        pytest.param("2026-03-02T00:00", Window(0, 24 * HOUR_S), 2.0, id="a window around it"),
        pytest.param("2026-03-02T12:30", Window(0, HOUR_S), 1.0, id="after the event"),
    ],
)
def test_a_window_that_touches_an_event_is_multiplied(at: str, window: Window, factor: float) -> None:
    plain = forecast(at, window)
    raised = with_events(plain, (event(),))
    assert [value for _, value in raised.quantiles] == pytest.approx([v * factor for _, v in plain.quantiles])


@pytest.mark.parametrize(
    ("at", "window", "factor"),
    [
        pytest.param("2026-03-02T09:30", Window(0, HOUR_S), 0.5, id="a window wholly within is lowered"),
        pytest.param("2026-03-02T11:30", Window(0, HOUR_S), 1.0, id="one that ends after it keeps its ordinary part"),
        pytest.param("2026-03-02T08:30", Window(0, HOUR_S), 1.0, id="one that begins before it too"),
    ],
)
def test_an_event_that_lowers_demand_lowers_only_what_is_wholly_within(at: str, window: Window, factor: float) -> None:
    raised = with_events(forecast(at, window), (event(multiplier=0.5),))
    assert raised.quantile(0.5) == pytest.approx(10.0 * factor)


def test_the_largest_of_several_events_counts() -> None:
    quiet, launch, batch = event(0.5, name="quiet"), event(3.0, name="launch"), event(2.0, name="batch")
    assert foreseen(forecast("2026-03-02T10:00", Window(0, 600)), (launch, quiet, batch)) is launch
    end_s = datetime(2026, 3, 2, 10, tzinfo=UTC).timestamp()
    assert ordinary([6.0], [end_s], 60.0, (batch, launch, quiet)) == [2.0]


@pytest.mark.parametrize(
    ("values", "uncertainty", "expected"),
    [
        pytest.param((10.0,) * 5, 0.25, (16.0, None, 20.0, None, 25.0), id="a sure forecast is as wide as the event"),
        pytest.param((8.0, 9.0, 10.0, 12.0, 13.0), 0.0, (16.0, 18.0, 20.0, 24.0, 26.0), id="a sure event adds none"),
        pytest.param((7.0, 7.0, 10.0, 11.5, 11.5), 0.4, (None, None, 20.0, None, 28.544), id="errors join by squares"),
        pytest.param((0.0,) * 5, 3.0, (0.0,) * 5, id="of nothing comes nothing"),
    ],
)  # fmt: skip
def test_the_interval_takes_in_what_is_not_known_of_the_event(
    values: tuple[float, ...], uncertainty: float, expected: tuple[float | None, ...]
) -> None:
    raised = with_events(forecast("2026-03-02T10:00", Window(0, 0), *values), (event(2.0, uncertainty),))
    for (_, found), wanted in zip(raised.quantiles, expected, strict=True):
        assert wanted is None or found == pytest.approx(wanted, rel=1e-3)


@given(
    values=st.lists(st.floats(0.0, 1e12), min_size=5, max_size=5).map(sorted),
    multiplier=st.floats(0.01, 1000.0),
    uncertainty=st.floats(0.0, 10.0),
)
def test_quantiles_stay_in_order_above_zero_and_no_narrower(
    values: list[float], multiplier: float, uncertainty: float
) -> None:
    plain = forecast("2026-03-02T10:00", Window(0, 0), *values)
    raised = [value for _, value in with_events(plain, (event(multiplier, uncertainty),)).quantiles]
    assert raised == sorted(raised)
    assert raised[0] >= 0.0
    slack = 1e-9 * values[-1] * multiplier
    assert raised[0] <= values[0] * multiplier + slack
    assert raised[-1] >= values[-1] * multiplier - slack


@given(hour=st.integers(0, 24 * 14), multiplier=st.floats(0.1, 10.0), level=st.none() | st.floats(0.0, 1e6))
def test_what_is_taught_and_what_is_foreseen_of_a_moment_agree(
    hour: int, multiplier: float, level: float | None
) -> None:
    events = (nightly("Europe/Berlin", "08:45", multiplier=multiplier), event(multiplier * 1.5, name="launch"))
    middle = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(minutes=10 * hour)
    found = foreseen(Forecast("s", middle, Window(0, 0), ()), events)
    (taught,) = ordinary([level], [middle.timestamp() + 30.0], 60.0, events)
    assert taught == (level if level is None or found is None else level / found.multiplier)


def test_no_event_changes_nothing() -> None:
    plain = forecast("2026-03-02T10:00", Window(0, 0))
    assert with_events(plain, ()) is plain
    assert ordinary([1.0, None], [60.0, 120.0], 60.0, ()) == [1.0, None]
