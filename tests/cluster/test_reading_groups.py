"""A LeaderWorkerSet is read as groups. Its controller does not run here: the test makes what it would make."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client

from tests.cluster.control_plane import ControlPlane
from tests.cluster.manifests import Manifest, Server
from tests.cluster.place import Place, own_place
from tests.cluster.reading import autoscaler, look_at
from tests.parts import wait_for

pytestmark = [pytest.mark.real, pytest.mark.slow]

_PREFIX = "leaderworkerset.sigs.k8s.io"
_GROUP = "leaderworkerset.x-k8s.io"


@pytest.fixture(scope="module")
def leader_worker_sets(plane: ControlPlane) -> Iterator[None]:
    definition = yaml.safe_load((Path(__file__).parent / "leader_worker_set.yaml").read_text())
    extensions = client.ApiextensionsV1Api(plane.admin)
    name = definition["metadata"]["name"]
    with own_place(plane, "groups") as place:
        place.apply(definition)
        path = f"/apis/{_GROUP}/v1/leaderworkersets"
        wait_for(lambda: _answers(plane.admin, path), f"{path} answers")
    yield
    extensions.delete_custom_resource_definition(name)


def _answers(api: client.ApiClient, path: str) -> bool:
    asked = api.param_serialize("GET", path, auth_settings=["BearerToken"])
    return bool(api.call_api(*asked).status == 200)


def leader_worker_set(server: Server, size: int, **metadata: Any) -> Manifest:
    template = server.pod({})
    return {
        "apiVersion": f"{_GROUP}/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {"name": server.name, **metadata},
        "spec": {"replicas": server.replicas, "leaderWorkerTemplate": {"size": size, "workerTemplate": template}},
    }


def leaders(server: Server) -> Manifest:
    """The StatefulSet of the leaders, one for each group."""
    return _member_set(server, server.name, server.replicas, {f"{_PREFIX}/worker-index": "0"}, {})


def workers(server: Server, group: int, count: int, revision: str = "first") -> Manifest:
    """The StatefulSet of one group's workers."""
    labels = {
        f"{_PREFIX}/group-index": str(group),
        f"{_PREFIX}/worker-index": "1",
        f"{_PREFIX}/template-revision-hash": revision,
    }
    return _member_set(server, f"{server.name}-{group}", count, labels, {"ordinals": {"start": 1}})


def _member_set(server: Server, name: str, replicas: int, labels: dict[str, str], spec: dict[str, Any]) -> Manifest:
    own = {f"{_PREFIX}/name": server.name, f"{_PREFIX}/template-revision-hash": "first", **labels}
    made = Server(name=name, replicas=replicas, gpus=server.gpus).stateful_set(**spec)
    made["metadata"]["labels"] |= {f"{_PREFIX}/name": server.name}
    made["spec"]["template"]["metadata"]["labels"] |= own
    return made


def label_leaders(place: Place, server: Server) -> None:
    """The webhook of the controller gives each leader the index of its group."""
    for group in range(server.replicas):
        labels = {"metadata": {"labels": {f"{_PREFIX}/group-index": str(group)}}}
        place.core.patch_namespaced_pod(f"{server.name}-{group}", place.namespace, labels)


def set_status(place: Place, name: str, **status: Any) -> None:
    api = client.CustomObjectsApi(place.plane.admin)
    api.patch_namespaced_custom_object_status(
        _GROUP, "v1", place.namespace, "leaderworkersets", name, {"status": status}
    )


@pytest.mark.usefixtures("leader_worker_sets")
def test_a_group_is_ready_when_all_of_its_pods_are(place: Place) -> None:
    (node,) = place.add_nodes()
    server = Server(name="huge", replicas=2, gpus=2)
    place.apply(leader_worker_set(server, size=2), leaders(server), workers(server, 0, 1))
    place.apply(autoscaler("one", "LeaderWorkerSet", "huge"))
    place.wait_for_ready(3)
    label_leaders(place, server)

    wait_for(lambda: len(look_at(place, "LeaderWorkerSet", "huge").pods) == 2, "both groups are seen")
    target = look_at(place, "LeaderWorkerSet", "huge")
    whole, part = target.pods

    assert (target.replicas, target.gpus_per_replica, target.honours_deletion_cost) == (2, 4, False)
    assert target.scaled_by == f"HorizontalPodAutoscaler {place.namespace}/one"
    assert target.replicas_manager == "aiops-tests"
    assert [(pod.name, pod.revision, pod.node) for pod in target.pods] == [
        ("huge-0", "first", node),
        ("huge-1", "first", node),
    ]
    assert whole.scheduled_at is not None
    assert whole.ready_at is not None
    assert (part.scheduled_at, part.ready_at) == (None, None)
    assert target.rollout == ""

    place.apply(workers(server, 1, 1))
    wait_for(lambda: look_at(place, "LeaderWorkerSet", "huge").pods[1].ready_at, "the other group is whole")


@pytest.mark.usefixtures("leader_worker_sets")
def test_a_group_waits_for_what_its_worker_waits_for(place: Place) -> None:
    place.add_nodes(gpus=4)
    server = Server(name="huge", replicas=1, gpus=4)
    place.apply(leader_worker_set(server, size=2), leaders(server))
    place.wait_for_ready(1)
    label_leaders(place, server)
    place.apply(workers(server, 0, 1))

    wait_for(lambda: look_at(place, "LeaderWorkerSet", "huge").pods[0].pending_reason, "the group waits")
    (group,) = look_at(place, "LeaderWorkerSet", "huge").pods

    assert group.pending_reason == "waiting for nvidia.com/gpu: 4"
    assert (group.scheduled_at, group.ready_at) == (None, None)


@pytest.mark.usefixtures("leader_worker_sets")
def test_a_rollout_is_what_the_conditions_say(place: Place) -> None:
    server = Server(name="huge", replicas=2)
    place.apply(leader_worker_set(server, size=1))
    condition = {"reason": "GroupsUpdating", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}

    def told(under_way: str, updated: int) -> str:
        conditions = [{"type": "UpdateInProgress", "status": under_way, **condition}]
        set_status(place, "huge", replicas=2, updatedReplicas=updated, conditions=conditions)
        return look_at(place, "LeaderWorkerSet", "huge").rollout

    assert look_at(place, "LeaderWorkerSet", "huge").rollout == ""
    assert told("True", 1) == "1 of 2 groups are of the new revision"
    assert told("True", 2) == "its groups are brought to a new revision"
    assert told("False", 2) == ""
