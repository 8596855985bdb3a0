"""The long past of a series: means of ten minutes, gaps kept as gaps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiops.forecast.history import MOST_SLOTS, empty_history, with_bin
from aiops.model.forecaster import SLOT_S, History

MINUTE = 60.0


def past(values: list[float | None], bin_s: float = MINUTE, first_s: float = 0.0) -> History:
    history = empty_history(bin_s)
    for i, value in enumerate(values, 1):
        history = with_bin(history, value, first_s + i * bin_s, bin_s)
    return history


@pytest.mark.parametrize(
    ("values", "bin_s", "slots"),
    [
        pytest.param([1.0] * 9, MINUTE, (), id="nine minutes close no slot"),
        pytest.param([float(i) for i in range(10)], MINUTE, (4.5,), id="ten minutes are one slot, their mean"),
        pytest.param([None] * 10 + [2.0] * 10, MINUTE, (None, 2.0), id="ten gaps are a gap"),
        pytest.param([None] * 9 + [3.0], MINUTE, (3.0,), id="a slot is the mean of what was measured in it"),
        pytest.param([1.0, 2.0, 4.0], 600.0, (1.0, 2.0, 4.0), id="bins of ten minutes are slots"),
        pytest.param([1.0, 2.0], 3600.0, (1.0, 2.0), id="longer bins are slots of their own"),
    ],
)
def test_slots_are_means(values: list[float | None], bin_s: float, slots: tuple[float | None, ...]) -> None:
    assert past(values, bin_s).values == slots


def test_bins_that_never_came_are_gaps() -> None:
    history = past([1.0] * 15)
    later = with_bin(history, 8.0, 3600.0, MINUTE)

    assert later.values == (1.0, 1.0, None, None, None, 8.0)
    assert later.end_s == 3600.0


def test_a_slot_is_closed_by_the_bin_that_ends_with_it() -> None:
    history = past([1.0] * 20)

    assert history.closed_at(1200.0, MINUTE)
    assert not with_bin(history, 1.0, 1260.0, MINUTE).closed_at(1260.0, MINUTE)


def test_only_the_last_fortnight_is_kept() -> None:
    history = past([float(i) for i in range(MOST_SLOTS + 100)], SLOT_S)

    assert len(history.values) == MOST_SLOTS
    assert history.values[-1] == MOST_SLOTS + 99
    assert with_bin(history, 1.0, (history.end_s or 0.0) + 1e9, SLOT_S).values[:-1] == (None,) * (MOST_SLOTS - 1)


@given(st.lists(st.none() | st.floats(0.0, 1e12), max_size=60), st.floats(0.0, 1e6), st.sampled_from([60.0, 300.0]))
def test_every_value_is_in_one_slot_wherever_bins_begin(
    values: list[float | None], first_s: float, bin_s: float
) -> None:
    history = past(values, bin_s, first_s)
    seen = [value for value in values if value is not None]
    slots = [value for value in history.values if value is not None]

    assert (not slots and not history.open_count) == (not seen)
    if seen:
        assert min(seen) * (1 - 1e-5) <= min([*slots, *([history.open_sum] if history.open_count else [])])
    assert len(history.values) <= len(values) * bin_s / SLOT_S + 1


def test_phases_close_their_slots_in_different_bins() -> None:
    closing = []
    for phase in range(10):
        history = empty_history(MINUTE, phase)
        for i in range(1, 31):
            history = with_bin(history, 1.0, i * MINUTE, MINUTE)
            if i > 20 and history.closed_at(i * MINUTE, MINUTE):
                closing.append(i)

    assert sorted(closing) == list(range(21, 31))
