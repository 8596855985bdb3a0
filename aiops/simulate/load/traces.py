"""Recorded requests, read as they are needed and replayed."""

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np

from aiops.simulate.load.columns import Floats, HeldBack, offsets_of, picked, to_ps
from aiops.simulate.load.spec import TraceKind, TraceSpec
from aiops.simulate.requests import PS, Ints, RequestBatch

_AT_ONCE = 4096  # lines
_MOONCAKE_BLOCK = 512  # tokens


@dataclass(frozen=True, slots=True)
class Recorded:
    """Requests of a recording in its order: seconds on its clock, lengths, and the pieces as in a batch."""

    at_s: Floats
    prompt_tokens: Ints
    output_tokens: Ints
    piece_counts: Ints
    piece_ids: Ints
    piece_tokens: Ints


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    with path.open(encoding="utf-8", newline="") as file:
        number = 1
        while lines := list(islice(file, _AT_ONCE)):
            yield number, lines
            number += len(lines)


def _recorded(at_s: Floats, prompts: list[int], outputs: list[int]) -> Recorded:
    none = np.zeros(0, np.int64)
    lengths = np.maximum(np.array([prompts, outputs], np.int64).reshape(2, -1), 1)
    return Recorded(at_s, lengths[0], lengths[1], np.zeros(len(at_s), np.int64), none, none)


def read_mooncake(path: Path) -> Iterator[Recorded]:
    """Read Mooncake's JSON lines: ``timestamp`` (ms), lengths, and ``hash_ids`` of blocks of 512 tokens.

    Each block is a piece, the last one as long as the prompt's rest. Raises ValueError that names the line at fault.
    """
    for number, lines in _lines(path):
        rows = [_json(path, number + place, line) for place, line in enumerate(lines)]
        with _told(path, number, "timestamp, input_length, output_length and hash_ids"):
            at_s = np.array([row["timestamp"] for row in rows], np.float64) / 1000
            requests = _recorded(at_s, [row["input_length"] for row in rows], [row["output_length"] for row in rows])
            counts = np.array([len(row["hash_ids"]) for row in rows], np.int64)
            ids = np.array([each for row in rows for each in row["hash_ids"]], np.int64)
        wrong = np.flatnonzero(counts != -(-requests.prompt_tokens // _MOONCAKE_BLOCK))
        if len(wrong):
            raise ValueError(f"{path}, line {number + wrong[0]}: hash_ids are not one for every 512 tokens")
        tokens = np.full(len(ids), _MOONCAKE_BLOCK)
        tokens[np.cumsum(counts) - 1] = requests.prompt_tokens - (counts - 1) * _MOONCAKE_BLOCK
        yield Recorded(at_s, requests.prompt_tokens, requests.output_tokens, counts, ids, tokens)


def read_azure(path: Path) -> Iterator[Recorded]:
    """Read Azure's LLM traces: ``TIMESTAMP,ContextTokens,GeneratedTokens``; the first request comes at 0 s.

    Raises ValueError that names the lines at fault.
    """
    first: np.datetime64 | None = None
    for number, lines in _lines(path):
        rows = list(csv.reader(lines))
        if number == 1:
            if rows[0] != ["TIMESTAMP", "ContextTokens", "GeneratedTokens"]:
                raise ValueError(f"{path}, line 1: {lines[0].strip()!r} is not TIMESTAMP,ContextTokens,GeneratedTokens")
            rows = rows[1:]
        with _told(path, number, "a time and two numbers"):
            stamps = np.array([row[0] for row in rows], "datetime64[ns]")
            if first is None and len(stamps):
                first = stamps[0]
            at_s = (stamps - (first or np.datetime64(0, "ns"))) / np.timedelta64(1, "s")
            requests = _recorded(at_s, [int(row[1]) for row in rows], [int(row[2]) for row in rows])
        yield requests


def read_aibrix(path: Path) -> Iterator[Recorded]:
    """Read aibrix's JSON lines: ``timestamp`` (ms) and ``requests`` with their lengths.

    Raises ValueError that names the line at fault.
    """
    for number, lines in _lines(path):
        rows = [_json(path, number + place, line) for place, line in enumerate(lines)]
        with _told(path, number, "timestamp and requests"):
            each = [(row["timestamp"], request) for row in rows for request in row["requests"]]
            at_s = np.array([stamp for stamp, _ in each], np.float64) / 1000
            prompts = [request["Prompt Length"] for _, request in each]
            requests = _recorded(at_s, prompts, [request["Output Length"] for _, request in each])
        yield requests


def _json(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{path}, line {number} is no JSON: {error}") from error
    if not isinstance(row, dict):
        raise ValueError(f"{path}, line {number} is no JSON object")
    return row


@contextmanager
def _told(path: Path, number: int, wanted: str) -> Iterator[None]:
    try:
        yield
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}, line {number} or one of the next {_AT_ONCE}: wanted {wanted}, got {error!r}"
        ) from error


_READERS: Final[dict[TraceKind, Callable[[Path], Iterator[Recorded]]]] = {
    TraceKind.MOONCAKE: read_mooncake,
    TraceKind.AZURE: read_azure,
    TraceKind.AIBRIX: read_aibrix,
}


class Replay:
    """The requests of a trace as they came, each late by a random time under the jitter."""

    highest = 1000.0

    def __init__(self, spec: TraceSpec, random: np.random.Generator, first_id: int) -> None:
        self._spec = spec
        self._random = random
        self._recorded = _READERS[spec.kind](spec.path)
        self._next_id = first_id
        self._held = HeldBack()
        self._read_to_s = -np.inf  # nothing that is still unread comes before
        self._last_s = -np.inf

    def until(self, end_s: float) -> RequestBatch:
        """Read on as far as needed; give the requests that are due.

        Raises ValueError where the trace is not in the order of time, or not of its kind.
        """
        while self._read_to_s < end_s:
            following = next(self._recorded, None)
            if following is None:
                self._read_to_s = np.inf
            elif len(following.at_s):
                self._hold(following)
        return self._held.take(round(end_s * PS))

    def _hold(self, recorded: Recorded) -> None:
        spec, at_s = self._spec, recorded.at_s
        if at_s[0] < self._last_s or (np.diff(at_s) < 0).any():
            raise ValueError(f"{spec.path} is not in the order of its times; sort it first")
        self._last_s = float(at_s[-1])
        origin_s = spec.origin.total_seconds()
        late_s = self._random.random(len(at_s)) * spec.jitter_s
        arrival_s = (at_s + late_s - origin_s) / spec.speed
        self._read_to_s = (self._last_s - origin_s) / spec.speed
        count = len(at_s)
        batch = RequestBatch(
            arrival_ps=to_ps(arrival_s),
            prompt_tokens=recorded.prompt_tokens,
            output_tokens=recorded.output_tokens,
            own_ids=np.arange(self._next_id, self._next_id + count, dtype=np.int64),
            own_public=np.zeros(count, np.bool_),
            piece_offsets=offsets_of(recorded.piece_counts),
            piece_ids=recorded.piece_ids,
            piece_tokens=recorded.piece_tokens,
        )
        self._next_id += count
        self._held.add(batch if arrival_s[0] >= 0 else picked(batch, np.flatnonzero(arrival_s >= 0)))
