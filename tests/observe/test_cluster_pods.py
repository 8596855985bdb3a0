"""Pods, and groups of them, from what the API server tells."""

from datetime import UTC, datetime
from typing import Any

import pytest

from aiops.model.cluster import PodView
from aiops.observe.cluster_pods import SeenPod, held_gpus, read_groups, read_pod

Json = dict[str, Any]


def at(second: int) -> datetime:
    return datetime(2026, 3, 1, 12, 0, second, tzinfo=UTC)


def container(gpus: int | None = None, **more: Any) -> Json:
    resources = {"limits": {"nvidia.com/gpu": str(gpus)}, "requests": {"nvidia.com/gpu": str(gpus)}} if gpus else {}
    return {"name": "vllm", "resources": resources, **more}


def condition(kind: str, status: str, second: int = 0, **more: str) -> Json:
    return {"type": kind, "status": status, "lastTransitionTime": f"2026-03-01T12:00:{second:02}Z", **more}


def pod(spec: Json | None = None, status: Json | None = None, **metadata: Any) -> Json:
    """As a real one of a Deployment, without what nobody reads."""
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "chat-69d68c4f78", "uid": "set", "controller": True}
    return {
        "metadata": {
            "name": "chat-69d68c4f78-72b8w",
            "namespace": "llm",
            "uid": "30b95e3e",
            "creationTimestamp": "2026-03-01T12:00:00Z",
            "labels": {"app.kubernetes.io/name": "chat", "pod-template-hash": "69d68c4f78"},
            "ownerReferences": [{"kind": "Foo", "uid": "other"}, owner],
            **metadata,
        },
        "spec": {"containers": [container(2)], "terminationGracePeriodSeconds": 60, **(spec or {})},
        "status": status or {},
    }


def test_a_pod_that_serves_is_read_whole() -> None:
    told = pod(
        {"nodeName": "gpu-3"},
        {
            "phase": "Running",
            "conditions": [condition("PodScheduled", "True", 1), condition("Ready", "True", 40)],
            "containerStatuses": [{"restartCount": 2}, {"restartCount": 1}],
        },
        annotations={"controller.kubernetes.io/pod-deletion-cost": "-5"},
    )

    assert read_pod(told) == SeenPod(
        "llm",
        "set",
        PodView(
            name="chat-69d68c4f78-72b8w",
            revision="69d68c4f78",
            created_at=at(0),
            scheduled_at=at(1),
            ready_at=at(40),
            restarts=3,
            grace_s=60.0,
            deletion_cost=-5,
            node="gpu-3",
        ),
    )


def test_a_pod_that_was_just_made_says_little() -> None:
    bare = pod(ownerReferences=[], labels=None, annotations={"controller.kubernetes.io/pod-deletion-cost": "high"})
    del bare["status"]

    assert read_pod(bare) == SeenPod("llm", "", PodView("chat-69d68c4f78-72b8w", "", at(0), grace_s=60.0))


def test_a_pod_leaves_since_it_was_asked_to_and_not_since_its_grace_period_ends() -> None:
    told = pod(deletionTimestamp="2026-03-01T12:00:50Z", deletionGracePeriodSeconds=20)

    assert read_pod(told).view.deleting_since == at(30)


def test_a_pod_that_is_no_longer_ready_has_no_time_of_readiness() -> None:
    assert read_pod(pod(status={"conditions": [condition("Ready", "False", 40)]})).view.ready_at is None


NODES = "0/3 nodes are available"


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        pytest.param(
            f"{NODES}: 3 Insufficient nvidia.com/gpu. no new claims to deallocate, preemption: "
            "0/3 nodes are available: 3 No preemption victims found for incoming pod.",
            "waiting for nvidia.com/gpu: 4",
            id="GPUs alone",
        ),
        pytest.param(
            f"{NODES}: 1 Insufficient cpu, 2 Insufficient nvidia.com/gpu.",
            "waiting for nvidia.com/gpu: 4",
            id="GPUs first",
        ),
        pytest.param(f"{NODES}: 3 Insufficient cpu.", "waiting for cpu: 500m + 8", id="processors"),
        pytest.param(f"{NODES}: 3 Insufficient memory.", "waiting for memory", id="what it did not ask for itself"),
        pytest.param(
            f"{NODES}: 3 node(s) had untolerated taint(s). preemption: 0/3 nodes are available: "
            "3 Preemption is not helpful.",
            "no node fits: 3 node(s) had untolerated taint(s)",
            id="taints",
        ),
        pytest.param(
            "no nodes available to schedule pods", "no node fits: no nodes available to schedule pods", id="none"
        ),
        pytest.param("x" * 500, f"no node fits: {'x' * 159}…", id="a long message is cut"),
    ],
)
def test_a_pod_that_finds_no_node_says_what_it_waits_for(message: str, wanted: str) -> None:
    cpu = {"resources": {"requests": {"cpu": "500m"}}}
    containers = [container(3), container(1), cpu, {"resources": {"requests": {"cpu": "8"}}}]
    scheduled = condition("PodScheduled", "False", reason="Unschedulable", message=message)

    assert read_pod(pod({"containers": containers}, {"conditions": [scheduled]})).view.pending_reason == wanted


