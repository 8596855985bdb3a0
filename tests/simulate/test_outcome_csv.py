import csv
import dataclasses
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiops.simulate.requests import PS
from aiops.simulate.tables.outcome_csv import OutcomeBatch, OutcomeWriter, Status
from aiops.simulate.tables.replica_csv import ReplicaRow, ReplicaWriter
from aiops.simulate.tables.request_csv import read_requests

HEADER = "arrival_s,input_tokens,output_tokens,scheduled_s,first_token_s,finish_s,replica,cached_tokens,status"
NAMES = ["pool-0", "pool-1", "pool-2"]


def outcomes(*numbers: int, **columns: int) -> OutcomeBatch:
    """Requests that arrive a second apart, wait 1 ms, start after 2 ms and end after 10 ms."""
    number = np.array(numbers, np.int64)
    usual = {
        "arrival_ps": number * PS,
        "input_tokens": 100 + number,
        "output_tokens": 10 + number,
        "scheduled_ps": number * PS + PS // 1000,
        "first_token_ps": number * PS + PS // 500,
        "finish_ps": number * PS + PS // 100,
        "replica": number % len(NAMES),
        "cached_tokens": 16 * number,
        "status": 0 * number,
    }
    return OutcomeBatch(number=number, **(usual | {name: np.full(len(number), n) for name, n in columns.items()}))


def written(folder: Path, *batches: OutcomeBatch, names: list[str] = NAMES) -> str:
    path = folder / "requests.csv"
    with OutcomeWriter(path) as writer:
        for batch in batches:
            writer.write(batch, names)
        writer.finish(names)
    return path.read_text()


def test_a_row_says_what_became_of_a_request(tmp_path: Path) -> None:
    assert written(tmp_path, outcomes(0, 1)).splitlines() == [
        HEADER,
        "0,100,10,0.001,0.002,0.01,pool-0,0,completed",
        "1,101,11,1.001,1.002,1.01,pool-1,16,completed",
    ]


@pytest.mark.parametrize(
    ("columns", "row"),
    [
        pytest.param(
            {"status": Status.TIMED_OUT, "first_token_ps": -1},
            "0,100,10,0.001,,0.01,pool-0,0,timed_out",
            id="timed out in the prompt",
        ),
        pytest.param({"status": Status.FAILED}, "0,100,10,0.001,0.002,0.01,pool-0,0,failed", id="failed in the answer"),
        pytest.param(
            {
                "status": Status.REFUSED,
                "scheduled_ps": -1,
                "first_token_ps": -1,
                "finish_ps": -1,
                "replica": -1,
                "cached_tokens": -1,
            },
            "0,100,10,,,,,,refused",
            id="refused on arrival",
        ),
    ],
)
def test_what_a_request_never_had_is_an_empty_cell(columns: dict[str, int], row: str, tmp_path: Path) -> None:
    assert written(tmp_path, outcomes(0, **columns)).splitlines()[1:] == [row]


def test_names_that_csv_cannot_hold_plainly_are_quoted(tmp_path: Path) -> None:
    names = ['a "b", c', "line\nbreak", "plain"]
    written(tmp_path, outcomes(0, 1, 2), names=names)
    with (tmp_path / "requests.csv").open(newline="") as file:
        assert [row["replica"] for row in csv.DictReader(file)] == names


def test_names_may_be_added_while_requests_end(tmp_path: Path) -> None:
    path = tmp_path / "requests.csv"
    with OutcomeWriter(path) as writer:
        writer.write(outcomes(1, replica=0), ["first"])
        writer.write(outcomes(0, replica=1), ["first", "second"])
        writer.finish(["first", "second"])
    assert [line.split(",")[6] for line in path.read_text().splitlines()[1:]] == ["second", "first"]


@given(st.integers(0, 2**63 - 1))
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_time_is_written_as_the_float_nearest_to_it(tmp_path: Path, picoseconds: int) -> None:
    seconds = float(written(tmp_path, outcomes(0, finish_ps=picoseconds)).splitlines()[1].split(",")[5])
    exact = Fraction(picoseconds, PS)
    error = abs(Fraction(seconds) - exact)
    if picoseconds < 2**53:
        assert seconds == float(exact)
    assert error <= Fraction(np.spacing(seconds)) * Fraction(51, 100)


