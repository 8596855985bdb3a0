"""doctor as a command, without a cluster: what is printed, and how it ends."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.factory import aiops
from tests.observe.scenarios import POD_B
from tests.observe.world import engine_page, exporter, target
from tests.parts import free_port, http_text, prometheus, wait_for

POLICY = """\
metadata: {name: chat, namespace: llm}
spec: {model: MODEL, mode: MODE, pools: [{name: all, target: {name: chat}, variant: v}]}
variants: {v: {profile: llama-8b-h100-tp1}}
"""


def written(folder: Path, model: str = "m", mode: str = "observe") -> str:
    path = folder / "policy.yaml"
    path.write_text(POLICY.replace("MODEL", model).replace("MODE", mode))
    return str(path)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with exporter() as served:
        served.pages["engine"] = engine_page(running=3)
        job: dict[str, object] = {
            "job_name": "vllm",
            "static_configs": [target(served.port, "engine", namespace="llm", pod=POD_B)],
        }
        with prometheus(tmp_path_factory.mktemp("prometheus"), [job]) as found:
            query = f"{found}/api/v1/query?query=vllm:num_requests_running"
            wait_for(lambda: '"value"' in http_text(query), "the engine is scraped")
            yield found


@pytest.mark.real
@pytest.mark.slow
def test_warnings_are_no_failure(url: str, tmp_path: Path) -> None:
    done = aiops("doctor", "--policy", written(tmp_path), "--prometheus", url, "--window", "10s")
    told = " ".join(done.stdout.split())

    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning cluster none is connected" in told
    assert "→ give --kubeconfig FILE" in told
    assert "0 wrong" in told


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "mode", "topic", "says"),
    [
        pytest.param("n", "observe", "signal", "the namespace 'llm' serves 'm' and no model_name 'n'", id="no metrics"),
        pytest.param("m", "act", "cluster", "the mode of chat writes to one", id="nothing to write to"),
    ],
)
def test_what_is_wrong_is_a_failure_and_json_is_one_object(
    url: str, tmp_path: Path, model: str, mode: str, topic: str, says: str
) -> None:
    done = aiops("doctor", "--policy", written(tmp_path, model, mode), "--prometheus", url, "--json")
    report = json.loads(done.stdout)
    wrong = [one for one in report["findings"] if one["verdict"] == "wrong"]

    assert (done.returncode, report["verdict"]) == (1, "wrong")
    assert [(one["topic"], says in one["says"]) for one in wrong] == [(topic, True)]
    assert {"about", "signal", "state", "found_as", "detail", "enabled_by", "last_seen"} == set(report["signals"][0])


def test_a_prometheus_that_is_gone_is_told_and_blind(tmp_path: Path) -> None:
    done = aiops("doctor", "--policy", written(tmp_path), "--prometheus", f"http://127.0.0.1:{free_port()}")

    assert done.returncode == 3
    assert "cannot be reached" in " ".join(done.stdout.split())
    assert "Traceback" not in done.stderr


def test_the_help_names_its_exit_codes() -> None:
    told = " ".join(aiops("doctor", "--help").stdout.split())

    for code in ("0 nothing is wrong", "1 something is wrong", "2 wrong usage", "3 blind"):
        assert code in told
