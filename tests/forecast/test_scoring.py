"""Rolling origins: which there are, that none looks ahead, and what the measures count."""

from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiops import forecast
from aiops.forecast.ensemble import Ensemble
from aiops.forecast.last_value import LastValue
from aiops.forecast.scoring import (
    LONE_BIN_S,
    Measures,
    RollingForecast,
    bin_widths,
    measured,
    origins,
    rolling,
)

HORIZONS = (600.0, 1800.0, 21600.0)
LAST_VALUE = Ensemble((LastValue(),))


@pytest.mark.parametrize(
    ("span", "every_s", "start", "wanted"),
    [
        pytest.param((0.0, 7200.0), 3600.0, 0.0, (0.0, 3600.0, 7200.0), id="from the first row to the last"),
        pytest.param(
            (50.0, 7250.0), 3600.0, 0.4, (3650.0, 7250.0), id="counted from the first row, not from the start"
        ),
        pytest.param((0.0, 7000.0), 3600.0, 0.0, (0.0, 3600.0), id="none after the last row"),
        pytest.param((0.0, 3000.0), 3600.0, 0.5, (), id="none where the span is too short"),
        pytest.param((5.0, 5.0), 3600.0, 0.5, (5.0,), id="a single row is an origin"),
        pytest.param((0.1, 0.7), 0.2, 1 / 3, (0.3, 0.5, 0.7), id="to the millisecond, whatever binary fractions do"),
    ],
)
def test_origins(span: tuple[float, float], every_s: float, start: float, wanted: tuple[float, ...]) -> None:
    assert origins(*span, every_s, start) == wanted


@pytest.mark.parametrize(
    ("every_s", "start"),
    [pytest.param(0.0, 0.5, id="no time between origins"), pytest.param(60.0, 1.5, id="a start > 1")],
)
def test_origins_that_cannot_be_are_refused(every_s: float, start: float) -> None:
    with pytest.raises(ValueError, match=f"{every_s:g} s|{start:g}"):
        origins(0.0, 7200.0, every_s, start)


def times(steps: list[float]) -> list[float]:
    return list(accumulate(steps, initial=0.0))


def test_a_width_is_the_median_and_gaps_do_not_move_it() -> None:
    at_s = times([600.0] * 20 + [7200.0] + [600.0] * 300 + [86_400.0] + [600.0] * 5)

    assert bin_widths(at_s) == ((1, LONE_BIN_S),)
    assert bin_widths(times([60.0] * 5)) == ((1, LONE_BIN_S), (2, 60.0))


# Steps of a recording in bins of a minute or ten: mostly one bin, some missing rows, some long holes.
_STEPS = st.lists(st.sampled_from([1.0, 1.0, 1.0, 1.0, 2.0, 3.0, 40.0]), min_size=1, max_size=70)


@given(_STEPS, st.sampled_from([60.0, 600.0]), st.integers(1, 71))
def test_a_width_does_not_know_what_is_to_come(steps: list[float], bin_s: float, known: int) -> None:
    at_s = times([bin_s * step for step in steps])

    assert bin_widths(at_s[:known]) == tuple(each for each in bin_widths(at_s) if each[0] <= known)


@settings(max_examples=25)
@given(_STEPS, st.sampled_from([60.0, 600.0]), st.data())
def test_cutting_the_input_after_an_origin_changes_no_forecast_up_to_it(
    steps: list[float], bin_s: float, data: st.DataObject
) -> None:
    at_s = times([bin_s * step for step in steps])
    some = st.one_of(st.none(), st.floats(0.0, 1e6))
    values = data.draw(st.lists(some, min_size=len(at_s), max_size=len(at_s)))
    every = origins(at_s[0], at_s[-1], max(at_s[-1] / 9.0, bin_s), 0.0)
    cut_s = data.draw(st.sampled_from(every))
    known = sum(each <= cut_s for each in at_s)
    whole = list(rolling(forecast, at_s, values, every, HORIZONS))
    kept = [each for each in every if each <= cut_s]

    assert list(rolling(forecast, at_s[:known], values[:known], kept, HORIZONS)) == whole[: len(kept)]


