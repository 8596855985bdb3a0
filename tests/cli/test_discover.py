"""discover as a command, from Prometheus alone: recorded scrapes of vLLM, with kube-state-metrics and without."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiops.observe.policies import read_policies
from tests.cli.factory import aiops
from tests.observe.scenarios import POD_B, POD_C, recorded
from tests.observe.world import engine_page, exporter, target
from tests.parts import free_port, http_text, prometheus, wait_for

pytestmark = [pytest.mark.real, pytest.mark.slow]

KSM = f"""\
kube_deployment_spec_replicas{{namespace="told",deployment="chat"}} 5
kube_pod_owner{{namespace="told",pod="{POD_B}",owner_kind="ReplicaSet",owner_name="rs"}} 1
kube_replicaset_owner{{namespace="told",replicaset="rs",owner_kind="Deployment",owner_name="chat"}} 1
kube_pod_container_resource_requests{{namespace="told",pod="{POD_B}",container="v",resource="nvidia_com_gpu"}} 2
kube_pod_container_resource_requests{{namespace="told",pod="{POD_B}",container="v",resource="cpu"}} 16
kube_pod_owner{{namespace="lonely",pod="by-hand-0",owner_kind="<none>",owner_name="<none>"}} 1
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with exporter() as served:
        served.pages |= {"engine": recorded("light"), "plain": engine_page(), "ksm": KSM}
        pair = {"prefill": "rag-prefill-0", "decode": "rag-decode-0"}
        engines = [
            target(served.port, "engine", namespace="told", pod=POD_B),
            target(served.port, "engine", namespace="guessed", pod=POD_B),
            target(served.port, "engine", namespace="guessed", pod=POD_C),
            *(
                target(served.port, "plain", namespace="apart", pod=pod, llm_d_ai_role=role)
                for role, pod in pair.items()
            ),
            target(served.port, "plain", namespace="lonely", pod="by-hand-0"),
        ]
        jobs: list[dict[str, object]] = [
            {"job_name": "vllm", "static_configs": engines},
            {"job_name": "ksm", "honor_labels": True, "static_configs": [target(served.port, "ksm")]},
        ]
        with prometheus(tmp_path_factory.mktemp("prometheus"), jobs) as found:
            query = f"{found}/api/v1/query?query=count(vllm:num_requests_running)*count(kube_replicaset_owner)"
            wait_for(lambda: '"6"]' in http_text(query), "all is scraped")
            yield found


def test_what_is_printed_passes_validate_as_it_is(url: str, tmp_path: Path) -> None:
    done = aiops("discover", "--prometheus", url)
    path = tmp_path / "found.yaml"
    path.write_text(done.stdout)
    checked = aiops("validate", str(path))
    found = {policy.ref.namespace: policy for policy in read_policies([path]).policies}

    assert (done.returncode, done.stderr, checked.returncode) == (0, "", 0), done.stderr + checked.stderr
    assert found.keys() == {"told", "guessed", "apart"}
    assert found["told"].spec.model == "tiny/llama"
    assert {policy.spec.mode for policy in found.values()} == {"observe"}
    assert [(pool.role, pool.target.kind, pool.target.name) for pool in found["apart"].spec.pools] == [
        ("prefill", "StatefulSet", "rag-prefill"),
        ("decode", "StatefulSet", "rag-decode"),
    ]


def test_kube_state_metrics_tells_targets_replicas_and_gpus(url: str) -> None:
    told, guessed = (aiops("discover", "--prometheus", url, "-n", name).stdout for name in ("told", "guessed"))

    for said in ("it has 5 now", "min: 2", "max: 10", "gpus: 2", "target: {kind: Deployment, name: chat}"):
        assert said in told
    assert "inferred: " not in told
    for said in (
        "# inferred: the target is told by the names of its pods",
        "# inferred: the replicas were counted from engines that answer",
        "it has 2 now",
        "target: {kind: Deployment, name: chat}",
    ):
        assert said in guessed
    assert "No cluster was asked: what owns the engines, and what it holds, is inferred." in told


def test_engines_that_nothing_owns_are_told(url: str) -> None:
    done = aiops("discover", "--prometheus", url, "--namespace", "lonely", "--json")
    report = json.loads(done.stdout)

    assert done.returncode == 1
    assert ["lonely/m is served by by-hand-0, which no Deployment" in said for said in report["problems"]] == [True]


def test_a_file_is_written_whole_and_never_over_another(url: str, tmp_path: Path) -> None:
    path = tmp_path / "found.yaml"
    first = aiops("discover", "--prometheus", url, "--out", str(path), "--json")
    text = path.read_text()
    second = aiops("discover", "--prometheus", url, "--out", str(path))

    assert first.returncode == 0
    report = json.loads(first.stdout)
    assert (report["file"], report["yaml"]) == (str(path), text)
    assert report["policies"] == ["apart/m", "guessed/tiny/llama", "told/tiny/llama"]
    assert second.returncode == 1
    assert "is left as it is" in second.stderr
    assert path.read_text() == text
    assert [file.name for file in tmp_path.iterdir()] == ["found.yaml"]


def test_what_cannot_be_asked_and_what_is_empty_are_told_apart(url: str) -> None:
    blind = aiops("discover", "--prometheus", f"http://127.0.0.1:{free_port()}")
    empty = aiops("discover", "--prometheus", url, "--namespace", "nowhere")

    assert (blind.returncode, "cannot be reached" in blind.stderr) == (3, True)
    assert (empty.returncode, "knows no engine in nowhere" in empty.stderr) == (1, True)
