"""Bucketed counts as vLLM exposes them, and its bucket bounds."""

import numpy as np
from numpy.typing import NDArray

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
PREEMPTIONS = (1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0)

EndedRow = tuple[float, float, float, float, int, int, int]
"""A request that an engine finished: queued, scheduled, first token and finish in seconds since the factory's start,
then prompt, generated and computed prompt tokens."""


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
    """What vLLM observes of a request when it ends, one histogram each. See ``EndedRow`` for the rows."""

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

    def observe(self, rows: list[EndedRow]) -> None:
        """Count some requests."""
        columns = np.array(rows, dtype=np.float64).reshape(-1, 7).T
        queued_s, scheduled_s, first_s, finish_s, prompt, generated, computed = columns
        self.prompt_tokens.observe(prompt)
        self.generated_tokens.observe(generated)
        self.computed_tokens.observe(computed)
        self.sequences.observe(np.ones_like(prompt))
        self.preemptions.observe(np.zeros_like(prompt))
        self.token_s.observe((finish_s - first_s) / np.maximum(generated - 1, 1))
        self.total_s.observe(finish_s - queued_s)
        self.queue_s.observe(scheduled_s - queued_s)
        self.inference_s.observe(finish_s - scheduled_s)
        self.prefill_s.observe(first_s - scheduled_s)
        self.decode_s.observe(finish_s - first_s)
