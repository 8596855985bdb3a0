"""What aiops costs on a real Kubernetes with 10, 100 and 1,000 pods, and how soon another one leads.

etcd, API server, controllers, KWOK and Prometheus are real, the engines simulated. Two processes of aiops run in mode
act with what deploy/ grants: one leads. A person holds the target at one replica more; the leader is killed; the person
holds it at the first number again. So two writes of ``spec.replicas`` are right, and every other is wrong. Prints JSON.
Needs what ``tests/cluster`` builds.
"""

import json
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.act.granted import ACCOUNT, grant
from tests.cluster.build import CLUSTER, PROMETHEUS, build
from tests.cluster.control_plane import control_plane
from tests.cluster.controller import RIGHTS, Controller, controller
from tests.cluster.live import Settings, factory_on_pods
from tests.cluster.place import Place, new_place
from tests.cluster.recorder import recorder
from tests.cluster.recording import read_recording
from tests.cluster.scrape import pod_prometheus
from tests.parts import http_text, wait_for
from tests.simulate.factories import shipped_profiles

SIZES = (10, 100, 1000)
INTERVAL_S = 15
CYCLES = 8
HOLD = "aiops.tokenfactory.dev/hold-at"
# Little load: what is measured is the number of pods.
SETTINGS = Settings(night_req_per_s=5.0, peak_req_per_s=5.0, cold_start_s=(0.0, 1.0), grace_s=5, scrape_interval="15s")


def measure(size: int, folder: Path) -> dict[str, object]:
    """Run both processes beside ``size`` pods."""
    settings = replace(SETTINGS, replicas=size, most=size + 1, nodes=size // 8 + 2)
    file = folder / "run.jsonl"
    with ExitStack() as stack:
        plane = stack.enter_context(control_plane(folder, build(CLUSTER)))
        place = new_place(plane, settings.namespace)
        place.add_nodes(settings.nodes)
        grant(place, *RIGHTS)
        monitoring = new_place(plane, "monitoring")
        prometheus = stack.enter_context(
            pod_prometheus(folder, build(PROMETHEUS), monitoring, interval=settings.scrape_interval)
        )
        stack.enter_context(factory_on_pods(place, [settings.spec], shipped_profiles()))
        place.apply(settings.server.deployment())
        place.wait_for_ready(size, timeout_s=600.0)
        stack.enter_context(recorder(place, prometheus.url, file))
        policy = yaml.safe_dump(settings.policy)
        both = [
            stack.enter_context(
                controller(place, prometheus.url, folder, policy, name=name, interval=f"{INTERVAL_S}s", window="1m")
            )
            for name in ("first", "second")
        ]
        wait_for(lambda: any(map(_leads, both)), "one leads", 120.0)
        leader, follower = sorted(both, key=_leads, reverse=True)
        costs = _costs(leader, place)
        _hold(place, size + 1)
        killed_s = time.monotonic()
        leader.program.stop(signal.SIGKILL)
        wait_for(lambda: _leads(follower), "the other one leads", 120.0)
        takeover_s = time.monotonic() - killed_s
        _hold(place, size)
    recording = read_recording(file)
    moves = [(before.replicas, after.replicas, after.by) for before, after in recording.moves(settings.deployment)]
    right = [(size, size + 1, "aiops"), (size + 1, size, "aiops")]
    return {
        "pods": size,
        **costs,
        "from_the_leaders_death_to_the_new_leader_s": round(takeover_s, 1),
        "writes": moves,
        "wrong_writes": len(moves) - 2 if [*moves[:1], *moves[-1:]] == right else len(moves),
        "writes_not_seen": recording.unseen(settings.deployment),
    }


def _costs(aiops: Controller, place: Place) -> dict[str, object]:
    """What some cycles of the leader take, once it sees all."""
    wait_for(lambda: _sees(aiops), "it sees the model", 300.0)
    before, calls = _stages(aiops), _calls(place)
    wait_for(lambda: _turns(_stages(aiops)) >= _turns(before) + CYCLES, f"{CYCLES} cycles", 30.0 * INTERVAL_S)
    after, more = _stages(aiops), _calls(place)
    turns = _turns(after) - _turns(before)
    seconds = {stage: (after[stage][0] - before[stage][0]) / turns for stage in after}
    status = Path(f"/proc/{aiops.program.pid}/status").read_text().splitlines()
    memory = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in status if line.startswith(("VmRSS", "VmHWM"))}
    return {
        "cycles": turns,
        "cycle_mean_s": round(sum(seconds.values()), 3),
        "stages_mean_s": {stage: round(value, 3) for stage, value in seconds.items()},
        "memory_mib": round(memory["VmRSS"]),
        "memory_peak_mib": round(memory["VmHWM"]),
        # Two processes look, one of them writes.
        "api_calls_a_cycle": round((more["look"] - calls["look"]) / turns / 2, 1),
        "lease_calls_a_minute": round((more["lease"] - calls["lease"]) / turns / INTERVAL_S * 60 / 2, 1),
        "promql_queries_a_cycle": int(_samples(aiops)["aiops_loop_queries", ""]),
    }


def _samples(aiops: Controller) -> dict[tuple[str, str], float]:
    families = text_string_to_metric_families(http_text(f"{aiops.page}/metrics"))
    return {(one.name, one.labels.get("stage", "")): one.value for family in families for one in family.samples}


def _stages(aiops: Controller) -> dict[str, tuple[float, float]]:
    """Seconds and turns so far, by stage."""
    found, name = _samples(aiops), "aiops_loop_duration_seconds"
    sums = {stage: value for (one, stage), value in found.items() if one == f"{name}_sum"}
    return {stage: (value, found[f"{name}_count", stage]) for stage, value in sums.items()}


def _turns(stages: dict[str, tuple[float, float]]) -> int:
    return int(max((count for _, count in stages.values()), default=0))


def _calls(place: Place) -> dict[str, int]:
    calls = [call.get("objectRef", {}).get("resource") for call in place.plane.calls(ACCOUNT, place.namespace)]
    leases = calls.count("leases")
    return {"lease": leases, "look": len(calls) - leases}


def _leads(aiops: Controller) -> bool:
    return aiops.program.pid is not None and "aiops_leader 1.0" in http_text(f"{aiops.page}/metrics")


def _sees(aiops: Controller) -> bool:
    """Whether its newest cycle knows the demand."""
    (cycle,) = json.loads(http_text(f"{aiops.page}/api/v1/cycles?limit=1")) or [{"models": []}]
    return any(model["work"] is not None for model in cycle["models"])


def _hold(place: Place, replicas: int) -> None:
    """A person's word, and that it is kept."""
    body = {"metadata": {"annotations": {HOLD: str(replicas)}}}
    name = SETTINGS.deployment
    place.apps.patch_namespaced_deployment(name, place.namespace, body)

    def kept() -> bool:
        return bool(place.apps.read_namespaced_deployment(name, place.namespace).spec.replicas == replicas)

    wait_for(kept, f"{replicas} replicas are asked for", 180.0)


def main() -> None:
    """Measure and print."""
    sizes = [int(size) for size in sys.argv[1:]] or SIZES
    results = []
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="aiops-benchmark-") as folder:
            results.append(measure(size, Path(folder)))
    told = {"benchmark": "cluster", "at": f"{datetime.now(UTC):%Y-%m-%d}", "interval_s": INTERVAL_S, "results": results}
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
