from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from aiops.model.refs import ModelRef
from aiops.simulate.load import LoadSpec, past_demand
from aiops.simulate.load.rates import peak_rate
from tests.parts import shared_data
from tests.simulate.load.loads import START, drawn, spec

REF = ModelRef("llm", "m")
DAYS = timedelta(days=2)


def values(series: tuple[float | None, ...]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in series])


def test_the_past_has_the_load_of_the_same_day_curve() -> None:
    load = spec(20.0, nightRatio=0.2, peakHour=11, events=[{"kind": "ramp", "at": "0s", "duration": "1s", "to": 9}])
    past = past_demand(load, REF, 1, START, DAYS)
    assert len(past.ends_s) == len(past.requests_per_s) == len(past.input_tok_per_s) == 2 * 24 * 60
    assert past.ends_s[-1] == START.timestamp()
    rates = values(past.requests_per_s)
    assert rates.mean() == pytest.approx(20, rel=0.01)
    assert rates[11 * 60 - 30 : 11 * 60 + 30].mean() == pytest.approx(peak_rate(load), rel=0.02)
    assert values(past.input_tok_per_s).sum() / rates.sum() == pytest.approx(400, rel=0.01)
    assert values(past.output_tok_per_s).sum() / rates.sum() == pytest.approx(40, rel=0.01)


@pytest.mark.parametrize(
    ("changes", "cv"),
    [
        pytest.param({}, 1.0, id="poisson"),
        pytest.param({"arrivals": {"kind": "gamma", "cv": 4}}, 4.0, id="bursty"),
        pytest.param({"arrivals": {"kind": "weibull", "cv": 0.4}}, 0.4, id="regular"),
    ],
)
def test_the_past_scatters_as_the_load_does(changes: dict[str, object], cv: float) -> None:
    load = spec(20.0, **changes)
    past = values(past_demand(load, REF, 1, START, DAYS).requests_per_s) * 60
    assert past.mean() == pytest.approx(1200, rel=0.01)
    assert past.var() / past.mean() == pytest.approx(cv**2, rel=0.15)
    came = np.bincount((drawn(load, 86_400).arrival_ps // (60 * 10**12)).astype(int), minlength=1440)
    assert came.var() / came.mean() == pytest.approx(cv**2, rel=0.2)


def test_the_sums_of_lengths_scatter_as_draws_do() -> None:
    past = past_demand(spec(20.0), REF, 1, START, DAYS)
    means = values(past.input_tok_per_s) / values(past.requests_per_s)
    assert means.std() / means.mean() == pytest.approx(np.sqrt(np.expm1(0.36)) / np.sqrt(1200), rel=0.1)


def test_the_past_of_conversations_has_whole_transcripts() -> None:
    load = spec(20.0, sessions={"turns": 3, "thinkTime": {"mean": "20s"}})
    past, batch = past_demand(load, REF, 1, START, DAYS), drawn(load, 3600)
    mean = values(past.input_tok_per_s).sum() / values(past.requests_per_s).sum()
    assert mean == pytest.approx(batch.prompt_tokens.mean(), rel=0.03)
    assert mean > 2 * 400


def test_the_past_of_a_table_is_its_earlier_windows(tmp_path: Path) -> None:
    path = tmp_path / "demand.csv"
    path.write_text("t_s,req_per_s,input_tok_per_s,output_tok_per_s\n0,100,50000,2000\n3600,20,20000,400\n7200,1,1,1\n")
    load = LoadSpec.model_validate({"demand": {"path": str(path), "from": "2h", "scale": 2}})
    past = past_demand(load, REF, 1, START, timedelta(hours=3))
    assert past.requests_per_s[:60] == past.input_tok_per_s[:60] == (None,) * 60  # before the table
    assert values(past.requests_per_s)[60:120].mean() == pytest.approx(200, rel=0.02)
    assert values(past.requests_per_s)[120:].mean() == pytest.approx(40, rel=0.03)
    assert values(past.input_tok_per_s)[120:].mean() == pytest.approx(40_000, rel=0.03)


def test_the_past_of_clients_is_their_sum() -> None:
    files = {name: str(shared_data("servegen", f"mm-image_clients_{name}.csv.gz")) for name in ("trace", "lengths")}
    load = LoadSpec.model_validate({"clients": files | {"from": "6h"}})
    past = past_demand(load, REF, 1, START, timedelta(hours=6))
    table = np.loadtxt(shared_data("servegen", "mm-image_10min.csv"), delimiter=",", skiprows=1)[:36]
    assert values(past.requests_per_s).mean() == pytest.approx(table[:, 1].mean(), rel=0.01)
    assert values(past.input_tok_per_s).mean() == pytest.approx(table[:, 2].mean(), rel=0.02)
    assert values(past.output_tok_per_s).mean() == pytest.approx(table[:, 3].mean(), rel=0.02)


def test_nothing_is_known_before_a_trace_and_nothing_came_without_a_load() -> None:
    trace = LoadSpec.model_validate({"trace": {"kind": "azure", "path": "none.csv"}})
    assert set(past_demand(trace, REF, 1, START, timedelta(hours=1)).requests_per_s) == {None}
    assert set(past_demand(None, REF, 1, START, timedelta(hours=1)).requests_per_s) == {0.0}


def test_the_past_is_the_same_for_a_seed() -> None:
    assert past_demand(spec(), REF, 1, START, DAYS) == past_demand(spec(), REF, 1, START, DAYS)
    assert past_demand(spec(), REF, 1, START, DAYS) != past_demand(spec(), REF, 2, START, DAYS)
