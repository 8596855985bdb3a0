"""A cluster to look at and to try things on: a factory that serves on its pods in real time, and aiops that runs it.

``python -m tests.cluster.live`` starts it and tells where everything is; Ctrl-C ends it. The load rises and falls
whatever is done about it.
"""

import argparse
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from aiops.model.profile import CapacityProfile
from aiops.serve.live_factory import LiveFactory
from aiops.serve.pod_fleet import Address
from aiops.serve.pod_watch import PodWatch
from aiops.simulate.followed import FollowedFactory
from aiops.simulate.spec import FactorySpec
from tests.act.granted import grant, manifests_of
from tests.cluster import manifests
from tests.cluster.build import CLUSTER, PROMETHEUS, MissingPart, build
from tests.cluster.control_plane import BROKEN_POD, ControlPlane, control_plane
from tests.cluster.controller import LEASE, SIGHT_AND_SCALE, Controller, controller
from tests.cluster.manifests import PORT, Manifest, Server
from tests.cluster.place import Place, new_place
from tests.cluster.scrape import PodPrometheus, pod_prometheus
from tests.parts import wait_for
from tests.simulate.factories import shipped_profiles

ACCOUNT = "live-factory"
_ROUTER_PORT = 9091
CONSOLE_PORT = 9095
MODES = ("observe", "emit", "act")
_STEP_S = 10.0  # from one rate of the ramp to the next


@dataclass(frozen=True, slots=True)
class Live:
    """A factory that serves on the pods of a place."""

    followed: FollowedFactory
    serving: LiveFactory


@contextmanager
def factory_on_pods(
    place: Place,
    specs: Sequence[FactorySpec],
    profiles: Mapping[str, CapacityProfile],
    *,
    seed: int = 1,
    routers: Sequence[Address] = (),
) -> Iterator[Live]:
    """Let a factory serve on the pods of a place, with a ServiceAccount of its own; ``routers`` in the specs' order."""
    place.apply(
        manifests.service_account(ACCOUNT),
        manifests.role(ACCOUNT, ("", "pods", "list,watch,delete")),
        manifests.role_binding(ACCOUNT, ACCOUNT, place.namespace),
    )
    api = place.plane.client_of(ACCOUNT, place.namespace)
    # Each try is told by itself, and the next one comes soon.
    api.configuration.retries = False
    api.rest_client = type(api.rest_client)(api.configuration)
    # The first step of any factory loads or compiles its code: it must not make this one's clock late.
    first = FollowedFactory(specs, profiles, seed, datetime.now(UTC)).factory
    first.advance(first.start + timedelta(microseconds=1))
    followed = FollowedFactory(specs, profiles, seed, datetime.now(UTC))
    addressed = dict(zip([spec.ref for spec in specs], routers, strict=False))
    with api, PodWatch(api, [place.namespace]) as pods, LiveFactory(followed, pods, addressed, port=PORT) as serving:
        yield Live(followed, serving)


# A day of minutes leaves no time for the steps of a day of hours.
STEPS = {
    "scaleUp": {"maxStep": "100%", "per": "15s"},
    "scaleDown": {"maxStep": "25%", "per": "20s", "stabilization": "2m"},
}


def variant(profile: str, gpus: int, middle_s: float, late_s: float) -> Manifest:
    """The hardware of a replica, and how long it takes to be ready."""
    return {"gpus": gpus, "profile": profile, "coldStart": {"p50": f"{middle_s:g}s", "p90": f"{late_s:g}s"}}


def until(ready_s: float) -> dict[str, str]:
    """Annotations of a pod that is ready at the latest after ``ready_s``: any time from its cold start until then."""
    return {"pod-ready.stage.kwok.x-k8s.io/jitter-delay": f"{round(ready_s * 1000)}ms"}


