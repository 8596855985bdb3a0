import json
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner, Result

from aiops.cli.dashboards import dashboards
from aiops.observe.packaged import packaged

NAMES = [f"aiops-{name}" for name in ("balance", "cache", "decisions", "fleet", "model", "pd")]


def run(*arguments: str | Path) -> Result:
    app = typer.Typer()
    app.command()(dashboards)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def variables(text: str) -> dict[str, Any]:
    return {variable["name"]: variable for variable in json.loads(text)["templating"]["list"]}


def test_the_files_are_those_that_are_committed_byte_for_byte(tmp_path: Path) -> None:
    done = run("--out", tmp_path / "new" / "folder")
    written = sorted((tmp_path / "new" / "folder").iterdir())

    assert done.exit_code == 0
    assert [path.stem for path in written] == NAMES
    assert [path.read_bytes() for path in written] == [
        packaged("dashboards", "json", path.name).read_bytes() for path in written
    ]


def test_a_source_and_the_page_are_set_and_nothing_else_is(tmp_path: Path) -> None:
    run("--out", tmp_path, "--datasource", "Thanos", "--console", "https://aiops.example.com/")
    for path in tmp_path.iterdir():
        was = packaged("dashboards", "json", path.name).read_text()
        now = variables(path.read_text())
        assert now["datasource"]["current"] == {"text": "Thanos", "value": "Thanos"}
        assert now["console"]["query"] == "https://aiops.example.com"
        undone = json.loads(path.read_text().replace("https://aiops.example.com", "http://localhost:9095"))
        undone["templating"]["list"][0]["current"] = {}
        assert undone == json.loads(was)


def test_a_config_map_carries_the_dashboard_and_the_sidecars_label(tmp_path: Path) -> None:
    run("--out", tmp_path, "--format", "configmap", "--namespace", "monitoring")
    for path in sorted(tmp_path.iterdir()):
        document = yaml.safe_load(path.read_text())
        assert (document["kind"], document["metadata"]["name"]) == ("ConfigMap", path.stem)
        assert document["metadata"]["namespace"] == "monitoring"
        assert document["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert document["data"] == {
            f"{path.stem}.json": packaged("dashboards", "json", f"{path.stem}.json").read_text()
        }
        # kubectl apply keeps the whole object in an annotation, and annotations end at 256 KiB.
        assert len(json.dumps(document)) < 256 * 1024


def test_json_names_the_files(tmp_path: Path) -> None:
    told = json.loads(run("--out", tmp_path, "--json").stdout)

    assert told == {"files": [str(tmp_path / f"{name}.json") for name in NAMES]}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["--console", "aiops.example.com"], "https://", id="an address without its scheme"),
        pytest.param(["--namespace", "monitoring"], "--format configmap", id="a namespace for plain files"),
        pytest.param(["--format", "xml"], "configmap", id="a format that there is not"),
    ],
)
def test_wrong_usage_names_the_way_out(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = run("--out", tmp_path / "none", *arguments)

    assert done.exit_code == 2
    assert said in " ".join(done.stderr.replace("│", " ").split())
    assert not (tmp_path / "none").exists()


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run("--out", tmp_path / "file" / "folder")

    assert done.exit_code == 1
    assert "cannot be written" in done.stderr
