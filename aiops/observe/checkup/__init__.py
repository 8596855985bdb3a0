"""A look at a whole setup: facts are asked for, then judged by functions that do nothing else."""

from collections.abc import Callable, Iterable

from aiops.model.checkup import Checkup, Finding, Topic, Verdict
from aiops.observe.checkup.facts import Facts
from aiops.observe.checkup.join import judge_join
from aiops.observe.checkup.labels import judge_labels
from aiops.observe.checkup.objectives import judge_objectives
from aiops.observe.checkup.profiles import judge_profiles
from aiops.observe.checkup.reach import judge_clocks, judge_reach
from aiops.observe.checkup.rights import judge_rights
from aiops.observe.checkup.scrapes import judge_down, judge_scrapes
from aiops.observe.checkup.signals import judge_signals, report_signals
from aiops.observe.checkup.targets import judge_grace, judge_switch, judge_targets

JUDGES: tuple[Callable[[Facts], Iterable[Finding]], ...] = (
    judge_reach,
    judge_clocks,
    judge_down,
    judge_signals,
    judge_labels,
    judge_scrapes,
    judge_rights,
    judge_switch,
    judge_targets,
    judge_join,
    judge_grace,
    judge_profiles,
    judge_objectives,
)
_VERDICTS, _TOPICS = list(Verdict), list(Topic)


def judge(facts: Facts) -> Checkup:
    """Let everyone look at the facts; findings come sorted, the worst first."""
    findings = [finding for judge_one in JUDGES for finding in judge_one(facts)]
    return Checkup(facts.at, tuple(sorted(findings, key=_order)), report_signals(facts))


def _order(finding: Finding) -> tuple[int, int]:
    return _VERDICTS.index(finding.verdict), _TOPICS.index(finding.topic)
