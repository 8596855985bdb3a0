"""What a step of an engine takes, laid out for the inner loop: whole picoseconds in tables, no search over points."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from aiops.model.profile import CapacityProfile, StepCosts
from aiops.simulate.requests import PS

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class StepLaw:
    """Tables of one engine's step time, in picoseconds.

    A step schedules some requests a number of tokens each. Those with one token are its decodes (``d`` of them, with
    ``C`` tokens of context together: what each of them attends to, its new token included), the others its chunks; it
    has ``n`` tokens and ``s`` scheduled requests in all. Over the pieces of the decode table, ``p`` is how many of
    ``knots`` (mean contexts) k satisfy C ≥ k·d. The step takes

    - decodes alone:  host[s] + decode[d, p] + context[d, p]·C
    - with chunks:    host[s] + max(chunk[n], decode[d, 0]) + decode[d, p] − decode[d, 0] + context[d, p]·C
                      + int(pair·Σ m·(2·prior + m) / 2)   over the chunks of m tokens after ``prior``
                      (the terms of ``decode`` and ``context`` only where d > 0)

    and never less than 1. Shapes: ``host`` and the rows of ``decode`` and ``context`` by 0…max_num_seqs, their
    columns by len(knots) + 1 pieces, ``chunk`` by 0…max_num_batched_tokens. ``pair`` alone is a float.
    """

    host: Ints
    chunk: Ints
    decode: Ints
    context: Ints
    knots: Ints
    pair: float


def step_law(profile: CapacityProfile, max_num_seqs: int, max_num_batched_tokens: int) -> StepLaw:
    """Lay out a profile's step time for engines with these limits.

    Where the profile says what a step is made of (``step``), that is the law. Else it is derived from the tables:

    - A step of decodes alone takes ``profile.step_s`` at its batch and mean context, less at most a picosecond a token
      of context for rounding.
    - A prompt alone that fits the budget takes ``profile.prefill_s``. A longer one runs in chunks; what its later
      chunks cost beyond the same chunks alone is attention, one constant per pair of tokens (``pair``): that which
      comes closest to the table's points beyond the budget, relatively; without such points that of a parabola
      through the others. It is held so low that what it leaves for a chunk without attention stays above 0 and falls
      by no more than a hundredth between two points.
    - In a mixed step the tokens of decodes and chunks go through the weights together, so it takes the longer of the
      two tables without attention, and to that the attention of both. The decode table without attention is its value
      at context 0, or less where the tables' difference by context shrinks with the batch: so that, where tables rise,
      another decode never makes a mixed step shorter. Outside its batches and contexts a table may fall: rows cross.
    """
    if profile.step is not None:
        return _measured(profile.step, max_num_seqs, max_num_batched_tokens)
    chunk_s = np.array([profile.prefill_s(tokens) for tokens in range(max_num_batched_tokens + 1)])
    pair = _pair_s(profile, chunk_s) * PS
    tokens = np.arange(max_num_batched_tokens + 1, dtype=np.int64)
    alone = (pair * (tokens * tokens) / 2).astype(np.int64)
    decode, context, knots = _decode_pieces(profile, max_num_seqs)
    return StepLaw(
        host=np.zeros(max_num_seqs + 1, np.int64),
        chunk=_whole(chunk_s) - alone,
        decode=decode,
        context=context,
        knots=knots,
        pair=pair,
    )


def _measured(costs: StepCosts, max_num_seqs: int, max_num_batched_tokens: int) -> StepLaw:
    count = max(max_num_seqs, max_num_batched_tokens) + 1
    table = _whole(np.array([0.0] + [costs.table_s(tokens) for tokens in range(1, count)]))
    context = np.full((max_num_seqs + 1, 1), round(costs.context_ns * 1000), np.int64)
    context[0] = 0
    return StepLaw(
        host=_whole(np.linspace(0, max_num_seqs * costs.host_ms_per_sequence / 1000, max_num_seqs + 1)),
        chunk=table[: max_num_batched_tokens + 1],
        decode=table[: max_num_seqs + 1, np.newaxis].copy(),
        context=context,
        knots=np.zeros(0, np.int64),
        pair=costs.pair_ns * 1000,
    )


def _pair_s(profile: CapacityProfile, chunk_s: Floats) -> float:
    budget = len(chunk_s) - 1
    points = list(zip(profile.prefill.isl, profile.prefill.ttft_ms, strict=True))
    beyond = [(round(isl), ms / 1000) for isl, ms in points if isl > budget]
    within = [(isl, ms / 1000) for isl, ms in points if isl <= budget]
    if beyond:
        weights, misses = np.array([_beyond_chunks(isl, seconds, chunk_s) for isl, seconds in beyond]).T
        found = float(weights @ misses / (weights @ weights))
    elif len(within) > 2:
        isl, seconds = np.array(within).T
        columns = np.stack([np.ones_like(isl), isl, isl * isl / 2], axis=1) / seconds[:, np.newaxis]
        found = float(np.linalg.lstsq(columns, np.ones_like(isl), rcond=None)[0][2])
    else:
        found = 0.0
    return max(0.0, min(found, _highest_pair_s([isl for isl, _ in within], chunk_s)))


def _beyond_chunks(isl: int, seconds: float, chunk_s: Floats) -> tuple[float, float]:
    """What a second per pair adds to a prompt's chunks, and what they lack without: both as a share of its time."""
    budget = len(chunk_s) - 1
    whole, rest = divmod(isl, budget)
    pairs = (isl * isl - whole * budget * budget - rest * rest) / 2
    return pairs / seconds, (seconds - whole * chunk_s[budget] - chunk_s[rest]) / seconds


