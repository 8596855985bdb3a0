import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner, Result

from aiops.cli.alerts import alerts
from aiops.observe.packaged import packaged
from tests import parts
from tests.observe.policy_texts import GOOD, spec, written

NAMES = ["aiops", "fleet", "gpu", "objectives", "replicas", "token-factory"]
DEPLOY = Path(__file__).parents[2] / "deploy" / "monitoring"


def run(*arguments: str | Path) -> Result:
    app = typer.Typer()
    app.command()(alerts)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_without_a_policy_the_files_are_those_that_ship(tmp_path: Path) -> None:
    done = run("--out", tmp_path / "new" / "folder")
    files = sorted((tmp_path / "new" / "folder").iterdir())

    assert done.exit_code == 0
    assert [file.name for file in files] == [f"{name}.rules.yaml" for name in NAMES]
    assert [file.read_bytes() for file in files] == [packaged("alerts", file.name).read_bytes() for file in files]


def test_the_operators_objects_are_those_of_deploy(tmp_path: Path) -> None:
    run("--out", tmp_path, "--format", "prometheusrule")
    files = sorted(tmp_path.iterdir())

    assert [file.read_bytes() for file in files] == [(DEPLOY / file.name).read_bytes() for file in files]
    for file in files:
        document: dict[str, Any] = yaml.safe_load(file.read_text())
        assert document["metadata"]["name"] == f"aiops-{file.name.removesuffix('.rules.yaml')}"
        assert document["spec"] == yaml.safe_load(packaged("alerts", file.name).read_text())


def test_a_policy_with_another_objective_has_other_rules(tmp_path: Path) -> None:
    policy = written(tmp_path, spec("objectives: {ttft: {p99: 4s}}"))
    done = run("--policy", policy, "--out", tmp_path / "out", "--json")
    told = json.loads(done.stdout)
    text = (tmp_path / "out" / "objectives.rules.yaml").read_text()

    assert [Path(file).name for file in told["files"]] == [f"{name}.rules.yaml" for name in NAMES]
    assert told["objectives"][0] == {
        "slo": "ttft",
        "models": ["llm/llama"],
        "attainment_ratio": 0.99,
        "bound_s": 4.0,
        "measured_by_engines_at_s": 5.0,
        "measured_by_router_at_s": 4.0,
        "exact": False,
    }
    assert 'namespace="llm", model_name="llama", le=~"5(\\\\.0)?"' in text


def test_the_table_says_at_which_bounds_is_measured(tmp_path: Path) -> None:
    done = run("--policy", written(tmp_path, GOOD), "--out", tmp_path)

    for text in ("llm/llama", "TTFT p95 2.5 s", "2.5 s", "3 s", "ITL p95 0.05 s"):
        assert text in done.stdout


def test_links_lead_to_where_the_pages_are(tmp_path: Path) -> None:
    run("--out", tmp_path, "--runbooks", "https://wiki.example/aiops/")
    for name in ("aiops", "gpu", "objectives", "token-factory"):
        rules = yaml.safe_load((tmp_path / f"{name}.rules.yaml").read_text())
        for rule in (rule for group in rules["groups"] for rule in group["rules"] if "alert" in rule):
            assert rule["annotations"]["runbook_url"] == f"https://wiki.example/aiops/{rule['alert']}.md"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        pytest.param(("--availability", "high"), 2, "is not a share", id="no share"),
        pytest.param(("--availability", "100%"), 2, "leaves nothing to tell", id="nothing may ever fail"),
        pytest.param(("--format", "json"), 2, "prometheusrule", id="another format"),
        pytest.param(("--policy", "nowhere.yaml"), 1, "nowhere.yaml", id="no such policy"),
    ],
)
def test_what_is_asked_wrongly_is_named(tmp_path: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    done = run("--out", tmp_path / "out", *arguments)

    assert done.exit_code == code
    assert words in " ".join((done.stdout + done.stderr).replace("│", "").split())


def test_a_folder_that_cannot_be_written_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run("--out", tmp_path / "file")

    assert done.exit_code == 1
    assert "file cannot be written" in done.stderr.replace("\n", "")


@pytest.mark.real
def test_prometheus_takes_the_rules_of_policies_that_promise_different_things(tmp_path: Path) -> None:
    other = spec("objectives: {ttft: {p90: 40s}}").replace("name: chat, namespace: llm", "name: b, namespace: 'x'")
    (tmp_path / "policies").mkdir()
    written(tmp_path / "policies", GOOD)
    written(tmp_path / "policies", other.replace("variants:\n  h100: {gpus: 2}\n", ""), "b.yaml")
    done = run("--policy", tmp_path / "policies", "--out", tmp_path, "--availability", "99.9%")

    assert done.exit_code == 0, done.stderr
    promtool = parts.require("promtool", "prometheus")
    subprocess.run([promtool, "check", "rules", *tmp_path.glob("*.rules.yaml")], check=True, capture_output=True)
