from collections.abc import Sequence
from math import exp, log

import numpy as np
import pytest
from statsmodels.tsa.statespace.sarimax import SARIMAX

from aiops.forecast.arima import ARMA, DIFFERENCED, Arima, Order
from aiops.forecast.history import empty_history, with_bin
from aiops.model.forecaster import History, MemberState

SLOT, MINUTE, DAY_SLOTS = 600.0, 60.0, 144
AHEAD = (1, 2, 3, 6, 36, 144)
Known = tuple[MemberState, History, int]


def noisy(slots: int, seed: int = 4) -> list[float | None]:
    """Demand of which the logarithm is an ARMA (1, 1) about 100, with a few gaps."""
    draws = np.random.default_rng(seed).normal(0.0, 0.1, slots)
    deviation, values = 0.0, []
    for place, draw in enumerate(draws):
        deviation = 0.9 * deviation + draw
        values.append(None if place % 97 in {5, 6, 7} else float(100.0 * exp(deviation)))
    return values


def learned(member: Arima, values: Sequence[float | None], known: Known | None = None, bin_s: float = SLOT) -> Known:
    state, history, bins = known or ((), empty_history(bin_s), 0)
    for value in values:
        bins += 1
        history = with_bin(history, value, bins * bin_s, bin_s)
        if value is not None:
            state = member.learn(state, value, bins * bin_s, bin_s, history)
    return state, history, bins


def path(member: Arima, known: Known, ahead: tuple[int, ...] = AHEAD, bin_s: float = SLOT) -> list[float] | None:
    state, history, bins = known
    return member.path(state, bins * bin_s, bin_s, ahead, history)


@pytest.mark.parametrize("order", [*ARMA, *DIFFERENCED, (2, 1, 2)], ids=str)
def test_steps_between_fits_are_those_of_statsmodels_append(order: Order) -> None:
    member = Arima((order,))
    values = noisy(5 * DAY_SLOTS)
    at = next(i for i in range(DAY_SLOTS, 3 * DAY_SLOTS) if len(learned(member, values[:i])[0]) > 1)
    fitted = learned(member, values[:at])
    after = learned(member, values[at : at + 120], fitted)
    _, end_s, scale, centre, difference, ar_1, ar_2, ma_1, ma_2 = fitted[0][:9]
    shape = fitted[0][29:]

    def expected_of(place: int) -> float:
        return centre + shape[place % DAY_SLOTS]

    def logs(first: int, last: int) -> list[float]:
        return [
            np.nan if value is None else log(value / scale + 0.05) - expected_of(place)
            for place, value in enumerate(values[first:last], first)
        ]

    model = SARIMAX(logs(0, at), order=order)
    fit = model.filter([*(ar_1, ar_2)[: order[0]], *(ma_1, ma_2)[: order[2]], 1.0])
    reference = fit.append(logs(at, at + 120)).forecast(max(AHEAD))

    assert (end_s, difference) == (at * SLOT, order[1])
    assert len(after[0]) == len(fitted[0])
    assert after[0][:9] == (fitted[0][0], (at + 120) * SLOT, *fitted[0][2:9]), "no fit came in between"
    assert path(member, after) == pytest.approx(
        [scale * (exp(reference[k - 1] + expected_of(at + 119 + k)) - 0.05) for k in AHEAD], rel=1e-6
    )


def test_what_returns_to_its_mean_is_forecast_to_do_so() -> None:
    known = learned(Arima(), [*noisy(4 * DAY_SLOTS), *[200.0] * 3])

    near, _, _, _, far, _ = path(Arima(), known) or [0.0] * 6

    assert 130.0 < near < 200.0
    assert 80.0 < far < 125.0


def test_before_the_second_day_there_is_no_opinion_and_the_time_of_the_first_fit_depends_on_the_values() -> None:
    firsts = set()
    for seed in range(3):
        values = noisy(2 * DAY_SLOTS, seed)
        assert path(Arima(), learned(Arima(), values[:DAY_SLOTS])) is None
        firsts.add(next(i for i in range(DAY_SLOTS, 220) if path(Arima(), learned(Arima(), values[:i])) is not None))

    assert len(firsts) == 3


def test_a_fit_that_does_not_converge_keeps_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    values = noisy(4 * DAY_SLOTS)
    known = learned(Arima(), values[: 2 * DAY_SLOTS])
    monkeypatch.setattr("aiops.forecast.arima._ITERATIONS", 0)
    later = learned(Arima(), values[2 * DAY_SLOTS :], known)

    assert later[0][0] > known[0][0], "a fit was tried"
    assert later[0][2:9] == known[0][2:9]
    assert path(Arima(), later) != path(Arima(), known)


def test_the_slot_under_way_moves_the_path_the_more_the_longer_it_lasts() -> None:
    day = [value for value in noisy(2 * DAY_SLOTS) for _ in range(10)]
    known = learned(Arima(), day, bin_s=MINUTE)
    nexts = []
    for minutes in (0, 3, 9):
        one_path = path(Arima(), learned(Arima(), [400.0] * minutes, known, MINUTE), (1,), MINUTE)
        assert one_path is not None
        nexts.append(one_path[0])

    assert nexts[0] < nexts[1] < nexts[2] < 400.0
    assert nexts[2] > 300.0
