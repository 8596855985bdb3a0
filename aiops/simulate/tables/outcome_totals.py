"""What became of all requests together, for a summary: counted as they end, in a room that does not grow."""

from typing import Any

import numpy as np

from aiops.simulate.quantiles import Quantiles
from aiops.simulate.requests import PS, Ints
from aiops.simulate.tables.outcome_csv import OutcomeBatch, Status

_LEVELS = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


class OutcomeTotals:
    """Counts, tokens and latencies of requests.

    A hit was completed with its TTFT and its mean ITL within the bounds, in seconds. Tokens and latencies are those of
    completed requests: TTFT and latency count from the arrival, the wait ends where the request was first scheduled,
    and ITL is the mean between the tokens of one request (one with a single token has none). Cached tokens are those of
    all that were scheduled.
    """

    def __init__(self, ttft_bound_s: float, itl_bound_s: float) -> None:
        self._bounds_s = ttft_bound_s, itl_bound_s
        self._by_status = np.zeros(len(Status), np.int64)
        self._hits = self._input = self._output = self._looked_up = self._cached = 0
        self._last_ps = 0
        self._ttft, self._itl, self._latency, self._wait = (Quantiles() for _ in range(4))

    def add(self, outcomes: OutcomeBatch) -> None:
        """Count requests that have ended; each once."""
        if not len(outcomes):
            return
        self._by_status += np.bincount(outcomes.status, minlength=len(Status))
        self._last_ps = max(self._last_ps, int(outcomes.finish_ps.max()), int(outcomes.arrival_ps.max()))
        scheduled = outcomes.scheduled_ps >= 0
        self._looked_up += int(outcomes.input_tokens[scheduled].sum())
        self._cached += int(outcomes.cached_tokens[scheduled].sum())
        done = outcomes.status == Status.COMPLETED
        arrival, first, finish = outcomes.arrival_ps[done], outcomes.first_token_ps[done], outcomes.finish_ps[done]
        output = outcomes.output_tokens[done]
        self._input += int(outcomes.input_tokens[done].sum())
        self._output += int(output.sum())
        ttft, itl = first - arrival, (finish - first) // np.maximum(output - 1, 1)
        self._ttft.add(ttft)
        self._itl.add(itl[output > 1])
        self._latency.add(finish - arrival)
        self._wait.add(outcomes.scheduled_ps[done] - arrival)
        self._hits += self._count_hits(ttft, itl)

    def _count_hits(self, ttft_ps: Ints, itl_ps: Ints) -> int:
        ttft_bound_s, itl_bound_s = self._bounds_s
        return int(np.count_nonzero((ttft_ps <= ttft_bound_s * PS) & (itl_ps <= itl_bound_s * PS)))

    def summary(self) -> dict[str, Any]:
        """Give all of it as plain values with units in their names; None where there is nothing to measure.

        ``duration_s`` runs from 0 to the last end or arrival, rates are per second of it, and ``attainment_ratio`` is
        hits over all requests.
        """
        requests, duration_s = int(self._by_status.sum()), self._last_ps / PS
        return {
            "requests": requests,
            **{status.name.lower(): int(self._by_status[status]) for status in Status},
            "hits": self._hits,
            "attainment_ratio": _ratio(self._hits, requests),
            "objectives": {"ttft_s": self._bounds_s[0], "itl_s": self._bounds_s[1]},
            "duration_s": duration_s,
            "input_tokens": self._input,
            "output_tokens": self._output,
            "cached_tokens": self._cached,
            "prefix_hit_ratio": _ratio(self._cached, self._looked_up),
            "completed_per_s": _ratio(int(self._by_status[Status.COMPLETED]), duration_s),
            "input_tokens_per_s": _ratio(self._input, duration_s),
            "output_tokens_per_s": _ratio(self._output, duration_s),
            "ttft_s": _spread(self._ttft),
            "itl_s": _spread(self._itl),
            "latency_s": _spread(self._latency),
            "wait_s": _spread(self._wait),
        }


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _spread(values: Quantiles) -> dict[str, float | None]:
    return {
        "mean": values.mean_s,
        **{name: values.quantile_s(level) for name, level in _LEVELS.items()},
        "max": values.max_s,
    }