@pytest.mark.parametrize(
    ("spec", "status", "wanted"),
    [
        pytest.param({}, {}, "", id="nothing was said yet"),
        pytest.param({}, {"conditions": [condition("PodScheduled", "True")]}, "", id="it is placed"),
        pytest.param(
            {"schedulingGates": [{"name": "kueue.x-k8s.io/admission"}]},
            {"conditions": [condition("PodScheduled", "False", reason="SchedulingGated", message="blocked")]},
            "held back by its scheduling gates: kueue.x-k8s.io/admission",
            id="a gate holds it back",
        ),
        pytest.param(
            {},
            {"containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}]},
            "",
            id="it is being started, as all are",
        ),
        pytest.param(
            {},
            {
                "containerStatuses": [
                    {"state": {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling\nimage "vllm"'}}}
                ]
            },
            'ImagePullBackOff: Back-off pulling image "vllm"',
            id="its image is not there",
        ),
        pytest.param(
            {},
            {
                "initContainerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}],
                "containerStatuses": [{"state": {"waiting": {"reason": "PodInitializing"}}}],
            },
            "CrashLoopBackOff",
            id="what comes before its server crashes",
        ),
        pytest.param({}, {"containerStatuses": [{"state": {"running": {}}}]}, "", id="it runs"),
    ],
)
def test_a_pod_that_does_not_start_says_why(spec: Json, status: Json, wanted: str) -> None:
    assert read_pod(pod(spec, status)).view.pending_reason == wanted


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        pytest.param({}, ("", 0), id="without a node it holds none"),
        pytest.param({"nodeName": "a"}, ("a", 2), id="of its only container"),
        pytest.param({"nodeName": "a", "containers": [container(2), container(1), container()]}, ("a", 3), id="of all"),
        pytest.param(
            {"nodeName": "a", "initContainers": [container(4), container(3)]}, ("a", 4), id="more at its start"
        ),
        pytest.param(
            {"nodeName": "a", "initContainers": [container(1, restartPolicy="Always")]}, ("a", 3), id="and of a sidecar"
        ),
        pytest.param(
            {"nodeName": "a", "containers": [{"resources": {"limits": {"amd.com/gpu": "8"}}}]}, ("a", 8), id="of others"
        ),
    ],
)
def test_a_pod_holds_the_gpus_that_it_asked_for(spec: Json, wanted: tuple[str, int]) -> None:
    assert held_gpus(pod(spec)) == wanted


def member(group: int, worker: int, **more: Any) -> SeenPod:
    view = {"name": f"huge-{group}" + (f"-{worker}" if worker else ""), "revision": "a", "created_at": at(group)}
    return SeenPod("llm", "set", PodView(**(view | more)), str(group), str(worker))


def test_a_group_is_as_far_as_the_last_of_its_pods() -> None:
    first = member(0, 0, scheduled_at=at(5), ready_at=at(30), restarts=1, grace_s=10, node="a", deletion_cost=3)
    second = member(0, 1, scheduled_at=at(9), ready_at=at(20), restarts=2, grace_s=40, node="b", deleting_since=at(50))

    assert read_groups([second, first], 2) == (
        PodView(
            "huge-0",
            "a",
            at(0),
            at(9),
            at(30),
            deleting_since=at(50),
            restarts=3,
            grace_s=40,
            deletion_cost=3,
            node="a",
        ),
    )


@pytest.mark.parametrize(
    "members",
    [
        pytest.param([member(0, 0, scheduled_at=at(1), ready_at=at(2))], id="its worker is not there"),
        pytest.param([member(0, 0, scheduled_at=at(1), ready_at=at(2)), member(0, 1)], id="its worker is not placed"),
    ],
)
def test_a_group_that_is_not_whole_is_neither_placed_nor_ready(members: list[SeenPod]) -> None:
    (group,) = read_groups(members, 2)

    assert (group.scheduled_at, group.ready_at) == (None, None)


def test_groups_are_told_by_their_leaders_in_order() -> None:
    pods = [member(1, 0), member(0, 1), member(0, 0), member(2, 1), member(1, 1, pending_reason="waiting")]

    assert [(group.name, group.pending_reason) for group in read_groups(pods, 2)] == [
        ("huge-0", ""),
        ("huge-1", "waiting"),
    ]
