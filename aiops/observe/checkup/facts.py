"""What a checkup knows of a setup before anything is judged: frozen, and None where it could not be had."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from aiops.model.cluster import ClusterView, TargetView
from aiops.model.policy import Mode, PolicySet
from aiops.model.refs import ModelRef, PoolRef
from aiops.model.snapshot import Snapshot
from aiops.observe.cluster_template import Template
from aiops.observe.kubernetes import Resource

ACTS = frozenset({Mode.ACT, Mode.ACT_UP})


@dataclass(frozen=True, slots=True)
class SeriesSeen:
    """A series name that is there at present, with the labels that tell whose it is; ``value`` is the largest.

    ``ref`` is the model of a policy that it is about, None where it is about none.
    """

    name: str
    labels: Mapping[str, str]
    value: float | None
    ref: ModelRef | None = None


@dataclass(frozen=True, slots=True)
class Down:
    """A scrape target that does not answer."""

    job: str
    instance: str
    namespace: str
    pod: str

    def __str__(self) -> str:
        return f"{self.pod or self.instance} (job {self.job or 'without a name'})"


@dataclass(frozen=True, slots=True)
class MetricFacts:
    """What Prometheus says. ``problem`` is why it cannot be asked; then all else is empty.

    ``ahead_s`` is how far its clock is ahead of ours. Of each model: ``last_seen`` when series that are gone were
    there, by their metric's name; ``bounds_s`` those of its histograms' buckets, by the family's name; ``slowest_s``
    the P99 of a whole request over the last hour; ``pace_s`` how often its engines are scraped.
    """

    problem: str = ""
    ahead_s: float | None = None
    seen: tuple[SeriesSeen, ...] = ()
    down: tuple[Down, ...] = ()
    last_seen: Mapping[tuple[str, ModelRef], datetime] = field(default_factory=dict)
    bounds_s: Mapping[tuple[str, ModelRef], tuple[float, ...]] = field(default_factory=dict)
    slowest_s: Mapping[ModelRef, float] = field(default_factory=dict)
    pace_s: Mapping[ModelRef, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Right:
    """A right that a mode needs, as a Role's rule states it; ``namespace`` None is the whole cluster.

    ``needed`` is False where aiops works without it and knows less; ``why`` says what it is for, ``part`` the folder of
    deploy/ that grants it.
    """

    verb: str
    resource: Resource
    namespace: str | None
    why: str
    part: str
    subresource: str = ""
    name: str = ""
    needed: bool = True


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """What the API server says. ``refused`` are the rights that are lacking, ``asked_as`` whose rights these are.

    ``excess`` are rights of it that nobody should have.
    """

    view: ClusterView
    ahead_s: float | None = None
    asked_as: str = ""
    granted: tuple[Right, ...] = ()
    refused: tuple[Right, ...] = ()
    excess: tuple[Right, ...] = ()
    templates: tuple[Template, ...] = ()

    def template(self, pool: PoolRef) -> Template | None:
        """Find what a target's manifest says."""
        return next((one for one in self.templates if one.pool == pool), None)

    def target(self, pool: PoolRef) -> TargetView | None:
        """Find a target as it is now."""
        return self.view.target(pool)


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that is judged. ``cluster`` is None where none is connected, ``window`` what rates are taken over."""

    at: datetime
    policies: PolicySet
    snapshot: Snapshot
    metrics: MetricFacts
    cluster: ClusterFacts | None = None
    window: timedelta = timedelta(minutes=1)
