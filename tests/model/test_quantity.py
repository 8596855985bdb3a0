from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiops.model.quantity import format_duration, parse_duration, parse_percent


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("50ms", 0.05, id="milliseconds"),
        pytest.param("2.5s", 2.5, id="a fraction of seconds"),
        pytest.param("1h30m", 5400, id="two units"),
        pytest.param("1w1d", 8 * 86400, id="weeks and days"),
        pytest.param(" 5m ", 300, id="spaces around it"),
        pytest.param("0s", 0, id="nothing"),
    ],
)
def test_a_duration_is_read_with_its_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("5", id="text without a unit"),
        pytest.param(5, id="a bare number"),
        pytest.param("2,5s", id="a comma"),
        pytest.param("-5s", id="a negative one"),
        pytest.param("5 m", id="a space inside"),
        pytest.param("5M", id="a capital unit"),
        pytest.param("", id="nothing written"),
        pytest.param(None, id="no value"),
        pytest.param("9" * 20 + "d", id="longer than the calendar"),
        pytest.param("9" * 400 + "s", id="longer than any float"),
    ],
)
def test_anything_else_is_no_duration_and_the_message_names_it(value: object) -> None:
    with pytest.raises(ValueError, match="duration") as caught:
        parse_duration(value)

    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        pytest.param(timedelta(milliseconds=2500), "2.5s", id="seconds with a fraction"),
        pytest.param(timedelta(days=1, minutes=2), "1d2m", id="no empty units in between"),
        pytest.param(timedelta(), "0s", id="nothing"),
        pytest.param(timedelta(seconds=-90), "-1m30s", id="a negative one, in messages"),
    ],
)
def test_a_duration_is_written_with_the_largest_units_first(duration: timedelta, text: str) -> None:
    assert format_duration(duration) == text


@given(st.integers(min_value=0, max_value=10**11))
def test_a_written_duration_reads_back(milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)

    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(
    ("text", "share"), [pytest.param("25%", 0.25, id="whole"), pytest.param("12.5%", 0.125, id="a fraction")]
)
def test_a_share_is_read_with_its_percent_sign(text: str, share: float) -> None:
    assert parse_percent(text) == share


@pytest.mark.parametrize("value", ["25", 0.25, "-5%", "%", None, "9" * 400 + "%"])
def test_anything_else_is_no_share(value: object) -> None:
    with pytest.raises(ValueError, match="share"):
        parse_percent(value)
