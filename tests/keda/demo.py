"""The same day for three scalers side by side on one cluster, recorded and drawn: ``make keda-demo``.

aiops in mode emit, carried out by the real KEDA; and KEDA by itself as llm-d's guide configures it, with the guide's
threshold of running requests and with one that was measured for this model. Each has a namespace, a Deployment and a
factory of its own; load, bounds, nodes and the times of everything that asks are the same. The day is that of
``make cluster-demo``, in which aiops writes by itself.
"""

import argparse
import json
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import yaml

from aiops.model.quantity import parse_duration
from aiops.simulate.spec import RouterSpec
from tests.cluster.build import CLUSTER, PROMETHEUS, MissingPart, build, tell
from tests.cluster.control_plane import ControlPlane, control_plane
from tests.cluster.demo import SETTINGS
from tests.cluster.live import Live, Settings, factory_on_pods, router, router_job
from tests.cluster.place import Place, new_place
from tests.cluster.recorder import recorder
from tests.cluster.recording import Recording, read_recording
from tests.cluster.run_picture import picture_beside
from tests.cluster.scrape import PodPrometheus, pod_prometheus
from tests.keda import comparison, llm_d
from tests.keda.build import KEDA
from tests.keda.emitting import aiops_job, emitting, scaled_objects
from tests.keda.real_keda import keda
from tests.simulate.factories import shipped_profiles

_NIGHT_AFTER_S = 300.0
# Of the simulated engines under this load ten hold the objectives at 66 requests/s, and nine fall behind.
_REPLICA_REQ_PER_S = 66 / 10


@dataclass(frozen=True, slots=True)
class Lane:
    """One of the scalers; ``running`` is llm-d's threshold, None where aiops scales."""

    namespace: str
    name: str
    running: int | None = None


