import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient

from aiops.serve.fleet import fleet_router
from aiops.simulate.factory import Factory
from aiops.simulate.spec import FactorySpec
from tests import parts
from tests.simulate.factories import pair, run, small_profile, workload

DASHBOARDS = (
    # What panels show of engines, router, GPUs and cluster together.
    "sum(rate(vllm:generation_tokens_total[9s])) / sum(rate(DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION[9s])) > 0",
    "sum by (exported_pod) (DCGM_FI_DEV_POWER_USAGE{exported_namespace='llm'}) >= 2 * 70",
    "histogram_quantile(0.95, sum by (le) (rate(llm_d_epp_request_ttft_seconds_bucket{streaming='true'}[10s]))) > 0",
    "sum by (exported_pod) (DCGM_FI_PROF_GR_ENGINE_ACTIVE{exported_pod!=''})",
    "sum(kube_node_status_allocatable{resource='nvidia_com_gpu'}) == 8",
    "kube_deployment_status_replicas_ready{namespace='llm',deployment='prefill'} == 2",
    "kube_pod_labels{label_llm_d_ai_role='decode'} * on (namespace, pod) group_left vllm:num_requests_running",
    "max by (pod) (kube_pod_status_ready_time{namespace='llm'} - kube_pod_created{namespace='llm'})",
    "count by (job) (up{job=~'.*(vllm|epp|dcgm).*'} == 1)",
)


def make_factory(start: datetime, **changes: object) -> Factory:
    cold = {"p50": "1s", "p90": "1s", "scheduling": "0s"}
    spec = pair(2, 2, namespace="llm", model="small/model", coldStart=cold, workload=workload(20), **changes)
    return Factory([FactorySpec.model_validate(spec)], {"small": small_profile()}, 1, start)


def make_app(factory: Factory, lock: threading.Lock) -> FastAPI:
    app = FastAPI()
    app.include_router(fleet_router(factory, lock))
    return app


def groups(client: TestClient, job: str) -> list[dict[str, str]]:
    """The labels of a job's targets."""
    found = [group["labels"] for group in client.get("/fleet/targets").json()]
    return [labels for labels in found if labels["job"] == job]


def test_targets_name_everything_there_is_and_each_answers() -> None:
    factory = run(make_factory(datetime(2026, 3, 2, tzinfo=UTC)), 30)
    client = TestClient(make_app(factory, threading.Lock()), base_url="http://fleet.test:9100")
    listed = client.get("/fleet/targets").json()
    assert {tuple(group["targets"]) for group in listed} == {("fleet.test:9100",)}
    answers = {labels["job"]: client.get(labels["__metrics_path__"]) for labels in (g["labels"] for g in listed)}
    for answer in answers.values():
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    engines = groups(client, "vllm")
    assert {labels["llm_d_ai_role"] for labels in engines} == {"prefill", "decode"}
    assert all(labels["pod"].startswith(f"{labels['llm_d_ai_role']}-") for labels in engines)
    assert 'vllm:num_requests_running{engine="0",model_name="small/model"}' in answers["vllm"].text
    assert "llm_d_epp_request_total" in answers["epp"].text
    assert "DCGM_FI_DEV_POWER_USAGE" in answers["dcgm-exporter"].text
    assert (
        'kube_deployment_spec_replicas{deployment="decode",namespace="llm"} 2.0' in answers["kube-state-metrics"].text
    )


def test_a_replica_that_is_gone_is_no_target_and_answers_404() -> None:
    factory = make_factory(datetime(2026, 3, 2, tzinfo=UTC))
    client = TestClient(make_app(factory, threading.Lock()))
    before = {labels["__metrics_path__"] for labels in groups(client, "vllm")}
    factory.scale(factory.models[0].pools[0].ref, 1)
    (gone,) = before - {labels["__metrics_path__"] for labels in groups(client, "vllm")}
    assert client.get(gone).status_code == 404


def test_what_cannot_be_read_answers_503_and_stays_a_target() -> None:
    lost = {"kind": "scrape_loss", "at": "10s", "duration": "20s"}
    factory = run(make_factory(datetime(2026, 3, 2, tzinfo=UTC), faults=[lost]), 15)
    client = TestClient(make_app(factory, threading.Lock()))
    paths = [labels["__metrics_path__"] for labels in groups(client, "vllm")]
    assert sorted(client.get(path).status_code for path in paths) == [200, 200, 200, 503]
    run(factory, 30)
    assert {client.get(path).status_code for path in paths} == {200}


@contextmanager
def serving(app: FastAPI) -> Iterator[int]:
    port = parts.free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    parts.wait_for(lambda: server.started, "the fleet serves")
    try:
        yield port
    finally:
        server.should_exit = True
        thread.join(10)


@contextmanager
def living(factory: Factory, lock: threading.Lock) -> Iterator[None]:
    """Let the factory run in real time."""
    ended = threading.Event()

    def live() -> None:
        while not ended.wait(0.1):
            with lock:
                factory.advance(datetime.now(UTC))

    thread = threading.Thread(target=live, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(10)


@pytest.mark.real
@pytest.mark.slow
def test_a_real_prometheus_finds_the_living_fleet(tmp_path: Path) -> None:
    factory, lock = make_factory(datetime.now(UTC)), threading.Lock()
    pool = factory.models[0].pools[0].ref

    with serving(make_app(factory, lock)) as port, living(factory, lock):
        discovery = {"url": f"http://127.0.0.1:{port}/fleet/targets", "refresh_interval": "1s"}
        jobs: list[dict[str, object]] = [{"job_name": "fleet", "http_sd_configs": [discovery]}]
        with parts.prometheus(tmp_path, jobs) as url:

            def ask(query: str) -> list[dict[str, dict[str, str]]]:
                answer = json.loads(parts.http_text(f"{url}/api/v1/query?query={quote(query)}"))
                result: list[dict[str, dict[str, str]]] = answer["data"]["result"]
                return result

            def pods(role: str) -> set[str]:
                return {row["metric"]["pod"] for row in ask(f'vllm:num_requests_running{{llm_d_ai_role="{role}"}}')}

            parts.wait_for(lambda: len(pods("prefill")) == len(pods("decode")) == 2, "all replicas are scraped")
            for row in ask("vllm:num_requests_running"):
                assert row["metric"]["namespace"] == "llm"
                assert row["metric"]["model_name"] == "small/model"
            parts.wait_for(
                lambda: ask('sum(rate(vllm:generation_tokens_total{llm_d_ai_role="decode"}[5s])) > 0'), "tokens flow"
            )

            for query in DASHBOARDS:
                parts.wait_for(lambda query=query: ask(query), f"{query} has an answer")

            with lock:
                factory.scale(pool, 3)
            parts.wait_for(lambda: len(pods("prefill")) == 3, "the new replica is found after its cold start")
            with lock:
                factory.scale(pool, 1)
            parts.wait_for(lambda: len(pods("prefill")) == 1, "the drained replicas leave")
            with lock:
                assert pods("prefill") == {replica.name for replica in factory.models[0].pools[0].replicas}
