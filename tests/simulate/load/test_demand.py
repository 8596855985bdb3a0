import csv
from pathlib import Path

import numpy as np
import pytest

from aiops.simulate.load import Load, LoadSpec
from aiops.simulate.requests import RequestBatch
from tests.parts import shared_data
from tests.simulate.load.loads import START, check, drawn, rate, spec, within

HEADER = "t_s,req_per_s,input_tok_per_s,output_tok_per_s,active_clients\n"
ROWS = "0,100,50000,2000,5\n300,20,20000,400,5\n600,0,0,0,0\n900,50,5000,5000,1\n"


def table(folder: Path, text: str = HEADER + ROWS, **changes: object) -> dict[str, object]:
    path = folder / "demand.csv"
    path.write_text(text)
    return {"path": str(path), **changes}


def from_table(demand: dict[str, object], **changes: object) -> LoadSpec:
    lengths = {"inputTokens": {"spread": 0.5}, "outputTokens": {}}
    return LoadSpec.model_validate({"demand": demand, **lengths, **changes})


def test_each_window_has_its_rate_and_its_mean_lengths(tmp_path: Path) -> None:
    batch = drawn(from_table(table(tmp_path)), 3600)
    check(batch)
    for begin_s, per_s, prompt, answer in ((0, 100, 500, 20), (300, 20, 1000, 20), (900, 50, 100, 100)):
        chosen = within(batch, begin_s, begin_s + 300)
        assert rate(batch, begin_s, begin_s + 300) == pytest.approx(per_s, rel=0.05)
        assert batch.prompt_tokens[chosen].mean() == pytest.approx(prompt, rel=0.03)
        assert set(batch.output_tokens[chosen].tolist()) == {answer}
    assert not within(batch, 600, 900).any()
    assert not within(batch, 1200, 3600).any()  # the table is over


def test_a_load_begins_within_the_table_at_a_scale(tmp_path: Path) -> None:
    batch = drawn(from_table(table(tmp_path, **{"from": "5m", "scale": 4})), 3600)
    assert rate(batch, 0, 300) == pytest.approx(80, rel=0.05)
    assert not within(batch, 300, 600).any()
    assert rate(batch, 600, 900) == pytest.approx(200, rel=0.03)


def test_a_mean_of_the_spec_goes_before_the_tables(tmp_path: Path) -> None:
    batch = drawn(from_table(table(tmp_path), inputTokens={"fixed": 7}), 300)
    assert set(batch.prompt_tokens.tolist()) == {7}
    assert set(batch.output_tokens.tolist()) == {20}


def test_rates_alone_will_do_where_the_lengths_are_told(tmp_path: Path) -> None:
    demand = table(tmp_path, "t_s,req_per_s\n0,100\n300,20\n")
    assert rate(drawn(spec(None, demand=demand), 600), 0, 600) == pytest.approx(60, rel=0.05)
    with pytest.raises(ValueError, match="not everywhere how long"):
        Load(from_table(demand), 1, "a", START)


def test_windows_may_be_written_out() -> None:
    windows = [
        {"at": "0s", "requestsPerS": 30, "inputTokens": 100, "outputTokens": 10},
        {"at": "10m", "requestsPerS": 90, "inputTokens": 300, "outputTokens": 10},
    ]
    batch = drawn(from_table({"windows": windows}, inputTokens={}), 3600)
    assert rate(batch, 0, 600) == pytest.approx(30, rel=0.05)
    assert rate(batch, 600, 3600) == pytest.approx(90, rel=0.02)  # the last one lasts
    assert set(batch.prompt_tokens[within(batch, 600, 3600)].tolist()) == {300}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("t_s,rate\n0,1\n1,1\n", "is no table", id="another column"),
        pytest.param("t_s,req_per_s\n0,a\n1,1\n", "is no table", id="no number"),
        pytest.param("t_s,req_per_s\n0,1\n", "two windows or more", id="a single window"),
        pytest.param("t_s,req_per_s\n5,1\n0,1\n", "in the order", id="out of order"),
        pytest.param("t_s,req_per_s\n0,1\n5,-1\n", "negative", id="a negative rate"),
        pytest.param("t_s,req_per_s\n0,1\n5,nan\n", "negative or missing", id="a missing rate"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Load(spec(None, demand=table(tmp_path, text)), 1, "a", START)


def test_a_production_table_comes_out_as_it_went_in() -> None:
    path = shared_data("servegen", "mm-image_10min.csv")
    batch = drawn(from_table({"path": str(path)}, outputTokens={"spread": 0.5}), 86_400)
    with path.open() as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    wanted = np.array([[row["req_per_s"], row["input_tok_per_s"], row["output_tok_per_s"]] for row in rows])
    came = np.array([sums(batch, row["t_s"], row["t_s"] + 600) for row in rows])
    assert came.sum(axis=0) == pytest.approx(wanted.sum(axis=0), rel=0.005)
    # 3,000 requests a window: a Poisson count scatters by 2 %.
    assert np.std(came[:, 0] / wanted[:, 0] - 1) < 0.03


def sums(batch: RequestBatch, begin_s: float, end_s: float) -> list[float]:
    chosen = within(batch, begin_s, end_s)
    tokens = (batch.prompt_tokens[chosen].sum(), batch.output_tokens[chosen].sum())
    return [rate(batch, begin_s, end_s), *(float(total) / (end_s - begin_s) for total in tokens)]
