import numpy as np
import pytest

from aiops.simulate.load.arrivals import Gaps, Renewals
from aiops.simulate.load.laws import ArrivalSpec
from aiops.simulate.requests import PS
from tests.simulate.load.loads import drawn, rate, spec

LAWS = [
    pytest.param({"kind": "poisson"}, 1.0, id="poisson"),
    pytest.param({"kind": "gamma", "cv": 0.3}, 0.3, id="gamma, more regular"),
    pytest.param({"kind": "gamma", "cv": 1.0}, 1.0, id="gamma of CV 1 is poisson"),
    pytest.param({"kind": "gamma", "cv": 4.0}, 4.0, id="gamma, bursty"),
    pytest.param({"kind": "weibull", "cv": 0.3}, 0.3, id="weibull, more regular"),
    pytest.param({"kind": "weibull", "cv": 2.5}, 2.5, id="weibull, bursty"),
]


@pytest.mark.parametrize(("law", "cv"), LAWS)
def test_the_gaps_have_their_mean_and_their_cv(law: dict[str, object], cv: float) -> None:
    batch = drawn(spec(100.0, arrivals=law), 4000)
    gaps = np.diff(batch.arrival_ps / PS)
    assert rate(batch, 0, 4000) == pytest.approx(100, abs=4 * cv * np.sqrt(100 / 4000))
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.05)


@pytest.mark.parametrize(("law", "cv"), LAWS)
def test_the_cv_is_the_same_at_every_rate(law: dict[str, object], cv: float) -> None:
    ramp = {"kind": "ramp", "at": "0s", "duration": "4000s", "to": 9.0}
    batch = drawn(spec(20.0, arrivals=law, events=[ramp]), 4000)
    # The ramp undone: requests expected up to a time of arrival.
    t_s = batch.arrival_ps / PS
    gaps = np.diff(20 * (t_s + 8 * t_s**2 / 8000))
    assert gaps.mean() == pytest.approx(1, abs=4 * cv / np.sqrt(len(gaps)))
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.08)


@pytest.mark.parametrize(("law", "cv"), LAWS)
def test_the_first_moments_are_like_any_others(law: dict[str, object], cv: float) -> None:
    gaps = Gaps(ArrivalSpec.model_validate(law), np.random.default_rng(1))
    counts = np.array([len(Renewals(gaps).pass_by(5.0)) for _ in range(4000)])
    assert counts.mean() == pytest.approx(5, abs=4 * counts.std() / np.sqrt(len(counts)))


def test_the_family_tells_gaps_of_the_same_cv_apart() -> None:
    medians = [
        np.median(np.diff(drawn(spec(100.0, arrivals={"kind": kind, "cv": 3.0}), 2000).arrival_ps) / PS * 100)
        for kind in ("gamma", "weibull")
    ]
    # Medians of a Gamma of shape 1/9 and of a Weibull of shape 0.411, both of mean 1.
    assert medians == [pytest.approx(0.0108, rel=0.1), pytest.approx(0.1331, rel=0.05)]
