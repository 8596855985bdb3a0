"""Requests out of a CSV file, as columns and batch by batch: memory follows the batch, not the file."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from aiops.simulate.requests import PS, Ints, RequestBatch
from aiops.simulate.tables.prefix_ids import parse_ids
from aiops.simulate.tables.request_text import (
    COLUMNS,
    LAST_ARRIVAL_S,
    MOST_TOKENS,
    PREFIXES,
    Header,
    first_fault,
    is_gzip,
    read_header,
)

_BLOCK_BYTES = 1 << 19  # the longest row; some thirty blocks are read ahead

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RequestFile:
    """A file whose header is good: see ``open_requests``."""

    path: Path
    header: Header

    @property
    def has_prefixes(self) -> bool:
        """Whether prompts may begin alike: without the column ``prefix_ids`` none does."""
        return PREFIXES in self.header.wanted

    def batches(
        self,
        segment_tokens: int = 512,
        batch_rows: int = 65536,
        on_read: Callable[[float], None] = lambda _: None,
    ) -> Iterator[RequestBatch]:
        """Give the requests in the order of the file, at most ``batch_rows`` at a time.

        ``segment_tokens`` is how much of a prompt each of its ``prefix_ids`` stands for; the last one may reach beyond
        the prompt and is cut to it. A request's own content is numbered by its row, from 0 on. ``on_read`` is told the
        share of the file that is read. Raises ValueError that names the line, the value and the way out, once all
        good batches before it are given.
        """
        if segment_tokens < 1:
            raise ValueError(f"a segment has at least one token, not {segment_tokens}")
        rows, last_s = 0, 0.0
        try:
            for block in _blocks(self, on_read):
                for start in range(0, block.num_rows, batch_rows):
                    part = block.slice(start, batch_rows)
                    batch = _batch(part, rows, last_s, segment_tokens)
                    if batch is None:
                        raise self._fault(rows, last_s, segment_tokens, "a row cannot be used")
                    rows, last_s = rows + len(batch), part["arrival_s"][-1].as_py()
                    yield batch
        except pa.ArrowInvalid as error:
            long = f"a row is longer than {_BLOCK_BYTES} bytes" if "straddl" in str(error) else str(error)
            raise self._fault(rows, last_s, segment_tokens, long) from error

    def _fault(self, rows: int, last_s: float, segment_tokens: int, otherwise: str) -> ValueError:
        found = first_fault(self.path, self.header, rows, last_s, segment_tokens)
        return ValueError(found or f"{self.path}: after {rows} good rows: {otherwise}")


def open_requests(path: Path) -> RequestFile:
    """Read the header of a CSV of requests, plain or gzip.

    Columns, in any order, others ignored: ``arrival_s`` (ascending, from 0), ``input_tokens``, ``output_tokens`` and
    maybe ``prefix_ids``. Raises ValueError that says what is wrong with the header, and OSError.
    """
    if not path.is_file() and path.exists():
        raise ValueError(f"{path} is not a file")
    return RequestFile(path, read_header(path))


def read_requests(path: Path, segment_tokens: int = 512, batch_rows: int = 65536) -> Iterator[RequestBatch]:
    """Read a CSV of requests batch by batch: ``open_requests`` and ``RequestFile.batches`` in one."""
    return open_requests(path).batches(segment_tokens, batch_rows)


def _blocks(file: RequestFile, on_read: Callable[[float], None]) -> Iterator[pa.RecordBatch]:
    """Give the wanted columns, numbers as floats (programs that know gaps write 512.0) and ids as bytes."""
    size = max(1, file.path.stat().st_size)
    names = {name: file.header.names[place] for name, place in file.header.wanted.items()}
    types = {names[name]: pa.float64() for name in COLUMNS}
    if file.has_prefixes:
        types[names[PREFIXES]] = pa.binary()
    with pa.OSFile(str(file.path)) as handle:
        stream = pa.CompressedInputStream(handle, "gzip") if is_gzip(file.path) else handle
        try:
            reader = csv.open_csv(
                stream,
                read_options=csv.ReadOptions(block_size=_BLOCK_BYTES),
                # Columns that nobody reads here may be prompts.
                parse_options=csv.ParseOptions(newlines_in_values=True),
                convert_options=csv.ConvertOptions(include_columns=[*types], column_types=types, null_values=[""]),
            )
            for block in reader:
                on_read(handle.tell() / size)
                yield block.rename_columns(list(names))
        except OSError as error:
            raise ValueError(f"{file.path} cannot be read to its end: {error}") from error


def _batch(block: pa.RecordBatch, first_row: int, after_s: float, segment_tokens: int) -> RequestBatch | None:
    """Make a batch that begins no earlier than ``after_s``; None where any of its rows is wrong."""
    if any(block[name].null_count for name in COLUMNS):
        return None
    arrival_s, prompt, output = (block[name].to_numpy() for name in COLUMNS)
    # NaN is in no range and in no order.
    in_order = arrival_s[0] >= after_s and (arrival_s[1:] >= arrival_s[:-1]).all()
    if not (in_order and arrival_s[-1] <= LAST_ARRIVAL_S and _whole(prompt) and _whole(output)):
        return None
    rows = len(arrival_s)
    prompt_tokens = prompt.astype(np.int64)
    pieces = _pieces(block, prompt_tokens, segment_tokens)
    if pieces is None:
        return None
    ids, offsets, piece_tokens = pieces
    return RequestBatch(
        arrival_ps=_picoseconds(arrival_s),
        prompt_tokens=prompt_tokens,
        output_tokens=output.astype(np.int64),
        own_ids=np.arange(first_row, first_row + rows, dtype=np.int64),
        own_public=np.zeros(rows, np.bool_),
        piece_offsets=offsets,
        piece_ids=ids,
        piece_tokens=piece_tokens,
    )


def _whole(tokens: Floats) -> bool:
    return bool(((tokens >= 1) & (tokens <= MOST_TOKENS) & (tokens == np.floor(tokens))).all())


def _pieces(block: pa.RecordBatch, prompt_tokens: Ints, segment_tokens: int) -> tuple[Ints, Ints, Ints] | None:
    """Give the segments' ids, each request's place among them, and their tokens; None where a prompt is too short."""
    if PREFIXES not in block.schema.names:
        return np.zeros(0, np.int64), np.zeros(len(prompt_tokens) + 1, np.int64), np.zeros(0, np.int64)
    column = block[PREFIXES]
    _, bounds, text = column.buffers()
    bounds = np.frombuffer(bounds, np.int32)[column.offset : column.offset + len(column) + 1]
    ids, offsets = parse_ids(np.frombuffer(text or b"", np.uint8), bounds)
    counts = np.diff(offsets)
    if (counts > -(-prompt_tokens // segment_tokens)).any():
        return None
    tokens = np.full(len(ids), segment_tokens, np.int64)
    some = counts > 0
    last = prompt_tokens[some] - (counts[some] - 1) * segment_tokens
    tokens[offsets[1:][some] - 1] = np.minimum(last, segment_tokens)
    return ids, offsets, tokens


def _picoseconds(seconds: Floats) -> Ints:
    # Whole seconds apart, so that no picosecond is lost after the first hours.
    whole = np.floor(seconds)
    picoseconds: Ints = whole.astype(np.int64) * PS + np.rint((seconds - whole) * PS).astype(np.int64)
    return picoseconds