def test_every_origin_has_a_forecast_and_says_so_where_nothing_was_seen() -> None:
    at_s = [600.0 * i for i in range(10)] + [600.0 * i for i in range(200, 210)]
    values = [None, None, *(float(i) for i in range(18))]
    every = origins(at_s[0], at_s[-1], 1800.0, 0.0)
    made = list(rolling(forecast, at_s, values, every, HORIZONS))

    assert [(each.origin_s, each.target_s) for at_once in made for each in at_once] == [
        (origin_s, origin_s + horizon_s) for origin_s in every for horizon_s in HORIZONS
    ]
    assert [bool(each.quantiles) for (each, *_) in made] == [origin_s >= 1200.0 for origin_s in every]
    for at_once in made[1:]:
        for each in at_once:
            assert list(each.quantiles) == sorted(each.quantiles)
            assert len(each.quantiles) == 5
    in_hole = [each.quantiles[4] - each.quantiles[0] for (each, *_) in made if 6000.0 < each.origin_s < 119_000.0]
    assert in_hole == sorted(in_hole)
    assert in_hole[0] < in_hole[-1]


def said(at_s: float, last: float | None, *quantiles: float) -> RollingForecast:
    return RollingForecast(at_s, at_s + 600.0, last, quantiles)


def test_measures_count_what_came() -> None:
    at_s = [0.0, 600.0, 1200.0, 1800.0, 2400.0, 3600.0]
    came = [10.0, 20.0, 22.0, None, 30.0, 5.0]
    made = [
        said(0.0, 10.0, 5.0, 8.0, 12.0, 16.0, 20.0),  # 20 came: rising, above q90, at q95
        said(600.0, 20.0, 15.0, 17.0, 20.0, 24.0, 30.0),  # 22 is no more than a tenth above 20
        said(1200.0, 22.0, 15.0, 17.0, 20.0, 24.0, 30.0),  # a gap came
        said(1800.0, 22.0, 15.0, 20.0, 27.0, 35.0, 40.0),  # 30: rising, within q90
        said(2400.0, 30.0, 15.0, 20.0, 27.0, 35.0, 40.0),  # no row there
        said(3600.0, 5.0, 15.0, 20.0, 27.0, 35.0, 40.0),  # beyond the last
        RollingForecast(-600.0, 0.0, None, ()),  # nothing had been seen
    ]
    naive = [RollingForecast(one.origin_s, one.target_s, one.last, (40.0,) * len(one.quantiles)) for one in made]

    assert measured(made, naive, at_s, came) == Measures(
        origins=3,
        rising_origins=2,
        wape_ratio=pytest.approx((8 + 2 + 3) / 72),
        wape_to_last_value_ratio=pytest.approx((8 + 2 + 3) / (10 + 2 + 8)),
        q90_coverage_ratio=pytest.approx(2 / 3),
        q95_coverage_ratio=1.0,
        q90_coverage_rising_ratio=0.5,
        pinball_q90=pytest.approx((0.9 * 4 + 0.1 * 2 + 0.1 * 5) / 3),
        pinball_to_last_value_ratio=pytest.approx((0.9 * 4 + 0.1 * 2 + 0.1 * 5) / (0.1 * (20 + 18 + 10))),
    )


def test_nothing_judged_has_no_measures() -> None:
    assert measured([said(0.0, 1.0, *[1.0] * 5)], [said(0.0, 1.0, *[1.0] * 5)], [0.0], [1.0]) == Measures(
        0, 0, None, None, None, None, None, None, None
    )


def test_the_yardstick_is_the_last_value() -> None:
    at_s = times([600.0] * 30)
    made = list(rolling(LAST_VALUE, at_s, [5.0] * 31, [18_000.0], (600.0,)))

    assert made[0][0].last == 5.0
    assert made[0][0].quantiles[2] == 5.0
