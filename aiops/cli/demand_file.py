"""A recorded demand out of a CSV file: its times and series, gaps kept as gaps."""

import csv
import gzip
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from aiops.forecast.ensemble import LARGEST
from aiops.model.forecast import INPUT_TOKENS, OUTPUT_TOKENS, REQUESTS

TIME = "t_s"
SERIES = (REQUESTS, INPUT_TOKENS, OUTPUT_TOKENS)
_MISSING = frozenset(("", "nan", "na", "n/a", "null", "none"))
_FURTHEST_S = 2e11  # the year 8307; milliseconds since 1970 are beyond it
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Demand:
    """``times_s`` ascend strictly; ``series`` has a value or None (not measured) for each, by the column's name."""

    times_s: tuple[float, ...]
    series: Mapping[str, tuple[float | None, ...]]


def read_demand(path: Path) -> Demand:
    """Read a CSV of demand, plain or gzip: ``t_s`` and any of ``req_per_s, input_tok_per_s, output_tok_per_s``.

    Other columns are ignored. Rows may be missing, late (they are put in their place) or double (of two values for one
    time the later in the file counts). An empty cell, NaN, a negative rate and one above 1e18 are not measured.
    Raises ValueError that names the line, the value and the way out, and OSError.
    """
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a CSV file")
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == _GZIP
        with (
            gzip.open(path, "rt", encoding="utf-8-sig", newline="")
            if zipped
            else path.open(encoding="utf-8-sig", newline="") as file
        ):
            return _demand(path, file)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8; give a CSV file") from error
    except (csv.Error, gzip.BadGzipFile, EOFError) as error:
        raise ValueError(f"{path} cannot be read to its end: {error}") from error


def _demand(path: Path, lines: Iterable[str]) -> Demand:
    reader = csv.reader(lines)
    header = [name.strip() for name in next(reader, [])]
    named = [name for name in SERIES if name in header]
    if TIME not in header or not named:
        wanted = f"{TIME} and at least one of {', '.join(SERIES)}"
        raise ValueError(f"{path}: the header must name {wanted}; it has: {', '.join(header) or 'nothing'}")
    double = next((name for name in (TIME, *named) if header.count(name) > 1), None)
    if double:
        raise ValueError(f"{path}: the header names {double} twice; remove one")
    places = {name: header.index(name) for name in (TIME, *named)}
    rows: dict[float, list[float | None]] = {}
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        where = f"{path}, line {reader.line_num}"
        read = {name: _number(cells[i] if i < len(cells) else "", f"{where}: {name}") for name, i in places.items()}
        values = [_rate(read[name]) for name in named]
        at_s = _time(read[TIME], where)
        before = rows.get(at_s, values)
        rows[at_s] = [old if value is None else value for value, old in zip(values, before, strict=True)]
    if not rows:
        raise ValueError(f"{path} has a header and no rows; add demand")
    times = tuple(sorted(rows))
    return Demand(times, {name: tuple(rows[at_s][i] for at_s in times) for i, name in enumerate(named)})


def _number(cell: str, where: str) -> float | None:
    text = cell.strip()
    if text.lower() in _MISSING:
        return None
    try:
        return float(text)
    except ValueError as error:
        raise ValueError(f"{where} is {text!r}; write a number, or nothing where it was not measured") from error


def _rate(value: float | None) -> float | None:
    return value if value is not None and 0.0 <= value <= LARGEST else None


def _time(value: float | None, where: str) -> float:
    if value is None or not isfinite(value):
        raise ValueError(f"{where}: {TIME} is missing; every row has its time in seconds")
    if abs(value) > _FURTHEST_S:
        raise ValueError(f"{where}: {TIME} is {value:g}, which is no time in seconds; divide milliseconds by 1000")
    return value
