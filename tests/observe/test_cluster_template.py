"""What the manifest of a target says of its replicas and its engines."""

from typing import Any

import pytest

from aiops.observe.cluster_template import read_template
from tests.observe.checkup_facts import CHAT


@pytest.mark.parametrize(
    ("applied", "holds"),
    [
        pytest.param('{"kind": "Deployment", "spec": {"replicas": 3}}', True, id="a file with a number"),
        pytest.param('{"spec": {"template": {"env": "replicas: "}}}', False, id="a file without one"),
        pytest.param("{", False, id="half a file"),
        pytest.param("", False, id="no file"),
    ],
)
def test_a_file_that_was_applied_holds_replicas_where_it_says_so(applied: str, holds: bool) -> None:
    item = {
        "metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": applied}},
        "spec": {"template": {"spec": {"containers": []}}},
    }

    assert read_template(CHAT, item).replicas_applied is holds


@pytest.mark.parametrize(
    ("container", "wanted"),
    [
        pytest.param({"args": ["--max-num-seqs=64"]}, {"max-num-seqs": "64"}, id="a value after an equals sign"),
        pytest.param(
            {"args": ["--max_num_seqs", "64"]}, {"max-num-seqs": "64"}, id="underscores, and a word of its own"
        ),
        pytest.param({"args": ["--enforce-eager", "--seed", "1"]}, {"enforce-eager": "", "seed": "1"}, id="no value"),
        pytest.param(
            {"command": ["sh", "-c", "vllm serve m --tensor-parallel-size 4"]},
            {"tensor-parallel-size": "4"},
            id="a line of a shell",
        ),
    ],
)
def test_flags_are_read_as_people_write_them(container: dict[str, Any], wanted: dict[str, str]) -> None:
    item = {"metadata": {}, "spec": {"template": {"spec": {"containers": [container]}}}}

    assert read_template(CHAT, item).flags == wanted


def test_a_group_is_told_by_its_leader() -> None:
    leader = {"spec": {"containers": [{"image": "vllm/vllm-openai:v0.30.0"}], "terminationGracePeriodSeconds": 7}}
    workers = {"leaderTemplate": leader, "workerTemplate": {"spec": {"containers": []}}}

    read = read_template(CHAT, {"metadata": {}, "spec": {"leaderWorkerTemplate": workers}})

    assert (read.grace_s, read.images) == (7.0, ("vllm/vllm-openai:v0.30.0",))
