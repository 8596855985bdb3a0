"""Bucketed counts as vLLM exposes them, and its bucket bounds."""

import numpy as np
from numpy.typing import NDArray

from aiops.simulate.kernel.layout import COMPLETED, PREFILLED, Records
from aiops.simulate.requests import PS

TTFT_S = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75,
    1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0,
)  # fmt: skip
ITL_S = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75,
    1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
)  # fmt: skip
REQUEST_S = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0,
    40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0,
)  # fmt: skip
STEP_TOKENS = (1.0, *(float(2**power) for power in range(3, 15)))
SMALL_COUNTS = (1.0, 2.0, 5.0, 10.0, 20.0)
_UNCOUNTED = 100_000  # outcomes, kept one by one until they are this many
PREEMPTIONS = (1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0)


def token_bounds(max_model_len: int) -> tuple[float, ...]:
    """Give 1, 2, 5, 10, 20, 50 … up to the longest sequence."""
    bounds = (float(digit * 10**power) for power in range(len(str(max_model_len))) for digit in (1, 2, 5))
    return tuple(bound for bound in bounds if bound <= max_model_len)


class Histogram:
    """Counts per bucket, not cumulative; the last is for what exceeds all bounds."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, values: NDArray[np.float64]) -> None:
        """Count some values."""
        buckets = np.bincount(np.searchsorted(self.bounds, values, side="left"), minlength=len(self.counts))
        self.counts = [count + int(more) for count, more in zip(self.counts, buckets, strict=True)]
        self.sum += float(values.sum())


class RequestHistograms:
    """What vLLM observes of a request when it ends, one histogram each."""

    def __init__(self, max_model_len: int) -> None:
        tokens = token_bounds(max_model_len)
        self.prompt_tokens = Histogram(tokens)
        self.generated_tokens = Histogram(tokens)
        self.computed_tokens = Histogram(tokens)
        self.sequences = Histogram(SMALL_COUNTS)
        self.preemptions = Histogram(PREEMPTIONS)
        self.token_s = Histogram(ITL_S)
        self.total_s = Histogram(REQUEST_S)
        self.queue_s = Histogram(REQUEST_S)
        self.inference_s = Histogram(REQUEST_S)
        self.prefill_s = Histogram(REQUEST_S)
        self.decode_s = Histogram(REQUEST_S)

    def observe(self, rows: Records) -> None:
        """Count some requests that an engine has finished, from their outcomes."""
        queued_s, joined_s, first_s, finish_s = (
            rows[name] / PS for name in ("queued", "joined", "first_token", "finish")
        )
        generated = np.where(rows["kind"] == PREFILLED, 1, rows["output"])
        computed = np.where(rows["decode_engine"] >= 0, 0, rows["prompt"] - rows["cached"])  # a decode engine pulls it
        self.prompt_tokens.observe(rows["prompt"])
        self.generated_tokens.observe(generated)
        self.computed_tokens.observe(computed)
        self.sequences.observe(np.ones(len(rows)))
        self.preemptions.observe(rows["preemptions"])
        self.token_s.observe((finish_s - first_s) / np.maximum(generated - 1, 1))
        self.total_s.observe(finish_s - queued_s)
        self.queue_s.observe(joined_s - queued_s)
        self.inference_s.observe(finish_s - joined_s)
        self.prefill_s.observe(first_s - joined_s)
        self.decode_s.observe(finish_s - first_s)


class FleetHistograms:
    """The request histograms of all engines of a fleet, by incarnation; counted when somebody looks."""

    def __init__(self, max_model_len: int) -> None:
        self._max_model_len = max_model_len
        self._by_engine: dict[int, RequestHistograms] = {}
        self._uncounted: list[Records] = []
        self._rows = 0

    def take(self, rows: Records) -> None:
        """Take outcomes in."""
        self._uncounted.append(rows)
        self._rows += len(rows)
        if self._rows > _UNCOUNTED:
            self._count()

    def of(self, incarnation: int) -> RequestHistograms:
        """Give an engine's histograms."""
        self._count()
        return self._by_engine.setdefault(incarnation, RequestHistograms(self._max_model_len))

    def forget(self, incarnation: int) -> None:
        """Forget an engine that is gone."""
        self._count()
        self._by_engine.pop(incarnation, None)

    def _count(self) -> None:
        if not self._uncounted:
            return
        rows = np.concatenate(self._uncounted)
        self._uncounted, self._rows = [], 0
        rows = rows[(rows["kind"] == COMPLETED) | (rows["kind"] == PREFILLED)]
        if not len(rows):
            return
        engines = np.where(rows["decode_engine"] >= 0, rows["decode_engine"], rows["engine"])
        order = np.argsort(engines, kind="stable")
        incarnations, starts = np.unique(engines[order], return_index=True)
        for incarnation, group in zip(incarnations.tolist(), np.split(order, starts[1:]), strict=True):
            histograms = self._by_engine.setdefault(incarnation, RequestHistograms(self._max_model_len))
            histograms.observe(rows[group])
