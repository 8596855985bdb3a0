"""The evidence of the loop, kept in three places: metrics, log and journal."""

import sqlite3
from collections.abc import Callable

import structlog

from aiops.act.emit import Emitter
from aiops.act.journal import Journal
from aiops.act.log import CycleLog
from aiops.model.cycle import Cycle
from aiops.model.decision import Outcome
from aiops.model.policy import PolicySet


class EvidenceRecorder:
    """Fits ``control.protocols.Recorder``.

    A journal that cannot be written (a full disk) is logged and counted, and the loop goes on: no decision needs it.
    """

    def __init__(
        self,
        journal: Journal,
        emitter: Emitter,
        log: CycleLog,
        policies: Callable[[], PolicySet],
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        self._journal, self._emitter, self._log = journal, emitter, log
        self._policies, self._leads = policies, leads

    def record(self, cycle: Cycle) -> None:
        """Keep a cycle: the metrics first, since others act on them, then the log, then the journal."""
        self._emitter.record(cycle, self._policies(), self._leads())
        self._log.cycle(cycle)
        self._keep(lambda: self._journal.record(cycle))

    def outcome(self, outcome: Outcome) -> None:
        """Keep what came of a decision."""
        self._emitter.outcome(outcome)
        self._log.outcome(outcome)
        self._keep(lambda: self._journal.outcome(outcome))

    def _keep(self, write: Callable[[], None]) -> None:
        try:
            write()
        except (sqlite3.Error, OSError) as error:
            self._emitter.error("record")
            structlog.get_logger().error("the journal was not written", journal=self._journal.name, error=str(error))
