import csv
import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiops.simulate.requests import PS, RequestBatch
from aiops.simulate.tables.request_csv import open_requests, read_requests
from tests.parts import shared_data

HEADER = "arrival_s,input_tokens,output_tokens"
WITH_IDS = f"{HEADER},prefix_ids"


def written(folder: Path, *lines: str, name: str = "requests.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def one_batch(path: Path, segment_tokens: int = 512) -> RequestBatch:
    batches = list(read_requests(path, segment_tokens))
    assert len(batches) == 1
    return batches[0]


def pieces(batch: RequestBatch) -> list[list[tuple[int, int]]]:
    """The segments of each request: id and tokens."""
    both = list(zip(batch.piece_ids.tolist(), batch.piece_tokens.tolist(), strict=True))
    return [both[i:j] for i, j in zip(batch.piece_offsets[:-1], batch.piece_offsets[1:], strict=True)]


def told(path: Path, segment_tokens: int = 512) -> str:
    with pytest.raises(ValueError, match=path.name) as error:
        list(read_requests(path, segment_tokens))
    return str(error.value)


# What is read


def test_columns_become_picoseconds_and_tokens(tmp_path: Path) -> None:
    batch = one_batch(written(tmp_path, HEADER, "0,10,1", "0.25,20,2", "0.25,30,3", "3600.000000000001,40,4"))
    assert batch.arrival_ps.tolist() == [0, PS // 4, PS // 4, 3600 * PS + 1]
    assert batch.prompt_tokens.tolist() == [10, 20, 30, 40]
    assert batch.output_tokens.tolist() == [1, 2, 3, 4]
    assert batch.own_ids.tolist() == [0, 1, 2, 3]
    assert not batch.own_public.any()
    assert pieces(batch) == [[], [], [], []]
    assert {column.dtype for column in (batch.arrival_ps, batch.prompt_tokens, batch.piece_offsets)} == {np.dtype("i8")}


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([HEADER, "1.5,10,2", "2.5,20,3"], id="as the contract has it"),
        pytest.param(["output_tokens,arrival_s,input_tokens", "2,1.5,10", "3,2.5,20"], id="columns in another order"),
        pytest.param(["who,input_tokens,arrival_s,x,output_tokens", "a,10,1.5,,2", "b,20,2.5,,3"], id="more columns"),
        pytest.param([f"\ufeff{HEADER}", "1.5,10,2", "2.5,20,3"], id="a byte order mark"),
        pytest.param(["", HEADER, "", "1.5,10,2", "", "2.5,20,3", ""], id="empty lines"),
        pytest.param([" arrival_s , input_tokens,output_tokens", " 1.5 , 10,2", "2.5,20,\t3"], id="spaces around"),
        pytest.param(['"arrival_s","input_tokens","output_tokens"', '"1.5","10","2"', "2.5,20,3"], id="quotes"),
        pytest.param([HEADER, "1.5,10.0,2", "25e-1,2e1,3.0"], id="whole numbers written as floats"),
        pytest.param([f"{HEADER}\r", "1.5,10,2\r", "2.5,20,3\r"], id="lines that end as on Windows"),
        pytest.param([f"{HEADER},prompt", '1.5,10,2,"a\nb, ""c"""', "2.5,20,3,d"], id="an ignored text of two lines"),
    ],
)
def test_a_file_may_look_different_and_say_the_same(lines: list[str], tmp_path: Path) -> None:
    batch = one_batch(written(tmp_path, *lines))
    assert batch.arrival_ps.tolist() == [15 * PS // 10, 25 * PS // 10]
    assert (batch.prompt_tokens.tolist(), batch.output_tokens.tolist()) == ([10, 20], [2, 3])


@pytest.mark.parametrize("name", ["requests.csv.gz", "requests.csv"])
def test_a_compressed_file_is_known_by_its_content(name: str, tmp_path: Path) -> None:
    plain = written(tmp_path, WITH_IDS, "1,1000,2,7 8", "2,1000,3,7 9").read_bytes()
    packed = tmp_path / name
    packed.write_bytes(gzip.compress(plain[:40]) + gzip.compress(plain[40:]))
    assert pieces(one_batch(packed)) == [[(7, 512), (8, 488)], [(7, 512), (9, 488)]]


def test_a_last_segment_is_cut_to_the_prompt(tmp_path: Path) -> None:
    lines = ["0,1100,1,5 6 7", "1,1024,1,5 6", "2,1024,1,5", "3,3,1,5", "4,9,1,", '5,9,1,"  "', "6,1100,1,  5   6 "]
    batch = one_batch(written(tmp_path, WITH_IDS, *lines))
    assert pieces(batch) == [
        [(5, 512), (6, 512), (7, 76)],
        [(5, 512), (6, 512)],
        [(5, 512)],
        [(5, 3)],
        [],
        [],
        [(5, 512), (6, 512)],
    ]
    assert [sum(tokens for _, tokens in request) for request in pieces(batch)[:4]] == [1100, 1024, 512, 3]


def test_a_column_of_prefixes_may_be_empty(tmp_path: Path) -> None:
    file = open_requests(written(tmp_path, WITH_IDS, "0,10,1,", "1,10,1,"))
    assert file.has_prefixes
    assert [pieces(batch) for batch in file.batches()] == [[[], []]]
    assert not open_requests(written(tmp_path, HEADER, "0,10,1")).has_prefixes


@pytest.mark.parametrize(
    ("token", "number"),
    [
        pytest.param("0", 0, id="nought"),
        pytest.param("007", 7, id="leading noughts"),
        pytest.param("-12", -12, id="negative"),
        pytest.param("9" * 18, 10**18 - 1, id="eighteen digits"),
    ],
)
def test_an_integer_stands_for_itself(token: str, number: int, tmp_path: Path) -> None:
    assert one_batch(written(tmp_path, WITH_IDS, f"0,10,1,{token}")).piece_ids.tolist() == [number]


ODD_IDS = ["a", "b", "ab", "ba", "-", "--1", "1-", "0x1f", "1.0", "+7", "9" * 19, "9" * 20, "é", "a" * 200, "a" * 201]


def hashed(name: str) -> int:
    """FNV-1a and the finalizer of SplitMix64 in whole numbers, the upper 63 bits."""
    mixed = 0xCBF29CE484222325
    for byte in name.encode():
        mixed = (mixed ^ byte) * 0x100000001B3 % 2**64
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        mixed = (mixed ^ mixed >> shift) * factor % 2**64
    return mixed >> 1


def test_any_other_id_is_hashed_the_same_everywhere(tmp_path: Path) -> None:
    alone = [int(one_batch(written(tmp_path, WITH_IDS, f"0,10,1,{name}")).piece_ids[0]) for name in ODD_IDS]
    row = " ".join(["3", *ODD_IDS, "4"])
    among = one_batch(written(tmp_path, WITH_IDS, "0,10,1,1", f"0,9999,1,{row}")).piece_ids.tolist()
    assert among == [1, 3, *alone, 4]
    assert len(set(alone)) == len(ODD_IDS)
    assert alone == [hashed(name) for name in ODD_IDS]


@given(st.lists(st.text("abcdefgh0123456789-", min_size=1, max_size=6), min_size=2, max_size=40, unique_by=str))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_different_ids_stay_different(tmp_path: Path, names: list[str]) -> None:
    unequal = {str(int(name)) if name.removeprefix("-").isdigit() else name for name in names}
    batch = one_batch(written(tmp_path, WITH_IDS, f"0,99999,1,{' '.join(names)}"))
    assert len(set(batch.piece_ids.tolist())) == len(unequal)


# Batches


@st.composite
def tables(draw: st.DrawFn) -> list[tuple[float, int, int, list[int]]]:
    count = draw(st.integers(1, 30))
    arrivals = sorted(draw(st.lists(st.floats(0, 8_640_000), min_size=count, max_size=count)))
    rows = []
    for arrival in arrivals:
        prompt = draw(st.integers(1, 3000))
        ids = draw(st.lists(st.integers(-5, 10**17), max_size=-(-prompt // 512)))
        rows.append((arrival, prompt, draw(st.integers(1, 2**31 - 1)), ids))
    return rows


Request = tuple[int, int, int, int, list[tuple[int, int]]]


def joined(batches: Iterator[RequestBatch]) -> list[Request]:
    rows = []
    for batch in batches:
        columns = (batch.arrival_ps, batch.prompt_tokens, batch.output_tokens, batch.own_ids)
        rows += list(zip(*(column.tolist() for column in columns), pieces(batch), strict=True))
    return rows


@given(tables(), st.integers(1, 7))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_batches_of_any_size_hold_the_same_requests(
    tmp_path: Path, rows: list[tuple[float, int, int, list[int]]], batch_rows: int
) -> None:
    lines = [f"{arrival!r},{prompt},{output},{' '.join(map(str, ids))}" for arrival, prompt, output, ids in rows]
    path = written(tmp_path, WITH_IDS, *lines)
    found = joined(read_requests(path))
    assert found == joined(read_requests(path, batch_rows=batch_rows))
    assert max(len(batch) for batch in read_requests(path, batch_rows=batch_rows)) <= batch_rows
    for number, (row, request) in enumerate(zip(rows, found, strict=True)):
        assert abs(request[0] - row[0] * PS) <= max(1, row[0] * PS * 2**-52)
        assert (request[1], request[2], request[3]) == (row[1], row[2], number)
        assert [name for name, _ in request[4]] == row[3]


def test_a_file_of_many_blocks_is_read_whole_and_its_progress_told(tmp_path: Path) -> None:
    lines = (f"{i / 1000},{512 + i % 9},{1 + i % 7},{i % 97} x{i % 89}" for i in range(150_000))
    told_shares: list[float] = []
    count, ids, sizes = 0, 0, []
    file = open_requests(written(tmp_path, WITH_IDS, *lines))
    for batch in file.batches(256, 20_000, told_shares.append):
        assert batch.own_ids[0] == count
        count += len(batch)
        ids += len(batch.piece_ids)
        sizes.append(len(batch))
    assert (count, ids) == (150_000, 300_000)
    assert len(sizes) > 4
    assert max(sizes) <= 20_000
    assert told_shares == sorted(told_shares)
    assert told_shares[0] > 0
    assert told_shares[-1] == 1


# What is refused


@pytest.mark.parametrize(
    ("row", "line", "why"),
    [
        pytest.param(",10,1", 3, "arrival_s is empty", id="no arrival"),
        pytest.param("1,,1", 3, "input_tokens is empty", id="no prompt tokens"),
        pytest.param("1,10, ", 3, "output_tokens is empty", id="blank output tokens"),
        pytest.param("soon,10,1", 3, "arrival_s is 'soon', which is no number", id="an arrival that is text"),
        pytest.param("nan,10,1", 3, "arrival_s is 'nan', which is no number", id="not a number"),
        pytest.param("1,inf,1", 3, "input_tokens is 'inf', which is no number", id="infinite"),
        pytest.param("1,1e400,1", 3, "input_tokens is '1e400', which is no number", id="beyond all floats"),
        pytest.param("1,10,1_0", 3, "output_tokens is '1_0', which is no number", id="a number as Python writes it"),
        pytest.param("-1,10,1", 3, "subtract the first arrival", id="before time starts"),
        pytest.param("1700000000,10,1", 3, "subtract the first arrival", id="a time of day since 1970"),
        pytest.param("0.2,10,1", 3, "sort the rows by arrival_s", id="out of order"),
        pytest.param("1,12.5,1", 3, "input_tokens is 12.5; tokens are whole numbers", id="half a token"),
        pytest.param("1,0,1", 3, "a prompt has at least one token", id="an empty prompt"),
        pytest.param("1,10,0", 3, "an answer has at least one token", id="an empty answer"),
        pytest.param("1,10,-3", 3, "an answer has at least one token", id="a negative answer"),
        pytest.param("1,10,2147483648", 3, "at most 2147483647", id="more tokens than there are"),
        pytest.param("1,10", 3, "2 values, and the first line names 3 columns", id="a value too few"),
        pytest.param("1,10,1,5", 3, "4 values, and the first line names 3 columns", id="a value too many"),
        pytest.param(f"\n\n{'x' * 60},10,1", 5, f"'{'x' * 39}…'", id="after empty lines, and long"),
    ],
)
def test_a_wrong_row_is_named_with_its_line_and_the_way_out(row: str, line: int, why: str, tmp_path: Path) -> None:
    path = written(tmp_path, HEADER, "0.5,10,1", row, "1,x,x")
    message = told(path)
    assert message.startswith(f"{path}:{line}: ")
    assert why in message


def test_long_texts_that_nobody_reads_do_no_harm_and_a_row_beyond_a_block_is_told(tmp_path: Path) -> None:
    texts = ["x" * 300_000, "y" * 200_000]
    path = written(tmp_path, f"{HEADER},note", *(f"{i},10,1,{text}" for i, text in enumerate(texts)))
    assert sum(len(batch) for batch in read_requests(path)) == 2
    assert told(written(tmp_path, f"{HEADER},note", f"0,1,1,{texts[0]}", f"1,0,1,{texts[1]}")).startswith(f"{path}:3: ")
    beyond = told(written(tmp_path, f"{HEADER},note", "0,1,1,", f"1,1,1,{'z' * 1_200_000}", "2,1,1,"))
    assert beyond.endswith("a row is longer than 524288 bytes")


def test_more_segments_than_the_prompt_holds_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, WITH_IDS, "0,512,1,1", "0,512,1,1 2")
    assert told(path).startswith(f"{path}:3: prefix_ids has 2 ids of 512 tokens each, and 512 input_tokens hold 1")
    assert pieces(one_batch(path, 256)) == [[(1, 256)], [(1, 256), (2, 256)]]


@pytest.mark.parametrize("bad", [3, 70_000, 149_999])
def test_the_line_is_right_wherever_it_stands(bad: int, tmp_path: Path) -> None:
    lines = [f"{i / 1000},10,{'no' if i == bad else 5},{'x' * 30}" for i in range(150_000)]
    for packed in (False, True):
        path = written(tmp_path, f"{HEADER},note", *lines)
        if packed:
            path.write_bytes(gzip.compress(path.read_bytes(), 1))
        given: list[int] = []
        with pytest.raises(ValueError, match=f":{bad + 2}: output_tokens is 'no'"):
            given.extend(len(batch) for batch in read_requests(path))
        assert sum(given) <= bad


def test_disorder_between_two_batches_is_seen(tmp_path: Path) -> None:
    path = written(tmp_path, HEADER, "1,1,1", "2,1,1", "1.5,1,1")
    with pytest.raises(ValueError, match=r":4: arrival_s is 1.5 after 2 in the row before"):
        list(read_requests(path, batch_rows=2))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("", "is empty; its first line names the columns", id="nothing"),
        pytest.param("\n\n", "is empty; its first line names the columns", id="empty lines"),
        pytest.param(HEADER, "holds no request", id="names only, the line not ended"),
        pytest.param(f"{HEADER}\n", "holds no request", id="names only"),
        pytest.param("arrival_s,input\n1,2\n", "no column is called input_tokens or output_tokens", id="other names"),
        pytest.param("1,10,1\n2,10,1\n", "its first line names 1, 10, 1", id="no names"),
        pytest.param(f"{HEADER},arrival_s\n1,1,1,1\n", "arrival_s is there twice", id="a name twice"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_file_without_requests_is_refused(text: str, why: str, packed: bool, tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    message = told(path)
    assert str(path) in message
    assert why in message


@pytest.mark.parametrize("cut", [8, 30, -9])
def test_a_broken_gzip_file_is_told(cut: int, tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(1, 9999, 50_000)
    rows = "\n".join(f"{i},{n},1" for i, n in enumerate(noise))
    path = tmp_path / "r.csv.gz"
    path.write_bytes(gzip.compress(f"{HEADER}\n{rows}\n".encode())[:cut])
    assert str(path) in told(path)


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a file"):
        open_requests(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_requests(tmp_path / "none.csv")


def attempted(path: Path) -> tuple[list[Request], str]:
    try:
        return joined(read_requests(path)), ""
    except ValueError as error:
        return [], str(error)


CELLS = st.one_of(
    st.text("0123456789.+-eE_ \txfnai", max_size=6),
    st.sampled_from(["1", "2", "3.0", "1e0", ".5e1", "7", "-0", "00", "NaN", "null"]),
)


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=4))
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_refused_names_a_line(tmp_path: Path, rows: list[tuple[str, str, str]]) -> None:
    """The columnar reader and the one that names lines agree on what is wrong."""
    path = tmp_path / "r.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([HEADER.split(","), *rows])
    found, error = attempted(path)
    if error:
        assert re.match(rf"{re.escape(str(path))}:[2-5]: ", error)
    else:
        assert [int(float(prompt)) for _, prompt, _ in rows] == [request[1] for request in found]


# Real traces


def test_a_recorded_conversation_trace_fits(tmp_path: Path) -> None:
    with shared_data("mooncake_fast25", "conversation_trace.jsonl").open() as trace:
        rows = [json.loads(line) for line in trace]
    lines = [
        f"{row['timestamp'] / 1000},{row['input_length']},{row['output_length']},{' '.join(map(str, row['hash_ids']))}"
        for row in rows
    ]
    path = written(tmp_path, WITH_IDS, *lines)
    found = joined(read_requests(path, 512, 1000))
    assert [prompt for _, prompt, *_ in found] == [row["input_length"] for row in rows]
    assert [[name for name, _ in request[4]] for request in found] == [row["hash_ids"] for row in rows]
    assert all(sum(tokens for _, tokens in request[4]) == request[1] for request in found), "ids cover whole prompts"