@given(st.lists(st.decimals(0, 8_640_000, places=6), min_size=1, max_size=20))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_arrival_is_written_as_it_was_read(tmp_path: Path, arrivals: list[object]) -> None:
    source = tmp_path / "source.csv"
    rows = "\n".join(f"{arrival},1,1" for arrival in sorted(arrivals))
    source.write_text(f"arrival_s,input_tokens,output_tokens\n{rows}\n")
    (batch,) = read_requests(source)
    ended = dataclasses.replace(outcomes(*range(len(batch))), arrival_ps=batch.arrival_ps)
    lines = written(tmp_path, ended).splitlines()[1:]
    assert [float(line.split(",")[0]) for line in lines] == sorted(map(float, arrivals))


# The order of rows


@st.composite
def endings(draw: st.DrawFn) -> list[list[int]]:
    """Numbers in the order of their end, cut into calls; at most ``reach`` overtake one."""
    count, reach = draw(st.integers(1, 300)), draw(st.integers(1, 80))
    delays = draw(st.lists(st.integers(0, reach), min_size=count, max_size=count))
    order = sorted(range(count), key=lambda number: number + delays[number])
    cuts = sorted(draw(st.lists(st.integers(0, count), max_size=6)))
    return [order[i:j] for i, j in zip([0, *cuts], [*cuts, count], strict=True)]


@given(endings(), st.integers(1, 9))
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_come_in_the_order_of_the_input(tmp_path: Path, calls: list[list[int]], chunk_rows: int) -> None:
    everyone = sorted(number for call in calls for number in call)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("aiops.simulate.tables.outcome_csv._CHUNK_ROWS", chunk_rows)
        text = written(tmp_path, *(outcomes(*call) for call in calls))
    assert text == written(tmp_path, outcomes(*everyone)), "chunks and calls leave no trace"
    assert [line.split(",")[1] for line in text.splitlines()[1:]] == [str(100 + number) for number in everyone]


def test_only_those_behind_one_in_flight_are_held_back(tmp_path: Path) -> None:
    with OutcomeWriter(tmp_path / "requests.csv") as writer:
        for start in range(0, 200_000, 1000):
            writer.write(outcomes(*range(start, start + 1000)), NAMES)
            assert writer.held <= 9000
        writer.write(outcomes(*range(200_001, 250_000)), NAMES)
        assert 49_999 <= writer.held <= 59_000
        writer.write(outcomes(200_000), NAMES)
        assert writer.held == 0
        writer.finish(NAMES)
    lines = (tmp_path / "requests.csv").read_text().splitlines()
    assert [int(line.split(",")[1]) for line in lines[1:]] == list(range(100, 250_100))


@pytest.mark.parametrize(
    "again",
    [
        pytest.param(1, id="one that is held back"),
        pytest.param(0, id="one that is written"),
    ],
)
def test_nobody_ends_twice(again: int, tmp_path: Path) -> None:
    with OutcomeWriter(tmp_path / "requests.csv") as writer:
        writer.write(outcomes(*range(again, 20_000)), NAMES)
        with pytest.raises(ValueError, match="twice"):
            writer.write(outcomes(again), NAMES)


@pytest.mark.parametrize("numbers", [pytest.param([1], id="the first is missing"), pytest.param([0, 2], id="a gap")])
def test_a_missing_request_is_told(numbers: list[int], tmp_path: Path) -> None:
    with OutcomeWriter(tmp_path / "requests.csv") as writer:
        writer.write(outcomes(*numbers), NAMES)
        with pytest.raises(ValueError, match=f"request {1 - numbers[0]} has not ended"):
            writer.finish(NAMES)


def test_a_call_without_requests_changes_nothing(tmp_path: Path) -> None:
    assert written(tmp_path, outcomes(), outcomes(0), outcomes()) == written(tmp_path, outcomes(0))
    assert written(tmp_path) == f"{HEADER}\n"


# Replicas


def test_pools_over_time_are_written_as_they_come(tmp_path: Path) -> None:
    path = tmp_path / "replicas.csv"
    row = ReplicaRow(0.0, "chat", 2, 3, 1, 0, 17, 0, 0.25)
    later = dataclasses.replace(row, t_s=86_400.1 + 0.2, pool="a, b", kv_usage_ratio=1 / 3)
    with ReplicaWriter(path) as writer:
        writer.write(row)
        writer.write(later)
    assert path.read_text().splitlines() == [
        "t_s,pool,ready_replicas,paid_replicas,starting,draining,running,waiting,kv_usage_ratio",
        "0,chat,2,3,1,0,17,0,0.25",
        '86400.3,"a, b",2,3,1,0,17,0,0.333333333333333',
    ]
