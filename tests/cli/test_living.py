"""plan, run and explain on a real Prometheus that scrapes a living simulated factory."""

import json
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from aiops.act.journal import Journal
from tests.cli.factory import AIOPS, Living, aiops, living_factory, scraping, write_policy
from tests.parts import free_port, http_text, prometheus, wait_for

pytestmark = [pytest.mark.real, pytest.mark.slow]
RAG = "meta-llama/Llama-3.3-70B-Instruct"


@pytest.fixture(scope="module")
def living(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Living]:
    with living_factory(tmp_path_factory.mktemp("living")) as world:
        yield world


def plan_json(living: Living, *more: str) -> dict[str, object] | None:
    """A plan in which every pool has a need; None where a busy machine missed a scrape, and pools are rightly held."""
    command = ["plan", "--policy", str(living.policy), "--prometheus", living.prometheus, "--window", "10s", "--json"]
    done = aiops(*command, *more)
    assert done.returncode in (0, 3), done.stderr
    cycle: dict[str, object] = json.loads(done.stdout)
    seen = done.returncode == 0 and all(decision["needed"] for decision in decisions(cycle).values())
    return cycle if seen else None


def decisions(cycle: dict[str, object]) -> dict[str, dict[str, object]]:
    return {d["pool"]["name"]: d for model in cycle["models"] for d in model["decisions"]}  # type: ignore[attr-defined, index]  # plain JSON


def test_plan_sees_every_pool_of_the_factory(living: Living) -> None:
    cycle = wait_for(lambda: plan_json(living), "every pool is planned", 60)
    assert isinstance(cycle, dict)
    assert not cycle["blind"]
    found = decisions(cycle)
    assert set(found) == {"chat-8b", "rag-70b-prefill", "rag-70b-decode"}
    asked = http_text(f"{living.demo}/fleet/monitoring/kube-state-metrics/metrics")
    for name, decision in found.items():
        line = f'kube_deployment_spec_replicas{{deployment="{name}",namespace="llm"}} {decision["current"]}.0'
        assert line in asked
    assert not any(pool["current_inferred"] for model in cycle["models"] for pool in model["pools"])  # type: ignore[attr-defined, index]  # plain JSON


def test_without_kube_state_metrics_replicas_are_counted_from_engines(living: Living, tmp_path: Path) -> None:
    engines_alone = {
        "job_name": "engines",
        "http_sd_configs": [{"url": f"{living.demo}/fleet/targets", "refresh_interval": "1s"}],
        "relabel_configs": [{"source_labels": ["job"], "regex": "vllm", "action": "keep"}],
    }
    with prometheus(tmp_path / "prometheus", [engines_alone]) as url:
        command = ["plan", "--policy", str(living.policy), "--prometheus", url, "--window", "10s"]

        def told() -> bool:
            done = aiops(*command)
            return done.returncode == 0 and "counted from live engines" in done.stdout

        wait_for(told, "it is told that the replicas are inferred", 60)


def test_plan_prints_a_table_for_people(living: Living) -> None:
    columns = ("rag-70b-prefill", "current", "needed", "desired", "reason", "forecast", "capacity", "req/s")

    def table() -> str | None:
        done = aiops("plan", "--policy", str(living.policy), "--prometheus", living.prometheus, "--window", "10s")
        return done.stdout if all(text in done.stdout for text in columns) else None

    assert "counted from live engines" not in str(wait_for(table, "the whole table is printed", 60))


def test_a_recorded_snapshot_replays_to_the_same_cycle(living: Living, tmp_path: Path) -> None:
    seen = tmp_path / "seen.json.gz"
    first = wait_for(lambda: plan_json(living, "--record", str(seen)), "every pool is planned", 60)
    for _ in range(2):
        again = aiops("plan", "--policy", str(living.policy), "--snapshot", str(seen), "--json")
        assert again.returncode == 0
        assert json.loads(again.stdout) == first


def test_a_model_without_a_policy_is_told(living: Living, tmp_path: Path) -> None:
    chat_only = tmp_path / "chat.yaml"
    documents = living.policy.read_text().split("\n---\n")
    chat_only.write_text("\n---\n".join(part for part in documents if "rag-70b" not in part))
    command = ["plan", "--policy", str(chat_only), "--prometheus", living.prometheus, "--window", "10s"]
    wait_for(lambda: f"no policy: llm/{RAG} is served" in aiops(*command).stdout, "it is told", 60)


