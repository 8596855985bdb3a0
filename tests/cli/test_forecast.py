"""The command that scores the forecasters: its file, its summary, its picture, and what it says of bad input."""

import csv
import gzip
import json
from math import pi, sin
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.cli.factory import aiops
from tests.parts import shared_data

HEADER = "t_s,req_per_s,input_tok_per_s,output_tok_per_s,active_clients"
COLUMNS = ["origin_s", "target_s", "series", "q05", "q10", "q50", "q90", "q95"]
ROWS = [
    f"{600 * i},{20 + 10 * sin(i * pi / 72):.4f},{2e4 + 1e4 * sin(i * pi / 72):.3f},{900 + i % 7},3" for i in range(432)
]


def recording(folder: Path, rows: list[str], header: str = HEADER, name: str = "demand.csv") -> Path:
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def scored(path: Path, *options: str) -> tuple[list[dict[str, str]], dict[str, Any]]:
    out = path.with_suffix(".out")
    done = aiops("forecast", "score", str(path), "--out", str(out), "--json", *options)
    assert done.returncode == 0, done.stderr
    with out.open(newline="") as file:
        reader = csv.DictReader(file)
        assert reader.fieldnames == COLUMNS
        return list(reader), json.loads(done.stdout)


def test_every_series_origin_and_horizon_has_a_row_and_its_measures(tmp_path: Path) -> None:
    rows, summary = scored(recording(tmp_path, ROWS), "--horizon", "600,6h", "--start", "0.5")
    series = HEADER.split(",")[1:4]
    first = 600 * 431 // 2 // 3600 * 3600 + 3600

    assert [(row["origin_s"], row["target_s"], row["series"]) for row in rows] == [
        (str(at_s), str(at_s + horizon_s), name)
        for at_s in range(first, 600 * 431 + 1, 3600)
        for name in series
        for horizon_s in (600, 21600)
    ]
    assert all(
        [float(row[name]) for name in COLUMNS[3:]] == sorted(float(row[name]) for name in COLUMNS[3:]) for row in rows
    )
    assert [(each["series"], each["horizon_s"]) for each in summary["scores"]] == [
        (name, horizon_s) for name in series for horizon_s in (600.0, 21600.0)
    ]
    assert (summary["bin_s"], summary["origins"], summary["points"]) == (600.0, len(rows) // 6, 432)
    # The targets of the last six hours are not in the file.
    assert [each["origins"] for each in summary["scores"][:2]] == [len(rows) // 6, len(rows) // 6 - 6]
    assert summary["scores"][1]["wape_to_last_value_ratio"] < 1.0


def test_cutting_the_file_changes_no_row_up_to_the_cut(tmp_path: Path) -> None:
    holes = [row for i, row in enumerate(ROWS[:300]) if not (40 <= i < 70 or i % 17 == 3)]
    holes[100] = holes[100].split(",")[0] + ",,nan,-1,"
    options = ("--origin-every", "5000", "--horizon", "600,1800,21600")
    whole, _ = scored(recording(tmp_path, holes), *options, "--start", "0.1")
    cut_s = 5000 * 25
    cut, _ = scored(
        recording(tmp_path, [row for row in holes if float(row.split(",")[0]) <= cut_s], name="cut.csv"),
        *options,
        "--start",
        "0.3",
    )

    first_s, last_s = (float(cut[i]["origin_s"]) for i in (0, -1))
    assert last_s == cut_s - 5000  # the last row is before the cut
    assert cut == [row for row in whole if first_s <= float(row["origin_s"]) <= last_s]


@pytest.mark.parametrize(
    "name", [pytest.param("m-large_10min.csv", id="a fortnight"), pytest.param("mm-image_10min.csv", id="a day")]
)
def test_cutting_a_real_recording_changes_no_row_up_to_the_cut(name: str, tmp_path: Path) -> None:
    lines = shared_data("servegen", name).read_text().splitlines()
    whole, _ = scored(recording(tmp_path, lines[1:], lines[0]))
    for share in (0.6, 0.9):
        rows = lines[1 : 1 + int(share * len(lines))]
        cut, _ = scored(recording(tmp_path, rows, lines[0], "cut.csv"))
        last_s = float(rows[-1].split(",")[0])
        by_origin = [row for row in whole if float(row["origin_s"]) <= last_s]
        assert by_origin
        assert cut[-len(by_origin) :] == by_origin


def test_late_and_double_rows_are_put_in_their_place(tmp_path: Path) -> None:
    clean, _ = scored(recording(tmp_path, ROWS[:200]))
    mixed = [*ROWS[:50], *ROWS[60:200], *ROWS[50:60], *ROWS[7:9], "6000,,,,"]

    assert scored(recording(tmp_path, mixed, name="mixed.csv"))[0] == clean


def test_a_compressed_file_with_a_single_series_is_scored_for_that_one(tmp_path: Path) -> None:
    path = tmp_path / "demand.csv.gz"
    path.write_bytes(
        gzip.compress(("\n".join(["x, t_s ,input_tok_per_s", *(f"a,{60 * i},5" for i in range(90))])).encode())
    )
    rows, summary = scored(path, "--horizon", "60", "--origin-every", "600", "--start", "0")

    assert {row["series"] for row in rows} == {"input_tok_per_s"}
    assert (len(rows), summary["bin_s"]) == (9, 60.0)


def test_before_the_first_value_cells_are_empty(tmp_path: Path) -> None:
    rows, _ = scored(recording(tmp_path, ["0,,7", "600,,7", "1200,1,7"], "t_s,req_per_s,input_tok_per_s"),
                     "--horizon", "600", "--origin-every", "600", "--start", "0")  # fmt: skip

    assert [(row["series"], bool(row["q05"]), bool(row["q95"])) for row in rows] == [
        ("req_per_s", False, False), ("input_tok_per_s", True, True),
        ("req_per_s", False, False), ("input_tok_per_s", True, True),
        ("req_per_s", True, True), ("input_tok_per_s", True, True),
    ]  # fmt: skip


def test_the_picture_is_a_drawing_with_its_title_and_units(tmp_path: Path) -> None:
    picture = tmp_path / "fan.svg"
    holes = [row for i, row in enumerate(ROWS) if not 300 <= i < 330]
    path = recording(tmp_path, holes)
    scored(path, "--picture", str(picture), "--picture-series", "input_tok_per_s", "--picture-horizon", "30m")
    drawing = ElementTree.fromstring(picture.read_text())  # noqa: S314  # our own
    texts = [each.text or "" for each in drawing.iter("{http://www.w3.org/2000/svg}text")]
    bands = [each for each in drawing.iter() if each.get("class") == "outer"]

    assert {"input tokens/s", "time (day and hour, UTC)", "demand", "forecast, median", "q10 to q90"} <= set(texts)
    assert "30m" in texts[0]
    assert len(bands) == 3  # the legend's, and one on either side of the hole


@pytest.mark.parametrize(
    ("text", "options", "told"),
    [
        pytest.param("", (), "nothing", id="an empty file"),
        pytest.param("t_s,req_per_s\n", (), "no rows", id="a header alone"),
        pytest.param("t_s,tokens\n0,1\n", (), "t_s, tokens", id="no series that is known"),
        pytest.param("req_per_s\n1\n", (), "t_s", id="no times"),
        pytest.param("t_s,req_per_s,req_per_s\n0,1,2\n", (), "twice", id="a column twice"),
        pytest.param("t_s,req_per_s\n0,1\n600,many\n", (), "line 3: req_per_s is 'many'", id="a word for a number"),
        pytest.param("t_s,req_per_s\n0,1\n,1\n", (), "line 3: t_s is missing", id="a row without a time"),
        pytest.param("t_s,req_per_s\n1.7e12,1\n", (), "milliseconds", id="milliseconds"),
        pytest.param("t_s,req_per_s\n0,1\n", ("--picture", "{folder}/f.svg", "--picture-series", "x"), "req_per_s",
                     id="a picture of a series that is not there"),
        pytest.param("t_s,req_per_s\n0,1\n9e9,1\n", ("--origin-every", "1"), "1 s between", id="too many origins"),
        pytest.param("t_s,req_per_s\n0,1\n", ("--out", "{folder}/no/f.csv"), "no folder", id="no such folder"),
        pytest.param("t_s,req_per_s\n0,1\n", ("--out", "{folder}/demand.csv"), "the recording", id="onto itself"),
    ],
)  # fmt: skip
def test_bad_input_is_told_and_nothing_is_written(
    text: str, options: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    path = tmp_path / "demand.csv"
    path.write_text(text)
    given = [option.format(folder=tmp_path) for option in options]
    done = aiops("forecast", "score", str(path), "--json", "--out", str(tmp_path / "out.csv"), *given)

    assert done.returncode == 1, done.stderr
    assert told in json.loads(done.stdout)["error"]
    assert [each.name for each in tmp_path.iterdir()] == ["demand.csv"]
    assert path.read_text() == text


@pytest.mark.parametrize(
    "options",
    [
        pytest.param((), id="no place for the result"),
        pytest.param(("--out", "x.csv", "--horizon", "soon"), id="a horizon that is no time"),
        pytest.param(("--out", "x.csv", "--horizon", "0"), id="no horizon"),
        pytest.param(("--out", "x.csv", "--horizon", "60,1m"), id="a horizon twice"),
        pytest.param(("--out", "x.csv", "--start", "2"), id="a start beyond the end"),
    ],
)
def test_wrong_usage_ends_with_2(options: tuple[str, ...], tmp_path: Path) -> None:
    path = recording(tmp_path, ROWS[:3])

    assert aiops("forecast", "score", str(path), *options).returncode == 2
