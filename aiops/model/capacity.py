"""How much of a replica may be used before the objectives break."""

from dataclasses import dataclass
from enum import StrEnum

from aiops.model.refs import Role


class CapacityBasis(StrEnum):
    """How sure a capacity is."""

    TABLE = "table"
    """Made offline by the simulator for this profile, mix and objective."""
    INFERRED = "inferred"
    """A fixed utilization limit: safe on the loads it was chosen on, and no more than that."""


class CapacityBound(StrEnum):
    """What a replica runs out of first."""

    COMPUTE = "compute"
    """Prefill time."""
    ITL = "itl"
    """The batch at which a step takes as long as the ITL objective allows."""
    KV_CACHE = "kv_cache"
    """KV tokens, by Little's law."""
    MAX_NUM_SEQS = "max_num_seqs"
    """The engine's limit on running sequences."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """The highest utilization of one role at which the objectives hold, and how sure that is.

    ``replica_tok_per_s`` is what one replica serves at that limit, in the role's own tokens (uncached prompt tokens
    for prefill, output tokens for decode and for both), at the present mix; None where the mix is unknown.
    """

    role: Role
    utilization_limit_ratio: float
    basis: CapacityBasis
    bound: CapacityBound | None = None
    replica_tok_per_s: float | None = None
