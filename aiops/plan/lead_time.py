"""How long it takes from a decision to a replica that serves."""

from collections.abc import Sequence
from dataclasses import dataclass

from aiops.model.policy import Mode, Variant

_PRIOR_SAMPLES = 20  # as many starts as the prior counts for
_LOOP_DELAY_S = 30.0  # a scrape and a cycle pass before a need is seen and answered
_CARRY_DELAY_S = 30.0  # and a scrape of ours and a sync of the HPA, where others carry the number out


@dataclass(frozen=True, slots=True)
class LeadTime:
    """Seconds from a decision to ready, at its median and its 90th percentile; ``starts`` is how many were seen."""

    p50_s: float
    p90_s: float
    starts: int


def lead_time(variant: Variant, cold_starts_s: Sequence[float], mode: Mode) -> LeadTime:
    """Blend the starts that were seen with the variant's prior; with 20 starts each counts half."""
    share = len(cold_starts_s) / (len(cold_starts_s) + _PRIOR_SAMPLES)
    delay_s = _LOOP_DELAY_S + (_CARRY_DELAY_S if mode is Mode.EMIT else 0.0)

    def blend(prior_s: float, level: float) -> float:
        seen = _quantile(sorted(cold_starts_s), level) if cold_starts_s else 0.0
        return (1 - share) * prior_s + share * seen + delay_s

    return LeadTime(blend(variant.cold_start_p50_s, 0.5), blend(variant.cold_start_p90_s, 0.9), len(cold_starts_s))


def _quantile(ordered: Sequence[float], level: float) -> float:
    place = level * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
