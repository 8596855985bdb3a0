"""The rules that ship, as their files have them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ALERTS = Path(__file__).parents[2] / "alerts"
RULE_FILES = sorted(ALERTS.glob("*.rules.yaml"))

Rule = dict[str, Any]


def _rules() -> Iterator[Rule]:
    for path in RULE_FILES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from group["rules"]


ALERT_RULES: dict[str, Rule] = {rule["alert"]: rule for rule in _rules() if "alert" in rule}
RECORDINGS: list[Rule] = [rule for rule in _rules() if "record" in rule]
