from datetime import datetime, time
from pathlib import Path

from aiops.observe.policies import read_policies
from tests.observe.policy_texts import problems, spec, written


def test_the_times_of_events_are_read_with_and_without_quotes(tmp_path: Path) -> None:
    events = [
        '{name: a, start: 2026-11-27T09:00, end: "2026-11-27 12:00:00", multiplier: 2}',
        "{name: b, at: 10:30, lasts: 1h, multiplier: 2}",
        '{name: c, at: "10:30", lasts: 1h, multiplier: 2}',
        "{name: d, at: 09:30, lasts: 1h, multiplier: 2}",
    ]
    found = read_policies([written(tmp_path, spec("calendar:", *(f"  - {event}" for event in events)))])

    once, *again = found.policies[0].spec.calendar
    assert (once.start, once.end) == (datetime(2026, 11, 27, 9), datetime(2026, 11, 27, 12))  # noqa: DTZ001  # as written
    assert [event.at for event in again] == [time(10, 30), time(10, 30), time(9, 30)]


def test_an_event_that_cannot_be_is_told_at_its_line(tmp_path: Path) -> None:
    text = spec("calendar:", "  - {name: launch, at: '09:00', lasts: 1h, multiplier: 2, timeZone: Europe/Berlni}")

    (problem,) = problems(written(tmp_path, text))
    assert problem.startswith("chat.yaml:7: spec.calendar[0].timeZone: 'Europe/Berlni' is not a time zone; write its")
