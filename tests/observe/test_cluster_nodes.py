"""Accelerators of nodes, what is free of them, and what quotas still grant."""

from typing import Any

import pytest

from aiops.model.cluster import NodeView
from aiops.observe.cluster_nodes import gpu_capacity, quota_left, read_node

Json = dict[str, Any]


def node(allocatable: dict[str, str], labels: dict[str, str] | None = None, ready: str = "True", **spec: Any) -> Json:
    conditions = [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": ready}]
    return {
        "metadata": {"name": "gpu-1", "labels": labels},
        "spec": spec,
        "status": {"allocatable": allocatable, "conditions": conditions},
    }


H100 = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
EIGHT = {"cpu": "192", "nvidia.com/gpu": "8"}


@pytest.mark.parametrize(
    ("told", "held", "wanted"),
    [
        pytest.param(node(EIGHT, H100), 0, NodeView("gpu-1", "NVIDIA-H100-80GB-HBM3", 8, 8), id="nothing is held"),
        pytest.param(node(EIGHT, H100), 6, NodeView("gpu-1", "NVIDIA-H100-80GB-HBM3", 8, 2), id="some are held"),
        pytest.param(
            node({"nvidia.com/gpu": "7"}, H100),
            8,
            NodeView("gpu-1", "NVIDIA-H100-80GB-HBM3", 7, 0),
            id="one GPU is lost",
        ),
        pytest.param(
            node(EIGHT, H100, unschedulable=True),
            0,
            NodeView("gpu-1", "NVIDIA-H100-80GB-HBM3", 8, 8, False),
            id="it is cordoned",
        ),
        pytest.param(
            node(EIGHT, H100, ready="Unknown"),
            0,
            NodeView("gpu-1", "NVIDIA-H100-80GB-HBM3", 8, 8, False),
            id="nothing is heard of it",
        ),
        pytest.param(
            node(EIGHT, {"cloud.google.com/gke-accelerator": "nvidia-l4"}),
            0,
            NodeView("gpu-1", "nvidia-l4", 8, 8),
            id="GKE",
        ),
        pytest.param(node({"google.com/tpu": "4"}), 0, NodeView("gpu-1", "google.com/tpu", 4, 4), id="no label tells"),
    ],
)
def test_a_node_tells_its_gpus(told: Json, held: int, wanted: NodeView) -> None:
    assert read_node(told, {"gpu-1": held, "gpu-2": 5}) == wanted


@pytest.mark.parametrize(
    ("allocatable", "wanted"),
    [
        pytest.param({"cpu": "64"}, 0, id="none"),
        pytest.param({"nvidia.com/gpu": "0"}, 0, id="none that works"),
        pytest.param({"amd.com/gpu": "8"}, 8, id="AMD's"),
        pytest.param({"gpu.intel.com/i915": "2"}, 2, id="Intel's"),
    ],
)
def test_a_node_has_gpus_or_none(allocatable: dict[str, str], wanted: int) -> None:
    assert gpu_capacity(node(allocatable)) == wanted


GPUS = "requests.nvidia.com/gpu"


@pytest.mark.parametrize(
    ("spec", "hard", "used", "wanted"),
    [
        pytest.param({}, {GPUS: "8"}, {GPUS: "3"}, 5, id="some are left"),
        pytest.param({}, {GPUS: "8"}, {GPUS: "8"}, 0, id="none is left"),
        pytest.param({}, {GPUS: "2"}, {GPUS: "8"}, 0, id="the limit was lowered below what is used"),
        pytest.param({}, {GPUS: "1k"}, {GPUS: "1"}, 999, id="a number as Kubernetes may write it"),
        pytest.param({}, {"pods": "8"}, {"pods": "1"}, None, id="it limits other things"),
        pytest.param({}, {GPUS: "8"}, {}, None, id="nobody has counted yet"),
        pytest.param({"scopes": ["NotTerminating"]}, {GPUS: "8"}, {GPUS: "3"}, 5, id="for what runs on"),
        pytest.param({"scopes": ["Terminating"]}, {GPUS: "8"}, {GPUS: "3"}, None, id="for what ends by itself"),
        pytest.param({"scopeSelector": {}}, {GPUS: "8"}, {GPUS: "3"}, 5, id="a selector that selects nothing out"),
        pytest.param(
            {"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "Exists"}]}},
            {GPUS: "8"},
            {GPUS: "3"},
            None,
            id="for some priorities",
        ),
    ],
)
def test_a_quota_tells_what_is_left(spec: Json, hard: Json, used: Json, wanted: int | None) -> None:
    assert quota_left({"spec": spec, "status": {"hard": hard, "used": used}}) == wanted


def test_a_quota_that_was_just_made_tells_nothing() -> None:
    assert quota_left({"spec": {"hard": {GPUS: "8"}}}) is None
