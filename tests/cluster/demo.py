"""A day in twenty minutes on a real control plane, with aiops in mode act, recorded: ``make cluster-demo``.

A chat model and a model with prefill and decode apart see the same morning. The nodes have no place for every chat
replica that is ordered at noon; in the evening the chat model is rolled out while replicas leave. Log and picture go
into docs/.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from aiops.model.policy import Objectives
from aiops.model.refs import Role
from aiops.plan.work import RequestShape, replica_rate
from aiops.simulate.spec import FactorySpec
from tests.cluster.build import MissingPart
from tests.cluster.demo_report import Report
from tests.cluster.live import STEPS, LiveCluster, Settings, Workload, autopilot, live_cluster, until, variant
from tests.cluster.manifests import Server
from tests.cluster.recorder import Recorder, recorder
from tests.cluster.recording import Recording, read_recording
from tests.cluster.run_picture import picture_of
from tests.parts import wait_for
from tests.simulate.factories import shipped_profiles

DOCS = Path(__file__).parents[2] / "docs"
SETTINGS = Settings(
    replicas=3, nodes=1, night_req_per_s=4.0, peak_req_per_s=66.0, night_s=160.0, ramp_s=420.0, noon_s=120.0, most=16
)
_MORE_GPUS = 3  # on a second node: eleven chat replicas find a place
_OTHER_NODES = "NVIDIA-H200"  # the second model has nodes of its own
_ROLLOUT_AFTER = 0.95  # of the evening
_NIGHT_S = 300.0  # how long the last night is watched


def prefill_decode(settings: Settings, share: float = 0.1) -> Workload:
    """A model of 70 billion parameters on replicas of four GPUs, one deployment a role, with a share of the load."""
    name, profile = "rag-70b", "llama-70b-h100-tp4"
    least_s, most_s = settings.cold_start_s
    roles = ("prefill", "decode")
    spec = FactorySpec.model_validate(
        {
            "model": "llama-70b",
            "namespace": settings.namespace,
            "pools": [{"name": f"{name}-{role}", "role": role, "profile": profile} for role in roles],
            "workload": {
                "demand": {"windows": list(settings.windows(share))},
                "inputTokens": {"mean": 4000, "spread": 0.5, "max": 16384},
                "outputTokens": {"mean": 500, "spread": 0.5, "max": 2048},
            },
        }
    )
    server = Server(
        name="",
        model="llama-70b",
        gpus=4,
        product=_OTHER_NODES,
        cold_start_s=least_s,
        grace_s=settings.grace_s,
        annotations=until(most_s),
    )
    servers = tuple(replace(server, name=f"{name}-{role}", role=role) for role in roles)
    pools = [
        {"name": role, "role": role, "target": {"name": f"{name}-{role}"}, "variant": profile, "min": 1, "max": 6}
        for role in roles
    ]
    policy = {
        "metadata": {"name": name, "namespace": settings.namespace},
        "spec": {"model": "llama-70b", "mode": settings.mode, "pools": pools, **STEPS},
        "variants": {profile: variant(profile, 4, (least_s + most_s) / 2, most_s)},
    }
    return Workload(spec, servers, policy)


@dataclass(frozen=True, slots=True)
class Ran:
    """A run that has ended: what was recorded of it, and what the recording cannot know."""

    recording: Recording
    needed: list[tuple[float, float]]
    """The fewest chat replicas that could serve what was meant to arrive, from each time on."""
    settings: Settings
    greatest_lag_s: float
    unanswered: int


def run(file: Path, settings: Settings = SETTINGS) -> Ran:
    """Run the day and record it in a file."""
    with (
        tempfile.TemporaryDirectory(prefix="aiops-demo-") as folder,
        live_cluster(Path(folder), settings, prefill_decode(settings)) as cluster,
    ):
        cluster.place.add_nodes(1, gpus=_MORE_GPUS)
        cluster.place.add_nodes(5, product=_OTHER_NODES)
        wait_for(lambda: _all_ready(cluster), "everything serves", 180.0)
        with autopilot(cluster) as aiops, recorder(cluster.place, cluster.prometheus.url, file, cluster.live) as taking:
            taking.listen_to(aiops.page)
            began_s = cluster.live.followed.factory.now_s - taking.now_s
            lag_s = max(_day(cluster, settings, taking, began_s))
        with cluster.live.serving.lock:
            unanswered = sum(model.fleet.in_flight for model in cluster.live.followed.factory.models)
        needed = list(_needed(cluster, settings, began_s))
    return Ran(read_recording(file), needed, settings, lag_s, unanswered)


def _all_ready(cluster: LiveCluster) -> bool:
    wanted = sum(server.replicas for workload in cluster.workloads for server in workload.servers)
    return len(cluster.place.ready_pods()) == wanted


def _day(cluster: LiveCluster, settings: Settings, taking: Recorder, began_s: float) -> Iterator[float]:
    """Let the day pass, and do what it brings; gives how far the factory is behind the clock, every second."""
    morning_s = settings.night_s
    evening_s = morning_s + settings.ramp_s + settings.noon_s
    end_s = evening_s + settings.ramp_s + _NIGHT_S
    agenda = [
        (morning_s, "morning", lambda: None),
        (evening_s, "evening", lambda: None),
        (evening_s + _ROLLOUT_AFTER * settings.ramp_s, "rollout", lambda: _roll_out(cluster)),
    ]
    while (now_s := taking.now_s + began_s) < end_s:
        while agenda and agenda[0][0] <= now_s:
            _, words, act = agenda.pop(0)
            taking.mark(words)
            act()
        yield cluster.live.serving.lag_s
        time.sleep(1.0)


def _roll_out(cluster: LiveCluster) -> None:
    """Another image: every pod of the chat model is replaced."""
    container = {"name": "vllm", "image": "vllm:next"}
    body = {"spec": {"template": {"spec": {"containers": [container]}}}}
    cluster.place.apps.patch_namespaced_deployment(cluster.settings.deployment, cluster.place.namespace, body)


def _needed(cluster: LiveCluster, settings: Settings, began_s: float) -> Iterator[tuple[float, float]]:
    """What the chat model needed, by the sizes that its requests turned out to have."""
    name = settings.model

    def total(metric: str) -> float:
        found = cluster.prometheus.query(f'sum(max_over_time(vllm:{metric}{{model_name="{name}"}}[1h]))')
        return float(found[0]["value"][1])

    finished = total("request_success_total")
    tokens_in, tokens_out = total("prompt_tokens_total") / finished, total("generation_tokens_total") / finished
    cached = total("prefix_cache_hits_total") / total("prefix_cache_queries_total")
    shape = RequestShape(tokens_in, tokens_in * (1 - cached), tokens_out)
    profile = shipped_profiles()[settings.profile]
    rate = replica_rate(Role.BOTH, profile, shape, Objectives().itl.bound_s)
    last = 0
    for second in range(round(settings.night_s + 2 * settings.ramp_s + settings.noon_s + _NIGHT_S)):
        needed = -int(-settings.rate(second) // rate.requests_per_s)
        if needed != last:
            last = needed
            yield max(second - began_s, 0.0), float(needed)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.demo", description=__doc__)
    parser.add_argument("--docs", type=Path, default=DOCS, help="where cluster-demo.md and images/cluster-demo.svg go")
    parser.add_argument("--seed", type=int, default=SETTINGS.seed, help="which requests come when")
    parser.add_argument("--record", type=Path, help="keep the recording, JSON lines, in this file")
    given = parser.parse_args()
    with _file(given.record) as file:
        try:
            ran = run(file, replace(SETTINGS, seed=given.seed))
        except MissingPart as part:
            sys.exit(str(part))
    report = Report(ran.recording, ran.needed, ran.settings, ran.greatest_lag_s, ran.unanswered)
    (given.docs / "images").mkdir(parents=True, exist_ok=True)
    about = f"aiops in mode act on a real control plane, {datetime.now(UTC):%Y-%m-%d}; docs/cluster-demo.md"
    svg = picture_of(ran.recording, "A day in twenty minutes", about, {ran.settings.deployment: ran.needed})
    (given.docs / "images" / "cluster-demo.svg").write_text(svg)
    (given.docs / "cluster-demo.md").write_text(report.markdown())
    sys.stdout.write(json.dumps(report.figures(), indent=2) + "\n")


@contextmanager
def _file(wanted: Path | None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield wanted or Path(folder) / "run.jsonl"


if __name__ == "__main__":
    main()
