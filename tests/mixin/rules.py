"""The rules that ship, and what an alert does over time with the answers of its expression."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from aiops.model.quantity import parse_duration
from tests.alerts.rules import RULE_FILES
from tests.dashboards.promql import names

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Rule:
    """One recording or alerting rule; ``labels`` as written, templates and all."""

    name: str
    expr: str
    alert: bool
    for_s: float = 0.0
    keep_firing_s: float = 0.0
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Episode:
    """One time in which an alert fired, in Unix seconds; ``labels`` are the alert's."""

    alert: str
    labels: tuple[tuple[str, str], ...]
    active_s: float
    begin_s: float
    end_s: float

    @property
    def named(self) -> dict[str, str]:
        return dict(self.labels)


def read_rules(files: Iterable[Path] = RULE_FILES) -> list[Rule]:
    """All rules of some files, those that ship unless given, in their order."""
    groups = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    return [_rule(rule) for group in groups for rule in group["rules"]]


def _rule(rule: Mapping[str, object]) -> Rule:
    def seconds(key: str) -> float:
        return parse_duration(str(rule[key])).total_seconds() if key in rule else 0.0

    name, labels = rule.get("alert") or rule["record"], rule.get("labels") or {}
    assert isinstance(labels, dict)
    return Rule(str(name), str(rule["expr"]), "alert" in rule, seconds("for"), seconds("keep_firing_for"), labels)


def levels(rules: Sequence[Rule]) -> list[list[Rule]]:
    """Recording rules by what they stand on: those of a level read only what is scraped and what lower ones record.

    ``promtool tsdb create-blocks-from rules`` evaluates each rule alone, so that one pass does not see what it records.
    """
    waiting = [rule for rule in rules if not rule.alert]
    found: list[list[Rule]] = []
    while waiting:
        open_names = {rule.name for rule in waiting}
        level = [rule for rule in waiting if not names(rule.expr) & open_names]
        if not level:
            raise ValueError(f"these rules stand on each other: {sorted(open_names)}")
        found.append(level)
        waiting = [rule for rule in waiting if rule not in level]
    return found


def write_rules(rules: Iterable[Rule], path: Path) -> Path:
    """Write recording rules as a rule file."""
    written = [{"record": rule.name, "expr": rule.expr, "labels": dict(rule.labels)} for rule in rules]
    path.write_text(yaml.safe_dump({"groups": [{"name": path.stem, "rules": written}]}))
    return path


def fired(rule: Rule, answers: Iterable[Mapping[str, object]], step_s: float) -> list[Episode]:
    """When an alert fires whose expression gave these series over ``query_range`` with this step.

    Like Prometheus: it is pending from the first evaluation that has the series, fires at the first that is ``for``
    later with the series in all between, and ends when one lacks it; ``keep_firing_for`` prolongs what fires.
    """
    episodes: dict[tuple[tuple[str, str], ...], list[Episode]] = {}
    for series in answers:
        metric, values = series["metric"], series["values"]
        assert isinstance(metric, dict)
        assert isinstance(values, list)
        labels = _alert_labels(rule, metric)
        episodes.setdefault(labels, []).extend(_episodes(rule, labels, [float(at) for at, _ in values], step_s))
    return sorted((one for found in episodes.values() for one in found), key=lambda one: one.begin_s)


def _episodes(rule: Rule, labels: tuple[tuple[str, str], ...], at_s: list[float], step_s: float) -> list[Episode]:
    runs: list[list[float]] = []
    for moment in at_s:
        # What fires goes on firing over a gap no longer than keep_firing_for; what is pending begins anew.
        kept_s = rule.keep_firing_s if runs and runs[-1][1] - runs[-1][0] >= rule.for_s else 0.0
        if runs and moment - runs[-1][1] <= step_s + kept_s + 1e-6:
            runs[-1][1] = moment
        else:
            runs.append([moment, moment])
    found = []
    for first, last in runs:
        begin_s = first + -(-rule.for_s // step_s) * step_s
        if begin_s <= last:
            found.append(Episode(rule.name, labels, first, begin_s, last + step_s + rule.keep_firing_s))
    return found


def _alert_labels(rule: Rule, metric: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    def filled(text: str) -> str:
        return re.sub(r"{{\s*\$labels\.(\w+)\s*}}", lambda match: metric.get(match[1], ""), text)

    own = {name: filled(value) for name, value in rule.labels.items()}
    merged = {**{name: value for name, value in metric.items() if name != "__name__"}, **own}
    return tuple(sorted((name, value) for name, value in merged.items() if value))


def without_recordings(expr: str, recorded: Mapping[str, Rule], step_s: float) -> str:
    """An expression with each recorded series replaced by what it is recorded from, over and over.

    The matchers on a recorded series are left out: they choose among a few results, after the work is done.
    """
    for name, rule in recorded.items():

        def raw(match: re.Match[str], rule: Rule = rule) -> str:
            inner = f"({without_recordings(rule.expr, recorded, step_s)})"
            window, offset = match[1] or "", match[2] or ""
            if window:
                return f"{inner}{window[:-1]}:{step_s:g}s]{offset}"
            return f"last_over_time({inner}[{step_s:g}s:{step_s:g}s]{offset})" if offset else inner

        place = rf"(?<![\w:]){re.escape(name)}(?![\w:])(?:{{[^}}]*}})?(\[[^\]:]*\])?(\s+offset\s+\w+)?"
        expr = re.sub(place, raw, expr)
    return expr
