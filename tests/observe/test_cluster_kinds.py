"""Which kinds the API server has, from its aggregated discovery."""

from typing import Any

import pytest

from aiops.observe.cluster_kinds import DEPLOYMENTS, LEADER_WORKER_SETS, SCALED_OBJECTS, Kinds, read_kinds
from aiops.observe.kubernetes import Resource

Json = dict[str, Any]


def resource(plural: str, kind: str, *subresources: str, scope: str = "Namespaced") -> Json:
    return {
        "resource": plural,
        "responseKind": {"group": "", "version": "", "kind": kind},
        "scope": scope,
        "subresources": [{"subresource": name} for name in subresources],
    }


def group(name: str, **versions: list[Json]) -> Json:
    stated = [{"version": version, "resources": resources} for version, resources in versions.items()]
    return {"metadata": {"name": name}, "versions": stated}


def discovery(*groups: Json) -> Json:
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "items": list(groups)}


APPS = group(
    "apps",
    v1=[
        resource("deployments", "Deployment", "scale", "status"),
        resource("controllerrevisions", "ControllerRevision"),
    ],
)
RAYS = group(
    "ray.io", v1=[resource("rays", "Ray", "scale"), resource("pools", "Pool", scope="Cluster")], v1alpha1=[
        resource("rays", "Ray"), resource("olds", "Old", "scale")
    ],
)  # fmt: skip
OTHER_RAYS = group("other.io", v1=[resource("rays", "Ray", "scale")])


@pytest.mark.parametrize(
    ("kinds", "kind", "wanted"),
    [
        pytest.param(read_kinds(discovery(APPS)), "Deployment", DEPLOYMENTS, id="a usual kind"),
        pytest.param(read_kinds(discovery(APPS)), "LeaderWorkerSet", None, id="a usual kind that is not installed"),
        pytest.param(read_kinds(discovery(APPS)), "ControllerRevision", None, id="a kind without replicas to set"),
        pytest.param(read_kinds(discovery(APPS)), "Ray", None, id="a kind that is not there"),
        pytest.param(
            read_kinds(discovery(APPS, RAYS)),
            "Ray",
            Resource("ray.io", "v1", "rays", "Ray", has_scale=True),
            id="another kind, in the version that the server prefers",
        ),
        pytest.param(
            read_kinds(discovery(APPS, RAYS)),
            "Old",
            Resource("ray.io", "v1alpha1", "olds", "Old", has_scale=True),
            id="another kind that only an older version has",
        ),
        pytest.param(read_kinds(discovery(RAYS)), "Pool", None, id="a kind that no namespace holds"),
        pytest.param(read_kinds(discovery(RAYS, OTHER_RAYS)), "Ray", None, id="two kinds of one name"),
        pytest.param(Kinds(), "LeaderWorkerSet", LEADER_WORKER_SETS, id="nothing was told: a usual kind"),
        pytest.param(Kinds(), "Ray", None, id="nothing was told: another kind"),
    ],
)
def test_a_kind_of_targets_is_found_or_not(kinds: Kinds, kind: str, wanted: Resource | None) -> None:
    assert kinds.target(kind) == wanted


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        pytest.param(discovery(APPS), False, id="without KEDA"),
        pytest.param(
            discovery(APPS, group("keda.sh", v1alpha1=[resource("scaledobjects", "ScaledObject")])), True, id="with it"
        ),
        pytest.param({"kind": "APIGroupList", "groups": []}, True, id="a server too old to tell may have it"),
    ],
)
def test_keda_is_looked_for_where_it_may_be(answer: Json, wanted: bool) -> None:
    assert read_kinds(answer).has(SCALED_OBJECTS) is wanted
