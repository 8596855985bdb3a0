"""aiops forecast train: the same data and seed give the same file, and bad data is told."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from aiops.cli.main import app
from aiops.forecast.prior_codec import decode

RUN = CliRunner()
EFFORT = ["--series", "6", "--trees", "4", "--today", "2026-01-31"]


def traces(folder: Path, days: int = 5, header: str = "client,t_s,rate_rps,cv") -> Path:
    draws = np.random.default_rng(1)
    rows = [header]
    for client in range(4):
        rows += [f"{client},{600 * i},{draws.gamma(3.0):.4f},1" for i in range(144 * days)]
    with gzip.open(folder / "m-large_clients_trace.csv.gz", "wt") as file:
        file.write("\n".join(rows))
    return folder


def test_the_same_data_and_seed_give_the_same_prior(tmp_path: Path) -> None:
    data = traces(tmp_path)
    for name in ("a", "b"):
        ran = RUN.invoke(app, ["forecast", "train", "--data", str(data), "--out", str(tmp_path / name), *EFFORT])
        assert ran.exit_code == 0, ran.output
    prior = decode((tmp_path / "a").read_bytes())

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert prior.card["trained"] == "2026-01-31"
    assert "3 clients" in str(prior.card["trained_on"]), "client 2 is held back"


@pytest.mark.parametrize(
    ("days", "header", "told"),
    [
        pytest.param(2, "client,t_s,rate_rps,cv", "three days", id="two days are too few"),
        pytest.param(5, "client,t_s,rate,cv", "no column rate_rps", id="a column is missing"),
    ],
)
def test_data_that_does_not_do_is_told_and_nothing_written(tmp_path: Path, days: int, header: str, told: str) -> None:
    data = traces(tmp_path, days, header)
    ran = RUN.invoke(app, ["forecast", "train", "--data", str(data), "--out", str(tmp_path / "prior"), *EFFORT])

    assert ran.exit_code != 0
    assert told in f"{ran.output}{ran.exception}"
    assert not (tmp_path / "prior").exists()