LANES = (Lane("aiops", "aiops"), Lane("llm-d", "llm-d 16", 16), Lane("llm-d-measured", "llm-d 50", 50))


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A lane that runs, and the file that it is recorded in."""

    lane: Lane
    live: Live
    file: Path


def policy(settings: Settings) -> str:
    """What aiops is told of a lane: nothing leaves that was needed in the last 5 minutes, as llm-d has it."""
    stated = settings.policy
    stated["spec"]["scaleDown"] = {**stated["spec"]["scaleDown"], "stabilization": "5m"}
    return yaml.safe_dump(stated)


@contextmanager
def side_by_side(folder: Path, settings: Settings) -> Iterator[list[UnderWay]]:
    """Start a cluster with Prometheus and KEDA, and every lane in it; aiops, which takes longest, comes last."""
    every = settings.scrape_interval
    with ExitStack() as stack:
        plane = stack.enter_context(control_plane(folder, build(CLUSTER), autoscaler_period_s=_seconds(every)))
        monitoring, jobs = new_place(plane, "monitoring"), [aiops_job(plane)]
        jobs += [router_job(lane.namespace, settings.model, router(plane, i)) for i, lane in enumerate(LANES)]
        prometheus = stack.enter_context(
            pod_prometheus(folder, build(PROMETHEUS), monitoring, jobs=jobs, interval=every)
        )
        own = folder / "keda"
        own.mkdir()
        stack.enter_context(keda(own, build(KEDA), plane))
        yield [stack.enter_context(_lane(lane, plane, prometheus, folder, settings)) for lane in reversed(LANES)]


@contextmanager
def _lane(
    lane: Lane, plane: ControlPlane, prometheus: PodPrometheus, folder: Path, settings: Settings
) -> Iterator[UnderWay]:
    mine, place = replace(settings, namespace=lane.namespace), new_place(plane, lane.namespace)
    place.add_nodes(mine.nodes, gpus=mine.gpus)
    place.apply(mine.server.deployment())
    place.wait_for_ready(mine.replicas)
    # What would be the sixth to wait in every engine waits at the gateway, as llm-d's flow control has it.
    spec = mine.spec.model_copy(update={"router": RouterSpec(max_waiting=5)})
    file = folder / f"{lane.namespace}.jsonl"
    routers = [router(plane, LANES.index(lane))]
    with (
        factory_on_pods(place, [spec], shipped_profiles(), seed=mine.seed, routers=routers) as live,
        recorder(place, prometheus.url, file, live),
        _scaled(lane, place, prometheus, folder, mine),
    ):
        yield UnderWay(lane, live, file)


@contextmanager
def _scaled(lane: Lane, place: Place, prometheus: PodPrometheus, folder: Path, settings: Settings) -> Iterator[None]:
    if lane.running is None:
        place.apply(*scaled_objects(policy(settings), folder, prometheus))
        every = settings.scrape_interval
        with emitting(place, prometheus, folder, policy(settings), interval=every, window=f"{4 * _seconds(every)}s"):
            yield
        return
    target = (settings.namespace, settings.deployment, settings.model)
    bounds = {"least": settings.replicas, "most": settings.most}
    place.apply(llm_d.scaled_object(*target, prometheus.url, **bounds, running=lane.running))
    yield


def _seconds(duration: str) -> int:
    return round(parse_duration(duration).total_seconds())


def needed(settings: Settings) -> list[tuple[float, int]]:
    """The least replicas for the load of the day, from each time on."""
    windows = [
        (parse_duration(str(one["at"])).total_seconds(), float(str(one["requestsPerS"]))) for one in settings.windows()
    ]
    return comparison.needed(windows, _REPLICA_REQ_PER_S)


def day_s(settings: Settings) -> float:
    return settings.night_s + 2 * settings.ramp_s + settings.noon_s + _NIGHT_AFTER_S


def report(folder: Path, settings: Settings) -> str:
    """Draw what was recorded in a folder beside each other, and give the table; all figures go into a file."""
    end_s = day_s(settings)
    recorded = {lane.name: read_recording(folder / f"{lane.namespace}.jsonl") for lane in LANES}
    # Lanes begin one after the other and end together: of each the same day is looked at.
    runs = {name: Recording(one for one in run.events if one.t_s < end_s) for name, run in recorded.items()}
    need = needed(settings)
    found = {name: comparison.figures(run, need) for name, run in runs.items()}
    about = f"{settings.night_req_per_s:g} to {settings.peak_req_per_s:g} requests/s; replicas start in "
    about += f"{settings.cold_start_s[0]:g} to {settings.cold_start_s[1]:g} s; "
    about += f"all through KEDA and its HPA, every {settings.scrape_interval}"
    wanted = [(at_s, float(replicas)) for at_s, replicas in need]
    picture = picture_beside(runs, "aiops through KEDA beside llm-d's KEDA configuration", about, wanted)
    (folder / "keda.svg").write_text(picture)
    (folder / "keda.json").write_text(json.dumps({name: asdict(one) for name, one in found.items()}, indent=2) + "\n")
    return comparison.table(found)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.keda.demo", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="where recordings, picture and figures go")
    parser.add_argument("--peak", type=float, default=SETTINGS.peak_req_per_s, help="requests a second at noon")
    parser.add_argument("--ramp-minutes", type=float, default=SETTINGS.ramp_s / 60, help="from night to noon, and back")
    parser.add_argument(
        "--seed", type=int, default=SETTINGS.seed, help="which requests come when, the same in every lane"
    )
    parser.add_argument(
        "--every-seconds",
        type=int,
        default=_seconds(SETTINGS.scrape_interval),
        help="how often all ask who ask: scrapes, aiops, the HPA (by default often, as the day is shorter than one is)",
    )
    parser.add_argument("--report", action="store_true", help="draw what is recorded there, run nothing")
    given = parser.parse_args()
    settings = replace(
        SETTINGS,
        mode="emit",
        most=24,
        nodes=3,
        peak_req_per_s=given.peak,
        ramp_s=given.ramp_minutes * 60,
        scrape_interval=f"{given.every_seconds}s",
        seed=given.seed,
    )
    given.out.mkdir(parents=True, exist_ok=True)
    if not given.report:
        try:
            _record(given.out, settings)
        except MissingPart as part:
            sys.exit(str(part))
    sys.stdout.write(report(given.out, settings))


def _record(out: Path, settings: Settings) -> None:
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with tempfile.TemporaryDirectory(prefix="aiops-keda-") as folder:
        with side_by_side(Path(folder), settings) as lanes:
            tell(f"three lanes run for {day_s(settings) / 60:.0f} minutes; logs are in {folder}\n")
            ended.wait(day_s(settings))
            for one in lanes:
                tell(f"{one.lane.name}: the factory is {one.live.serving.lag_s:.1f} s behind the clock\n")
        for lane in LANES:
            (out / f"{lane.namespace}.jsonl").write_bytes((Path(folder) / f"{lane.namespace}.jsonl").read_bytes())


if __name__ == "__main__":
    main()
