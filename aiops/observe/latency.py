"""What users felt, read from histograms of the window."""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate, pairwise

from aiops.model.policy import Bound, Objectives
from aiops.model.snapshot import Latency
from aiops.observe.prometheus import Series


@dataclass(frozen=True, slots=True)
class Histogram:
    """Requests at or below each bound, in seconds; the last bound is infinite, and something was counted."""

    bounds_s: tuple[float, ...]
    counts: tuple[float, ...]

    def quantile(self, share: float) -> float:
        """Give the time within which a share of the requests fell, interpolated inside its bucket.

        What lies beyond the last finite bound is that bound: no more is known.
        """
        wanted = share * self.counts[-1]
        edges = pairwise([(0.0, 0.0), *zip(self.bounds_s, self.counts, strict=True)])
        for (low_s, below), (high_s, within) in edges:
            if within >= wanted and within > below:
                return low_s if math.isinf(high_s) else low_s + (high_s - low_s) * (wanted - below) / (within - below)
        return self.bounds_s[-2]

    def nearest_bound(self, seconds: float) -> float:
        """Give the finite bound nearest to a time: between bounds nothing was counted."""
        return min((bound for bound in self.bounds_s if math.isfinite(bound)), key=lambda bound: abs(bound - seconds))

    def share_within(self, bound_s: float) -> float:
        """Give the share of the requests at or below one of the bounds."""
        return self.counts[self.bounds_s.index(bound_s)] / self.counts[-1]


def read_histogram(series: Iterable[Series]) -> Histogram | None:
    """Add up buckets by their bound, compared as a number; None where nothing was counted."""
    counts: dict[float, float] = defaultdict(float)
    for one in series:
        if one.value is not None:
            counts[float(one.labels["le"])] += one.value
    bounds = sorted(counts)
    # Extrapolated growth of single buckets may dip by a hair; cumulative counts never do.
    rising = tuple(accumulate((counts[bound] for bound in bounds), max))
    if len(bounds) < 2 or not math.isinf(bounds[-1]) or not rising[-1]:
        return None
    return Histogram(tuple(bounds), rising)


def read_latency(ttft: Histogram | None, itl: Histogram | None, objectives: Objectives) -> Latency:
    """Read both latencies at the percentiles of their objectives."""
    ttft_s, ttft_attainment = _against(ttft, objectives.ttft)
    itl_s, itl_attainment = _against(itl, objectives.itl)
    return Latency(ttft_s, itl_s, ttft_attainment, itl_attainment)


def _against(histogram: Histogram | None, objective: Bound) -> tuple[float | None, float | None]:
    """Give the time at the objective's percentile, and the share within the bound nearest to it."""
    if histogram is None:
        return None, None
    nearest_s = histogram.nearest_bound(objective.bound_s)
    return histogram.quantile(objective.attainment), histogram.share_within(nearest_s)


def snapped(histogram: Histogram | None, objective: Bound) -> str:
    """Say at which bound an objective is measured; empty where it is a bound itself, or where none is known."""
    if histogram is None:
        return ""
    bound_s = histogram.nearest_bound(objective.bound_s)
    if math.isclose(bound_s, objective.bound_s):
        return ""
    return f"the objective of {objective.bound_s:g} s is no bucket bound: attainment is measured at {bound_s:g} s"
