"""plan and run on a real Prometheus that scrapes recorded vLLM 0.32 engines and holds a day of a real model's past."""

import csv
import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.cli.factory import aiops
from tests.observe.scenarios import recorded
from tests.observe.test_history import COLUMNS, ENGINE_NAMES, counter
from tests.observe.world import exporter, target
from tests.parts import http_text, prometheus, shared_data, wait_for

pytestmark = [pytest.mark.real, pytest.mark.slow]
POD = "tiny-7d9f8b6c5d-abcde"
MODEL = "tiny/llama"


@dataclass(frozen=True)
class Recorded:
    url: str
    policy: Path


def past(begin_s: int, rows: list[tuple[float, ...]]) -> str:
    """The rows as vLLM's counters, one sample every ten minutes."""
    labels = f'{{namespace="llm",pod="{POD}",instance="tiny:8000",job="vllm",model_name="{MODEL}",engine="0"}}'
    lines = []
    for name, column in zip(ENGINE_NAMES, zip(*rows, strict=True), strict=True):
        lines += [f"# TYPE {name} counter", *(f"{name}_total{line}" for line in counter(column, begin_s, labels))]
    return "\n".join([*lines, "# EOF", ""])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    folder = tmp_path_factory.mktemp("recorded")
    with shared_data("servegen", "m-large_10min.csv").open() as file:
        rows = [tuple(float(row[name]) for name in COLUMNS) for row in list(csv.DictReader(file))[:144]]
    begin_s = (int(datetime.now(UTC).timestamp()) // 600 - 144 - 2) * 600
    (folder / "past.om").write_text(past(begin_s, rows))
    policy = folder / "policy.yaml"
    policy.write_text(
        f"""
metadata: {{name: tiny, namespace: llm}}
spec:
  model: {MODEL}
  mode: emit
  pools: [{{name: both, target: {{name: tiny}}, variant: small, min: 1, max: 40}}]
variants:
  small: {{profile: llama-8b-h100-tp1}}
"""
    )
    with ExitStack() as stack:
        served = stack.enter_context(exporter())
        served.pages["tiny"] = recorded("light")
        job: dict[str, object] = {
            "job_name": "vllm",
            "static_configs": [target(served.port, "tiny", namespace="llm", pod=POD)],
        }
        url = stack.enter_context(prometheus(folder / "prometheus", [job], history=[folder / "past.om"]))

        def answers(query: str) -> bool:
            return '"value"' in http_text(f"{url}/api/v1/query?query={query}")

        wait_for(lambda: answers("count_over_time(vllm:num_requests_running[20s])%3E8"), "the engine is scraped")
        served.pages["tiny"] = recorded("saturated")
        wait_for(lambda: answers("vllm:num_requests_waiting%3E0"), "the engine is saturated")
        yield Recorded(url, policy)


def _seeing(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str] | None:
    return done if done.returncode == 0 else None


def test_plan_on_recorded_engines_tells_what_the_scrapes_say(world: Recorded) -> None:
    def seen() -> dict[str, Any] | None:
        done = aiops("plan", "--policy", str(world.policy), "--prometheus", world.url, "--window", "20s", "--json")
        answer: dict[str, Any] = json.loads(done.stdout)
        # A busy machine may miss a scrape: then the model is rightly held.
        return answer["models"][0] if done.returncode == 0 and answer["models"][0]["demand"] else None

    model = wait_for(seen, "the model is seen", 60)
    assert isinstance(model, dict)
    assert model["ref"]["model"] == MODEL
    (pool,) = model["pools"]
    assert (pool["ready"], pool["current"], pool["current_inferred"], pool["waiting"]) == (1, 1, True, 43)
    assert model["demand"]["backlog_requests"] == 43
    (decision,) = model["decisions"]
    assert decision["desired"] >= 1
    assert {state["state"] for state in model["signals"]} <= {"ok", "zero", "absent"}


def test_the_forecast_stands_on_the_day_that_prometheus_holds(world: Recorded) -> None:
    command = ["plan", "--policy", str(world.policy), "--prometheus", world.url, "--window", "20s", "--json"]

    def forecasts(span: str) -> dict[str, dict[str, Any]]:
        done = wait_for(lambda: _seeing(aiops(*command, "--history", span)), "the model is seen", 60)
        assert isinstance(done, subprocess.CompletedProcess)
        found = json.loads(done.stdout)["models"][0]["forecasts"]
        return {entry["series"]: entry for entry in found if entry["window"]["start_s"] == 600}

    known, none = forecasts("2d"), forecasts("1m")
    assert known["req_per_s"]["basis"] == "history"
    assert none.get("req_per_s", {}).get("basis") != "history"
    median = dict(known["req_per_s"]["quantiles"])[0.5]
    with shared_data("servegen", "m-large_10min.csv").open() as file:
        rates = [float(row["req_per_s"]) for row in list(csv.DictReader(file))[:144]]
    # The engines stand idle now, and the last minute shows it: what is still expected comes from that day alone.
    assert 5 <= median <= max(rates) * 1.5
