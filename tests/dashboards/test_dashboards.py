"""The generated dashboards as files: what they hold, and that they are what the program makes."""

import json
import re
import subprocess
import sys

import pytest

from aiops.observe.catalogue import catalogue
from dashboards.generate import HERE, dashboards, generate, generated, main
from tests import parts
from tests.dashboards.checks import complaints, expressions
from tests.dashboards.known import ALERTS, known, own_series, read_by, rules
from tests.dashboards.promql import names

FILES = {path.name: json.loads(text) for path, text in generated().items()}
SPECS = {dashboard.uid: dashboard for dashboard in dashboards()}
KNOWN = known()


@pytest.mark.parametrize("name", FILES)
def test_a_dashboard_keeps_to_the_rules(name):
    assert complaints(FILES[name], KNOWN) == []


@pytest.mark.parametrize("path", generated(), ids=lambda path: path.name)
def test_the_committed_file_is_what_is_generated_byte_for_byte(path):
    assert path.read_bytes() == generated()[path].encode()
    assert path.stat().st_size <= 1024 * 1024, "a ConfigMap holds no more"


def test_no_file_is_left_over():
    assert {path.name for path in (HERE / "json").iterdir()} == set(FILES)


def test_uids_are_unique_and_in_the_names():
    assert len(SPECS) == len(dashboards())
    assert {f"{uid}.json" for uid in SPECS} == set(FILES)


def test_generating_elsewhere_gives_the_same_bytes(tmp_path):
    written = generate(tmp_path / "new" / "folder")
    assert [path.read_bytes() for path in written] == [text.encode() for text in generated().values()]


def test_check_tells_a_stale_file(tmp_path, capsys):
    generate(tmp_path)
    assert main(["--check", "--out", str(tmp_path)]) == 0
    (tmp_path / "aiops-decisions.json").write_text("{}")
    assert main(["--check", "--out", str(tmp_path)]) == 1
    assert "aiops-decisions.json is out of date" in capsys.readouterr().err


def test_it_runs_as_a_program_from_any_folder(tmp_path):
    command = [sys.executable, str(HERE / "generate.py"), "--check"]
    assert subprocess.run(command, cwd=tmp_path, check=False, capture_output=True).returncode == 0


# What they show


def test_there_are_six_that_are_worth_looking_at():
    assert set(SPECS) == {f"aiops-{name}" for name in ("fleet", "model", "balance", "cache", "pd", "decisions")}
    assert sum(len(dashboard.panels) for dashboard in SPECS.values()) >= 45


@pytest.mark.parametrize("name", FILES)
def test_one_chooses_everywhere_in_the_same_way_and_each_choice_chooses(name):
    variables = [variable["name"] for variable in FILES[name]["templating"]["list"]]
    assert variables[:7] == ["datasource", "cluster", "namespace", "model", "role", "pool", "console"]
    text = json.dumps([[panel.get("targets"), panel.get("links")] for panel in FILES[name]["panels"]])
    assert [one for one in variables if f"${one}" not in text and f"${{{one}}}" not in text] in ([], ["console"])


@pytest.mark.parametrize("uid", SPECS)
def test_no_two_panels_have_one_title(uid):
    titles = [panel.title for panel in SPECS[uid].panels]
    assert [title for title in titles if titles.count(title) > 1] == []


@pytest.mark.parametrize("uid", SPECS)
def test_its_links_lead_somewhere(uid):
    pages = {page.stem for page in (ALERTS / "runbook").glob("*.md")}
    assert {alert for panel in SPECS[uid].panels for alert in panel.runbooks} <= pages
    assert {panel.drill for panel in SPECS[uid].panels if panel.drill} <= set(SPECS)
    clicked = {label for panel in FILES[f"{uid}.json"]["panels"] for label in _clicked(panel)}
    assert clicked <= {"model_name"}
    for panel in SPECS[uid].panels:
        kept = "model_name" in "".join(query.expr.split("(")[0] + query.legend + query.expr for query in panel.queries)
        assert kept or not panel.drill, f"{panel.title} opens another dashboard for a model that it does not know"


def _clicked(panel):
    links = panel.get("fieldConfig", {}).get("defaults", {}).get("links", [])
    return {label for link in links for label in re.findall(r"(?:__field\.labels|__data\.fields)\.(\w+)", link["url"])}


# aiops' own metrics, the other way round: what nobody looks at need not be there.


def test_every_metric_of_aiops_is_looked_at_by_a_dashboard_or_a_rule():
    asked = {name for file in FILES.values() for _, expr in expressions(file) for name in names(expr)}
    asked |= {name for rule in rules() for name in names(rule["expr"])}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked}
    own = {re.sub(r"_(bucket|sum|count)$", "", name) for name in own_series()}
    assert own - families == set()


# vLLM's metrics, against what a real vLLM 0.32 exposes

AWAITED = {
    "Life of a KV block": "--kv-cache-metrics",
    "Duration of a KV transfer": "NixlConnector",
    "KV bytes handed over": "NixlConnector",
    "Transfers that failed or came too late": "NixlConnector",
    "Requests that wait for their KV": "vLLM 0.33",
}


def test_the_vllm_metrics_asked_for_are_those_of_a_real_server_or_said_to_be_missing():
    exposed: set[str] = set()
    for scrape in sorted(parts.shared_data("vllm_metrics").glob("*.prom")):
        exposed |= set(re.findall(r"^(vllm:\w+)", scrape.read_text(), re.MULTILINE))
    missing = {}
    for panel in (panel for dashboard in SPECS.values() for panel in dashboard.panels):
        read = {name for query in panel.queries for name in read_by(query.expr) if name.startswith("vllm:")}
        for name in read - exposed:
            metric = catalogue().find(name)
            assert metric is not None
            missing[panel.title] = metric.enabled_by or f"vLLM {metric.since}"
    assert missing == AWAITED
    assert all(panel.may_be_empty for one in SPECS.values() for panel in one.panels if panel.title in missing)
