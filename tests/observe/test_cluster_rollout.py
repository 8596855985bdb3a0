"""Whether a target is of one revision, told from what its controller and its pods say."""

from typing import Any

import pytest

from aiops.observe.cluster_rollout import deployment_rollout, leader_worker_set_rollout, stateful_set_rollout


def item(generation: int = 3, **status: Any) -> dict[str, Any]:
    return {"metadata": {"generation": generation}, "status": {"observedGeneration": 3, **status}}


@pytest.mark.parametrize(
    ("told", "revisions", "wanted"),
    [
        pytest.param(item(replicas=5, updatedReplicas=5), [4] * 5, "", id="one revision"),
        pytest.param(item(replicas=2, updatedReplicas=2), [4] * 5, "", id="more pods than were counted yet"),
        pytest.param(item(), [], "", id="no pods at all"),
        pytest.param(
            item(replicas=5, updatedReplicas=2),
            [3, 3, 3, 4, 4],
            "2 of 5 pods are of the new revision",
            id="two ReplicaSets have pods",
        ),
        pytest.param(
            item(replicas=5, updatedReplicas=5),
            [3, 12],
            "1 of 2 pods are of the new revision",
            id="pods know it before the status does, and revisions are numbers",
        ),
        pytest.param(
            item(replicas=5), [3] * 5, "0 of 5 pods are of the new revision", id="the new ReplicaSet has no pod yet"
        ),
        pytest.param(
            item(generation=4, replicas=5, updatedReplicas=5),
            [3] * 5,
            "its controller has not seen the latest change yet",
            id="the status is that of the object before the change",
        ),
        pytest.param({"metadata": {"generation": 1}}, [], "", id="a Deployment that nobody has looked at"),
    ],
)
def test_a_deployment(told: dict[str, Any], revisions: list[int], wanted: str) -> None:
    assert deployment_rollout(told, revisions) == wanted


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        pytest.param(
            {"currentRevision": "a", "updateRevision": "a", "replicas": 3, "updatedReplicas": 3}, "", id="one"
        ),
        pytest.param({"currentRevision": "a", "updateRevision": "a", "replicas": 3}, "", id="one, and nothing counted"),
        pytest.param(
            {"currentRevision": "a", "updateRevision": "b", "replicas": 3, "updatedReplicas": 1},
            "1 of 3 pods are of the new revision",
            id="two revisions",
        ),
        pytest.param(
            {"currentRevision": "a", "updateRevision": "b", "replicas": 3},
            "0 of 3 pods are of the new revision",
            id="two revisions, and nothing is updated yet",
        ),
        pytest.param(
            {"currentRevision": "a", "updateRevision": "b", "replicas": 3, "updatedReplicas": 3},
            "",
            id="all were updated by hand, which the current revision does not follow",
        ),
    ],
)
def test_a_stateful_set(status: dict[str, Any], wanted: str) -> None:
    assert stateful_set_rollout(item(**status)) == wanted


@pytest.mark.parametrize(
    ("under_way", "revisions", "wanted"),
    [
        pytest.param("False", ["a", "a"], "", id="one revision"),
        pytest.param(None, [], "", id="no condition yet"),
        pytest.param("True", ["a", "b"], "1 of 2 groups are of the new revision", id="an update is under way"),
        pytest.param("False", ["a", "b"], "its groups are of 2 revisions", id="leaders know it before the conditions"),
    ],
)
def test_a_leader_worker_set(under_way: str | None, revisions: list[str], wanted: str) -> None:
    conditions = [{"type": "Available", "status": "True"}]
    conditions += [{"type": "UpdateInProgress", "status": under_way}] if under_way else []

    told = item(replicas=2, updatedReplicas=1, conditions=conditions)

    assert leader_worker_set_rollout(told, revisions) == wanted
