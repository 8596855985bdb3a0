from datetime import UTC, datetime, time
from typing import Any

import pytest
from pydantic import ValidationError

from aiops.model.calendar import Day, Event

ONCE: dict[str, Any] = {"name": "launch", "start": "2026-11-27T09:00", "end": "2026-11-27T12:00", "multiplier": 2}
AGAIN: dict[str, Any] = {"name": "nightly", "at": "02:00", "lasts": "90m", "multiplier": 3}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        pytest.param("09:00", time(9), id="as text"),
        pytest.param("9:05", time(9, 5), id="without a leading zero"),
        pytest.param(630, time(10, 30), id="as YAML reads 10:30 without quotes"),
    ],
)
def test_a_time_of_the_day_is_read(written: object, read: time) -> None:
    assert Event.model_validate({**AGAIN, "at": written}).at == read


def test_an_event_reads_its_days_and_writes_itself_as_it_was_read() -> None:
    event = Event.model_validate({**AGAIN, "days": ["mon", "fri"], "timeZone": "Europe/Berlin"})
    assert event.days == (Day.MONDAY, Day.FRIDAY)
    assert Event.model_validate_json(event.model_dump_json(by_alias=True)) == event


def test_a_time_with_an_offset_keeps_it_whatever_the_zone() -> None:
    event = Event.model_validate({**ONCE, "start": "2026-11-27T09:00+01:00", "timeZone": "America/New_York"})
    assert event.start is not None
    assert event.end is not None
    assert event.moment(event.start) == datetime(2026, 11, 27, 8, tzinfo=UTC)
    assert event.moment(event.end) == datetime(2026, 11, 27, 17, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        pytest.param({**ONCE, "end": None}, "needs start and end, or at and lasts", id="a start without an end"),
        pytest.param(
            {**AGAIN, "lasts": None}, "needs start and end, or at and lasts", id="a recurrence without length"
        ),
        pytest.param({**ONCE, **AGAIN}, "and not both", id="once and again"),
        pytest.param({**ONCE, "days": ["mon"]}, "and not both", id="once, on Mondays"),
        pytest.param({"name": "never", "multiplier": 2}, "needs start and end", id="no time at all"),
        pytest.param({**ONCE, "end": "2026-11-27T09:00"}, "ends before it begins", id="no length"),
        pytest.param({**AGAIN, "lasts": "8d"}, "longer than the week", id="longer than its own return"),
        pytest.param({**AGAIN, "timeZone": "Berlin"}, "'Berlin' is not a time zone", id="a city is no zone"),
        pytest.param({**AGAIN, "timeZone": "../etc/passwd"}, "is not a time zone", id="a path is no zone"),
        pytest.param({**AGAIN, "at": "25:00"}, "'25:00' is not a time of the day", id="no such hour"),
        pytest.param({**AGAIN, "at": 36000}, "36000 is not a time of the day", id="YAML's reading of 10:00:00"),
        pytest.param({**ONCE, "start": "Friday"}, "'Friday' is not a time; write it such as", id="a word is no time"),
        pytest.param({**ONCE, "multiplier": 0}, "greater than 0", id="nothing can be divided by nothing"),
        pytest.param({**ONCE, "uncertainty": -0.1}, "greater than or equal to 0", id="surer than sure"),
    ],
)
def test_an_event_that_cannot_be_is_refused(written: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Event.model_validate({key: value for key, value in written.items() if value is not None})
