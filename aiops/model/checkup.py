"""What a look at a whole setup found: what is fine, what is doubtful, and what keeps aiops from working."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from aiops.model.snapshot import SignalState


class Verdict(StrEnum):
    """How bad a finding is, the worst first."""

    WRONG = "wrong"
    """It keeps aiops from doing what the policies ask for."""
    WARNING = "warning"
    FINE = "fine"


class Topic(StrEnum):
    """What a finding is about, in the order in which findings are told."""

    PROMETHEUS = "prometheus"
    CLOCK = "clock"
    TARGET_DOWN = "target-down"
    SIGNAL = "signal"
    LABELS = "labels"
    SCRAPE = "scrape"
    CLUSTER = "cluster"
    RIGHTS = "rights"
    TARGET = "target"
    SCALER = "scaler"
    GIT = "replicas-in-git"
    GRACE = "grace-period"
    PROFILE = "profile"
    OBJECTIVE = "objective"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: about whom, what is so, and what to do; ``way_out`` is empty where nothing is."""

    topic: Topic
    verdict: Verdict
    about: str
    says: str
    way_out: str = ""


@dataclass(frozen=True, slots=True)
class SignalReport:
    """One metric of the catalogue, of one model or (where ``about`` is a source) of a source that no model owns.

    ``found_as`` is the older name where only that is there, ``last_seen`` when a series that is gone was there,
    ``enabled_by`` what must be on for it to exist.
    """

    about: str
    signal: str
    state: SignalState
    found_as: str | None = None
    detail: str = ""
    enabled_by: str | None = None
    last_seen: datetime | None = None


@dataclass(frozen=True, slots=True)
class Checkup:
    """Everything that one look at a setup found; findings are sorted, the worst first."""

    at: datetime
    findings: tuple[Finding, ...]
    signals: tuple[SignalReport, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The worst of all findings."""
        return next((one for one in Verdict if any(found.verdict is one for found in self.findings)), Verdict.FINE)
