import json
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner, Result

from aiops.cli.keda import keda
from tests.observe.policy_texts import GOOD, spec, written


def run(*arguments: str | Path) -> Result:
    app = typer.Typer()
    app.command()(keda)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def documents(text: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(text))


EMITS = spec("mode: emit")
PAIR = """\
metadata: {name: pair, namespace: llm}
spec:
  model: pair
  mode: emit
  pools:
    - {name: p, role: prefill, target: {name: pair-p}, variant: h100}
    - {name: d, role: decode, target: {kind: LeaderWorkerSet, name: pair-d}, variant: h100, min: 2, max: 24}
"""


def test_each_pool_of_the_policies_that_emit_has_a_scaled_object(tmp_path: Path) -> None:
    written(tmp_path, EMITS)
    written(tmp_path, PAIR, "pair.yaml")
    shown = run("--policy", tmp_path, "--prometheus-address", "http://there:9090")
    made = documents(shown.stdout)

    assert (shown.exit_code, shown.stderr) == (0, "")
    assert [(one["kind"], one["metadata"]["name"]) for one in made] == [
        ("ScaledObject", "chat"),
        ("ScaledObject", "pair-p"),
        ("ScaledObject", "pair-d-leaderworkerset"),
    ]
    assert [one["spec"]["scaleTargetRef"] for one in made][1:] == [
        {"apiVersion": "apps/v1", "kind": "Deployment", "name": "pair-p"},
        {"apiVersion": "leaderworkerset.x-k8s.io/v1", "kind": "LeaderWorkerSet", "name": "pair-d"},
    ]
    assert {one["spec"]["triggers"][0]["metadata"]["serverAddress"] for one in made} == {"http://there:9090"}


def test_policies_of_other_modes_are_left_out_and_named(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    written(tmp_path, PAIR, "pair.yaml")
    shown = run("--policy", tmp_path)

    assert shown.exit_code == 0
    assert "left out: llm/chat is in mode observe" in shown.stderr
    assert [one["metadata"]["name"] for one in documents(shown.stdout)] == ["pair-p", "pair-d-leaderworkerset"]


def test_an_hpa_is_printed_with_the_adapter_s_rules_as_a_comment(tmp_path: Path) -> None:
    shown = run("--policy", written(tmp_path, EMITS), "--hpa")
    (made,) = documents(shown.stdout)
    commented = shown.stdout.partition("# externalRules:")[2]
    (rule,) = yaml.safe_load("externalRules:" + commented.replace("\n# ", "\n"))["externalRules"]

    assert made["kind"] == "HorizontalPodAutoscaler"
    assert made["spec"]["metrics"][0]["external"]["metric"]["name"] == rule["name"]["as"]
    assert 'pool="llm/chat"' in rule["metricsQuery"]


@pytest.mark.parametrize(("option", "rules"), [((), 0), (("--hpa",), 1)], ids=["for KEDA", "as an HPA"])
def test_json_is_one_list_that_kubectl_applies(tmp_path: Path, option: tuple[str, ...], rules: int) -> None:
    shown = run("--policy", written(tmp_path, EMITS), "--json", *option)
    made = json.loads(shown.stdout)

    assert (made["apiVersion"], made["kind"], len(made["items"])) == ("v1", "List", 1)
    assert len(made.get("externalRules", [])) == rules


def test_files_hold_what_would_have_been_printed_and_their_names_go_to_stderr(tmp_path: Path) -> None:
    policy, out = written(tmp_path, EMITS), tmp_path / "made" / "here"
    shown = run("--policy", policy, "--out", out)
    run("--policy", policy, "--out", out, "--hpa")

    assert (shown.exit_code, shown.stdout) == (0, "")
    assert f"{out / 'llm.chat.yaml'}" in shown.stderr
    assert {file.name for file in out.iterdir()} == {"llm.chat.yaml", "prometheus-adapter-rules.yaml"}
    assert documents((out / "llm.chat.yaml").read_text())[0]["kind"] == "HorizontalPodAutoscaler"
    assert yaml.safe_load((out / "prometheus-adapter-rules.yaml").read_text()).keys() == {"externalRules"}


@pytest.mark.parametrize(
    ("text", "options", "code", "told"),
    [
        pytest.param(GOOD, (), 1, "llm/chat is in mode observe", id="nobody emits"),
        pytest.param(
            EMITS.replace("target: {name: chat}", "target: {kind: Rollout, name: chat}"),
            (),
            1,
            "the target llm/chat is a Rollout",
            id="a kind whose group is not known",
        ),
        pytest.param(EMITS, ("--auth-mode", "bearer"), 2, "--authentication", id="a way in without its secret"),
        pytest.param(EMITS, ("--authentication", "node/x"), 2, "cluster/NAME", id="a secret of no known scope"),
        pytest.param(EMITS.replace("max", "most") + "what", (), 1, "chat.yaml:", id="a policy that cannot be read"),
    ],
)
def test_what_cannot_be_made_is_told_in_a_sentence(
    tmp_path: Path, text: str, options: tuple[str, ...], code: int, told: str
) -> None:
    shown = run("--policy", written(tmp_path, text), *options)

    assert (shown.exit_code, shown.stdout) == (code, "")
    assert told in shown.stderr


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    policy = written(tmp_path, EMITS)
    shown = run("--policy", policy, "--out", policy / "below")

    assert shown.exit_code == 1
    assert str(policy / "below") in shown.stderr
