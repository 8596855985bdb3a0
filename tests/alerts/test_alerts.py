"""Every alert: rule, tests, page and route."""

import re
import subprocess
from pathlib import Path

import pytest
import typer
import yaml

from aiops.cli.main import app
from aiops.model.detection import DetectionKind
from tests import parts
from tests.alerts.rules import ALERT_RULES, ALERTS, RECORDINGS, RULE_FILES
from tests.dashboards.checks import query_complaints
from tests.dashboards.known import known, labels_in
from tests.dashboards.labels import label_names

TEST_FILES = sorted((ALERTS / "tests").glob("*.test.yaml"))
RULES = ALERT_RULES
WATCHDOG = "AiopsWatchdog"  # fires always
KNOWN = known()
NAMES = [name for name in RULES if name != WATCHDOG]


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


@pytest.mark.parametrize("name", RULES)
def test_an_alert_is_tested_silent_firing_and_resolving_with_all_that_it_says(name):
    tests = yaml.safe_load((ALERTS / "tests" / f"{name}.test.yaml").read_text())["tests"]
    cases = [[bool(case["exp_alerts"]) for case in test["alert_rule_test"]] for test in tests]
    fired = [alert for test in tests for case in test["alert_rule_test"] for alert in case["exp_alerts"]]

    assert {case["alertname"] for test in tests for case in test["alert_rule_test"]} == {name}
    assert name == WATCHDOG or any(not case[0] and any(case) and not case[-1] for case in cases), "it never resolves"
    assert name == WATCHDOG or any(not any(case) for case in cases), "nothing that looks like it stays silent"
    assert fired
    for alert in fired:
        assert set(alert["exp_annotations"]) == set(RULES[name]["annotations"])
        assert set(alert["exp_labels"]) >= {"severity", "team"}


def test_no_test_is_left_over():
    assert {path.name.removesuffix(".test.yaml") for path in TEST_FILES} == set(RULES)


@pytest.mark.parametrize("name", RULES)
def test_an_alert_says_how_bad_it_is_and_where_to_read_on(name):
    rule = RULES[name]
    assert rule["labels"]["severity"] in ("critical", "warning", "info", "{{ $labels.severity }}") or name == WATCHDOG
    assert rule["labels"]["team"] == "aiops"
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"alerts/runbook/{name}.md"


@pytest.mark.parametrize("name", RULES)
def test_an_alert_waits_or_looks_back(name):
    rule = RULES[name]
    looks_back = re.findall(r"\[(\d+)([mh])\]", rule["expr"])

    assert "for" in rule or name == WATCHDOG or min(int(n) * {"m": 1, "h": 60}[unit] for n, unit in looks_back) >= 30


@pytest.mark.parametrize("rule", [*RULES.values(), *RECORDINGS], ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_asks_for_metrics_and_labels_that_there_are(rule):
    assert list(query_complaints(rule["expr"], KNOWN)) == []


@pytest.mark.parametrize("name", NAMES)
def test_an_alert_keeps_the_labels_that_it_speaks_of_and_the_cluster(name):
    rule = RULES[name]
    spoken = set(re.findall(r"\$labels\.(\w+)", yaml.safe_dump({**rule["annotations"], **rule["labels"]})))

    assert spoken | {"cluster"} <= label_names(rule["expr"], labels_in(KNOWN))


@pytest.mark.parametrize("name", RULES)
def test_a_page_helps_at_three_in_the_morning(name):
    text = (ALERTS / "runbook" / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n")
    assert re.findall(r"^## (.*)", text, re.MULTILINE) == ["What it means", "Confirm", "Do", "When not to act"]
    assert {"critical": "**Critical", "warning": "**Warning", "info": "**Info", "none": "**None"}.get(
        RULES[name]["labels"]["severity"], "**Critical"
    ) in text.splitlines()[2]


@pytest.mark.parametrize("name", RULES)
def test_a_page_names_only_commands_that_there_are(name):
    text = (ALERTS / "runbook" / f"{name}.md").read_text()
    shown = "".join(re.findall(r"```console\n(.*?)```", text, re.DOTALL))
    used = set(re.findall(r"`aiops (\w+)", text)) | set(re.findall(r"^aiops (\w+)", shown, re.MULTILINE))

    assert used
    assert used <= set(typer.main.get_command(app).list_commands(None))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", RULES)
def test_a_page_asks_only_for_metrics_and_labels_that_there_are(name):
    text = (ALERTS / "runbook" / f"{name}.md").read_text()
    queries = [line for block in re.findall(r"```promql\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]

    assert queries
    for query in queries:
        assert list(query_complaints(query, KNOWN)) == []


@pytest.mark.parametrize("name", RULES)
def test_a_page_leads_to_pages_that_there_are(name):
    text = (ALERTS / "runbook" / f"{name}.md").read_text()

    assert {page for page in re.findall(r"\]\(([^)]*)\)", text) if not (ALERTS / "runbook" / page).is_file()} == set()


def test_no_page_is_left_over():
    assert {page.stem for page in (ALERTS / "runbook").glob("*.md")} == set(RULES)


# Kinds of trouble for which there is no detector yet, and the alerts that tell of them from what others export.
WITHOUT_DETECTOR = {
    "slow_start": ("TokenFactoryStartSlow",),
    "stuck_start": ("TokenFactoryStartStuck", "TokenFactoryPodUnschedulable", "TokenFactoryScaleUpStuck"),
    "slow_replica": ("TokenFactoryReplicaSlow", "GPUThermalThrottling", "GPUXidCritical"),
    "pd_imbalance": ("TokenFactoryPDImbalanced", "TokenFactoryPDTransferSlow", "TokenFactoryPDTransferFailing"),
    "demand_shift": ("TokenFactoryDemandShift",),
    "waste": ("GPUIdleWaste", "TokenFactoryEnergyWaste"),
}


@pytest.mark.parametrize("kind", DetectionKind)
def test_every_kind_of_finding_is_told_of(kind):
    assert [name for name in RULES if f'kind="{kind}"' in RULES[name]["expr"]]


@pytest.mark.parametrize("kind", WITHOUT_DETECTOR)
def test_a_kind_without_a_detector_is_told_of_by_what_others_export(kind):
    assert kind not in set(DetectionKind), "it has a detector now: let the alert stand on its finding"
    assert set(WITHOUT_DETECTOR[kind]) <= set(RULES)
    assert all("aiops_detection_active{kind=" not in RULES[name]["expr"] for name in WITHOUT_DETECTOR[kind][:1])
