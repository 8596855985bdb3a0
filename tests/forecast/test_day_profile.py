import pytest

from aiops.forecast.day_profile import DayProfile
from aiops.forecast.history import History
from aiops.forecast.member import MemberState

MINUTE, HOUR, DAY = 60, 3600, 86_400


def office_hours(at_s: int) -> float:
    """100 from nine to five, 20 otherwise."""
    return 100.0 if 9 * HOUR < at_s % DAY <= 17 * HOUR else 20.0


def learned(until_s: int, scale: float = 1.0, start_s: int = 0, state: MemberState = ()) -> MemberState:
    member = DayProfile()
    for at_s in range(start_s + MINUTE, until_s + 1, MINUTE):
        state = member.learn(state, scale * office_hours(at_s), float(at_s), 60.0, History())
    return state


def ahead(state: MemberState, at_s: int, minutes: int) -> float | None:
    path = DayProfile().path(state, float(at_s), 60.0, (minutes,), History())
    return None if path is None else path[0]


def test_before_a_day_is_over_there_is_no_opinion() -> None:
    assert ahead(learned(DAY), DAY, 60) is None
    assert ahead(learned(DAY + MINUTE), DAY + MINUTE, 60) is not None


def test_the_morning_is_seen_from_the_night_and_the_more_clearly_the_more_days_were_seen() -> None:
    at_eight = [ahead(learned(day * DAY + 8 * HOUR), day * DAY + 8 * HOUR, 120) or 0.0 for day in (1, 2, 5)]

    assert 35.0 < at_eight[0] < at_eight[1] < at_eight[2] < 100.0


def test_a_day_at_twice_the_level_keeps_its_shape() -> None:
    usual = learned(3 * DAY)
    doubled = learned(3 * DAY + 8 * HOUR, 2.0, 3 * DAY, usual)

    assert ahead(doubled, 3 * DAY + 8 * HOUR, 5) == pytest.approx(40.0, rel=0.15)
    assert (ahead(doubled, 3 * DAY + 8 * HOUR, 120) or 0.0) > 1.3 * (ahead(usual, 3 * DAY + 8 * HOUR, 120) or 0.0)


def test_a_lost_day_changes_no_profile() -> None:
    before = learned(3 * DAY)
    after = DayProfile().learn(before, 20.0, 5.0 * DAY, 60.0, History())

    assert ahead(after, 5 * DAY, 12 * 60) == pytest.approx(ahead(before, 5 * DAY, 12 * 60), rel=0.1)
