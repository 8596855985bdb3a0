"""The files of rules that ship, with the objectives of some policies and the runbooks' address put in."""

from enum import StrEnum
from typing import Any

import yaml

from aiops.model.policy import PolicySet
from aiops.observe.objective_rules import AVAILABILITY, objective_groups
from aiops.observe.packaged import packaged

OBJECTIVES = "objectives.rules.yaml"
_RUNBOOKS = "runbook_url: alerts/runbook/"
_HEADER = """\
# How fast the objectives' budgets burn; written by `aiops alerts`{of}. A budget is what an objective
# allows to be missed: of p95 it is one in twenty, over 30 days. See aiops/observe/objective_rules.py.
"""


class RuleFormat(StrEnum):
    """What a file of rules is to be: one that Prometheus reads, or an object of the Prometheus operator."""

    RULES = "rules"
    PROMETHEUS_RULE = "prometheusrule"


def rule_files(
    policies: PolicySet,
    rule_format: RuleFormat = RuleFormat.RULES,
    availability: float = AVAILABILITY,
    runbooks: str | None = None,
) -> dict[str, str]:
    """Give the text of each rule file by its name, for the objectives of some policies; of none, the defaults.

    ``runbooks`` is the address of the folder with the runbooks' pages, for the links in the alerts.
    """
    shipped = sorted(packaged("alerts").glob("*.rules.yaml"))
    texts = {path.name: path.read_text("utf-8") for path in shipped if path.name != OBJECTIVES}
    texts[OBJECTIVES] = objectives_file(policies, availability)
    if runbooks is not None:
        link = f"runbook_url: {runbooks.rstrip('/')}/"
        texts = {name: text.replace(_RUNBOOKS, link) for name, text in texts.items()}
    if rule_format is RuleFormat.PROMETHEUS_RULE:
        texts = {name: _object(name.removesuffix(".rules.yaml"), text) for name, text in texts.items()}
    return dict(sorted(texts.items()))


def objectives_file(policies: PolicySet, availability: float = AVAILABILITY) -> str:
    """Give the rule file for the objectives of some policies; of none, the default ones for every model seen."""
    of = " for policies" if policies.policies else " for the default objectives"
    return _HEADER.format(of=of) + _yaml({"groups": objective_groups(policies, availability)})


def _object(name: str, text: str) -> str:
    return "# Written by `aiops alerts --format prometheusrule`.\n" + _yaml(
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": {"name": f"aiops-{name}", "labels": {"app.kubernetes.io/name": "aiops"}},
            "spec": yaml.safe_load(text),
        }
    )


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as they read, and lists inside what they belong to."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value.strip() else None)


_Dumper.add_representer(str, _text)


def _yaml(value: dict[str, Any]) -> str:
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=118)
    return text
