"""What goes wrong in a factory, as its YAML says it: each entry of ``faults`` has a ``kind``, a time and a duration."""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from aiops.model.policy import Duration, PositiveDuration
from aiops.model.quantity import parse_duration


class _Fault(BaseModel):
    """A fault from ``at`` on, for ``duration``, in a ``pool`` (the one that requests come to, unless named)."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)

    benign: ClassVar[bool] = False
    replica: int | None = None
    at: Duration = Field(description="since the factory's start")
    duration: PositiveDuration
    pool: str | None = None

    @property
    def at_s(self) -> float:
        """When it begins."""
        return self.at.total_seconds()

    @property
    def end_s(self) -> float:
        """When it ends."""
        return self.at_s + self.duration.total_seconds()


class _OfOne(_Fault):
    """Hits one replica: the one that at its beginning has been ready longest is ``replica`` 0."""

    replica: int | None = Field(default=0, ge=0)


class _OfMany(_Fault):
    """Hits all replicas that are ready at its beginning, or the one given, counted as above."""

    replica: int | None = Field(default=None, ge=0)


class SlowReplica(_OfOne):
    """Every step takes ``times`` as long, as on a throttled GPU, and does so after a restart too."""

    kind: Literal["slow_replica"]
    times: float = Field(default=2.5, gt=1)


class StuckRouting(_OfOne):
    """``share`` of the requests go to one replica, whatever the router says, for as long as that one is ready."""

    kind: Literal["stuck_routing"]
    share: float = Field(default=0.8, gt=0, le=1)


class CacheFlush(_OfMany):
    """Cached blocks that no request holds are forgotten, at once; ``duration`` is how long that may be felt."""

    kind: Literal["cache_flush"]
    duration: PositiveDuration = parse_duration("2m")


class ShortResidency(_OfMany):
    """Cached blocks that no request holds are forgotten ``every`` so often: little room behind the cache."""

    kind: Literal["short_residency"]
    every: PositiveDuration = parse_duration("5s")


class ColdNewReplica(_Fault):
    """One replica more is wanted and ready at once, with an empty cache; ``duration`` is how long that may be felt."""

    kind: Literal["cold_new_replica"]
    duration: PositiveDuration = parse_duration("2m")


class SlowStart(_Fault):
    """Replicas that are bound to a node in this time take ``times`` as long to load, as from a slow registry."""

    kind: Literal["slow_start"]
    times: float = Field(default=4.0, gt=1)


class StuckStart(_Fault):
    """Replicas that are bound to a node in this time hang, and begin to load at its end."""

    kind: Literal["stuck_start"]


class KvThrash(_OfMany):
    """``share`` of the KV blocks are kept from requests, as soon as they are free, so that those preempt each other."""

    kind: Literal["kv_thrash"]
    share: float = Field(default=0.7, gt=0, lt=1)


class SlowTransfer(_Fault):
    """KV transfers that start in this time take ``times`` as long."""

    kind: Literal["slow_transfer"]
    times: float = Field(default=10.0, gt=1)


class MetricGap(_Fault):
    """No metrics of the model can be read, neither of its replicas nor of its gateway; requests feel nothing."""

    kind: Literal["metric_gap"]


class ScrapeLoss(_OfOne):
    """A replica's metrics cannot be read; it serves as before."""

    kind: Literal["scrape_loss"]


class CrashLoop(_OfOne):
    """A replica's container dies again and again, ``lives`` after it was ready, and what it served fails.

    The kubelet starts it anew at once, then after 10 s, 20 s and so on up to 5 min; it pulls no image, but loads and
    compiles. After the fault it lives.
    """

    kind: Literal["crash_loop"]
    lives: Duration = parse_duration("20s")


class NodeLoss(_OfOne):
    """The node under a replica is gone, with all that is on it; it is back at the end.

    Pods that are still down ``eviction`` after the loss are deleted and ordered anew, elsewhere. Kubernetes takes 40 s
    to notice and tolerates it for 300 s. That nobody sends requests there in the meantime is the gateway's merit.
    """

    kind: Literal["node_loss"]
    eviction: Duration = parse_duration("340s")


class Rollout(_Fault):
    """Not a fault: all replicas are replaced by those of a new revision, ``surge`` more than wanted at a time.

    An old one drains when a new one is ready. It takes as long as it takes; ``duration`` is for its label.
    """

    benign: ClassVar[bool] = True
    kind: Literal["rollout"]
    duration: PositiveDuration = parse_duration("15m")
    surge: int = Field(default=1, ge=1)


Fault = Annotated[
    SlowReplica
    | StuckRouting
    | CacheFlush
    | ShortResidency
    | ColdNewReplica
    | SlowStart
    | StuckStart
    | KvThrash
    | SlowTransfer
    | MetricGap
    | ScrapeLoss
    | CrashLoop
    | NodeLoss
    | Rollout,
    Field(discriminator="kind"),
]
