"""Requests as columns: what the factory's load hands to its engines, batch by batch."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PS = 10**12
"""Picoseconds in a second. The factory's clock counts whole ones, so that many steps at once end exactly where the
same steps one by one do; 63 bits of them are 106 days."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RequestBatch:
    """Requests in the order of their arrival, a value each in every column but the last two.

    A prompt begins with pieces that other prompts may begin with too: request ``i`` has those from
    ``piece_offsets[i]`` to ``piece_offsets[i + 1]``, each ``piece_tokens`` long; equal ids in equal places are equal
    content. What follows, answer included, is ``own_ids``' content from its first token on: a number that nobody else
    has, or that of a session whose later turns repeat and prolong it (``own_public``).
    """

    arrival_ps: Ints
    prompt_tokens: Ints
    output_tokens: Ints
    own_ids: Ints
    own_public: NDArray[np.bool_]
    piece_offsets: Ints
    piece_ids: Ints
    piece_tokens: Ints

    def __len__(self) -> int:
        """Count the requests."""
        return len(self.arrival_ps)


def plain_batch(arrival_ps: Ints, prompt_tokens: Ints, output_tokens: Ints, first_id: int = 0) -> RequestBatch:
    """Make requests that share nothing; their content is numbered from ``first_id`` on."""
    count, none = len(arrival_ps), np.zeros(0, np.int64)
    return RequestBatch(
        arrival_ps=arrival_ps,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        own_ids=np.arange(first_id, first_id + count, dtype=np.int64),
        own_public=np.zeros(count, np.bool_),
        piece_offsets=np.zeros(count + 1, np.int64),
        piece_ids=none,
        piece_tokens=none,
    )