def test_a_model_that_no_series_has_is_blind_and_the_others_are_planned(living: Living, tmp_path: Path) -> None:
    renamed = tmp_path / "renamed.yaml"
    renamed.write_text(living.policy.read_text().replace(RAG, "meta-llama/Llama-4"))
    command = ["plan", "--policy", str(renamed), "--prometheus", living.prometheus, "--window", "10s"]

    def told() -> bool:
        done = aiops(*command)
        assert done.returncode == 3
        return "blind: llm/meta-llama/Llama-4" in done.stdout and RAG in done.stdout and "chat-8b" in done.stdout

    wait_for(told, "the blind model is told with the name that is served, and the other one planned", 60)


def started(living: Living, folder: Path, interval: str = "1s") -> tuple[subprocess.Popen[bytes], str, Path]:
    port, journal = free_port(), folder / "journal.db"
    command = [
        *AIOPS, "run", "--policy", str(living.policy), "--prometheus", living.prometheus, "--interval", interval,
        "--window", "10s", "--listen", f"127.0.0.1:{port}", "--journal", str(journal), "--history", "1h",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=(folder / "run.log").open("ab"))
    return process, f"http://127.0.0.1:{port}", journal


def ended(process: subprocess.Popen[bytes], number: int) -> int:
    process.send_signal(number)
    return process.wait(20)


def test_run_serves_what_it_decides_and_ends_cleanly(living: Living, tmp_path: Path) -> None:
    process, url, journal = started(living, tmp_path)
    try:
        wait_for(lambda: http_text(f"{url}/readyz"), "the loop is ready", 40)
        assert http_text(f"{url}/healthz")
        metrics = http_text(f"{url}/metrics")
        assert 'aiops_desired_replicas{model_name="meta-llama/Llama-3.3-70B-Instruct"' in metrics
        assert "aiops_loop_queries" in metrics
        models = http_text(f"{url}/api/v1/models")
        assert RAG in models
        assert "rag-70b-prefill" in http_text(f"{url}/")
        told = aiops("explain", RAG, "--journal", str(journal))
        assert told.returncode == 0
        assert "utilization limit" in told.stdout
        as_json = aiops("explain", RAG, "--journal", str(journal), "--json")
        assert json.loads(as_json.stdout)["model"]["ref"]["model"] == RAG
    finally:
        assert ended(process, signal.SIGTERM) == 0
    log = [json.loads(line) for line in (tmp_path / "run.log").read_text().splitlines()]
    assert log[-1]["event"] == "aiops ended"
    assert not [line for line in log if line["level"] == "error"]


def test_kill_9_during_a_cycle_leaves_a_readable_journal_and_the_loop_goes_on(living: Living, tmp_path: Path) -> None:
    before = None
    for _ in range(3):
        # A cycle follows a cycle without a pause, so that the kill falls into one.
        process, url, journal = started(living, tmp_path, interval="1ms")
        wait_for(lambda url=url: http_text(f"{url}/readyz"), "the loop is ready", 40)
        wait_for(lambda url=url: json.loads(http_text(f"{url}/api/v1/cycles?limit=1"))[0]["number"] >= 5, "it turns")
        assert ended(process, signal.SIGKILL) == -signal.SIGKILL
        with sqlite3.connect(journal) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        kept = Journal(journal)
        cycles = kept.cycles()
        kept.close()
        assert len(cycles) >= 5
        assert before is None or (before in cycles and cycles[0].at > before.at)
        before = cycles[0]
        counted_since = {cycle.fleet.counted_since_s for cycle in cycles}
        assert counted_since == {cycles[-1].at.timestamp()}, "what the fleet loses is counted from the first life on"


