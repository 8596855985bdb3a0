import doctest
from datetime import UTC, datetime, timedelta

import pytest

from aiops.serve.console import words

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def test_the_examples_hold() -> None:
    tried = doctest.testmod(words)
    assert tried.attempted > 0
    assert tried.failed == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(None, "–", id="missing is no zero"),
        pytest.param(0.0, "0", id="zero is a number"),
        pytest.param(999.9, "1k", id="no number is rounded to 1e+03"),
        pytest.param(999_999.0, "1M", id="nor to 1e+03k"),
        pytest.param(-1500.0, "-1.5k", id="a negative one keeps its sign"),
        pytest.param(2.5e9, "2.5G", id="thousands of millions"),
    ],
)
def test_numbers(value: float | None, text: str) -> None:
    assert words.number(value) == text


@pytest.mark.parametrize(
    ("value_s", "text"),
    [
        pytest.param(0.9999, "1 s", id="just under a second"),
        pytest.param(59.99, "1 min", id="just under a minute"),
        pytest.param(3600.0, "1 h", id="a whole hour has no minutes"),
        pytest.param(90_000.0, "1 d 1 h", id="days"),
    ],
)
def test_durations(value_s: float, text: str) -> None:
    assert words.seconds(value_s) == text


def test_a_time_of_another_day_names_its_day() -> None:
    assert words.clock(NOW, NOW) == "12:00:00"
    assert words.clock(NOW - timedelta(days=1), NOW) == "Mar 1 12:00:00"


def test_how_long_ago() -> None:
    assert words.ago(NOW, NOW) == "just now"
    assert words.ago(NOW - timedelta(seconds=90), NOW) == "1 min 30 s ago"
