"""The least cost that meets every need: prefill and decode decided together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor

from aiops.model.decision import Reason
from aiops.model.policy import Band, Budget


@dataclass(frozen=True, slots=True)
class PoolNeed:
    """What one pool needs in replicas, and what holds it: its bounds and what a replica costs."""

    needed: int
    current: int
    min: int
    max: int
    gpus: int
    usd_per_hour: float | None

    @property
    def clipped(self) -> int:
        """The need within min and max."""
        return min(max(self.needed, self.min), self.max)


@dataclass(frozen=True, slots=True)
class Sizing:
    """Replicas per pool, in the order of the needs, and the rules that moved each away from its need."""

    replicas: tuple[int, ...]
    reasons: tuple[tuple[Reason, ...], ...]


def size(needs: Sequence[PoolNeed], band: Band, budget: Budget) -> Sizing:
    """Choose replicas for one pool, or for prefill and decode (in this order), at the least cost.

    In this order of strength: a pool's min and max, the budget, the needs, the ratio band. So a need above the budget
    is met in the same share for both roles, and the band gives way before the objectives do. A budget below the
    minimum answers the minimum.
    """
    wanted = tuple(need.clipped for need in needs)
    if _in_band(wanted, band) and _over_budget(wanted, needs, budget) is None:
        return Sizing(wanted, tuple(_reasons(i, wanted, needs, band, budget) for i in range(len(needs))))
    options = list(_options(needs, band, budget))
    affordable = [option for option in options if _over_budget(option, needs, budget) is None]
    meeting = [option for option in affordable if _meets(option, needs)]
    in_band = [option for option in meeting if _in_band(option, band)]
    if in_band:
        best = min(in_band, key=lambda option: _preference(option, needs))
    elif meeting:
        best = min(meeting, key=lambda option: (out_of_band(option, band), _preference(option, needs)))
    elif affordable:
        best = max(affordable, key=lambda option: (_least_share(option, needs), _shares(option, needs)))
    else:
        best = tuple(need.min for need in needs)
    return Sizing(best, tuple(_reasons(i, best, needs, band, budget) for i in range(len(needs))))


def _options(needs: Sequence[PoolNeed], band: Band, budget: Budget) -> Iterator[tuple[int, ...]]:
    """Every count of the first pool, each with the counts of the second at which some rule begins or ceases to hold."""
    first = needs[0]
    for count in range(first.min, first.max + 1):
        if len(needs) == 1:
            yield (count,)
            continue
        second = needs[1]
        edges = {
            second.min,
            second.clipped,
            ceil(band.min * count - 1e-9),
            floor(band.max * count + 1e-9),
            min(_affordable(count, first, second, budget), second.clipped),
        }
        yield from ((count, other) for other in sorted(edges) if second.min <= other <= second.max)


def _affordable(count: int, first: PoolNeed, second: PoolNeed, budget: Budget) -> int:
    """The most replicas of the second pool that the budget leaves beside ``count`` of the first."""
    most = second.max
    if budget.gpus is not None:
        most = min(most, (budget.gpus - count * first.gpus) // second.gpus)
    if budget.usd_per_hour is not None and second.usd_per_hour:
        left = budget.usd_per_hour - count * (first.usd_per_hour or 0.0)
        most = min(most, floor(left / second.usd_per_hour + 1e-9))
    return most


def _meets(option: tuple[int, ...], needs: Sequence[PoolNeed]) -> bool:
    return all(count >= need.clipped for count, need in zip(option, needs, strict=True))


def _in_band(option: tuple[int, ...], band: Band) -> bool:
    return out_of_band(option, band) == 0.0


def out_of_band(option: tuple[int, ...], band: Band) -> float:
    """How many decode replicas the option is away from the band; 0 within it, and where both roles are at zero."""
    if len(option) == 1:
        return 0.0
    prefill, decode = option
    return max(0.0, band.min * prefill - decode - 1e-9, decode - band.max * prefill - 1e-9)


def _cost(option: tuple[int, ...], needs: Sequence[PoolNeed]) -> float:
    priced = all(need.usd_per_hour is not None for need in needs)
    return sum(
        count * ((need.usd_per_hour or 0.0) if priced else need.gpus) for count, need in zip(option, needs, strict=True)
    )


def _preference(option: tuple[int, ...], needs: Sequence[PoolNeed]) -> tuple[float, int, tuple[int, ...]]:
    moves = sum(abs(count - need.current) for count, need in zip(option, needs, strict=True))
    return _cost(option, needs), moves, option


def _shares(option: tuple[int, ...], needs: Sequence[PoolNeed]) -> tuple[float, ...]:
    return tuple(min(1.0, count / max(need.clipped, 1)) for count, need in zip(option, needs, strict=True))


def _least_share(option: tuple[int, ...], needs: Sequence[PoolNeed]) -> float:
    return min(_shares(option, needs))


def _over_budget(option: tuple[int, ...], needs: Sequence[PoolNeed], budget: Budget) -> Reason | None:
    gpus = sum(count * need.gpus for count, need in zip(option, needs, strict=True))
    if budget.gpus is not None and gpus > budget.gpus:
        return Reason.GPU_BUDGET
    dollars = sum(count * (need.usd_per_hour or 0.0) for count, need in zip(option, needs, strict=True))
    if budget.usd_per_hour is not None and dollars > budget.usd_per_hour + 1e-9:
        return Reason.USD_BUDGET
    return None


def _reasons(
    i: int, chosen: tuple[int, ...], needs: Sequence[PoolNeed], band: Band, budget: Budget
) -> tuple[Reason, ...]:
    need, count = needs[i], chosen[i]
    found = []
    if need.needed > need.max:
        found.append(Reason.ABOVE_MAX)
    if need.needed < need.min:
        found.append(Reason.BELOW_MIN)
    if count > need.clipped:
        found.append(Reason.RATIO_BAND)
    if count < need.clipped:
        wanted = tuple(other.clipped for other in needs)
        found.append(_over_budget(wanted, needs, budget) or Reason.GPU_BUDGET)
    if not _in_band(chosen, band):
        found.append(Reason.RATIO_RELAXED)
    return tuple(found)
