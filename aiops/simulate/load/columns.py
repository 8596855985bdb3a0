"""Batches of requests cut, joined, sorted and held back."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aiops.simulate.requests import PS, Ints, RequestBatch, plain_batch

Floats = NDArray[np.float64]

CLOCK_END_S = 9_000_000.0
"""104 days: picoseconds beyond do not fit 64 bits for much longer."""

_NONE = np.zeros(0, np.int64)


def to_ps(seconds: Floats) -> Ints:
    """Turn seconds into whole picoseconds; what is beyond the clock's end comes at its end."""
    ps: Ints = np.rint(np.minimum(seconds, CLOCK_END_S) * PS).astype(np.int64)
    return ps


def no_requests() -> RequestBatch:
    """Make a batch of nothing."""
    return plain_batch(_NONE, _NONE, _NONE)


def prefixed_batch(
    arrival_ps: Ints, prompt_tokens: Ints, output_tokens: Ints, first_id: int, prefix_tokens: Ints, prefix_ids: Ints
) -> RequestBatch:
    """Make requests that begin with a single shared piece each, or with none where ``prefix_tokens`` is 0."""
    count, has = len(arrival_ps), prefix_tokens > 0
    return RequestBatch(
        arrival_ps=arrival_ps,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        own_ids=np.arange(first_id, first_id + count, dtype=np.int64),
        own_public=np.zeros(count, np.bool_),
        piece_offsets=offsets_of(has),
        piece_ids=prefix_ids[has],
        piece_tokens=prefix_tokens[has],
    )


def offsets_of(counts: NDArray[np.integer] | NDArray[np.bool_]) -> Ints:
    """Say where each request's pieces begin, and the last one's end, from their counts."""
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


def cut(batch: RequestBatch, begin: int, end: int) -> RequestBatch:
    """Give the requests from place ``begin`` to ``end``; the columns are views."""
    first, last = batch.piece_offsets[begin], batch.piece_offsets[end]
    return RequestBatch(
        arrival_ps=batch.arrival_ps[begin:end],
        prompt_tokens=batch.prompt_tokens[begin:end],
        output_tokens=batch.output_tokens[begin:end],
        own_ids=batch.own_ids[begin:end],
        own_public=batch.own_public[begin:end],
        piece_offsets=batch.piece_offsets[begin : end + 1] - first,
        piece_ids=batch.piece_ids[first:last],
        piece_tokens=batch.piece_tokens[first:last],
    )


def joined(batches: Sequence[RequestBatch]) -> RequestBatch:
    """Put batches one behind the other, in the order given."""
    batches = [batch for batch in batches if len(batch)]
    if len(batches) < 2:
        return batches[0] if batches else no_requests()
    return RequestBatch(
        arrival_ps=np.concatenate([batch.arrival_ps for batch in batches]),
        prompt_tokens=np.concatenate([batch.prompt_tokens for batch in batches]),
        output_tokens=np.concatenate([batch.output_tokens for batch in batches]),
        own_ids=np.concatenate([batch.own_ids for batch in batches]),
        own_public=np.concatenate([batch.own_public for batch in batches]),
        piece_offsets=offsets_of(np.concatenate([np.diff(batch.piece_offsets) for batch in batches])),
        piece_ids=np.concatenate([batch.piece_ids for batch in batches]),
        piece_tokens=np.concatenate([batch.piece_tokens for batch in batches]),
    )


def picked(batch: RequestBatch, places: Ints) -> RequestBatch:
    """Give the requests at some places, in that order."""
    counts = np.diff(batch.piece_offsets)[places]
    offsets = offsets_of(counts)
    pieces = np.repeat(batch.piece_offsets[places] - offsets[:-1], counts) + np.arange(offsets[-1])
    return RequestBatch(
        arrival_ps=batch.arrival_ps[places],
        prompt_tokens=batch.prompt_tokens[places],
        output_tokens=batch.output_tokens[places],
        own_ids=batch.own_ids[places],
        own_public=batch.own_public[places],
        piece_offsets=offsets,
        piece_ids=batch.piece_ids[pieces],
        piece_tokens=batch.piece_tokens[pieces],
    )


def merged(batches: Sequence[RequestBatch]) -> RequestBatch:
    """Put batches together in the order of arrival; at the same instant in the order given."""
    batches = [batch for batch in batches if len(batch)]
    every = joined(batches)
    return picked(every, np.argsort(every.arrival_ps, kind="stable")) if len(batches) > 1 else every


class HeldBack:
    """Requests that are known and not due yet, in any order."""

    def __init__(self) -> None:
        self._held: list[RequestBatch] = []

    def add(self, batch: RequestBatch) -> None:
        """Hold more requests."""
        if len(batch):
            self._held.append(batch)

    def take(self, until_ps: int) -> RequestBatch:
        """Give those that arrive before a time, in the order of arrival."""
        due, later = [], []
        for batch in self._held:
            arrives = batch.arrival_ps < until_ps
            if arrives.all():
                due.append(batch)
            elif arrives.any():
                due.append(picked(batch, np.flatnonzero(arrives)))
                later.append(picked(batch, np.flatnonzero(~arrives)))
            else:
                later.append(batch)
        self._held = later if len(later) < _MANY else [joined(later)]
        every = joined(due)
        ordered = bool((np.diff(every.arrival_ps) >= 0).all())
        return every if ordered else picked(every, np.argsort(every.arrival_ps, kind="stable"))


_MANY = 16  # batches held one by one; each is gone through at every take
