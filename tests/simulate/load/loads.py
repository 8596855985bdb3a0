"""Small loads, and what came of them."""

from dataclasses import fields
from datetime import UTC, datetime, timedelta

import numpy as np

from aiops.simulate.load import Load, LoadSpec
from aiops.simulate.load.columns import joined
from aiops.simulate.requests import PS, RequestBatch

START = datetime(2026, 3, 2, tzinfo=UTC)


def spec(requests_per_s: float | None = 20.0, **changes: object) -> LoadSpec:
    plain: dict[str, object] = {
        "requestsPerS": requests_per_s,
        "inputTokens": {"mean": 400, "spread": 0.6, "max": 4000},
        "outputTokens": {"mean": 40, "spread": 0.6, "max": 400},
    }
    return LoadSpec.model_validate(plain | changes)


def drawn(load: LoadSpec, seconds: float, seed: int = 1, name: str = "a", hour: float = 0.0) -> RequestBatch:
    return Load(load, seed, name, START + timedelta(hours=hour)).next_batch(round(seconds * PS))


def in_slices(load: LoadSpec, ends_s: list[float]) -> RequestBatch:
    stream = Load(load, 1, "a", START)
    return joined([stream.next_batch(round(end_s * PS)) for end_s in ends_s])


def rate(batch: RequestBatch, begin_s: float, end_s: float) -> float:
    return float(within(batch, begin_s, end_s).sum() / (end_s - begin_s))


def within(batch: RequestBatch, begin_s: float, end_s: float) -> np.ndarray:
    return (batch.arrival_ps >= begin_s * PS) & (batch.arrival_ps < end_s * PS)


def same(one: RequestBatch, other: RequestBatch) -> bool:
    return all(np.array_equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(one))


def check(batch: RequestBatch) -> None:
    """What every batch promises."""
    assert (np.diff(batch.arrival_ps) >= 0).all()
    assert (batch.arrival_ps >= 0).all()
    assert (batch.prompt_tokens >= 1).all()
    assert (batch.output_tokens >= 1).all()
    assert batch.piece_offsets[0] == 0
    assert batch.piece_offsets[-1] == len(batch.piece_ids) == len(batch.piece_tokens)
    assert (batch.piece_tokens >= 1).all()
    assert (piece_sums(batch) <= batch.prompt_tokens).all()
    assert all(
        column.dtype == np.int64
        for column in (batch.arrival_ps, batch.prompt_tokens, batch.output_tokens, batch.own_ids)
    )
    assert all(column.dtype == np.int64 for column in (batch.piece_offsets, batch.piece_ids, batch.piece_tokens))


def piece_sums(batch: RequestBatch) -> np.ndarray:
    sums = np.concatenate([[0], np.cumsum(batch.piece_tokens)])
    return sums[batch.piece_offsets[1:]] - sums[batch.piece_offsets[:-1]]
