"""What was found wrong, on which evidence, and what follows."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from aiops.model.refs import ModelRef, PoolRef


class DetectionKind(StrEnum):
    """The kinds of trouble that a detector of this version finds; ``sentence`` says what each means."""

    HOTSPOT = "hotspot"
    ROUTING_SKEW = "routing_skew"
    SATURATION = "saturation"
    COLD_CACHE = "cold_cache"
    BLIND = "blind"

    @property
    def sentence(self) -> str:
        """What the kind means, for people."""
        return _SENTENCES[self]


_SENTENCES = {
    DetectionKind.HOTSPOT: "This replica is saturated against its peers.",
    DetectionKind.ROUTING_SKEW: "Some replicas are full while others idle: it is the router, not the fleet.",
    DetectionKind.SATURATION: "The whole pool is full: requests wait everywhere.",
    DetectionKind.COLD_CACHE: "Prefix hits are far below what peers of a settled age reach.",
    DetectionKind.BLIND: "The metrics are lost, stale or mismatched, so nothing is moved.",
}


class Severity(StrEnum):
    """How soon somebody should look."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One figure that a finding stands on; ``reference`` is what it was held against."""

    name: str
    value: float | None
    unit: str
    reference: float | None = None


@dataclass(frozen=True, slots=True)
class Detection:
    """One finding about a model, a pool or a replica (the most particular that is not None is its subject).

    ``since`` is when the condition was first seen; ``note`` a sentence that names the subject.
    """

    kind: DetectionKind
    ref: ModelRef
    severity: Severity
    since: datetime
    evidence: tuple[Evidence, ...]
    note: str
    pool: PoolRef | None = None
    replica: str | None = None

    @property
    def subject(self) -> str:
        """What it is about, as a label."""
        return self.replica or (str(self.pool) if self.pool else str(self.ref))


@dataclass(frozen=True, slots=True)
class Cause:
    """One candidate answer to "why is it slow, why is it dear"; ``confidence_ratio`` is None without enough data."""

    kind: DetectionKind
    confidence_ratio: float | None
    sentence: str
    next_step: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The causes of a model's trouble, most likely first; empty where nothing is wrong."""

    ref: ModelRef
    causes: tuple[Cause, ...] = ()
