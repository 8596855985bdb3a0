"""The command that simulates a file of requests: its files, its numbers, and what it says of bad input."""

import csv
import json
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from aiops.observe.packaged import packaged
from tests.cli.factory import aiops

HEADER = "arrival_s,input_tokens,output_tokens"
ONE_POOL = "pools: [{name: pool, replicas: 2, profile: llama-8b-h100-tp1}]"
PAIR = """pools:
  - {name: chat-prefill, role: prefill, replicas: 1, profile: llama-8b-h100-tp1}
  - {name: chat-decode, role: decode, replicas: 2, profile: llama-8b-h100-tp1}
"""


def files(folder: Path, rows: list[str], factory: str = ONE_POOL, header: str = HEADER) -> list[str]:
    """The options of a run in ``folder``; results go to its folder out."""
    (folder / "requests.csv").write_text("\n".join([header, *rows]) + "\n")
    (folder / "factory.yaml").write_text(factory)
    named = {"--requests": "requests.csv", "--factory": "factory.yaml", "--out": "out"}
    return ["simulate", *(word for option, name in named.items() for word in (option, str(folder / name)))]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def succeeded(*arguments: str) -> dict[str, Any]:
    done = aiops(*arguments, "--json", timeout_s=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


ROWS = [f"{i / 20},{200 + 37 * (i % 50)},{1 + 7 * (i % 23)}" for i in range(600)]


@pytest.mark.parametrize("factory", [pytest.param(ONE_POOL, id="one pool"), pytest.param(PAIR, id="a pair")])
def test_every_request_has_its_row_and_every_pool_its_times(factory: str, tmp_path: Path) -> None:
    summary = succeeded(*files(tmp_path, ROWS, factory))
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == ["replicas.csv", "requests.csv", "summary.json"]
    assert json.loads((out / "summary.json").read_text()) == summary
    requests = table(out / "requests.csv")
    inputs = [[row[name] for name in HEADER.split(",")] for row in requests]
    assert [",".join([f"{float(arrival)}", *rest]) for arrival, *rest in inputs] == [
        f"{float(row.split(',')[0])},{row.split(',', 1)[1]}" for row in ROWS
    ]
    for row in requests:
        times = [float(row[name]) for name in ("arrival_s", "scheduled_s", "first_token_s", "finish_s")]
        assert times == sorted(times)
        assert row["status"] == "completed"
    ttft = [float(row["first_token_s"]) - float(row["arrival_s"]) for row in requests]
    assert summary["ttft_s"]["mean"] == pytest.approx(sum(ttft) / len(ttft))
    assert summary["ttft_s"]["max"] == pytest.approx(max(ttft))
    assert (summary["requests"], summary["completed"], summary["refused"]) == (600, 600, 0)
    assert summary["output_tokens"] == sum(int(row["output_tokens"]) for row in requests)
    for pool in summary["pools"]:
        times = [float(row["t_s"]) for row in table(out / "replicas.csv") if row["pool"] == pool]
        assert times[0] == 0
        assert max(after - before for before, after in pairwise(times)) <= 15
        assert times[-1] >= summary["duration_s"] - 15


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    options = files(tmp_path, ROWS)
    first = succeeded(*options)
    kept = (tmp_path / "out").rename(tmp_path / "kept")
    assert succeeded(*options) == first
    for name in ("requests.csv", "replicas.csv", "summary.json"):
        assert (kept / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_equal_beginnings_are_cached_where_the_file_has_them(tmp_path: Path) -> None:
    rows = [f"{i},1536,5,7 8" for i in range(20)]
    hits = succeeded(*files(tmp_path, rows, ONE_POOL.replace("2", "1", 1), f"{HEADER},prefix_ids"))
    assert [int(row["cached_tokens"]) for row in table(tmp_path / "out" / "requests.csv")] == [0] + [1024] * 19
    assert hits["prefix_hit_ratio"] == pytest.approx(19 * 1024 / (20 * 1536))
    plain = succeeded(*files(tmp_path, [row.rsplit(",", 1)[0] for row in rows]))
    assert plain["prefix_hit_ratio"] == 0
    assert plain["ttft_s"]["mean"] > hits["ttft_s"]["mean"]


def test_a_request_that_can_never_fit_is_refused_and_others_are_served(tmp_path: Path) -> None:
    summary = succeeded(*files(tmp_path, ["0,100,10", "1,5000000,10", "2,100,10"]))
    row = table(tmp_path / "out" / "requests.csv")[1]
    assert row["status"] == "refused"
    assert [row[name] for name in ("scheduled_s", "first_token_s", "replica")] == ["", "", ""]
    assert (summary["refused"], summary["completed"]) == (1, 2)


def test_a_profile_stands_beside_the_factory_and_a_hit_is_what_is_asked_for(tmp_path: Path) -> None:
    shutil.copy(packaged("policies", "profiles", "llama-8b-h100-tp1.yaml"), tmp_path / "mine.yaml")
    options = files(tmp_path, ROWS, ONE_POOL.replace("llama-8b-h100-tp1", "mine.yaml"))
    assert succeeded(*options)["attainment_ratio"] == 1
    strict = succeeded(*options, "--ttft", "1ms")
    assert (strict["hits"], strict["objectives"]["ttft_s"]) == (0, 0.001)


def test_people_get_a_table_and_the_time_it_took(tmp_path: Path) -> None:
    done = aiops(*files(tmp_path, ROWS))
    assert done.returncode == 0, done.stderr
    assert "TTFT" in done.stdout
    assert "600 requests (600 completed)" in done.stdout
    assert "results are in" in done.stderr


@pytest.mark.parametrize(
    ("rows", "factory", "more", "code", "told"),
    [
        pytest.param(["0,10,1", "1,ten,1"], ONE_POOL, [], 1, "requests.csv:3: input_tokens is 'ten'", id="a wrong row"),
        pytest.param(["1,10,1", "0,10,1"], ONE_POOL, [], 1, "sort the rows", id="disorder"),
        pytest.param([], ONE_POOL, [], 1, "holds no request", id="no request"),
        pytest.param(["0,10,1"], "pools: [{nam: x}]", [], 1, "did you mean 'name'", id="a misspelt key"),
        pytest.param(["0,10,1"], ONE_POOL.replace("8b", "9b"), [], 1, "did you mean", id="no such profile"),
        pytest.param(["0,10,1"], ONE_POOL.replace("llama-8b-h100-tp1", "x.yaml"), [], 1, "no such file", id="no file"),
        pytest.param(["0,10,1"], f"{ONE_POOL}\n---\n{ONE_POOL}", [], 1, "2 models", id="two models"),
        pytest.param(["0,10,1"], "", [], 1, "empty", id="an empty factory"),
        pytest.param(["0,10,1"], ONE_POOL, ["--requests", "none.csv"], 1, "No such file", id="no requests"),
        pytest.param(["0,10,1"], ONE_POOL, ["--requests", "."], 1, "not a file", id="requests in a folder"),
        pytest.param(["0,10,1"], ONE_POOL, ["--out", __file__], 1, "cannot write", id="a file for a folder"),
        pytest.param(["0,10,1"], ONE_POOL, ["--segment-tokens", "0"], 2, "segment-tokens", id="segments of nothing"),
        pytest.param(["0,10,1"], ONE_POOL, ["--ttft", "2"], 2, "not a duration", id="a bound without its unit"),
    ],
)
def test_bad_input_is_told_and_nothing_is_written(
    rows: list[str], factory: str, more: list[str], code: int, told: str, tmp_path: Path
) -> None:
    done = aiops(*files(tmp_path, rows, factory), *more)
    assert done.returncode == code, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["factory.yaml", "requests.csv"]


def test_an_error_late_in_a_long_file_leaves_nothing_and_is_json_too(tmp_path: Path) -> None:
    rows = [f"{i / 1000},20,2" for i in range(100_000)]
    done = aiops(*files(tmp_path, [*rows, "99,0,1"]), "--json", timeout_s=300)
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert "requests.csv:100002: arrival_s is 99 after" in answer["error"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["factory.yaml", "requests.csv"]
