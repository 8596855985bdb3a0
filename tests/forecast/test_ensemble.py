"""The room's public functions: bins in, forecasts out."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from math import isfinite

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiops import forecast
from aiops.forecast import MEMBERS, SeriesState
from aiops.forecast.ensemble import Ensemble
from aiops.forecast.last_value import LastValue
from aiops.model.codec import decode, encode
from aiops.model.forecast import Forecast, ForecastBasis, Window
from aiops.model.forecaster import History, MemberState

MINUTE = 60.0
START_S = 1_699_920_000.0  # midnight, 14 November 2023
POINT, NEAR, LONG = Window(600.0, 600.0), Window(240.0, 540.0), Window(0.0, 3600.0)
WINDOWS = (POINT, NEAR, LONG)
demand = st.lists(st.none() | st.floats(0.0, 1e12), max_size=150)


def at(state: SeriesState, later_s: float = 0.0) -> datetime:
    return datetime.fromtimestamp((START_S if state.end_s is None else state.end_s) + later_s, UTC)


def learned(values: Sequence[float | None], windows: Sequence[Window] = WINDOWS) -> SeriesState:
    state = forecast.empty_series(MINUTE)
    for i, value in enumerate(values, 1):
        state = forecast.learn(state, START_S + i * MINUTE, value, windows)
    return state


def predicted(state: SeriesState, windows: Sequence[Window] = WINDOWS) -> tuple[Forecast, ...]:
    return forecast.predict(state, "input", at(state), windows)


def noisy(bins: int, seed: int = 1, level: float = 100.0) -> list[float]:
    return list(map(float, np.random.default_rng(seed).lognormal(np.log(level), 0.2, bins)))


@settings(max_examples=40)
@given(values=demand)
def test_a_forecast_is_finite_ascending_and_not_negative_whatever_was_learned(values: list[float | None]) -> None:
    for answer in predicted(learned(values)):
        numbers = [value for _, value in answer.quantiles]
        assert all(isfinite(value) and value >= 0.0 for value in numbers)
        assert numbers == sorted(numbers)
        assert [level for level, _ in answer.quantiles] in ([], [0.05, 0.1, 0.5, 0.9, 0.95, 0.98, 0.99, 0.995])
        assert (answer.basis is ForecastBasis.NONE) == all(value is None for value in values) == (not numbers)


@settings(max_examples=25)
@given(values=demand)
def test_a_state_comes_back_from_json_as_it_was(values: list[float | None]) -> None:
    state = learned(values)

    assert decode(SeriesState, encode(state)) == state


@settings(max_examples=25)
@given(values=demand, later=st.lists(st.floats(0.0, 1e12), max_size=20))
def test_learning_more_changes_no_forecast_that_was_made(values: list[float | None], later: list[float]) -> None:
    state = learned(values)
    before = predicted(state)
    for i, value in enumerate(later, len(values) + 1):
        forecast.learn(state, START_S + i * MINUTE, value, WINDOWS)

    assert predicted(state) == before == predicted(learned((values + later)[: len(values)]))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([5.0], 5.0, id="one point"),
        pytest.param([7.0] * 2000, 7.0, id="a constant"),
        pytest.param([0.0] * 2000, 0.0, id="all zero"),
        pytest.param([1e12] * 200, 1e12, id="a huge constant"),
        pytest.param([7.0, None, None] * 200, 7.0, id="a constant with gaps"),
    ],
)
def test_a_constant_is_continued(values: list[float | None], expected: float) -> None:
    for answer in predicted(learned(values)):
        assert answer.quantile(0.5) == pytest.approx(expected)
        assert sum(share for _, share in answer.weights) == pytest.approx(1.0)


@pytest.mark.parametrize("scale", [1e-3, 1e9])
def test_a_scaled_series_has_a_scaled_forecast(scale: float) -> None:
    values = noisy(2000)
    plain, scaled = predicted(learned(values)), predicted(learned([value * scale for value in values]))

    for one, other in zip(plain, scaled, strict=True):
        assert [value for _, value in other.quantiles] == pytest.approx([scale * value for _, value in one.quantiles])


@pytest.mark.parametrize(
    ("at_s", "value"),
    [
        pytest.param(0.0, 900.0, id="the last bin again"),
        pytest.param(-MINUTE, 900.0, id="a late bin"),
        pytest.param(0.2 * MINUTE, 900.0, id="a bin that overlaps the last"),
    ],
)
def test_bins_that_are_not_new_are_ignored(at_s: float, value: float) -> None:
    state = learned(noisy(100))

    assert forecast.learn(state, (state.end_s or 0.0) + at_s, value, WINDOWS) == state


@pytest.mark.parametrize("nonsense", [float("nan"), float("inf"), -1.0, 1e30])
def test_nonsense_is_a_gap(nonsense: float) -> None:
    assert learned([*noisy(50), nonsense]) == learned([*noisy(50), None])


def test_skipped_bins_are_gaps() -> None:
    values = noisy(60)
    state = learned([*values, None, None, None, 100.0])
    skipped = forecast.learn(learned(values), START_S + 64 * MINUTE, 100.0, WINDOWS)

    assert skipped.recent == state.recent
    for one, other in zip(predicted(skipped), predicted(state), strict=True):
        assert one.quantiles == tuple((level, pytest.approx(value, rel=1e-5)) for level, value in other.quantiles)
        assert one.basis is other.basis


def test_a_gap_is_not_a_zero_and_widens_the_interval() -> None:
    fresh = predicted(learned(noisy(300)))[0]
    blind = predicted(learned([*noisy(300), *[None] * 30]))[0]
    state = learned(noisy(300))
    late = forecast.predict(state, "input", at(state, 30 * MINUTE), (POINT,))[0]

    assert (blind.quantile(0.5) or 0.0) > 80.0
    assert (blind.quantile(0.9) or 0.0) > (fresh.quantile(0.9) or 0.0)
    assert dict(late.quantiles) == pytest.approx(dict(blind.quantiles))


def test_within_a_bin_the_forecast_stays() -> None:
    state = learned(noisy(300))
    now, soon = (forecast.predict(state, "input", at(state, later), WINDOWS) for later in (0.0, 45.0))

    assert [answer.quantiles for answer in now] == [answer.quantiles for answer in soon]
    assert soon[0].made_at - now[0].made_at == timedelta(seconds=45)


def test_the_interval_is_a_wide_default_until_errors_are_known() -> None:
    cold, known = predicted(learned([100.0] * 12))[0], predicted(learned(noisy(300, level=100.0)))[0]

    assert (cold.basis, known.basis) == (ForecastBasis.COLD, ForecastBasis.HISTORY)
    assert (cold.quantile(0.95) or 0.0) > 140.0
    assert predicted(forecast.empty_series(MINUTE))[0].basis is ForecastBasis.NONE


def test_windows_come_cold_stay_while_asked_for_and_go_later() -> None:
    state = learned(noisy(300), (POINT,))
    other = forecast.learn(state, START_S + 301 * MINUTE, 100.0, (LONG,))
    for i in range(302, 302 + 6 * 60):
        other = forecast.learn(other, START_S + i * MINUTE, 100.0, (LONG,))

    assert [answer.basis for answer in predicted(state)] == [ForecastBasis.HISTORY] + 2 * [ForecastBasis.COLD]
    assert {book.window for book in other.windows} == {LONG, POINT}
    assert [skill.window for skill in forecast.skills(other, "input")] == [LONG]
    gone = forecast.learn(other, START_S + 700 * MINUTE, 100.0, (LONG,))
    assert {book.window for book in gone.windows} == {LONG}


def test_windows_that_cover_the_same_bins_share_what_is_known() -> None:
    state = learned(noisy(300), (Window(240.0, 540.0),))

    assert predicted(state, (Window(255.0, 530.0),))[0].basis is ForecastBasis.HISTORY


def test_drifting_windows_do_not_pile_up() -> None:
    state = forecast.empty_series(MINUTE)
    for i in range(1, 100):
        state = forecast.learn(state, START_S + i * MINUTE, 100.0, (Window(60.0 * i, 60.0 * i + 300.0),))

    assert len(state.windows) <= 12


def test_a_censored_bin_lifts_the_level_and_teaches_no_interval() -> None:
    before = learned([100.0] * 300)
    end_s = before.end_s or 0.0
    higher = forecast.learn(before, end_s + MINUTE, 150.0, WINDOWS, censored=True)
    lower = forecast.learn(before, end_s + MINUTE, 50.0, WINDOWS, censored=True)

    assert (predicted(higher)[0].quantile(0.5) or 0.0) > 105.0
    assert predicted(lower)[0].quantile(0.5) == pytest.approx(100.0)
    assert [book.errors for book in higher.windows] == [book.errors for book in before.windows]
    assert [book.errors for book in lower.windows] == [book.errors for book in before.windows]


def test_a_window_that_is_mostly_a_gap_teaches_nothing() -> None:
    values = noisy(200)
    half = learned([*values, *[None] * 30, *noisy(30)], (LONG,))
    most = learned([*values, *[None] * 31, *noisy(29)], (LONG,))

    points = learned([*values, *[None] * 29], (LONG,)).windows[0].score.points
    assert half.windows[0].score.points > most.windows[0].score.points >= points


def test_the_member_that_errs_least_counts_most() -> None:
    ramp = [100.0 + 2.0 * i for i in range(600)]
    shares = dict(predicted(learned(ramp))[0].weights)

    assert shares["exponential_smoothing"] == max(shares.values()) > 0.5
    assert "week_profile" not in shares
    assert min(shares.values()) > 0.0


def test_skill_is_told_once_enough_windows_have_ended() -> None:
    first, then = (forecast.skills(learned(noisy(bins)), "input")[0] for bins in (15, 1500))

    assert (first.wape_ratio, first.skill_ratio, first.coverage_ratio) == (None, None, None)
    assert then.wape_ratio == pytest.approx(0.17, abs=0.05)
    assert 0.0 < (then.skill_ratio or 0.0) < 0.5
    assert then.coverage_ratio == pytest.approx(0.9, abs=0.06)
    assert (then.series, then.window) == ("input", POINT)


@pytest.mark.parametrize("level", [0.0, 0.1, 7.0, 1e12])
def test_a_constant_is_always_covered(level: float) -> None:
    assert [skill.coverage_ratio for skill in forecast.skills(learned([level] * 2000), "input")] == [1.0, 1.0, 1.0]


def test_a_short_history_is_learned_as_bin_by_bin() -> None:
    values = [*noisy(500), None, None, *noisy(500)]
    ends = [START_S + i * MINUTE for i in range(1, len(values) + 1)]

    assert forecast.learn_history(forecast.empty_series(MINUTE), ends, values, WINDOWS) == learned(values)


def test_a_long_history_is_cut_anywhere_without_changing_what_members_know() -> None:
    values, cut = noisy(4000), 3500
    ends = [START_S + i * MINUTE for i in range(1, len(values) + 1)]
    whole = forecast.learn_history(forecast.empty_series(MINUTE), ends, values, WINDOWS)
    part = forecast.learn_history(forecast.empty_series(MINUTE), ends[:cut], values[:cut], WINDOWS)
    both = forecast.learn_history(part, ends[cut:], values[cut:], WINDOWS)

    # Those that catch up are told the end alone, and where that begins depends on the cut.
    catching_up = {member.name for member in forecast.MEMBERS if member.catches_up}
    known = [(one, other) for one, other in zip(both.members, whole.members, strict=True) if one[0] not in catching_up]
    assert len(known) == 4
    assert all(one == other for one, other in known)
    for one, other in zip(predicted(whole), predicted(both), strict=True):
        assert one.basis is ForecastBasis.HISTORY
        for level in (0.1, 0.5, 0.9):
            assert other.quantile(level) == pytest.approx(one.quantile(level), rel=0.1)


def test_a_history_whose_columns_differ_in_length_is_refused() -> None:
    with pytest.raises(ValueError, match="2 ends and 1 values"):
        forecast.learn_history(forecast.empty_series(MINUTE), [60.0, 120.0], [1.0], WINDOWS)


def test_a_series_without_a_bin_width_is_refused() -> None:
    with pytest.raises(ValueError, match="longer than 0 s, not 0 s"):
        forecast.empty_series(0)


def test_a_state_of_other_members_is_taken_over() -> None:
    state = Ensemble((LastValue(), LastValue("gone"))).learn(forecast.empty_series(MINUTE), START_S, 5.0, WINDOWS)
    answer = predicted(state)[0]
    onwards = forecast.learn(state, START_S + MINUTE, 5.0, WINDOWS)

    assert (answer.basis, answer.weights) == (ForecastBasis.COLD, (("last_value", 1.0),))
    assert [name for name, _ in onwards.members] == [member.name for member in MEMBERS]


def test_members_without_an_opinion_leave_the_last_value() -> None:
    alone = Ensemble((MEMBERS[-1],))
    state = alone.learn(forecast.empty_series(MINUTE), START_S, 5.0, WINDOWS)

    assert alone.predict(state, "input", at(state), WINDOWS)[0].quantile(0.5) == pytest.approx(5.0)


def test_a_state_stays_small() -> None:
    windows = (*WINDOWS, Window(1800.0, 1800.0), Window(21600.0, 21600.0), Window(0.0, 86400.0))
    values = noisy(6000)
    ends = [START_S + i * MINUTE for i in range(1, len(values) + 1)]

    assert len(encode(forecast.learn_history(forecast.empty_series(MINUTE), ends, values, windows))) < 100_000


class _Stubborn:
    """A member that always says 100, and is expected to be good."""

    name, expected_error_ratio, catches_up = "stubborn", 0.5, False

    def learn(self, state: MemberState, value: float, at_s: float, bin_s: float, history: History) -> MemberState:
        return (100.0,)

    def moved(self, state: MemberState, ratio: float) -> MemberState:
        return state

    def path(
        self, state: MemberState, at_s: float, bin_s: float, ahead: tuple[int, ...], history: History
    ) -> tuple[float, ...] | None:
        return state * len(ahead) if state else None


def test_members_without_skill_give_way_to_the_last_value_until_they_have_it_again() -> None:
    one = Ensemble((_Stubborn(),))

    def told(values: Sequence[float]) -> Forecast:
        state = forecast.empty_series(MINUTE)
        for i, value in enumerate(values, 1):
            state = one.learn(state, START_S + i * MINUTE, value, (POINT,))
        (answer,) = one.predict(state, "input", at(state), (POINT,))
        return answer

    wrong = [200.0 + i % 3 for i in range(1200)]
    fallen, back = told(wrong), told(wrong + noisy(5 * 1440))

    assert (fallen.basis, fallen.weights) == (ForecastBasis.LAST_VALUE, (("last_value", 1.0),))
    assert fallen.quantile(0.5) == pytest.approx(201.0, rel=0.05)
    assert (back.basis, back.weights) == (ForecastBasis.HISTORY, (("stubborn", 1.0),))


def test_what_runs_by_the_clock_is_covered_at_each_minute_of_the_hour() -> None:
    """A batch that starts on the hour, of a size that nobody knows before: only forecasts across it are wide."""
    random = np.random.default_rng(5)
    values = [
        float(20.0 * random.lognormal(0.0, 0.05) + (size if minute < 10 else 0.0))
        for size in random.lognormal(4.0, 1.0, 14 * 24)
        for minute in range(0, 60, 10)
    ]
    state, window = forecast.empty_series(600.0), Window(600.0, 600.0)
    (answer,) = forecast.predict(state, "input", at(state), (window,))
    covered: dict[int, list[bool]] = {minute: [] for minute in range(6)}
    for i, value in enumerate(values):
        if i > len(values) // 2:
            covered[i % 6].append(value <= (answer.quantile(0.9) or 0.0))
        state = forecast.learn(state, START_S + (i + 1) * 600.0, value, (window,))
        (answer,) = forecast.predict(state, "input", at(state), (window,))

    assert {minute for minute, hits in covered.items() if not 0.8 <= np.mean(hits) <= 0.98} == set()
