"""Which kinds the API server has, and where: the resources that targets and their other scalers are read from."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aiops.observe.kubernetes import Resource

Json = dict[str, Any]

DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment", has_scale=True)
STATEFUL_SETS = Resource("apps", "v1", "statefulsets", "StatefulSet", has_scale=True)
LEADER_WORKER_SETS = Resource("leaderworkerset.x-k8s.io", "v1", "leaderworkersets", "LeaderWorkerSet", has_scale=True)
REPLICA_SETS = Resource("apps", "v1", "replicasets", "ReplicaSet")
PODS = Resource("", "v1", "pods", "Pod")
NODES = Resource("", "v1", "nodes", "Node")
QUOTAS = Resource("", "v1", "resourcequotas", "ResourceQuota")
AUTOSCALERS = Resource("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
SCALED_OBJECTS = Resource("keda.sh", "v1alpha1", "scaledobjects", "ScaledObject")
KNOWN = {one.kind: one for one in (DEPLOYMENTS, STATEFUL_SETS, LEADER_WORKER_SETS)}
"""The kinds whose pods are read too."""

DISCOVERY_PATH = "/apis"
DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
"""All groups in one answer, from Kubernetes 1.30 on."""


@dataclass(frozen=True, slots=True)
class Kinds:
    """What the API server has; where it would not tell (``resources`` is None), the usual kinds are taken for there."""

    resources: tuple[Resource, ...] | None = None

    def has(self, resource: Resource) -> bool:
        """Whether a kind is there, in any version."""
        return self.resources is None or any(
            (one.group, one.plural) == (resource.group, resource.plural) for one in self.resources
        )

    def target(self, kind: str) -> Resource | None:
        """Find where targets of a kind are; None where no such kind, or several of that name, have replicas to set."""
        known = KNOWN.get(kind)
        if known is not None:
            return known if self.has(known) else None
        found = [one for one in self.resources or () if one.kind == kind and one.has_scale]
        return found[0] if len(found) == 1 else None


def read_kinds(answer: Json) -> Kinds:
    """Read an APIGroupDiscoveryList; an older server's answer tells nothing."""
    if answer.get("kind") != "APIGroupDiscoveryList":
        return Kinds()
    return Kinds(tuple(one for group in answer.get("items") or () for one in _of_group(group)))


def _of_group(group: Json) -> Iterable[Resource]:
    seen: set[str] = set()
    # The version that the server prefers comes first.
    for version in group.get("versions") or ():
        for stated in version.get("resources") or ():
            if stated["resource"] in seen or stated.get("scope") != "Namespaced":
                continue
            seen.add(stated["resource"])
            yield Resource(
                group=group["metadata"]["name"],
                version=version["version"],
                plural=stated["resource"],
                kind=(stated.get("responseKind") or {}).get("kind", ""),
                has_scale=any(one["subresource"] == "scale" for one in stated.get("subresources") or ()),
            )
