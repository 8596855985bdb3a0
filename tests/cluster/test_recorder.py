"""The recorder misses no write, whatever happens to the API server, and tells pods and requests as they were."""

from pathlib import Path

import pytest

from aiops.simulate.spec import FactorySpec
from tests.cluster.live import factory_on_pods
from tests.cluster.manifests import Server
from tests.cluster.place import Place
from tests.cluster.recorder import recorder
from tests.cluster.recording import PodSeen, Recording, ReplicasSet, Sample, Served, read_recording
from tests.cluster.scrape import PodPrometheus
from tests.parts import wait_for
from tests.simulate.factories import aggregated, small_profile, workload

pytestmark = [pytest.mark.real, pytest.mark.slow]

NOBODY = "http://127.0.0.1:9"


def scale(place: Place, replicas: int) -> None:
    place.apps.patch_namespaced_deployment_scale("pool", place.namespace, {"spec": {"replicas": replicas}})


def numbers(recording: Recording) -> list[int]:
    return [event.replicas for event in recording.of(ReplicasSet, "pool")]


def samples(file: Path) -> list[Sample]:
    return read_recording(file).of(Sample, "pool")


def test_each_of_a_hundred_writes_in_a_row_is_there_even_when_the_api_server_restarts_between_them(
    place: Place, tmp_path: Path
) -> None:
    place.apply(Server(name="pool", replicas=0).deployment())
    file, server = tmp_path / "run.jsonl", place.plane.api_server
    wanted = [number % 7 + 1 for number in range(50)]  # from 1 to 1, so that the next is 2

    with recorder(place, NOBODY, file) as run:
        for replicas in wanted:
            scale(place, replicas)
        run.mark("the API server restarts")
        server.stop()
        server.start()
        place.plane.wait_until_ready()
        for replicas in wanted[1:]:
            scale(place, replicas)
        last = place.apps.read_namespaced_deployment("pool", place.namespace).metadata.generation
        wait_for(lambda: f'"generation":{last},' in file.read_text(), "the last write was seen")

    recording = read_recording(file)
    assert numbers(recording) == [0, *wanted, *wanted[1:]]
    assert recording.unseen("pool") == 0


def test_pods_and_requests_are_told_as_they_were(place: Place, prometheus: PodPrometheus, tmp_path: Path) -> None:
    place.add_nodes(1, gpus=2)
    load = workload(6, output=300)
    spec = FactorySpec.model_validate(aggregated(model="llama", namespace=place.namespace, workload=load))
    file = tmp_path / "run.jsonl"

    with (
        factory_on_pods(place, [spec], {"small": small_profile()}) as live,
        recorder(place, prometheus.url, file, live),
    ):
        place.apply(Server(name="pool", replicas=2, cold_start_s=1, grace_s=60).deployment())
        place.wait_for_ready(2)
        first, second = (pod.metadata.name for pod in place.ready_pods())
        cost = {"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-5"}}}
        place.core.patch_namespaced_pod(first, place.namespace, cost)
        wait_for(lambda: any(one.ready == 2 and one.running for one in samples(file)), "both serve")
        scale(place, 3)
        wait_for(lambda: "waiting for nvidia.com/gpu: 1" in file.read_text(), "a pod finds no node")
        wait_for(lambda: any(one.unplaced == 1 for one in samples(file)), "it is counted")
        scale(place, 1)
        wait_for(lambda: f'"pod":"{first}","state":"gone"' in file.read_text(), "the cheapest is gone")

    recording = read_recording(file)
    states = [event.state for event in recording.of(PodSeen) if event.pod == second]
    (victim,) = recording.victims("pool")
    assert [victim.pod, victim.deletion_cost] == [first, -5]
    assert [state for state in states if state in ("ready", "leaving")] == ["ready"]
    assert max(sample.ready + sample.starting for sample in samples(file)) == 3
    assert sum(served.answered for served in recording.of(Served)) > 0
    assert sum(served.failed for served in recording.of(Served)) == 0
    # Requests came before anybody served.
    assert max(served.waited for served in recording.of(Served)) > 0
    assert all(0 <= served.late <= served.answered for served in recording.of(Served))
