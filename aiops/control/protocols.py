"""What the loop needs of the world. Adapters fit these by shape; mypy checks the fit where ``cli`` wires them."""

from datetime import datetime
from typing import Protocol

from aiops.model.cycle import Cycle
from aiops.model.decision import Decision, Outcome
from aiops.model.snapshot import Snapshot


class Observer(Protocol):
    """Looks at the world once a cycle."""

    def observe(self) -> Snapshot:
        """Take one frozen snapshot.

        Never raises for a world that cannot be seen: ``Snapshot.blind`` or ``ModelSnapshot.blind`` says why.
        """
        ...


class Actuator(Protocol):
    """Carries decisions out."""

    def apply(self, decision: Decision) -> Outcome:
        """Ask for ``decision.desired`` replicas; idempotent. A refusal is an Outcome with its error, never raised."""
        ...


class Recorder(Protocol):
    """Keeps the evidence: journal, log, metrics."""

    def record(self, cycle: Cycle) -> None:
        """Keep a cycle, before anything is done about it."""
        ...

    def outcome(self, outcome: Outcome) -> None:
        """Keep what came of a decision."""
        ...


class Elector(Protocol):
    """Knows who leads."""

    def leads(self) -> bool:
        """Whether this process may write now."""
        ...


class Clock(Protocol):
    """Tells the time and lets it pass."""

    def now(self) -> datetime:
        """Give the present, in UTC."""
        ...

    def sleep(self, seconds: float) -> bool:
        """Wait; False when the wait was broken off because the process shall end."""
        ...
