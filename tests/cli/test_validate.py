import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from aiops.cli.validate import validate
from aiops.model.policy import Spec
from tests.observe.policy_texts import GOOD, spec, written

POLICIES = Path(__file__).parents[2] / "policies"


def run(*arguments: str | Path) -> Result:
    app = typer.Typer()
    app.command()(validate)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_table_names_what_a_policy_promises_and_moves(tmp_path: Path) -> None:
    shown = run(written(tmp_path, spec("mode: {act: up}")))

    assert shown.exit_code == 0
    for text in ("llm/chat (act: up)", "llama", "TTFT p95 2.5s", "ITL p95 50ms", "chat 1-10", "h100, no profile"):
        assert text in shown.stdout


def test_names_in_brackets_are_shown_as_they_are(tmp_path: Path) -> None:
    assert "[red]llama" in run(written(tmp_path, GOOD.replace("model: llama", 'model: "[red]llama"'))).stdout


def test_problems_go_to_stderr_one_a_line_and_end_with_1(tmp_path: Path) -> None:
    file = written(tmp_path, spec("mode: acting", "budget: {gpus: none}"))
    shown = run(file)

    assert (shown.exit_code, shown.stdout) == (1, "")
    assert [line.split(": ")[0] for line in shown.stderr.splitlines()] == [f"{file}:6", f"{file}:7"]


def test_json_is_one_object_and_nothing_else(tmp_path: Path) -> None:
    good = run("--json", written(tmp_path, GOOD))
    report = json.loads(good.stdout)

    assert (good.exit_code, report["valid"], report["problems"]) == (0, True, [])
    assert report["policies"][0]["spec"]["objectives"]["ttft"] == {"p95": "2.5s"}
    assert report["variants"]["h100"]["gpus"] == 2


def test_json_of_a_broken_file_names_line_and_column(tmp_path: Path) -> None:
    file = written(tmp_path, spec("budget: {gpus: 0}"))
    shown = run("--json", file)

    assert shown.exit_code == 1
    assert json.loads(shown.stdout) == {
        "valid": False,
        "policies": [],
        "fleet": {"writes": "on", "maxRemovedPerHour": None},
        "variants": {},
        "warnings": [],
        "problems": [
            {
                "file": str(file),
                "line": 6,
                "column": 12,
                "place": "spec.budget.gpus",
                "message": "0 should be greater than 0",
            }
        ],
    }


def test_no_path_is_wrong_usage() -> None:
    assert run().exit_code == 2


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        pytest.param(GOOD, "variant h100: no profile is named", id="no profile"),
        pytest.param(
            spec("objectives: {ttft: {p95: 2s}}"),
            "policy chat: TTFT 2 s is no bucket bound of vLLM's histogram, so its attainment is only estimated; "
            "the nearest are 1 s and 2.5 s",
            id="a TTFT objective between two buckets",
        ),
        pytest.param(
            spec("objectives: {itl: {p95: 60ms}}"), "the nearest are 0.05 s and 0.075 s", id="an ITL objective"
        ),
        pytest.param(
            spec("budget: {usdPerHour: 20}"),
            "policy chat: variant h100 has no usdPerHour, so budget.usdPerHour leaves it out",
            id="a budget of dollars for replicas without a price",
        ),
        pytest.param(
            GOOD.replace("gpus: 2", "profile: bumpy.yaml"),
            "variant h100: prefill.ttftMs does not ascend: [30.0, 20.0]",
            id="a profile that is faster on longer prompts",
        ),
    ],
)
def test_a_doubtful_policy_is_valid_with_a_warning(tmp_path: Path, text: str, warning: str) -> None:
    profile = {
        "model": "m",
        "accelerator": "h100",
        "tensorParallel": 1,
        "source": {"kind": "guess"},
        "kvTokens": 1000,
        "limits": {"maxNumSeqs": 8, "maxNumBatchedTokens": 512},
        "prefill": {"isl": [100, 200], "ttftMs": [30, 20]},
        "decode": [{"context": 100, "batch": [1], "itlMs": [5]}],
    }
    written(tmp_path, json.dumps(profile), "bumpy.yaml")
    file = written(tmp_path, text)

    assert warning in run(file).stderr
    assert any(warning in told for told in json.loads(run("--json", file).stdout)["warnings"])


@pytest.mark.parametrize(
    "path",
    [".", "examples", *(str(file.relative_to(POLICIES)) for file in sorted(POLICIES.glob("*.yaml")))],
)
def test_every_shipped_policy_is_valid_and_raises_no_doubt(path: str) -> None:
    shown = run(POLICIES / path)

    assert (shown.exit_code, shown.stderr) == (0, "")


@pytest.mark.parametrize("preset", ["chat", "rag", "agent", "batch"])
def test_every_preset_is_valid_and_raises_no_doubt(tmp_path: Path, preset: str) -> None:
    file = written(tmp_path, spec(f"preset: {preset}").replace("gpus: 2", "profile: llama-8b-h100-tp1"))

    assert json.loads(run("--json", file).stdout)["warnings"] == []


def test_the_presets_are_the_ones_that_a_policy_may_name() -> None:
    named = json.dumps(Spec.model_json_schema()["properties"]["preset"])

    for file in (POLICIES / "presets").iterdir():
        assert f'"{file.stem}"' in named


def test_what_holds_for_the_whole_fleet_is_told_where_it_is_not_the_default(tmp_path: Path) -> None:
    fleet = "---\nkind: FleetPolicy\nspec: {writes: off, maxRemovedPerHour: 30%}\n"
    plain, told = run(written(tmp_path, GOOD)), run(written(tmp_path, GOOD + fleet))

    assert "the whole fleet" not in plain.stdout
    assert "the whole fleet: writes off, it may lose 30% of its replicas an hour" in told.stdout
