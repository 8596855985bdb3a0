"""The pretrained prior: its file, what it looks at, and what it says."""

from math import isfinite, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiops.forecast.history import empty_history, with_bin
from aiops.forecast.prior import PriorMember
from aiops.forecast.prior_codec import decode, encode
from aiops.forecast.prior_features import DAY, UNKNOWN, shape
from aiops.forecast.training import HORIZONS, Effort, train
from aiops.model.prior import Prior
from aiops.observe.prior_file import shipped_prior

SLOT_S = 600.0


def trained() -> Prior:
    draws = np.random.default_rng(4)
    slot = np.arange(8 * DAY)
    days = [1.5 + np.sin(2 * np.pi * slot / DAY + i) for i in range(5)]
    rates = np.stack([day * draws.gamma(9.0, 1 / 9, len(slot)) for day in days])
    return train(rates, 1, Effort(series=30, trees=15), {"trained_on": "made series"})


@pytest.fixture(scope="module")
def small() -> Prior:
    """Trained on a few clients with days and noise."""
    return trained()


def test_a_prior_is_written_and_read_without_loss(small: Prior) -> None:
    read = decode(encode(small))
    rows = np.random.default_rng(0).normal(size=(50, small.features)).astype(np.float32)

    assert encode(read) == encode(small)
    assert dict(read.card) == {"trained_on": "made series"}
    for name, trees in small.heads.items():
        assert read.heads[name].predict(rows) == pytest.approx(trees.predict(rows), abs=0.0)


def test_training_again_gives_the_same_bytes(small: Prior) -> None:
    assert encode(trained()) == encode(small)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        pytest.param(lambda b: b[:-1], "damaged", id="cut short"),
        pytest.param(lambda b: b[:-9] + b"\x00" + b[-8:], "damaged", id="another byte"),
        pytest.param(lambda b: b.replace(b'"version": 1', b'"version": 9'), "version 9", id="another version"),
        pytest.param(lambda _: b"", "not JSON", id="an empty file"),
        pytest.param(lambda _: b'{"format": "png"}\n', "aiops-prior", id="another format"),
    ],
)
def test_what_is_no_prior_is_told(small: Prior, damage: object, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        decode(damage(encode(small)))  # type: ignore[operator]


def test_too_short_traces_are_refused() -> None:
    with pytest.raises(ValueError, match="three days"):
        train(np.ones((3, 100)), 1, Effort(1, 1), {})


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.integers(7, 3 * DAY), st.sampled_from([0.25, 64.0]))
def test_a_shape_has_no_scale(seed: int, length: int, scale: float) -> None:
    values = np.random.default_rng(seed).gamma(2.0, 5.0, length)
    one, other = shape(values, HORIZONS), shape(values * scale, HORIZONS)

    assert one is not None
    assert other is not None
    assert one.rows == pytest.approx(other.rows, abs=1e-5)
    assert other.level == pytest.approx(one.level * scale)


def test_a_shape_looks_at_nothing_before_the_first_slot_or_in_gaps() -> None:
    values = np.random.default_rng(1).gamma(2.0, 5.0, 2 * DAY)
    gaps = np.concatenate([np.full(DAY, np.nan), values])
    with_gaps, without = shape(gaps, HORIZONS), shape(values, HORIZONS)

    assert with_gaps is not None
    assert without is not None
    assert with_gaps.rows == pytest.approx(without.rows)
    assert (without.rows == UNKNOWN).any(), "a week ago is not known"


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([0.0] * 200, id="only zeros"),
        pytest.param([5.0] * 100 + [None] * 6, id="an hour of gaps at the end"),
        pytest.param([None], id="one gap"),
    ],
)
def test_where_there_is_no_level_there_is_no_shape(values: list[float | None]) -> None:
    assert shape(values, HORIZONS) is None


def test_the_shipped_prior_follows_the_day_and_knows_how_sure_it_is() -> None:
    prior = shipped_prior()
    member, state, history = PriorMember(prior), (), empty_history(SLOT_S)
    draws = np.random.default_rng(2)
    values = [float(100 * np.exp(np.sin(2 * np.pi * i / DAY) + draws.normal(0, 0.05))) for i in range(10 * DAY)]
    quiet = 8 * DAY + 3 * DAY // 4  # the lowest point: half a day later it is seven times as much
    for i, value in enumerate(values[:quiet], 1):
        history = with_bin(history, value, i * SLOT_S, SLOT_S)
        state = member.learn(state, value, i * SLOT_S, SLOT_S, history)
    (expected,) = member.path(state, quiet * SLOT_S, SLOT_S, (72,), history) or [0.0]
    near, far = (member.spread(state, quiet * SLOT_S, SLOT_S, ahead, history) for ahead in (1, 72))

    assert abs(log(expected / values[quiet + 71])) < 0.3
    assert near is not None
    assert far is not None
    assert sum(near) < sum(far)
    assert len(encode(prior)) < 5_000_000
    assert {"held_back", "licence_of_the_data", "trained_on", "seed"} <= set(prior.card)


def test_what_the_open_slot_shows_moves_the_forecast_and_fades() -> None:
    member, state, history = PriorMember(shipped_prior()), (), empty_history(60.0)
    draws = np.random.default_rng(5)
    for i in range(1, 1441):
        value = float(draws.gamma(100.0, 1.0))
        history = with_bin(history, value, i * 60.0, 60.0)
        state = member.learn(state, value, i * 60.0, 60.0, history)
    before = member.path(state, 1440 * 60.0, 60.0, (5, 360), history)
    for i in range(1441, 1446):
        history = with_bin(history, 300.0, i * 60.0, 60.0)
        state = member.learn(state, 300.0, i * 60.0, 60.0, history)
    after = member.path(state, 1445 * 60.0, 60.0, (5, 360), history)

    assert before is not None
    assert after is not None
    assert after[0] > 1.2 * before[0]
    assert all(isfinite(value) for value in after)
    assert after[1] / before[1] < after[0] / before[0]
