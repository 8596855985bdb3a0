"""What a detector hands over: a finding of one look, before anybody knows whether it lasts."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from aiops.model.detection import Detection, DetectionKind, Evidence, Severity
from aiops.model.refs import ModelRef, PoolRef

Subject: TypeAlias = tuple[DetectionKind, ModelRef, PoolRef | None, str | None]

_LASTS = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A Detection without its ``since``.

    It becomes a Detection once it was suspected at every look for ``open_after``, and stops being one once it was not
    suspected for ``resolve_after``.
    """

    kind: DetectionKind
    ref: ModelRef
    severity: Severity
    evidence: tuple[Evidence, ...]
    note: str
    pool: PoolRef | None = None
    replica: str | None = None
    open_after: timedelta = _LASTS
    resolve_after: timedelta = _LASTS

    @property
    def subject(self) -> Subject:
        """What tells one suspicion from another: no two of one look share it."""
        return (self.kind, self.ref, self.pool, self.replica)

    def detection(self, since: datetime) -> Detection:
        """Give the finding that it becomes; ``since`` is when it was first suspected."""
        return Detection(
            self.kind, self.ref, self.severity, since, self.evidence, self.note, pool=self.pool, replica=self.replica
        )
