"""What came of a model's requests: totals for good, single ones for a few minutes."""

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aiops.model.policy import Objectives
from aiops.simulate.request import Request

MARK_S = 15.0  # how often the latest requests are put together
KEPT_S = 300.0  # how long they are kept


@dataclass(frozen=True, slots=True)
class Chunk:
    """What happened in the time up to ``end_s``: ``arrived`` so far, and the requests that ended, a row of
    (TTFT s, mean ITL s, prompt tokens, output tokens) each."""

    end_s: float
    arrived: int
    ended: NDArray[np.float64]


class Ledger:
    """Counts a model's requests against its objectives.

    A hit has its TTFT and its mean ITL, (finish − first token) ÷ (output − 1), both within the objective's bounds.
    """

    def __init__(self, objectives: Objectives) -> None:
        self.objectives = objectives
        self._ttft_bound_s = objectives.ttft.bound_s
        self._itl_bound_s = objectives.itl.bound_s
        self.arrived = 0
        self.finished = 0
        self.hits = 0
        self._ended: list[tuple[float, float, int, int]] = []
        self._chunks: deque[Chunk] = deque([Chunk(0.0, 0, np.empty((0, 4)))])

    def finish(self, request: Request, now_s: float) -> None:
        """Count a request whose last token has reached the client."""
        ttft_s = request.first_token_s - request.arrival_s
        itl_s = (now_s - request.first_token_s) / (request.output - 1) if request.output > 1 else 0.0
        self.finished += 1
        if ttft_s <= self._ttft_bound_s and itl_s <= self._itl_bound_s:
            self.hits += 1
        self._ended.append((ttft_s, itl_s, request.prompt, request.output))

    def overdue(self, request: Request, now_s: float) -> bool:
        """Whether a request in flight can be no hit any more."""
        if min(request.first_token_s, now_s) - request.arrival_s > self._ttft_bound_s:
            return True
        return now_s - request.first_token_s > self._itl_bound_s * (request.output - 1)

    def mark(self, now_s: float) -> None:
        """Put the latest requests together and forget the oldest."""
        ended = np.array(self._ended, dtype=np.float64).reshape(-1, 4)
        self._chunks.append(Chunk(now_s, self.arrived, ended))
        self._ended = []
        while self._chunks[1].end_s <= now_s - KEPT_S:
            self._chunks.popleft()

    def window(self, now_s: float, length_s: float) -> tuple[float, int, NDArray[np.float64]]:
        """Look back over about ``length_s``, in whole marks: the seconds, what arrived, the ended requests' rows."""
        if self._chunks[-1].end_s < now_s:
            self.mark(now_s)
        chunks = list(self._chunks)
        first = max((i for i, chunk in enumerate(chunks) if chunk.end_s <= now_s - length_s), default=0)
        ended = np.concatenate([chunk.ended for chunk in chunks[first + 1 :]] or [np.empty((0, 4))])
        return now_s - chunks[first].end_s, self.arrived - chunks[first].arrived, ended
