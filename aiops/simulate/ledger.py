"""What came of a model's requests: totals for good, single ones for a few minutes."""

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aiops.model.policy import Objectives
from aiops.simulate.kernel.layout import COMPLETED, FAILED, PREFILLED, REFUSED, TIMED_OUT, Records
from aiops.simulate.requests import PS

MARK_S = 15.0  # how often the latest requests are put together
KEPT_S = 300.0  # how long they are kept


@dataclass(frozen=True, slots=True)
class Chunk:
    """What happened in the time up to ``end_s``: ``arrived`` so far, and the requests that were answered, a row of
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
        self._ttft_bound_ps = objectives.ttft.bound_s * PS
        self._itl_bound_ps = objectives.itl.bound_s * PS
        self.finished = 0
        self.failed = 0
        self.refused = 0
        self.timed_out = 0
        self.hits = 0
        self._ended: list[NDArray[np.float64]] = []
        self._chunks: deque[Chunk] = deque([Chunk(0.0, 0, np.empty((0, 4)))])

    def take(self, rows: Records) -> None:
        """Count requests that have ended."""
        counts = np.bincount(rows["kind"], minlength=PREFILLED + 1)
        self.finished += int(counts[COMPLETED])
        self.failed += int(counts[FAILED])
        self.refused += int(counts[REFUSED])
        self.timed_out += int(counts[TIMED_OUT])
        done = rows[rows["kind"] == COMPLETED]
        ttft_ps = done["first_token"] - done["arrival"]
        itl_ps = (done["finish"] - done["first_token"]) / np.maximum(done["output"] - 1, 1)
        self.hits += int(np.count_nonzero((ttft_ps <= self._ttft_bound_ps) & (itl_ps <= self._itl_bound_ps)))
        self._ended.append(np.column_stack([ttft_ps / PS, itl_ps / PS, done["prompt"], done["output"]]))

    @property
    def ended(self) -> int:
        """How many requests have ended, however."""
        return self.finished + self.failed + self.refused + self.timed_out

    def overdue(self, requests: Records, now_ps: int) -> int:
        """Count the requests in flight that can be no hit any more."""
        first_ps = requests["first_token"]
        begun = first_ps >= 0
        late = np.where(begun, first_ps, now_ps) - requests["arrival"] > self._ttft_bound_ps
        slow = now_ps - first_ps > self._itl_bound_ps * (requests["output"] - 1)
        return int(np.count_nonzero(late | (begun & slow)))

    def mark(self, now_s: float, arrived: int) -> None:
        """Put the latest requests together and forget the oldest; ``arrived`` is how many came so far."""
        ended = np.concatenate(self._ended) if self._ended else np.empty((0, 4))
        self._chunks.append(Chunk(now_s, arrived, ended))
        self._ended = []
        while self._chunks[1].end_s <= now_s - KEPT_S:
            self._chunks.popleft()

    def window(self, now_s: float, length_s: float, arrived: int) -> tuple[float, int, NDArray[np.float64]]:
        """Look back over about ``length_s``, in whole marks: the seconds, what arrived, the answered requests' rows."""
        if self._chunks[-1].end_s < now_s:
            self.mark(now_s, arrived)
        chunks = list(self._chunks)
        first = max((i for i, chunk in enumerate(chunks) if chunk.end_s <= now_s - length_s), default=0)
        ended = np.concatenate([chunk.ended for chunk in chunks[first + 1 :]] or [np.empty((0, 4))])
        return now_s - chunks[first].end_s, arrived - chunks[first].arrived, ended
