"""How many queries a cycle takes, and how long it and its look last, with 1, 10 and 100 models of 4 engines each.

A real Prometheus scrapes every engine; a page has all families of a vLLM engine that the package reads, histograms with
all their buckets included. Prints JSON. Needs the program ``prometheus``.
"""

import json
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from aiops.act.emit import Emitter
from aiops.act.journal import Journal
from aiops.act.log import CycleLog, set_up_log
from aiops.act.recorder import EvidenceRecorder
from aiops.control.lead import Alone
from aiops.control.loop import Loop
from aiops.model.policy import PolicySet
from aiops.model.snapshot import Snapshot
from aiops.observe.catalogue import CACHE_CONFIG, ENGINE_SIGNALS, PROCESS_START, MetricType
from aiops.observe.observer import PrometheusObserver
from aiops.observe.prometheus import PrometheusAccess, PrometheusClient
from aiops.plan import State
from tests import parts
from tests.control.fake_cluster import FakeCluster
from tests.observe.world import exporter, policy, target
from tests.plan.worlds import VARIANT

SIZES = (1, 10, 100)
ENGINES = 4
LOOKS = 40
BOUNDS = [*(f"{0.01 * 2**n:g}" for n in range(20)), "+Inf"]


def page(model: str, step: int) -> str:
    """One engine's metrics, its counters at their ``step``-th value."""
    labels = f'model_name="{model}",engine="0"'
    lines = [
        f"{PROCESS_START.name} 1.7e9",
        f'{CACHE_CONFIG.name}{{engine="0",block_size="16",num_gpu_blocks="9000"}} 1',
    ]
    for metric in ENGINE_SIGNALS:
        if metric.type is MetricType.HISTOGRAM:
            lines += [f'{metric.name}_bucket{{{labels},le="{le}"}} {n * step}' for n, le in enumerate(BOUNDS)]
            lines += [f"{metric.name}_{part}{{{labels}}} {20 * step}" for part in ("sum", "count")]
        else:
            lines.append(f"{metric.name}{{{labels}}} {step if metric.type is MetricType.COUNTER else 1}")
    return "\n".join(lines) + "\n"


def measure(size: int, folder: Path) -> dict[str, object]:
    """Look LOOKS times at ``size`` models."""
    policies = PolicySet(tuple(policy("llm", f"m{n}") for n in range(size)), {"v": VARIANT})
    pods = {f"m{n}-{replica}": f"m{n}" for n in range(size) for replica in range(ENGINES)}
    with exporter() as served:
        served.pages |= {pod: page(model, 1) for pod, model in pods.items()}
        targets = [target(served.port, pod, namespace="llm", pod=pod) for pod in pods]
        jobs: list[dict[str, object]] = [{"job_name": "vllm", "static_configs": targets}]
        with (
            parts.prometheus(folder, jobs, interval="5s") as url,
            PrometheusClient(PrometheusAccess(url=url)) as client,
        ):
            observer = PrometheusObserver(client, lambda: policies, lambda: datetime.now(UTC))

            def whole() -> bool:
                models = observer.observe().models
                return all(model.demand is not None for model in models)

            time.sleep(10)
            served.pages |= {pod: page(model, 2) for pod, model in pods.items()}
            parts.wait_for(whole, f"{size} models are seen with their demand", timeout_s=120)
            looks, cycles, queries = turns(observer, policies, folder / "journal.db")
    return {
        "models": size,
        "engines": len(pods),
        "queries_per_cycle": queries,
        **{f"observe_{key}": value for key, value in spread(looks).items()},
        **{f"cycle_{key}": value for key, value in spread(cycles).items()},
    }


class Stopwatch:
    """An observer that times its looks."""

    def __init__(self, observer: PrometheusObserver) -> None:
        self._observer, self.seconds = observer, list[float]()

    def observe(self) -> Snapshot:
        begun = time.perf_counter()
        seen = self._observer.observe()
        self.seconds.append(time.perf_counter() - begun)
        return seen


def turns(observer: PrometheusObserver, policies: PolicySet, journal: Path) -> tuple[list[float], list[float], int]:
    """Turn the whole loop LOOKS times, evidence and all; give the seconds of looks and cycles, and the queries."""
    watched, emitter = Stopwatch(observer), Emitter("benchmark", 15)
    log = CycleLog(set_up_log(json_lines=True, level="error"))
    recorder = EvidenceRecorder(Journal(journal), emitter, log, lambda: policies)
    cluster = FakeCluster(lambda _: 1.0, {"both": 1})  # refuses nothing and is asked nothing: the mode is observe
    loop = Loop(watched, cluster, recorder, Alone(), lambda: policies)
    state, cycles, queries = State(), list[float](), 0
    for _ in range(LOOKS):
        begun = time.perf_counter()
        turn = loop.run_once(state)
        cycles.append(time.perf_counter() - begun)
        state, queries = turn.state, turn.cycle.queries
    return watched.seconds, cycles, queries


def spread(seconds: list[float]) -> dict[str, float]:
    """Give the median and the 95th percentile."""
    return {"p50_s": round(statistics.median(seconds), 4), "p95_s": round(statistics.quantiles(seconds, n=20)[-1], 4)}


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        results = [measure(size, Path(folder, str(size))) for size in SIZES]
    print(json.dumps({"benchmark": "cycle", "looks": LOOKS, "interval_s": 15, "results": results}, indent=2))


if __name__ == "__main__":
    main()