def test_a_restart_goes_on_with_the_saved_forecasts_and_a_damaged_file_is_told_and_replaced(
    living: Living, tmp_path: Path
) -> None:
    saved, log = tmp_path / "journal.forecasts", tmp_path / "run.log"

    def run() -> list[dict[str, object]]:
        log.unlink(missing_ok=True)
        process, url, _ = started(living, tmp_path)
        try:
            wait_for(lambda: http_text(f"{url}/readyz"), "the loop is ready", 40)
            forecast = "aiops_forecast_requests_per_second{"
            wait_for(lambda: forecast in http_text(f"{url}/metrics"), "a bin was closed and learned", 90)
        finally:
            assert ended(process, signal.SIGTERM) == 0
        return [json.loads(line) for line in log.read_text().splitlines()]

    def spans(lines: list[dict[str, object]]) -> list[object]:
        return [line["span_s"] for line in lines if line["event"] == "history read"]

    assert spans(run()) == [3600]
    again = run()
    assert [line["models"] for line in again if line["event"] == "saved forecasts read"] == [2]
    (span_s,) = spans(again)
    assert isinstance(span_s, float)
    assert span_s < 600
    saved.write_bytes(saved.read_bytes()[:-1000])
    damaged = run()
    assert [line["why"] for line in damaged if "saved forecasts are not used" in str(line["event"])] == [
        "it is damaged or cut short"
    ]
    assert spans(damaged) == [3600]
    assert "saved forecasts read" in [line["event"] for line in run()]


def test_broken_emptied_and_deleted_policies_keep_the_last_good_ones(living: Living, tmp_path: Path) -> None:
    policy = write_policy(tmp_path)
    good = policy.read_text()
    process, url, _ = started(Living(living.prometheus, living.demo, policy), tmp_path)

    def metric(value: str) -> bool:
        return f"aiops_policy_load_failed {value}" in http_text(f"{url}/metrics")

    try:
        wait_for(lambda: http_text(f"{url}/readyz"), "the loop is ready", 40)
        for break_it in (
            lambda: policy.write_text(good.replace("spec:", "specs:")),
            lambda: policy.write_text(""),
            policy.unlink,
        ):
            break_it()
            wait_for(lambda: metric("1.0"), "the broken policy is told")
            seen = json.loads(http_text(f"{url}/api/v1/models"))
            assert RAG in json.dumps(seen), "the last good policies go on"
            policy.write_text(good)
            wait_for(lambda: metric("0.0"), "the good policy is taken again")
    finally:
        assert ended(process, signal.SIGTERM) == 0
    assert "did you mean" in (tmp_path / "run.log").read_text()


def test_a_prometheus_that_goes_away_holds_the_replicas_and_the_loop_goes_on(living: Living, tmp_path: Path) -> None:
    asked = 'aiops_desired_replicas{model_name="meta-llama/Llama-3.3-70B-Instruct"'

    def desired(url: str) -> list[str]:
        return [line for line in http_text(f"{url}/metrics").splitlines() if line.startswith(asked)]

    def newest(url: str) -> dict[str, object]:
        cycle: dict[str, object] = json.loads(http_text(f"{url}/api/v1/cycles?limit=1"))[0]
        return cycle

    with ExitStack() as stack:
        own = stack.enter_context(scraping(living.demo, tmp_path))
        process, url, _ = started(Living(own, living.demo, living.policy), tmp_path)
        try:
            wait_for(lambda: http_text(f"{url}/readyz"), "the loop is ready", 40)
            wait_for(lambda: len(desired(url)) == 2, "replicas are asked for", 40)
            stack.close()
            wait_for(lambda: newest(url)["blind"], "the loop is blind", 40)
            held, number = desired(url), newest(url)["number"]
            assert len(held) == 2
            wait_for(lambda: int(str(newest(url)["number"])) > int(str(number)) + 1, "the loop goes on", 60)
            assert desired(url) == held
        finally:
            assert ended(process, signal.SIGTERM) == 0


def test_run_refuses_to_act_without_a_cluster(living: Living, tmp_path: Path) -> None:
    acting = write_policy(tmp_path, "act")
    done = aiops("run", "--policy", str(acting), "--prometheus", living.prometheus)
    assert done.returncode == 1
    assert "mode: observe" in done.stderr


def test_a_port_in_use_is_told(living: Living, tmp_path: Path) -> None:
    taken = living.demo.removeprefix("http://")
    done = aiops(
        "run", "--policy", str(living.policy), "--prometheus", living.prometheus, "--listen", taken,
        "--journal", str(tmp_path / "j.db"),
    )  # fmt: skip
    assert done.returncode == 1
    assert taken.rpartition(":")[2] in done.stderr
    assert "Traceback" not in done.stderr
