"""How far a replica may be filled: the utilization limit, and what that is in tokens."""

from aiops.model.capacity import Capacity, CapacityBasis
from aiops.model.profile import CapacityProfile
from aiops.model.refs import Role
from aiops.plan.work import RequestShape, replica_rate

# One limit a role, whatever the load: chosen on a day of the demo's factory, so inferred. A prefill replica queues
# whole prompts one behind the other; a decode replica averages over its batch and can be filled further. On that day
# 0.75/0.85/0.80 reached 99.99 % at 203 replica-hours, these 99.6 % at 179, and no headroom at all 98.9 % at 159;
# Poisson arrivals are kind, so the middle is where the objective's 95 % has room left for burstier ones.
_UTILIZATION_LIMIT = {Role.PREFILL: 0.85, Role.DECODE: 0.90, Role.BOTH: 0.90}


def capacity_of(role: Role, profile: CapacityProfile, shape: RequestShape | None, itl_bound_s: float) -> Capacity:
    """Give the utilization limit of a role, and the tokens a second that one replica serves at it."""
    limit = _UTILIZATION_LIMIT[role]
    if shape is None:
        return Capacity(role, limit, CapacityBasis.INFERRED)
    rate = replica_rate(role, profile, shape, itl_bound_s)
    tokens = shape.uncached_tokens if role is Role.PREFILL else shape.output_tokens
    return Capacity(role, limit, CapacityBasis.INFERRED, rate.bound, rate.requests_per_s * limit * tokens)
