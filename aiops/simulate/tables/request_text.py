"""A CSV of requests read row by row, as people see it: its header, and the line of the first row that is wrong.

Slow, and only for what columns cannot tell: Arrow names no line.
"""

import csv
import gzip
import math
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO

COLUMNS = ("arrival_s", "input_tokens", "output_tokens")
PREFIXES = "prefix_ids"
LAST_ARRIVAL_S = 8_640_000.0
"""The latest arrival, 100 days: the clock counts picoseconds, and 63 bits of them are 106 days."""
MOST_TOKENS = 2**31 - 1

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_ID = re.compile(r"[^\x00-\x20]+")
_TOKENS = {"input_tokens": "a prompt has at least one token", "output_tokens": "an answer has at least one token"}


@dataclass(frozen=True, slots=True)
class Header:
    """Where a file's columns are. ``names`` are all of them as the file writes them, ``wanted`` the places of ours."""

    names: tuple[str, ...]
    wanted: dict[str, int]


def is_gzip(path: Path) -> bool:
    """Tell by its first bytes whether a file is compressed."""
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def read_header(path: Path) -> Header:
    """Read the names of the columns. Raises ValueError that names the file and what is missing, and OSError.

    A file without a row after its header is missing its requests.
    """
    first = [cells for _, cells in islice(_rows(path), 2)]
    if not first:
        raise ValueError(f"{path} is empty; its first line names the columns: {','.join(COLUMNS)}[,{PREFIXES}]")
    names = [cell.strip() for cell in first[0]]
    wanted = [name for name in (*COLUMNS, PREFIXES) if name in names]
    if twice := [name for name in wanted if names.count(name) > 1]:
        raise ValueError(f"{path}: the column {twice[0]} is there twice; remove one")
    if missing := [name for name in COLUMNS if name not in names]:
        found = ", ".join(names) if len(names) <= 20 else f"{len(names)} others"
        raise ValueError(f"{path}: no column is called {' or '.join(missing)}; its first line names {found}")
    if len(first) < 2:
        raise ValueError(f"{path} holds no request, only the names of the columns")
    return Header(tuple(first[0]), {name: names.index(name) for name in wanted})


def first_fault(path: Path, header: Header, good_rows: int, after_s: float, segment_tokens: int) -> str | None:
    """Find the first row that is wrong after the ``good_rows`` first ones, whose last arrived at ``after_s``.

    Gives one sentence with the file, the line, the value and the way out; None where nothing is wrong.
    """
    for line, cells in islice(_rows(path), 1 + good_rows, None):
        fault = _fault(cells, header, after_s, segment_tokens)
        if fault:
            return f"{path}:{line}: {fault}"
        after_s = float(cells[header.wanted["arrival_s"]])
    return None


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Give each row that is not empty with the number of its first line."""
    csv.field_size_limit(2**31 - 1)  # a column that nobody reads here may hold long prompts
    try:
        with _text(path) as text:
            reader, line = csv.reader(text), 1
            for cells in reader:
                if cells:
                    yield line, cells
                line = reader.line_num + 1
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is a broken gzip file: {error}") from error
    except csv.Error as error:
        raise ValueError(f"{path}:{line}: {error}") from error


def _text(path: Path) -> TextIO:
    # What is not UTF-8 can only stand in columns that nobody reads, or is told as a wrong value.
    if is_gzip(path):
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="replace", newline="")
    return path.open(encoding="utf-8-sig", errors="replace", newline="")


def _fault(cells: Sequence[str], header: Header, after_s: float, segment_tokens: int) -> str | None:
    if len(cells) != len(header.names):
        return f"{len(cells)} values, and the first line names {len(header.names)} columns"
    values = {name: cells[place].strip(" \t") for name, place in header.wanted.items()}
    for name in COLUMNS:
        if not values[name]:
            return f"{name} is empty; give it a number or remove the row"
        if not _NUMBER.fullmatch(values[name]) or not math.isfinite(float(values[name])):
            return f"{name} is {_shown(values[name])}, which is no number"
    return (
        _arrival_fault(values["arrival_s"], after_s)
        or next((fault for name in _TOKENS if (fault := _tokens_fault(name, values[name]))), None)
        or _prefix_fault(values, segment_tokens)
    )


def _arrival_fault(value: str, after_s: float) -> str | None:
    arrival_s = float(value)
    if arrival_s < 0:
        return f"arrival_s is {value}; time starts at 0: subtract the first arrival from all"
    if arrival_s > LAST_ARRIVAL_S:
        return (
            f"arrival_s is {value}, and time ends at {LAST_ARRIVAL_S:.0f} s (100 days): subtract the first arrival "
            f"from all"
        )
    if arrival_s < after_s:
        return f"arrival_s is {value} after {after_s:.15g} in the row before; sort the rows by arrival_s"
    return None


def _tokens_fault(name: str, value: str) -> str | None:
    tokens = float(value)
    if tokens != int(tokens):
        return f"{name} is {value}; tokens are whole numbers"
    if tokens < 1:
        return f"{name} is {value}; {_TOKENS[name]}: remove the row"
    return f"{name} is {value}; at most {MOST_TOKENS} are possible" if tokens > MOST_TOKENS else None


def _prefix_fault(values: dict[str, str], segment_tokens: int) -> str | None:
    prompt, ids = int(float(values["input_tokens"])), len(_ID.findall(values.get(PREFIXES, "")))
    most = -(-prompt // segment_tokens)
    if ids <= most:
        return None
    return (
        f"{PREFIXES} has {ids} ids of {segment_tokens} tokens each, and {prompt} input_tokens hold {most}; check the "
        f"tokens of a segment"
    )


def _shown(value: str) -> str:
    return repr(value if len(value) <= 40 else f"{value[:39]}…")
