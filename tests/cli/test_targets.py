"""Targets as people name them: like kubectl does, or by what a policy says that a model has."""

import json
from pathlib import Path

import pytest

from aiops.cli.shell import CommandError, Exit
from aiops.cli.targets import named_targets
from aiops.model.refs import PoolRef
from tests.cli.factory import ROOT, aiops

POLICY = [ROOT / "policies" / "demo.yaml"]
CHAT = PoolRef("llm", "Deployment", "chat-8b")
PAIR = (PoolRef("llm", "Deployment", "rag-70b-prefill"), PoolRef("llm", "Deployment", "rag-70b-decode"))


@pytest.mark.parametrize(
    ("names", "policy", "namespace", "found"),
    [
        pytest.param(["llm/Deployment/chat-8b"], None, None, (CHAT,), id="namespace, kind and name"),
        pytest.param(["deployment/chat-8b"], None, "llm", (CHAT,), id="kind and name, as for kubectl"),
        pytest.param(["deploy/chat-8b"], None, "llm", (CHAT,), id="a kind's short name"),
        pytest.param(["deployments.apps/chat-8b"], None, "llm", (CHAT,), id="a kind with its group"),
        pytest.param(
            ["sts/a", "lws/b"],
            None,
            "llm",
            (PoolRef("llm", "StatefulSet", "a"), PoolRef("llm", "LeaderWorkerSet", "b")),
            id="several targets",
        ),
        pytest.param(["llm/Sandcastle/x"], None, None, (PoolRef("llm", "Sandcastle", "x"),), id="a kind of one's own"),
        pytest.param(["meta-llama/Llama-3.3-70B-Instruct"], POLICY, None, PAIR, id="a model is all of its targets"),
        pytest.param(["llm/meta-llama/Llama-3.3-70B-Instruct"], POLICY, None, PAIR, id="a model with its namespace"),
        pytest.param(["rag-70b"], POLICY, "llm", PAIR, id="a policy's name"),
        pytest.param(["chat-8b", "llm/deploy/chat-8b"], POLICY, None, (CHAT,), id="the same target twice is one"),
    ],
)
def test_a_name_finds_its_targets(
    names: list[str], policy: list[Path] | None, namespace: str | None, found: tuple[PoolRef, ...]
) -> None:
    assert named_targets(names, policy, namespace) == found


@pytest.mark.parametrize(
    ("name", "policy", "namespace", "code", "told"),
    [
        pytest.param("chat-8b", None, None, Exit.WRONG_USAGE, "a model needs --policy", id="a model without policies"),
        pytest.param("deploy/x", None, None, Exit.WRONG_USAGE, "write NAMESPACE/KIND/NAME", id="no namespace"),
        pytest.param("llm//x", None, None, Exit.WRONG_USAGE, "write NAMESPACE/KIND/NAME", id="an empty kind"),
        pytest.param("chat-8", POLICY, None, Exit.BAD_INPUT, "did you mean 'chat-8b'?", id="a model that is near one"),
        pytest.param("chat-8b", POLICY, "other", Exit.BAD_INPUT, "no policy is about", id="a model of another place"),
    ],
)
def test_a_name_that_finds_nothing_names_the_way_out(
    name: str, policy: list[Path] | None, namespace: str | None, code: Exit, told: str
) -> None:
    with pytest.raises(CommandError) as raised:
        named_targets([name], policy, namespace)

    assert told in raised.value.message
    assert raised.value.code is code


def test_a_model_of_several_namespaces_is_not_guessed(tmp_path: Path) -> None:
    text = POLICY[0].read_text().split("---")[0]
    variants = POLICY[0].read_text().split("---")[2]
    (tmp_path / "two.yaml").write_text(
        "\n---\n".join((text, text.replace("namespace: llm", "namespace: other"), variants))
    )

    with pytest.raises(CommandError, match="served in several namespaces") as raised:
        named_targets(["chat-8b"], [tmp_path], None)

    assert sorted(raised.value.problems) == [
        "llm/meta-llama/Llama-3.1-8B-Instruct",
        "other/meta-llama/Llama-3.1-8B-Instruct",
    ]
    assert named_targets(["chat-8b"], [tmp_path], "other") == (PoolRef("other", "Deployment", "chat-8b"),)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        pytest.param(["pause", "llm/deploy/x", "--for", "0s"], 2, "no time at all", id="a pause of no time"),
        pytest.param(["pause", "llm/deploy/x", "--for", "2"], 2, "not a duration", id="a span without a unit"),
        pytest.param(["hold", "llm/deploy/x"], 2, "--replicas", id="a hold without a number"),
        pytest.param(["hold", "llm/deploy/x", "--replicas", "-1"], 2, "--replicas", id="a hold below nothing"),
        pytest.param(
            ["hold", "rag-70b", "--replicas", "3", "--policy", str(POLICY[0])],
            2,
            "llm/Deployment/rag-70b-decode",
            id="one number for two roles",
        ),
        pytest.param(["resume"], 2, "TARGET", id="nothing named"),
        pytest.param(["resume", "llm/deploy/x", "--kubeconfig", "none.yaml"], 1, "none.yaml", id="no kubeconfig"),
    ],
)
def test_what_cannot_be_meant_is_told(arguments: list[str], code: int, told: str, tmp_path: Path) -> None:
    done = aiops(*arguments, env={"HOME": str(tmp_path), "KUBECONFIG": "", "COLUMNS": "120"})

    assert done.returncode == code, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_failure_is_one_json_object(tmp_path: Path) -> None:
    done = aiops("resume", "chat", "--json", env={"HOME": str(tmp_path), "KUBECONFIG": ""})

    assert json.loads(done.stdout)["exit_code"] == done.returncode == 2