def _highest_pair_s(isl: list[float], chunk_s: Floats) -> float:
    tokens = np.arange(1, len(chunk_s))
    highest = float(np.min(0.99 * chunk_s[1:] * 2 / tokens**2))
    ends = sorted({int(value) for value in isl if value >= 1} | {len(chunk_s) - 1})
    for first, last in pairwise(ends):
        highest = min(highest, (1.01 * chunk_s[last] - chunk_s[first]) * 2 / (last**2 - first**2))
    return highest


def _decode_pieces(profile: CapacityProfile, max_num_seqs: int) -> tuple[Ints, Ints, Ints]:
    """Decode steps as lines over their sum of contexts, each through the table's value at the left end of its piece.

    Slopes are rounded down, so that a step never gets shorter where one piece ends and the next begins.
    """
    rows = sorted({round(row.context) for row in profile.decode})
    ends = [0, *rows, 2 * rows[-1] + 1]
    batches = np.arange(1, max_num_seqs + 1)
    values = np.array([[profile.step_s(batch, end) for end in ends] for batch in batches.tolist()]) * PS
    slopes = np.diff(values, axis=1) / np.maximum(np.diff(ends), 1)
    pieces = [i for i in range(len(rows) + 1) if i == 0 or not np.allclose(slopes[:, i - 1], slopes[:, i], atol=1e-3)]
    knots = np.array([ends[piece] for piece in pieces[1:]], np.int64)
    decode, context = np.zeros((2, max_num_seqs + 1, len(pieces)), np.int64)
    for column, piece in enumerate(pieces):
        context[1:, column] = np.floor(slopes[:, piece] / batches)
        decode[1:, column] = np.rint(values[:, piece]) - context[1:, column] * ends[piece] * batches
    without = _without_attention(values[:, :-1])
    if (decode[:, 0] - without).max() <= 1:
        return decode, context, knots
    # Every decode attends to a token or more: a piece below 1 is never read but as the cost without attention.
    decode = np.column_stack([without, decode])
    return decode, np.column_stack([context[:, 0], context]), np.concatenate([np.ones(1, np.int64), knots])


def _without_attention(values: Floats) -> Ints:
    """The decode table at no context, from batch to batch raised by no more than it rises at any other context."""
    rises = np.maximum(np.diff(values, axis=0).min(axis=1), 0)
    risen = np.concatenate([[0.0], np.cumsum(rises)])
    whole: Ints = np.rint(np.concatenate([[0.0], risen + np.minimum.accumulate(values[:, 0] - risen)])).astype(np.int64)
    return whole


def _whole(seconds: Floats) -> Ints:
    whole: Ints = np.rint(seconds * PS).astype(np.int64)
    return whole