@dataclass(frozen=True, slots=True)
class Workload:
    """A model of the factory: what arrives, the Deployments that serve it, and what aiops is told of it."""

    spec: FactorySpec
    servers: tuple[Server, ...]
    policy: Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A chat model on replicas with one GPU each, and a day of some minutes: night, morning, noon, evening, night.

    By default one replica is enough at night; at noon 6 fall behind, 8 do not. The seed draws when which request comes.
    """

    namespace: str = "llm"
    deployment: str = "chat-8b"
    model: str = "llama-8b"
    profile: str = "llama-8b-h100-tp1"
    replicas: int = 2
    nodes: int = 3
    gpus: int = 8
    cold_start_s: tuple[float, float] = (20.0, 50.0)
    grace_s: int = 130
    night_req_per_s: float = 4.0
    peak_req_per_s: float = 45.0
    night_s: float = 120.0
    ramp_s: float = 480.0
    noon_s: float = 300.0
    scrape_interval: str = "5s"
    most: int = 12
    mode: str = "act"
    seed: int = 1

    @property
    def workload(self) -> Workload:
        return Workload(self.spec, (self.server,), self.policy)

    @property
    def policy(self) -> Manifest:
        """Everything that a policy says in hours and that a day of minutes has in minutes is said in minutes."""
        least_s, most_s = self.cold_start_s
        pool = {"name": self.deployment, "target": {"name": self.deployment}, "variant": self.profile}
        return {
            "metadata": {"name": self.deployment, "namespace": self.namespace},
            "spec": {
                "model": self.model,
                "mode": self.mode,
                "pools": [{**pool, "min": self.replicas, "max": self.most}],
                **STEPS,
            },
            "variants": {self.profile: variant(self.profile, 1, (least_s + most_s) / 2, most_s)},
        }

    @property
    def server(self) -> Server:
        least_s, most_s = self.cold_start_s
        return Server(
            name=self.deployment,
            model=self.model,
            replicas=self.replicas,
            cold_start_s=least_s,
            grace_s=self.grace_s,
            annotations=until(most_s),
        )

    @property
    def spec(self) -> FactorySpec:
        return FactorySpec.model_validate(
            {
                "model": self.model,
                "namespace": self.namespace,
                "pools": [{"name": self.deployment, "profile": self.profile}],
                "workload": {
                    "demand": {"windows": list(self.windows())},
                    "inputTokens": {"mean": 2500, "spread": 0.7, "max": 16384},
                    "outputTokens": {"mean": 600, "spread": 0.6, "max": 4096},
                    "prefixShare": 0.2,
                },
            }
        )

    def rate(self, at_s: float) -> float:
        """Requests a second that are meant to arrive at a time of the day; the last night does not end."""
        since_s = at_s - self.night_s
        height = (
            since_s / self.ramp_s if since_s < self.ramp_s + self.noon_s else 2 - (since_s - self.noon_s) / self.ramp_s
        )
        return self.night_req_per_s + min(max(height, 0.0), 1.0) * (self.peak_req_per_s - self.night_req_per_s)

    def windows(self, share: float = 1.0) -> Iterator[dict[str, object]]:
        """The day, rate by rate, or a share of it."""
        end_s = self.night_s + 2 * self.ramp_s + self.noon_s
        for step in range(round(end_s / _STEP_S) + 1):
            # Each rate is that of the middle of its step.
            rate = self.rate((step + 0.5) * _STEP_S)
            yield {"at": f"{step * _STEP_S:g}s", "requestsPerS": share * rate}


@dataclass(frozen=True, slots=True)
class LiveCluster:
    """Everything that :func:`live_cluster` started."""

    settings: Settings
    plane: ControlPlane
    place: Place
    prometheus: PodPrometheus
    live: Live
    router: Address
    workloads: tuple[Workload, ...]


def router(plane: ControlPlane, number: int = 0) -> Address:
    """Where a factory's router answers, if it has one; of several, each has a number."""
    return plane.block.server, _ROUTER_PORT + number


def router_job(namespace: str, model: str, where: Address) -> dict[str, object]:
    """How the router of a model is scraped."""
    labels = {"namespace": namespace, "pod": f"{model}-epp", "endpoint": "metrics"}
    target = {"targets": [f"{where[0]}:{where[1]}"], "labels": labels}
    return {"job_name": f"epp-{namespace}-{model}", "static_configs": [target]}


@contextmanager
def live_cluster(folder: Path, settings: Settings, *others: Workload) -> Iterator[LiveCluster]:
    """A control plane with nodes, Deployments, a Prometheus, and the factory that serves on their pods.

    ``others`` are served beside the model of the settings. Nothing is scaled: see :func:`autopilot`.
    """
    workloads = (settings.workload, *others)
    with ExitStack() as stack:
        plane = stack.enter_context(control_plane(folder, build(CLUSTER)))
        place = new_place(plane, settings.namespace)
        place.add_nodes(settings.nodes, gpus=settings.gpus)
        routers = [router(plane, number) for number in range(len(workloads))]
        jobs = [
            router_job(settings.namespace, one.spec.model, where) for one, where in zip(workloads, routers, strict=True)
        ]
        prometheus = stack.enter_context(
            pod_prometheus(
                folder,
                build(PROMETHEUS),
                new_place(plane, "monitoring"),
                jobs=jobs,
                interval=settings.scrape_interval,
            )
        )
        specs = [workload.spec for workload in workloads]
        serving = factory_on_pods(place, specs, shipped_profiles(), seed=settings.seed, routers=routers)
        live = stack.enter_context(serving)
        place.apply(*(server.deployment() for workload in workloads for server in workload.servers))
        wait_for(place.pods, "the first pods are ordered")
        yield LiveCluster(settings, plane, place, prometheus, live, routers[0], workloads)


