"""The contract of a forecaster, over every member and the ensemble of them, unasked."""

from collections.abc import Sequence
from math import isfinite
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiops.forecast import MEMBERS, Forecaster
from aiops.forecast.history import empty_history, with_bin
from aiops.forecast.prior import PriorMember
from aiops.model.forecaster import History, MemberState
from aiops.observe.prior_file import shipped_prior

MINUTE, DAY = 60.0, 1440
AHEAD = (1, 2, 5, 30, 360, 1440)
demand = st.lists(st.none() | st.floats(0.0, 1e12), min_size=1, max_size=80)
EVERY = (*MEMBERS, PriorMember(shipped_prior()))
every_member = pytest.mark.parametrize("member", EVERY, ids=lambda member: member.name)


class Learned(NamedTuple):
    state: MemberState = ()
    history: History = empty_history(MINUTE)
    bins: int = 0


NOTHING = Learned()


def learned(member: Forecaster, values: list[float | None], before: Learned = NOTHING) -> Learned:
    state, history, bins = before
    for value in values:
        bins += 1
        history = with_bin(history, value, bins * MINUTE, MINUTE)
        if value is not None:
            state = member.learn(state, value, bins * MINUTE, MINUTE, history)
    return Learned(state, history, bins)


def path_of(member: Forecaster, known: Learned) -> Sequence[float] | None:
    return member.path(known.state, known.bins * MINUTE, MINUTE, AHEAD, known.history)


def day_curve(days: int, seed: int = 1) -> list[float | None]:
    hour = np.arange(days * DAY) / 60.0 % 24.0
    noise = np.random.default_rng(seed).normal(0.0, 0.05, days * DAY)
    return list(map(float, 100.0 * (1.2 + np.sin(2 * np.pi * (hour - 8.0) / 24.0)) * np.exp(noise)))


@every_member
@settings(max_examples=40)
@given(values=demand)
def test_a_path_is_finite_and_not_negative_whatever_was_learned(member: Forecaster, values: list[float | None]) -> None:
    path = path_of(member, learned(member, values))

    assert path is None or (len(path) == len(AHEAD) and all(isfinite(value) and value >= 0.0 for value in path))


@every_member
def test_nothing_learned_is_no_opinion(member: Forecaster) -> None:
    assert path_of(member, NOTHING) is None


@every_member
@pytest.mark.parametrize(
    "values",
    [
        pytest.param([5.0], id="one point"),
        pytest.param([0.0] * (2 * DAY), id="all zero"),
        pytest.param([7.0] * (2 * DAY), id="a constant"),
        pytest.param([1e12] * (2 * DAY), id="a huge constant"),
        pytest.param([7.0, None, None, 7.0] * DAY, id="a constant with gaps"),
        pytest.param([7.0] * 100 + [None] * (3 * DAY) + [7.0] * 100, id="a constant with a gap of three days"),
    ],
)
def test_a_constant_is_continued(member: Forecaster, values: list[float | None]) -> None:
    path = path_of(member, learned(member, values))

    assert path is None or path == pytest.approx([values[0]] * len(AHEAD))


@every_member
@pytest.mark.parametrize("scale", [1e-6, 3.0, 1e9])
def test_a_scaled_series_has_a_scaled_path(member: Forecaster, scale: float) -> None:
    values = day_curve(2)
    state = learned(member, values)
    scaled = learned(member, [None if value is None else value * scale for value in values])

    path = path_of(member, state)
    scaled_path = path_of(member, scaled)

    assert path is not None
    assert scaled_path == pytest.approx([value * scale for value in path])


@every_member
def test_learning_in_two_parts_is_learning_at_once(member: Forecaster) -> None:
    values = day_curve(2)

    assert learned(member, values[1000:], learned(member, values[:1000])) == learned(member, values)


@every_member
def test_a_state_stays_small_and_is_never_changed_in_place(member: Forecaster) -> None:
    early = learned(member, day_curve(1))
    kept = tuple(early.state)
    late = learned(member, day_curve(20)[DAY:], early)

    assert early.state == kept
    assert len(late.state) < 1000
