"""What one look at the world found."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from aiops.model.cluster import TargetView
from aiops.model.demand import TokenDemand
from aiops.model.refs import ModelRef, PoolRef, Role


class SignalState(StrEnum):
    """Whether a metric can be believed. Absent, zero, stale and mismatched are four different things."""

    OK = "ok"
    ZERO = "zero"
    ABSENT = "absent"
    STALE = "stale"
    MISMATCH = "mismatch"


@dataclass(frozen=True, slots=True)
class SignalHealth:
    """The state of one metric for one model.

    ``signal`` is its name in the catalogue, ``found_as`` the name or alias that answered, ``detail`` a sentence for
    people that names the value found and the way out.
    """

    signal: str
    state: SignalState
    found_as: str | None = None
    detail: str = ""

    @property
    def usable(self) -> bool:
        """Whether a number stands behind the signal; a zero is a number."""
        return self.state in (SignalState.OK, SignalState.ZERO)


@dataclass(frozen=True, slots=True)
class ReplicaSample:
    """One live engine, as its metrics show it. What was not measured is None, never 0.

    Rates are per second over the observer's window; ``*_ratio`` lie in 0..1.
    """

    name: str
    age: timedelta | None = None
    """Since the engine's process began, loading included; None when unknown."""
    running: float | None = None
    waiting: float | None = None
    kv_usage_ratio: float | None = None
    kv_tokens: float | None = None
    """KV capacity, in tokens."""
    preemptions_per_s: float | None = None
    prefix_queries_tok_per_s: float | None = None
    prefix_hits_tok_per_s: float | None = None
    prompt_tok_per_s: float | None = None
    generation_tok_per_s: float | None = None
    finished_per_s: float | None = None
    ttft_mean_s: float | None = None
    itl_mean_s: float | None = None

    @property
    def prefix_hit_ratio(self) -> float | None:
        """The share of looked-up prompt tokens found in the cache; None where nothing was looked up."""
        if self.prefix_hits_tok_per_s is None or not self.prefix_queries_tok_per_s:
            return None
        return min(1.0, self.prefix_hits_tok_per_s / self.prefix_queries_tok_per_s)


@dataclass(frozen=True, slots=True)
class StartingReplica:
    """A replica that was ordered and does not serve yet."""

    name: str
    ordered_at: datetime
    scheduled: bool | None = None
    reason: str = ""
    """Why it is pending, where the world says so: ``waiting for nvidia.com/gpu: 4``."""


@dataclass(frozen=True, slots=True)
class PoolSnapshot:
    """The replicas of one pool.

    ``current`` is what is asked of Kubernetes (``spec.replicas``); ``current_inferred`` marks that it was counted from
    live engines instead.
    """

    pool: PoolRef
    role: Role
    variant: str
    current: int | None
    current_inferred: bool = False
    replicas: tuple[ReplicaSample, ...] = ()
    starting: tuple[StartingReplica, ...] = ()
    draining: int = 0
    cold_starts_s: tuple[float, ...] = ()
    """Seconds from order to ready of the starts that ended since the last look."""
    target: TargetView | None = None
    """What Kubernetes says of it; None where no cluster is connected."""

    @property
    def ready(self) -> int:
        """The replicas that serve."""
        return len(self.replicas)

    @property
    def unplaced(self) -> tuple[StartingReplica, ...]:
        """The ordered replicas that found no node yet, as far as the world says why."""
        return tuple(one for one in self.starting if one.scheduled is False and one.reason)

    def total(self, name: str) -> float | None:
        """Sum a field of the replicas; None where any replica lacks it or no replica is there."""
        values = [getattr(replica, name) for replica in self.replicas]
        if not values or any(value is None for value in values):
            return None
        return float(sum(values))


@dataclass(frozen=True, slots=True)
class Latency:
    """What users felt over the observer's window; None where no request ended in it."""

    ttft_s: float | None = None
    """At the objective's percentile."""
    itl_s: float | None = None
    ttft_attainment_ratio: float | None = None
    """Share of requests within the bucket bound nearest to the objective."""
    itl_attainment_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class ModelSnapshot:
    """One model: its pools, its demand and how far the metrics can be believed.

    ``blind`` names why no number of this model may be used (empty when they may).
    """

    ref: ModelRef
    pools: tuple[PoolSnapshot, ...] = ()
    demand: TokenDemand | None = None
    latency: Latency = field(default_factory=Latency)
    signals: tuple[SignalHealth, ...] = ()
    blind: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything one cycle knows of the world. No later step reads the world again.

    ``blind`` names why nothing was seen at all (empty otherwise); ``unmanaged`` lists models that are served without a
    policy; ``queries`` counts the PromQL queries it took.
    """

    at: datetime
    models: tuple[ModelSnapshot, ...] = ()
    unmanaged: tuple[ModelRef, ...] = ()
    blind: str = ""
    queries: int = 0

    def model(self, ref: ModelRef) -> ModelSnapshot:
        """Give a model as far as it may be used: blind where the whole snapshot is, or where it was not seen."""
        found = next((model for model in self.models if model.ref == ref), None)
        if found is None:
            return ModelSnapshot(ref, blind=self.blind or "no series has this model")
        return replace(found, blind=self.blind) if self.blind else found
