"""Every alert: rule, tests, page and route."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import parts
from tests.alerts.rules import ALERT_RULES, ALERTS, RECORDINGS, RULE_FILES
from tests.dashboards.checks import query_complaints
from tests.dashboards.known import known

TEST_FILES = sorted((ALERTS / "tests").glob("*.test.yaml"))
RULES = ALERT_RULES
CASES: dict[str, list[dict[str, Any]]] = {name: [] for name in RULES}
for path in TEST_FILES:
    for test in yaml.safe_load(path.read_text())["tests"]:
        for case in test["alert_rule_test"]:
            CASES.setdefault(case["alertname"], []).append(case)
KNOWN = known()
COMMANDS = {"demo", "run", "plan", "explain", "validate"}


def told(*command: str | Path) -> str:
    """Run a program that must succeed, from the folder of the alerts; give all it printed."""
    done = subprocess.run(command, cwd=ALERTS, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.real
def test_prometheus_takes_the_rules():
    said = told(parts.require("promtool", "prometheus"), "check", "rules", *RULE_FILES)

    assert sum(map(int, re.findall(r"(\d+) rules found", said))) == len(RULES) + len(RECORDINGS)


@pytest.mark.real
@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.name)
def test_the_rules_fire_when_they_should_and_only_then(path):
    assert "SUCCESS" in told(parts.require("promtool", "prometheus"), "test", "rules", path)


@pytest.mark.parametrize("name", CASES)
def test_an_alert_is_tested_silent_and_firing_with_all_that_it_says(name):
    assert name in RULES, f"{name} is tested and is no alert"
    assert (ALERTS / "tests" / f"{name}.test.yaml") in TEST_FILES
    firing = [alert for case in CASES[name] for alert in case["exp_alerts"]]
    silent = [case for case in CASES[name] if not case["exp_alerts"]]
    assert firing
    assert silent
    for alert in firing:
        assert set(alert["exp_annotations"]) == set(RULES[name]["annotations"])
        assert set(alert["exp_labels"]) >= {"severity", "team"}


@pytest.mark.parametrize("name", RULES)
def test_an_alert_says_how_bad_it_is_and_where_to_read_on(name):
    rule = RULES[name]
    assert rule["labels"]["severity"] in ("critical", "warning", "info", "{{ $labels.severity }}")
    assert rule["labels"]["team"] == "aiops"
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"alerts/runbook/{name}.md"
    assert rule["for"]


@pytest.mark.parametrize("name", RULES)
def test_an_alert_asks_for_metrics_and_labels_that_aiops_exposes(name):
    assert list(query_complaints(RULES[name]["expr"], KNOWN)) == []


@pytest.mark.parametrize("name", RULES)
def test_an_alert_keeps_the_labels_that_it_speaks_of(name):
    spoken = set(
        re.findall(r"\$labels\.(\w+)", yaml.safe_dump({**RULES[name]["annotations"], **RULES[name]["labels"]}))
    )
    kept = {label for by in re.findall(r"by \(([^)]*)\)", RULES[name]["expr"]) for label in by.split(", ")}
    assert spoken <= kept


@pytest.mark.parametrize("name", RULES)
def test_a_page_helps_at_three_in_the_morning(name):
    text = (ALERTS / "runbook" / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n")
    assert re.findall(r"^## (.*)", text, re.MULTILINE) == ["What it means", "Confirm", "Do", "When not to act"]
    used = set(re.findall(r"\baiops (\w+) [A-Z-]", text))
    assert used
    assert used <= COMMANDS
    queries = [line for block in re.findall(r"```promql\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    assert queries
    for query in queries:
        unknown = [one for one in query_complaints(query, KNOWN) if "aiops_" in one]
        assert unknown == []


def test_no_page_is_left_over():
    assert {page.stem for page in (ALERTS / "runbook").glob("*.md")} == set(RULES)


@pytest.mark.real
def test_alertmanager_takes_its_configuration():
    assert "SUCCESS" in told(parts.require("amtool", "prometheus-alertmanager"), "check-config", "alertmanager.yaml")


@pytest.mark.real
@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        pytest.param(("severity=critical",), "pagerduty,slack", id="critical pages one and tells all"),
        pytest.param(("severity=warning",), "slack", id="a warning tells all"),
        pytest.param(("severity=info",), "nobody", id="info is for dashboards"),
    ],
)
def test_an_alert_reaches_whom_it_should(labels, receivers):
    amtool = parts.require("amtool", "prometheus-alertmanager")
    told(
        amtool, "config", "routes", "test", "--config.file=alertmanager.yaml", f"--verify.receivers={receivers}",
        "team=aiops", *labels,
    )  # fmt: skip


def test_secrets_are_in_files():
    text = (ALERTS / "alertmanager.yaml").read_text()
    assert not re.search(r"\b(api_url|routing_key|service_key|bearer_token|password):", text)


def test_what_mutes_others_is_there_and_names_what_must_be_equal():
    (inhibition,) = yaml.safe_load((ALERTS / "alertmanager.yaml").read_text())["inhibit_rules"]
    (source,) = (match for one in inhibition["source_matchers"] if (match := re.fullmatch(r'alertname="(\w+)"', one)))
    (target,) = (match for one in inhibition["target_matchers"] if (match := re.fullmatch(r'alertname=~"(.*)"', one)))
    by = re.findall(r"by \(([^)]*)\)", RULES[source[1]]["expr"])[0].split(", ")
    assert set(inhibition["equal"]) <= set(by)
    assert [name for name in RULES if re.fullmatch(target[1], name)], "it mutes nothing"
