from typing import Any

import numpy as np
import pytest

from aiops.simulate.load.laws import LengthSpec
from aiops.simulate.load.lengths import Lengths, moments

COUNT = 100_000
TABLE = {"p5": 40, "p25": 100, "p50": 300, "p75": 800, "p90": 2000, "p95": 3000, "p99": 8000}


def lengths(**law: Any) -> np.ndarray:
    return Lengths(LengthSpec.model_validate(law), np.random.default_rng(1)).draw(np.zeros(COUNT))


def test_lognormal_lengths_have_their_mean_and_their_spread() -> None:
    tokens = lengths(mean=1000, spread=0.7, max=100_000)
    assert tokens.mean() == pytest.approx(1000, rel=0.01)
    assert np.log(tokens).std() == pytest.approx(0.7, rel=0.01)


@pytest.mark.parametrize(
    ("law", "least", "most"),
    [
        pytest.param({"mean": 1000, "spread": 1.0, "max": 2000}, 1, 2000, id="lognormal under a cap"),
        pytest.param({"mean": 2, "spread": 1.5}, 1, 16384, id="never nothing"),
        pytest.param({"mean": 700.4}, 700, 700, id="without spread"),
        pytest.param({"fixed": 17}, 17, 17, id="fixed"),
        pytest.param({"percentiles": TABLE, "max": 5000}, 1, 5000, id="percentiles under a cap"),
        pytest.param({"percentiles": {"p0": 50, "p100": 90}}, 50, 90, id="percentiles from end to end"),
    ],
)
def test_lengths_keep_within_bounds(law: dict[str, Any], least: int, most: int) -> None:
    tokens = lengths(**law)
    assert least <= tokens.min() <= tokens.max() <= most
    assert tokens.max() <= LengthSpec.model_validate(law).longest


def test_percentiles_come_out_as_given() -> None:
    tokens = lengths(percentiles=TABLE, max=50_000)
    for name, value in TABLE.items():
        assert np.percentile(tokens, float(name[1:])) == pytest.approx(value, rel=0.04), name
    assert tokens.min() > 20
    assert 8000 < tokens.max() < 12_000


@pytest.mark.parametrize(
    "law",
    [
        pytest.param({"mean": 1000, "spread": 0.7}, id="lognormal"),
        pytest.param({"mean": 1000, "spread": 1.2, "max": 3000}, id="lognormal, capped"),
        pytest.param({"percentiles": TABLE}, id="percentiles"),
        pytest.param({"fixed": 12}, id="fixed"),
    ],
)
def test_the_moments_are_those_of_the_draws(law: dict[str, Any]) -> None:
    tokens = lengths(**law)
    mean, relative = moments(LengthSpec.model_validate(law))
    assert mean == pytest.approx(tokens.mean(), rel=0.02)
    assert relative == pytest.approx(tokens.std() / tokens.mean(), rel=0.03)


@pytest.mark.parametrize("law", [pytest.param({"max": 10}, id="a cap alone"), pytest.param({}, id="nothing")])
def test_lengths_that_leave_the_mean_to_a_table_need_one(law: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="table of means"):
        lengths(**law)
    with pytest.raises(ValueError, match="table of means"):
        moments(LengthSpec.model_validate(law))
