"""Growth under way is carried on over the lead time; a jump, a rise that ended and what chance does are no growth."""

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest

from aiops.model.decision import Reason
from aiops.plan import State, decide, learn_snapshot
from aiops.plan.growth import Rate, growth_ratio
from tests.plan.worlds import START, demand_of, policies, policy, snapshot

Load = Callable[[float], float]


def measured(load: Load, until_s: float, window_s: float, every_s: float = 5.0) -> list[Rate]:
    """What cycles see of a load: its mean over the window that ends with each."""

    def mean(at_s: float) -> float:
        return float(np.mean([load(at_s - ago_s) for ago_s in np.arange(0.5, window_s)]))

    return [Rate(float(at_s), mean(at_s)) for at_s in np.arange(until_s - 290.0, until_s + 1.0, every_s)]


def ramp(at_s: float) -> float:
    return 20.0 + max(0.0, at_s) / 1.5


def ended(at_s: float) -> float:
    return ramp(min(at_s, 200.0))


def jump(at_s: float) -> float:
    return 20.0 if at_s < 0.0 else 60.0


@pytest.mark.parametrize("window_s", [8.0, 20.0, 60.0])
@pytest.mark.parametrize(
    ("load", "until_s", "grows"),
    [
        pytest.param(ramp, 200.0, True, id="a morning goes on"),
        pytest.param(ended, 320.0, False, id="one that has ended does not"),
        pytest.param(lambda at_s: 200.0 - ramp(at_s), 200.0, False, id="an evening"),
        pytest.param(lambda _: 20.0, 200.0, False, id="nothing moves"),
        pytest.param(lambda _: 0.0, 200.0, False, id="nothing comes"),
    ],
)
def test_what_rises_goes_on_rising(load: Load, until_s: float, grows: bool, window_s: float) -> None:
    ratio = growth_ratio(measured(load, until_s, window_s), window_s, 60.0)

    assert ratio == pytest.approx(40.0 / load(until_s - window_s / 2) if grows else 0.0, rel=0.05)


@pytest.mark.parametrize("window_s", [8.0, 20.0, 60.0])
def test_a_jump_is_never_taken_for_growth(window_s: float) -> None:
    ratios = [growth_ratio(measured(jump, float(at_s), window_s), window_s, 60.0) for at_s in range(0, 300, 5)]

    assert max(ratios) == 0.0


@pytest.mark.parametrize(("window_s", "seen_after_s"), [(8.0, 60), (20.0, 65), (60.0, 140)])
def test_a_morning_is_seen_about_two_windows_after_it_began(window_s: float, seen_after_s: float) -> None:
    seen = [at_s for at_s in range(0, 300, 5) if growth_ratio(measured(ramp, float(at_s), window_s), window_s, 60.0)]

    assert seen[0] <= seen_after_s
    assert all(later - earlier == 5 for earlier, later in pairwise(seen))


@pytest.mark.parametrize("rate", [0.5, 4.0, 45.0])
def test_chance_is_hardly_ever_taken_for_growth(rate: float) -> None:
    counts = np.random.default_rng(1).poisson(rate * 5.0, 60_000)
    means = np.convolve(counts, np.ones(4) / 20.0, "valid").tolist()
    rates = [Rate(5.0 * number, mean) for number, mean in enumerate(means)]

    taken = sum(growth_ratio(rates[end - 20 : end], 20.0, 120.0) > 0.0 for end in range(20, len(rates)))

    assert taken <= 60


def test_demand_is_never_taken_to_more_than_double() -> None:
    assert growth_ratio(measured(ramp, 100.0, 20.0), 20.0, 3600.0) == 1.0


def test_what_was_not_measured_is_no_growth() -> None:
    rates = [rate for rate in measured(ramp, 200.0, 20.0) if not 120.0 < rate.at_s < 200.0]

    assert growth_ratio(rates, 20.0, 60.0) == 0.0
    assert growth_ratio([], 20.0, 60.0) == 0.0


def first_reasons(per_minute: float) -> set[Reason]:
    """By which rules replicas are ordered in the first minutes of a series, which rises after three of them."""
    state, held = State(), policies(policy(risk=0.05))
    reasons = set()
    for second in range(-180, 300, 15):
        rate = 20.0 + max(0.0, second / 60 * per_minute)
        seen = snapshot(START + timedelta(days=1, seconds=second), {"both": 4}, demand_of(rate))
        state = learn_snapshot(state, seen, held)
        reasons.add(decide(seen, state, held).decisions[0].reasons[0])
    return reasons


def test_a_morning_in_the_first_minutes_of_a_series_is_ordered_for_before_it_is_there() -> None:
    assert Reason.FORECAST in first_reasons(20.0)
    assert Reason.FORECAST not in first_reasons(0.0)
