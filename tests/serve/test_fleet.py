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


def make_factory(start: datetime) -> Factory:
    spec = pair(2, 2, namespace="llm", model="small/model", coldStart={"p50": "1s", "p90": "1s"}, workload=workload(20))
    return Factory([FactorySpec.model_validate(spec)], {"small": small_profile()}, 1, start)


def make_app(factory: Factory, lock: threading.Lock) -> FastAPI:
    app = FastAPI()
    app.include_router(fleet_router(factory, lock))
    return app


def test_targets_name_the_replicas_and_each_answers() -> None:
    factory = run(make_factory(datetime(2026, 3, 2, tzinfo=UTC)), 30)
    client = TestClient(make_app(factory, threading.Lock()), base_url="http://fleet.test:9100")
    groups = client.get("/fleet/targets").json()
    assert len(groups) == 4
    assert {group["labels"]["llm_d_ai_role"] for group in groups} == {"prefill", "decode"}
    for group in groups:
        assert group["targets"] == ["fleet.test:9100"]
        labels = group["labels"]
        assert labels["pod"].startswith(labels["llm_d_ai_role"] + "-")
        answer = client.get(labels["__metrics_path__"])
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert 'vllm:num_requests_running{engine="0",model_name="small/model"}' in answer.text


def test_a_replica_that_is_gone_is_no_target_and_answers_404() -> None:
    factory = make_factory(datetime(2026, 3, 2, tzinfo=UTC))
    client = TestClient(make_app(factory, threading.Lock()))
    before = {group["labels"]["__metrics_path__"] for group in client.get("/fleet/targets").json()}
    factory.scale(factory.models[0].pools[0].ref, 1)
    after = {group["labels"]["__metrics_path__"] for group in client.get("/fleet/targets").json()}
    (gone,) = before - after
    assert client.get(gone).status_code == 404


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

            with lock:
                factory.scale(pool, 3)
            parts.wait_for(lambda: len(pods("prefill")) == 3, "the new replica is found after its cold start")
            with lock:
                factory.scale(pool, 1)
            parts.wait_for(lambda: len(pods("prefill")) == 1, "the drained replicas leave")
            with lock:
                assert pods("prefill") == {replica.name for replica in factory.models[0].pools[0].ready}
