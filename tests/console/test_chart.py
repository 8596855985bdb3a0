from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiops.serve.console.chart import PLOT, Frame, frame, nearest

HOUR = 3600.0


def axes(**changes: float) -> Frame:
    return Frame(**{"start_s": 0.0, "end_s": 100.0, "top": 10.0, "tick": 5.0, "gap_s": 20.0, **changes})


def test_values_grow_upwards_and_time_to_the_right() -> None:
    assert (axes().x(0), axes().x(100), axes().y(0), axes().y(10)) == (0, PLOT, PLOT, 0)


def test_a_line_breaks_where_a_value_is_missing_or_time_jumps() -> None:
    points = [(0, 1.0), (10, 2.0), (20, None), (30, 3.0), (90, 4.0)]
    assert axes().line(points).count("M") == 3


def test_steps_hold_until_the_next_change() -> None:
    assert axes().steps([(0, 5.0), (10, 5.0), (20, 10.0)]) == "M0.0 500.0 H200.0 V0.0 H200.0"


def test_points_outside_the_axis_are_not_drawn() -> None:
    assert axes().line([(-10, 1.0), (110, 1.0)]) == ""


def test_a_band_runs_there_along_the_top_and_back_along_the_bottom() -> None:
    assert axes().band([(0, 0.0), (10, 0.0)], [(0, 10.0), (10, 5.0)]) == (
        "M0.0 0.0 L100.0 500.0 L100.0 1000.0 L0.0 1000.0 Z"
    )


@given(st.floats(min_value=0, max_value=1e12))
def test_every_value_fits_below_the_top_with_one_to_five_ticks(highest: float) -> None:
    found = frame((0, HOUR), [highest, None], 15)
    assert highest <= found.top
    assert 1 <= len(found.values()) <= 5
    assert all(-0.1 <= tick.percent <= 100 for tick in found.values())


@given(st.integers(min_value=0, max_value=5000))
def test_replicas_get_whole_ticks(highest: int) -> None:
    assert frame((0, HOUR), [highest], 15, whole=True).tick % 1 == 0


@pytest.mark.parametrize("hours", [0.1, 1, 6, 24, 24 * 7])
def test_times_are_round_and_few_and_now_is_among_them(hours: float) -> None:
    found = frame((7.0, 7.0 + hours * HOUR + 600), [1.0], 15).times(7.0 + hours * HOUR)
    assert 2 <= len(found) <= 9
    assert [tick.label for tick in found].count("now") == 1
    assert all(before.percent < after.percent for before, after in pairwise(found))


def test_a_tooltip_tells_the_point_nearest_to_it_and_nothing_where_none_is_near() -> None:
    points = [(0.0, "a"), (50.0, "b")]
    assert [nearest(points, at, 20.0) for at in (-5, 10, 31, 25, 71)] == ["a", "a", "b", None, None]
    assert nearest([], 1.0, 20.0) is None


def test_columns_with_nothing_to_tell_are_left_out() -> None:
    hits = axes().hits(lambda at_s: "here" if at_s < 50 else "")
    assert len(hits) == 30
    assert hits[0].text == "Jan 1, 00:00 UTC\nhere"
