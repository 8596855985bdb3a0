"""Accelerators: what pods ask for, what nodes have and what is free of it, and what quotas still grant."""

from collections.abc import Mapping
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from aiops.model.cluster import NodeView

Json = dict[str, Any]

GPUS = ("nvidia.com/gpu", "amd.com/gpu", "gpu.intel.com/i915", "google.com/tpu")
"""The extended resources that are counted as GPUs."""
_QUOTA = "requests.nvidia.com/gpu"
PRODUCT_LABELS = (
    "nvidia.com/gpu.product",
    "cloud.google.com/gke-accelerator",
    "cloud.google.com/gke-tpu-accelerator",
    "amd.com/gpu.product-name",
)
# A quota of another scope counts pods that are no servers.
_SCOPES_OF_SERVERS = {"NotTerminating"}


def requested(spec: Json, resource: str) -> list[str]:
    """Give what each container of a pod that runs asks for of a resource, as it is written."""
    containers = [*spec["containers"], *filter(_is_sidecar, spec.get("initContainers") or ())]
    asked = [_asked(container, resource) for container in containers]
    return [one for one in asked if one is not None]


def gpus_of(spec: Json) -> int:
    """Count the GPUs that a pod of this spec holds: at its start it may need more than it then uses."""
    return sum(max(_sum(requested(spec, name)), _most_at_start(spec, name)) for name in GPUS)


def _most_at_start(spec: Json, resource: str) -> int:
    starters = (one for one in spec.get("initContainers") or () if not _is_sidecar(one))
    return max((_count(_asked(one, resource)) for one in starters), default=0)


def _is_sidecar(container: Json) -> bool:
    return bool(container.get("restartPolicy") == "Always")


def _asked(container: Json, resource: str) -> str | None:
    stated = container.get("resources") or {}
    found = (stated.get("requests") or {}).get(resource, (stated.get("limits") or {}).get(resource))
    return None if found is None else str(found)


def _sum(quantities: list[str]) -> int:
    return sum(_count(one) for one in quantities)


def _count(quantity: object) -> int:
    return 0 if quantity is None else int(parse_quantity(str(quantity)))  # type: ignore[no-untyped-call]


def gpu_capacity(node: Json) -> int:
    """Count the GPUs that a node offers."""
    allocatable = (node.get("status") or {}).get("allocatable") or {}
    return sum(_count(allocatable.get(name)) for name in GPUS)


def read_node(node: Json, held_gpus: Mapping[str, int]) -> NodeView:
    """Read a node with GPUs; ``held_gpus`` are those that its unfinished pods asked for, by the node's name."""
    metadata, status = node["metadata"], node.get("status") or {}
    labels, gpus = metadata.get("labels") or {}, gpu_capacity(node)
    allocatable = status.get("allocatable") or {}
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions") or ())
    named = next((labels[label] for label in PRODUCT_LABELS if label in labels), None)
    return NodeView(
        name=metadata["name"],
        accelerator=named or next((name for name in GPUS if _count(allocatable.get(name))), ""),
        gpus=gpus,
        # A node that lost a GPU may hold more than it has.
        free_gpus=max(0, gpus - held_gpus.get(metadata["name"], 0)),
        schedulable=ready and not (node.get("spec") or {}).get("unschedulable", False),
    )


def quota_left(quota: Json) -> int | None:
    """Give the GPUs that a ResourceQuota still grants to servers; None where it says nothing about them."""
    spec, status = quota.get("spec") or {}, quota.get("status") or {}
    hard, used = status.get("hard") or {}, status.get("used") or {}
    if spec.get("scopeSelector") or not set(spec.get("scopes") or ()) <= _SCOPES_OF_SERVERS:
        return None
    if _QUOTA not in hard or _QUOTA not in used:
        return None
    return max(0, _count(hard[_QUOTA]) - _count(used[_QUOTA]))
