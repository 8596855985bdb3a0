"""Structured logs: JSON lines for machines, or coloured lines for people. They go to stderr; stdout is for results."""

import logging
import re
import sys
from typing import TextIO

import structlog
from structlog.typing import FilteringBoundLogger, Processor

from aiops.model.cycle import Cycle
from aiops.model.decision import Decision, Outcome
from aiops.model.refs import PoolRef


def set_up_log(*, json_lines: bool, level: str = "info", stream: TextIO | None = None) -> FilteringBoundLogger:
    """Send every log line of the process, libraries included, to ``stream`` (stderr) in one form.

    Libraries speak from the level ``warning`` up. Raises ValueError for a level that does not exist.
    """
    severity = logging.getLevelNamesMapping().get(level.upper())
    if severity is None:
        raise ValueError(f"{level!r} is no log level; write debug, info, warning, error or critical")
    stream = stream or sys.stderr
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer() if json_lines else structlog.dev.ConsoleRenderer(colors=stream.isatty())
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(severity),
        logger_factory=structlog.PrintLoggerFactory(stream),
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(severity, logging.WARNING), force=True)
    log: FilteringBoundLogger = structlog.get_logger()
    return log


class CycleLog:
    """Says what the loop does: a line a cycle, and a line for each change with its reasons.

    A change that is asked for again and again (nobody carries it out in observe mode) is said once.
    """

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log
        self._said: dict[PoolRef, int | None] = {}
        self._refused: dict[PoolRef, str] = {}

    def cycle(self, cycle: Cycle) -> None:
        """Log a cycle and what it newly asks for; a blind one is a warning."""
        blind = {str(model.ref): model.blind for model in cycle.models if model.blind}
        if cycle.blind:
            blind["all"] = cycle.blind
        log = self._log.warning if blind else self._log.info
        log(
            "cycle",
            number=cycle.number,
            at=cycle.at.isoformat(),
            models=len(cycle.models),
            queries=cycle.queries,
            changes=sum(decision.acts for decision in cycle.decisions),
            detections=len(cycle.detections),
            **({"blind": blind} if blind else {}),
        )
        for decision in cycle.decisions:
            self._decision(decision)

    def _decision(self, decision: Decision) -> None:
        asked = decision.desired if decision.acts else None
        if asked is not None and self._said.get(decision.pool) != asked:
            self._log.info(
                f"scale {decision.direction}",
                model=str(decision.ref),
                pool=str(decision.pool),
                role=decision.role.value,
                current=decision.current,
                desired=decision.desired,
                reasons=[reason.value for reason in decision.reasons],
                why=" ".join(reason.sentence for reason in decision.reasons),
            )
        self._said[decision.pool] = asked

    def outcome(self, outcome: Outcome) -> None:
        """Log what came of a decision; a refusal is a warning, said once while only numbers in it change."""
        told = "" if outcome.applied else re.sub(r"\d+", "", outcome.error)
        before, self._refused[outcome.pool] = self._refused.get(outcome.pool, ""), told
        if outcome.applied:
            self._log.info("applied", pool=str(outcome.pool), replicas=outcome.asked)
        elif told != before:
            self._log.warning("not applied", pool=str(outcome.pool), replicas=outcome.asked, error=outcome.error)
