"""Whatever fails around it, aiops moves replicas rightly: shown on every value that spec.replicas ever had."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread

import pytest
import yaml
from kubernetes import client

from tests.act.granted import grant, writes
from tests.cluster.controller import RIGHTS, Controller, controller
from tests.cluster.live import Settings, factory_on_pods, variant
from tests.cluster.place import Place
from tests.cluster.recorder import recorder
from tests.cluster.recording import Mark, Recording, ReplicasSet, read_recording
from tests.cluster.scrape import PodPrometheus
from tests.parts import http_text, wait_for
from tests.simulate.factories import shipped_profiles

pytestmark = [pytest.mark.real, pytest.mark.slow]

# From the start as many requests as eight replicas can answer, so nothing but one more replica is ever right.
SETTINGS = Settings(night_req_per_s=45.0, peak_req_per_s=45.0, cold_start_s=(1.0, 2.0), grace_s=20, nodes=2, most=6)
STEP_S = 3.0
POOL = SETTINGS.deployment


def policy(place: Place) -> str:
    settings = replace(SETTINGS, namespace=place.namespace)
    stated = dict(settings.policy)
    steps = {"scaleUp": {"maxStep": 1, "per": f"{STEP_S:g}s"}, "scaleDown": {"stabilization": "10m"}}
    stated["spec"] = {**settings.policy["spec"], **steps}
    stated["variants"] = {settings.profile: variant(settings.profile, 1, 2.0, 3.0)}
    return yaml.safe_dump(stated)


@pytest.fixture
def served(place: Place) -> Iterator[Place]:
    """A Deployment of two replicas with a load that needs eight."""
    settings = replace(SETTINGS, namespace=place.namespace)
    place.add_nodes(settings.nodes)
    grant(place, *RIGHTS)
    with factory_on_pods(place, [settings.spec], shipped_profiles()):
        place.apply(settings.server.deployment())
        place.wait_for_ready(settings.replicas)
        yield place


def asked(file: Path) -> int:
    """What spec.replicas is by the last line that was written; a line that is half written is no JSON yet."""
    return read_recording(file).of(ReplicasSet, POOL)[-1].replicas


def cycles(aiops: Controller) -> int:
    return int(json.loads(http_text(f"{aiops.page}/api/v1/cycles?limit=1"))[0]["number"])


def leads(aiops: Controller) -> bool:
    return aiops.program.pid is not None and "aiops_leader 1.0" in http_text(f"{aiops.page}/metrics")


def moved_rightly(recording: Recording, place: Place) -> None:
    """Every change of the replicas is a write of aiops, one replica up, and none was missed or written twice."""
    moves = list(recording.moves(POOL))
    assert recording.unseen(POOL) == 0
    assert {after.by for _, after in moves} == {"aiops"}
    assert [after.replicas - before.replicas for before, after in moves] == [1] * len(moves)
    assert [after.replicas for _, after in moves] == [to for _, to, code in writes(place) if code == 200]
    assert max(after.replicas for _, after in moves) <= SETTINGS.most


# What goes wrong, until the block ends


@contextmanager
def api_server_stops(place: Place, prometheus: PodPrometheus) -> Iterator[None]:
    place.plane.api_server.stop()
    try:
        yield
    finally:
        place.plane.api_server.start()
        place.plane.wait_until_ready()


@contextmanager
def api_server_hangs(place: Place, prometheus: PodPrometheus) -> Iterator[None]:
    server = place.plane.api_server
    os.kill(server.pid or 0, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid or 0, signal.SIGCONT)
        place.plane.wait_until_ready()


@contextmanager
def prometheus_stops(place: Place, prometheus: PodPrometheus) -> Iterator[None]:
    prometheus.program.stop()
    try:
        yield
    finally:
        prometheus.program.start()
        prometheus.wait_until_ready()


@contextmanager
def others_write(place: Place, prometheus: PodPrometheus) -> Iterator[None]:
    """Two writers change the Deployment all the time, but never its replicas: most writes meet a conflict."""
    over = Event()

    def touch(name: str) -> None:
        number = 0
        while not over.is_set():
            number += 1
            body = {"metadata": {"annotations": {name: str(number)}}}
            place.apps.patch_namespaced_deployment(POOL, place.namespace, body)

    writers = [Thread(target=touch, args=(f"touched-{number}",), daemon=True) for number in range(2)]
    for writer in writers:
        writer.start()
    try:
        yield
    finally:
        over.set()
        for writer in writers:
            writer.join()


Trouble = Callable[[Place, PodPrometheus], AbstractContextManager[None]]


@pytest.mark.parametrize(
    ("trouble", "moves_on"),
    [
        pytest.param(api_server_stops, False, id="the API server stops, and every watch with it"),
        pytest.param(api_server_hangs, False, id="the API server hangs"),
        pytest.param(prometheus_stops, False, id="Prometheus stops"),
        pytest.param(others_write, True, id="others write all the time"),
    ],
)
def test_replicas_go_up_one_by_one_through_trouble_and_after_it(
    served: Place, prometheus: PodPrometheus, tmp_path: Path, trouble: Trouble, moves_on: bool
) -> None:
    file = tmp_path / "run.jsonl"
    with (
        recorder(served, prometheus.url, file) as run,
        controller(served, prometheus.url, tmp_path, policy(served)) as aiops,
    ):
        wait_for(lambda: asked(file) >= 3, "the first replica is ordered", 180.0)
        with trouble(served, prometheus):
            run.mark("trouble")
            seen = cycles(aiops)
            wait_for(lambda: cycles(aiops) >= seen + 2, "aiops turns on meanwhile", 180.0)
            run.mark("it ends")
        wait_for(lambda: asked(file) >= SETTINGS.most, "all are ordered", 180.0)

    recording = read_recording(file)
    begun, ended = (mark.t_s for mark in recording.of(Mark))
    moved_rightly(recording, served)
    assert moves_on or not [after for _, after in recording.moves(POOL) if begun + 1.0 < after.t_s < ended]
    assert {code for _, _, code in writes(served)} <= {200, 409}


def test_a_leader_that_is_killed_is_followed_and_no_step_is_made_twice(
    served: Place, prometheus: PodPrometheus, tmp_path: Path
) -> None:
    file = tmp_path / "run.jsonl"
    with ExitStack() as stack:
        run = stack.enter_context(recorder(served, prometheus.url, file))
        both = [
            stack.enter_context(controller(served, prometheus.url, tmp_path, policy(served), name=name))
            for name in ("first", "second")
        ]
        wait_for(lambda: asked(file) >= 3, "the first replica is ordered", 180.0)
        leader, follower = sorted(both, key=leads, reverse=True)
        assert not leads(follower)
        leader.program.stop(signal.SIGKILL)
        run.mark("the leader is killed")
        renewed_at = lease_of(served).renew_time
        wait_for(lambda: leads(follower), "the other one leads", 120.0)
        run.mark("the other one leads")
        wait_for(lambda: asked(file) >= SETTINGS.most, "all are ordered", 180.0)
        lease = lease_of(served)

    recording = read_recording(file)
    killed, led = (mark.t_s for mark in recording.of(Mark))
    moved_rightly(recording, served)
    assert lease.lease_transitions == 1
    assert lease.acquire_time - renewed_at >= timedelta(seconds=lease.lease_duration_seconds)
    # Nobody wrote between the two, but for what the leader had under way; and then the other did.
    assert not [after for _, after in recording.moves(POOL) if killed + 1.0 < after.t_s < led - 1.0]
    assert [after for _, after in recording.moves(POOL) if after.t_s > led - 1.0]


def lease_of(place: Place) -> client.V1LeaseSpec:
    return client.CoordinationV1Api(place.plane.admin).read_namespaced_lease("aiops", place.namespace).spec
