"""What became of requests, into a CSV file: they end in any order and are written in that of their arrival."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
from pyarrow.csv import WriteOptions, write_csv

from aiops.simulate.requests import PS, Ints

_HEADER = b"arrival_s,input_tokens,output_tokens,scheduled_s,first_token_s,finish_s,replica,cached_tokens,status\n"
_CHUNK_ROWS = 8192
_EXACT_PS = 2**53  # whole numbers up to here are floats


class Status(IntEnum):
    """How a request ended."""

    COMPLETED = 0
    FAILED = 1
    REFUSED = 2
    TIMED_OUT = 3


@dataclass(frozen=True, slots=True)
class OutcomeBatch:
    """Requests that have ended, in any order, a value each in every column.

    ``number`` is the request's row in the input, from 0 on; ``replica`` the place of its replica's name in a list;
    ``status`` a ``Status``. Negative is none: a request that was refused has no replica and was never scheduled.
    """

    number: Ints
    arrival_ps: Ints
    input_tokens: Ints
    output_tokens: Ints
    scheduled_ps: Ints
    first_token_ps: Ints
    finish_ps: Ints
    replica: Ints
    cached_tokens: Ints
    status: Ints

    def __len__(self) -> int:
        """Count the requests."""
        return len(self.number)


_COLUMNS = tuple(field.name for field in fields(OutcomeBatch) if field.name != "number")


class OutcomeWriter:
    """Writes ``requests.csv``, a row a request in the order of the input.

    It holds back those that ended before an earlier one has: memory follows what is in flight. Seconds are the shortest
    decimals that read as the nearest float; what a request never had is an empty cell.
    """

    def __init__(self, path: Path) -> None:
        self._file = pa.OSFile(str(path), "wb")
        self._file.write(_HEADER)
        self._rows = np.zeros((4 * _CHUNK_ROWS, len(_COLUMNS)), np.int64)  # request n is at n modulo the length
        self._ended = np.zeros(len(self._rows), np.bool_)
        self._next = 0
        self._held = 0

    @property
    def held(self) -> int:
        """How many have ended and are not written yet."""
        return self._held

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, outcomes: OutcomeBatch, replicas: Sequence[str]) -> None:
        """Take requests that have ended; ``replicas`` are the names that their column ``replica`` counts in.

        Names may be added from call to call, not changed. Raises ValueError where a request has ended before.
        """
        if not len(outcomes):
            return
        number = outcomes.number
        self._make_room(int(number.max()) + 1 - self._next)
        places = number % len(self._rows)
        if number.min() < self._next or self._ended[places].any():
            raise ValueError("a request has ended twice")
        self._rows[places] = np.column_stack([getattr(outcomes, name) for name in _COLUMNS])
        self._ended[places] = True
        self._held += len(number)
        if (ready := self._ready()) >= _CHUNK_ROWS:
            self._put(ready, replicas)

    def finish(self, replicas: Sequence[str]) -> None:
        """Write the rest and close the file. Raises ValueError where a request is missing."""
        self._put(self._ready(), replicas)
        self._file.close()
        if self._held:
            raise ValueError(f"request {self._next} has not ended, or one after it has ended twice")

    def _make_room(self, span: int) -> None:
        size = len(self._rows)
        if span <= size:
            return
        order = np.arange(self._next, self._next + size)
        rows, ended = self._rows[order % size], self._ended[order % size]
        while size < span:
            size *= 2
        self._rows, self._ended = np.zeros((size, len(_COLUMNS)), np.int64), np.zeros(size, np.bool_)
        self._rows[order % size], self._ended[order % size] = rows, ended

    def _ready(self) -> int:
        """Count the rows that nobody earlier holds back."""
        ended = self._ended[np.arange(self._next, self._next + self._held) % len(self._ended)]
        return self._held if ended.all() else int(ended.argmin())

    def _put(self, count: int, replicas: Sequence[str]) -> None:
        names, options = _written(replicas)
        for start in range(self._next, self._next + count, _CHUNK_ROWS):
            places = np.arange(start, min(start + _CHUNK_ROWS, self._next + count)) % len(self._rows)
            write_csv(_table(self._rows[places].T, names), self._file, options)
            self._ended[places] = False
        self._next += count
        self._held -= count


_STATUS = pa.array([status.name.lower() for status in Status])


def _table(columns: Ints, names: pa.Array) -> pa.RecordBatch:
    arrival, prompt, output, scheduled, first, finish, replica, cached, status = columns
    arrays = [
        _seconds(arrival),
        pa.array(prompt),
        pa.array(output),
        _seconds(scheduled),
        _seconds(first),
        _seconds(finish),
        names.take(pa.array(replica, mask=replica < 0)),
        pa.array(cached, mask=cached < 0),
        _STATUS.take(pa.array(status)),
    ]
    return pa.record_batch(arrays, list(_COLUMNS))


def _seconds(picoseconds: Ints) -> pa.Array:
    # A quotient of two exact floats is the float nearest to it; beyond, whole seconds and the rest are added.
    whole, rest = np.divmod(picoseconds, PS)
    seconds = np.where(picoseconds < _EXACT_PS, picoseconds / PS, whole + rest / PS)
    return pa.array(seconds, mask=picoseconds < 0)


def _written(names: Sequence[str]) -> tuple[pa.Array, WriteOptions]:
    quoted = any(mark in name for name in names for mark in ',"\r\n')
    options = WriteOptions(include_header=False, quoting_style="needed" if quoted else "none")
    return pa.array(names, pa.string()), options
