"""Finds what serves models in a cluster: by llm-d's labels, and by the engines that Prometheus knows there."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aiops.model.cluster import ClusterView, TargetView
from aiops.model.policy import PolicySet
from aiops.model.refs import PoolRef
from aiops.observe.cluster_kinds import KNOWN
from aiops.observe.cluster_nodes import PRODUCT_LABELS
from aiops.observe.cluster_pods import LEADER_WORKER_SET
from aiops.observe.cluster_reader import ClusterReader
from aiops.observe.cluster_template import Template, read_template
from aiops.observe.discovery.workloads import (
    MODEL_LABEL,
    ROLE_LABEL,
    SERVING_LABEL,
    VARIANT_LABEL,
    EngineSeen,
    Workload,
    role_of,
    with_engines,
)
from aiops.observe.kubernetes import KubernetesAccess, KubernetesError, NotFoundError, Reading, Resource

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SeenInCluster:
    """What serves models; ``forbidden`` are further reads that the rights do not allow, each with the missing rule."""

    workloads: tuple[Workload, ...]
    forbidden: tuple[str, ...] = ()


def ask_cluster(
    access: KubernetesAccess, engines: Sequence[EngineSeen], namespaces: Sequence[str], at: datetime
) -> SeenInCluster:
    """Look in some namespaces, or (where none is named) in the whole cluster.

    Raises KubernetesError, and ForbiddenError where workloads cannot be listed.
    """
    reading = access.reading()
    found = {
        _ref(resource, item): item
        for namespace in namespaces or (None,)
        for resource in KNOWN.values()
        for item in _listed(reading, resource, namespace)
        # The sets of a LeaderWorkerSet are its parts, and no targets.
        if LEADER_WORKER_SET not in (item["metadata"].get("labels") or {})
    }
    view = ClusterReader(access, PolicySet, lambda: at).look_at(set(found))
    if view.problem:
        raise KubernetesError(view.problem)
    try:
        read = [_workload(pool, item, view, engines) for pool, item in found.items()]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        why = f"{access.host} answered objects that cannot be read ({error!r}): which Kubernetes is it?"
        raise KubernetesError(why) from error
    workloads = sorted((one for one in read if one is not None), key=lambda one: one.pool)
    return SeenInCluster(tuple(workloads), view.forbidden)


def _listed(reading: Reading, resource: Resource, namespace: str | None) -> Iterable[Json]:
    try:
        yield from reading.items(resource, namespace)
    except NotFoundError:  # LeaderWorkerSets are not everywhere
        return


def _ref(resource: Resource, item: Json) -> PoolRef:
    return PoolRef(item["metadata"]["namespace"], resource.kind, item["metadata"]["name"])


def _workload(pool: PoolRef, item: Json, view: ClusterView, engines: Sequence[EngineSeen]) -> Workload | None:
    """Read one object; None where nothing says that it serves models."""
    target = view.target(pool)
    if target is None:
        return None
    pods, template = {pod.name for pod in target.pods}, read_template(pool, item)
    mine = [engine for engine in engines if engine.pod.namespace == pool.namespace and engine.pod.name in pods]
    labels, flags = template.labels, template.flags
    if not mine and not (labels.get(SERVING_LABEL) == "true" or MODEL_LABEL in labels or ROLE_LABEL in labels):
        return None
    workload = Workload(
        pool=pool,
        replicas=target.replicas,
        role=role_of(labels.get(ROLE_LABEL, "") or next((engine.role for engine in mine if engine.role), "")),
        variant=labels.get(VARIANT_LABEL, ""),
        stated_model=flags.get("served-model-name") or flags.get("model") or labels.get(MODEL_LABEL, ""),
        gpus=target.gpus_per_replica or None,
        accelerator=_accelerator(target, view) or _selected(template),
        scaled_by=target.scaled_by,
        owned_by=_owner(item),
    )
    return with_engines(workload, mine)


def _owner(item: Json) -> str:
    owners = item["metadata"].get("ownerReferences") or ()
    return next((f"{one['kind']} {one['name']}" for one in owners if one.get("controller")), "")


def _accelerator(target: TargetView, view: ClusterView) -> str:
    """Give what the nodes of its pods are labelled with, where they are all the same."""
    nodes = {node.name: node.accelerator for node in view.nodes}
    found = {nodes[pod.node] for pod in target.pods if pod.node in nodes}
    return found.pop() if len(found) == 1 else ""


def _selected(template: Template) -> str:
    return next((template.selector[label] for label in PRODUCT_LABELS if label in template.selector), "")
