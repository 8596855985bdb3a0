"""Demand as work: how many replicas, each kept exactly at its objectives' bound, the arrivals would fill.

With ``t`` the prefill time of a prompt's uncached tokens, ``O`` its output tokens and ``s(B, c)`` the time of a decode
step of ``B`` sequences at mean context ``c``, one replica that holds ``B`` sequences serves ``B / (O·s + B·t)``
requests a second, and its mean time between tokens is ``s + B·t / O``: each request spends ``O`` steps decoding and
the steps of the others' prompts besides (Little's law). ``t = 0`` is a decode replica; a prefill replica serves
``1 / t``.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import floor, log2

from aiops.model.capacity import CapacityBound
from aiops.model.demand import TokenDemand, Work
from aiops.model.profile import CapacityProfile
from aiops.model.refs import Role

_SIGNIFICANT_STEPS = 200  # sizes are rounded to half a percent, so that a day of history needs a few hundred look-ups
_LEAST = 1e-6  # replica-seconds a second: more than nothing, whatever a replica may be filled to


@dataclass(frozen=True, slots=True)
class RequestShape:
    """The size of a mean request: prompt tokens, those of them that no cache held, and output tokens."""

    input_tokens: float
    uncached_tokens: float
    output_tokens: float


@dataclass(frozen=True, slots=True)
class ReplicaRate:
    """What one replica serves at its bound: requests a second, and what it runs out of first."""

    requests_per_s: float
    bound: CapacityBound


def shape_of(demand: TokenDemand) -> RequestShape | None:
    """Give the mean request of a demand; None where its sizes were never seen.

    An unknown cached share counts as nothing cached: the safe side.
    """
    if demand.input_tokens_per_request is None or demand.output_tokens_per_request is None:
        return None
    uncached = demand.input_tokens_per_request * (1 - (demand.cached_ratio or 0.0))
    return RequestShape(demand.input_tokens_per_request, uncached, demand.output_tokens_per_request)


def work_of(demand: TokenDemand, profiles: dict[Role, CapacityProfile], itl_bound_s: float) -> Work | None:
    """Turn arrivals into replica-seconds per second for each role; None where sizes were never seen.

    Without arrivals the work is 0, whatever the sizes.
    """
    shape = shape_of(demand)
    if demand.requests_per_s == 0:
        return Work(**{str(role): 0.0 for role in profiles})
    if shape is None:
        return None
    return Work(
        **{
            str(role): demand.requests_per_s / replica_rate(role, profile, shape, itl_bound_s).requests_per_s
            for role, profile in profiles.items()
        }
    )


def least_work(profiles: dict[Role, CapacityProfile]) -> Work:
    """Give the work that needs one replica of each role, for requests of which nothing but their number is known."""
    return Work(**{str(role): _LEAST for role in profiles})


def replica_rate(role: Role, profile: CapacityProfile, shape: RequestShape, itl_bound_s: float) -> ReplicaRate:
    """Find the most requests a second that one replica of a role serves with its mean ITL within the bound."""
    rounded = RequestShape(
        *(_rounded(value) for value in (shape.input_tokens, shape.uncached_tokens, shape.output_tokens))
    )
    return _replica_rate(role, _Keyed(profile), rounded, itl_bound_s)


class _Keyed:
    """A profile as a cache key by identity: hashing its tables each time would cost more than the look-up saves."""

    __slots__ = ("profile",)

    def __init__(self, profile: CapacityProfile) -> None:
        self.profile = profile

    def __hash__(self) -> int:
        return id(self.profile)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Keyed) and self.profile is other.profile


@lru_cache(maxsize=4096)
def _replica_rate(role: Role, keyed: _Keyed, shape: RequestShape, itl_bound_s: float) -> ReplicaRate:
    profile = keyed.profile
    prefill_s = profile.prefill_s(shape.uncached_tokens)
    if role is Role.PREFILL:
        return ReplicaRate(1 / max(prefill_s, 1e-6), CapacityBound.COMPUTE)
    output = max(shape.output_tokens, 1.0)
    added_s = prefill_s / output if role is Role.BOTH else 0.0
    batch, bound = _largest_batch(profile, shape, added_s, itl_bound_s)
    step_s = profile.step_s(batch, shape.input_tokens + output / 2)
    return ReplicaRate(batch / (output * (step_s + batch * added_s)), bound)


def _largest_batch(
    profile: CapacityProfile, shape: RequestShape, added_s: float, itl_bound_s: float
) -> tuple[float, CapacityBound]:
    """Find the largest batch whose ITL is within the bound and whose KV cache fits; at least one sequence."""
    context = shape.input_tokens + shape.output_tokens / 2
    by_kv = profile.kv_tokens / max(shape.input_tokens + shape.output_tokens, 1.0)
    by_seqs = float(profile.limits.max_num_seqs)
    cap, bound = (by_kv, CapacityBound.KV_CACHE) if by_kv < by_seqs else (by_seqs, CapacityBound.MAX_NUM_SEQS)
    cap = max(cap, 1.0)

    def itl_s(batch: float) -> float:
        return profile.step_s(batch, context) + batch * added_s

    if itl_s(cap) <= itl_bound_s:
        return cap, bound
    low, high = 1.0, cap
    for _ in range(30):  # halving 1,000 sequences 30 times leaves a millionth of one
        middle = (low + high) / 2
        low, high = (middle, high) if itl_s(middle) <= itl_bound_s else (low, middle)
    return low, CapacityBound.ITL


def _rounded(value: float) -> float:
    """Round to about half a percent; what is below a thousandth of a token is nothing."""
    if value < 1e-3:
        return 0.0
    step = 2.0 ** floor(log2(value)) / _SIGNIFICANT_STEPS
    return round(value / step) * step
