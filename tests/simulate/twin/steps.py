"""How long a step takes, read from the tables of a step law one step at a time."""

import numpy as np

from aiops.simulate.step_law import StepLaw
from tests.simulate.twin.sequence import Entry


class StepTimes:
    """The law's formula over what one step schedules; the tables as lists, which plain Python reads faster."""

    def __init__(self, law: StepLaw) -> None:
        self.host: list[int] = law.host.tolist()
        self.chunk: list[int] = law.chunk.tolist()
        self.decode: list[list[int]] = law.decode.tolist()
        self.context: list[list[int]] = law.context.tolist()
        self.knots: list[int] = law.knots.tolist()
        self.pair = law.pair

    def duration_ps(self, entries: list[Entry]) -> int:
        decodes = [entry.before + 1 for entry in entries if entry.tokens == 1]
        chunks = [(entry.tokens, entry.before) for entry in entries if entry.tokens != 1]
        count, context = len(decodes), sum(decodes)
        piece = sum(context >= knot * count for knot in self.knots)
        base = self.decode[count][0] if count else 0
        decoding = self.decode[count][piece] + self.context[count][piece] * context if count else 0
        if chunks:
            tokens = sum(entry.tokens for entry in entries)
            pairs = sum(taken * (2 * prior + taken) for taken, prior in chunks)
            decoding += max(self.chunk[tokens], base) - base + int(self.pair * pairs / 2)
        return max(1, self.host[len(entries)] + decoding)


def even_law(
    max_num_seqs: int,
    max_num_batched_tokens: int,
    *,
    host_ps: int = 1000,
    chunk_token_ps: int = 10,
    decode_ps: int = 100,
    context_ps: int = 1,
    knots: tuple[int, ...] = (),
    pair: float = 0.0,
) -> StepLaw:
    """A law whose tables are straight lines: a host time, so much a token, a decode and a token of context.

    Past each knot of the mean context, a decode's slope is 1 ps a token of context steeper, and meets the line before.
    """
    rows, starts = np.arange(max_num_seqs + 1, dtype=np.int64), np.cumsum([0, *knots], dtype=np.int64)
    return StepLaw(
        host=np.full(max_num_seqs + 1, host_ps, np.int64),
        chunk=np.arange(max_num_batched_tokens + 1, dtype=np.int64) * chunk_token_ps,
        decode=rows[:, None] * (decode_ps - starts),
        context=np.broadcast_to(context_ps + np.arange(len(knots) + 1), (len(rows), len(knots) + 1)).astype(np.int64),
        knots=np.array(knots, np.int64),
        pair=pair,
    )
