"""What the tests that read a cluster share: policies that name targets, and what else sets replicas."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiops.model.cluster import ClusterView, TargetView
from aiops.model.policy import PolicySet, ScalingPolicy
from aiops.model.refs import PoolRef
from aiops.observe.cluster_reader import ClusterReader
from aiops.observe.kubernetes import connect
from tests.cluster.manifests import Manifest
from tests.cluster.place import Place

GROUPS = {"LeaderWorkerSet": "leaderworkerset.x-k8s.io/v1"}


def policies(*pools: PoolRef) -> PolicySet:
    """One policy for each target."""
    return PolicySet(tuple(_policy(pool) for pool in pools))


def _policy(pool: PoolRef) -> ScalingPolicy:
    target = {"kind": pool.kind, "name": pool.name}
    spec = {"model": f"{pool.kind}-{pool.name}", "pools": [{"name": "pool", "target": target, "variant": "any"}]}
    name = {"name": pool.name, "namespace": pool.namespace}
    return ScalingPolicy.model_validate({"metadata": name, "spec": spec})


def new_reader(kubeconfig: Path, *pools: PoolRef) -> ClusterReader:
    named = policies(*pools)
    return ClusterReader(connect(kubeconfig), lambda: named, lambda: datetime.now(UTC))


def look(place: Place, *targets: tuple[str, str]) -> ClusterView:
    """What the admin reads of targets, each a kind and a name in this place."""
    pools = [PoolRef(place.namespace, kind, name) for kind, name in targets]
    return new_reader(place.plane.admin_kubeconfig, *pools).read()


def look_at(place: Place, kind: str, name: str) -> TargetView:
    """The only target of a look that nothing hindered."""
    view = look(place, (kind, name))
    assert (view.problem, view.forbidden, view.missing) == ("", (), ())
    (target,) = view.targets
    return target


def scale_target(kind: str, name: str) -> dict[str, str]:
    return {"apiVersion": GROUPS.get(kind, "apps/v1"), "kind": kind, "name": name}


def autoscaler(name: str, kind: str, target: str, **metadata: Any) -> Manifest:
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, **metadata},
        "spec": {"scaleTargetRef": scale_target(kind, target), "minReplicas": 1, "maxReplicas": 3},
    }


def scaled_object(name: str, target: dict[str, str], **annotations: str) -> Manifest:
    trigger = {"type": "prometheus", "metadata": {"serverAddress": "http://prometheus", "query": "vector(6)"}}
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"scaleTargetRef": target, "triggers": [trigger]},
    }


def quota(name: str, **hard: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name}, "spec": {"hard": hard}}