@contextmanager
def autopilot(cluster: LiveCluster) -> Iterator[Controller]:
    """Run aiops on it, from a namespace of its own, with what deploy/ grants, the victims included."""
    scrape_s = float(cluster.settings.scrape_interval.removesuffix("s"))
    policies = yaml.safe_dump_all(workload.policy for workload in cluster.workloads)
    home = new_place(cluster.plane, "aiops")
    grant(home, LEASE)
    cluster.place.apply(*manifests_of("deletion-cost/admission-policy.yaml", home.namespace))
    grant(cluster.place, *SIGHT_AND_SCALE, "deletion-cost/role.yaml", own=home)
    with controller(
        home,
        cluster.prometheus.url,
        cluster.plane.folder,
        policies,
        interval="5s",
        window=f"{4 * scrape_s:g}s",
        listen=f"{cluster.plane.block.server}:{CONSOLE_PORT}",
        options=("--deletion-cost",),
    ) as started:
        yield started


def describe(cluster: LiveCluster, aiops: Controller | None) -> str:
    """Where everything is, and what can be tried."""
    settings, (host, port) = cluster.settings, cluster.router
    here = f"-n {settings.namespace}"
    label, value = next(iter(BROKEN_POD.items()))
    aiops_line = f"console         {aiops.page} (mode {settings.mode})" if aiops else "aiops           does not run"
    return f"""
export KUBECONFIG={cluster.plane.admin_kubeconfig}
{aiops_line}
Prometheus      {cluster.prometheus.url}
router          http://{host}:{port}/metrics
engines         http://ADDRESS:{PORT}/metrics (the addresses: kubectl get pods {here} -o wide)
logs            {cluster.plane.folder}

{settings.replicas} replicas of {settings.deployment}, ready {settings.cold_start_s[0]:g} to \
{settings.cold_start_s[1]:g} s after they are ordered, {settings.nodes} nodes with {settings.gpus} GPUs each.
{settings.night_req_per_s:g} requests/s at night, {settings.peak_req_per_s:g} at noon; the ramp begins after \
{settings.night_s / 60:g} min and takes {settings.ramp_s / 60:g} min.

try   kubectl scale {here} deployment/{settings.deployment} --replicas 6    (a person's word: left for an hour)
      kubectl annotate {here} deployment/{settings.deployment} aiops.tokenfactory.dev/paused=true
      kubectl label {here} pod/NAME {label}={value}    (a pod fails, and its requests with it)
      {cluster.prometheus.url}/api/v1/query?query=sum(vllm:num_requests_waiting)
end   Ctrl-C
"""


def main() -> None:
    defaults = Settings()
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.live", description=__doc__)
    parser.add_argument("--replicas", type=int, default=defaults.replicas, help="how many there are at first")
    parser.add_argument("--nodes", type=int, default=defaults.nodes, help="nodes with 8 GPUs each")
    parser.add_argument("--peak", type=float, default=defaults.peak_req_per_s, help="requests a second at noon")
    parser.add_argument("--ramp-minutes", type=float, default=defaults.ramp_s / 60, help="from night to noon")
    parser.add_argument("--mode", choices=[*MODES, "none"], default=defaults.mode, help="none: without aiops")
    given = parser.parse_args()
    settings = Settings(
        replicas=given.replicas,
        nodes=given.nodes,
        peak_req_per_s=given.peak,
        ramp_s=given.ramp_minutes * 60,
        mode=given.mode,
    )
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    try:
        with (
            tempfile.TemporaryDirectory(prefix="aiops-cluster-") as folder,
            live_cluster(Path(folder), settings) as cluster,
            nullcontext() if settings.mode == "none" else autopilot(cluster) as aiops,
        ):
            sys.stdout.write(describe(cluster, aiops))
            sys.stdout.flush()
            while cluster.live.serving.runs and not ended.wait(1.0):
                pass
    except MissingPart as part:
        sys.exit(str(part))


if __name__ == "__main__":
    main()
