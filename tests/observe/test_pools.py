"""Which pool an engine belongs to, and what its labels say that it is."""

from typing import Any

import pytest

from aiops.model.refs import ModelRef
from aiops.observe.identity import Group, Naming, Pod, workload_of
from aiops.observe.pools import ClusterState, Owner, pool_of
from tests.observe.world import pd_pools, policy


def pools(*names: str, kind: str = "Deployment") -> list[dict[str, Any]]:
    return [{"name": name, "target": {"kind": kind, "name": name}, "variant": "v"} for name in names]


@pytest.mark.parametrize(
    ("pod", "role", "owner", "spec", "wanted"),
    [
        pytest.param("x", "", Owner("Deployment", "chat"), pools("chat"), "chat", id="by its owner"),
        pytest.param(
            "x", "", Owner("StatefulSet", "chat"), pools("chat", kind="LeaderWorkerSet"), "chat", id="by a group's set"
        ),
        pytest.param(
            "chat-7d9f8b6c5d-bbbbb", "", Owner("Deployment", "other"), pools("chat"), None, id="owned by another"
        ),
        pytest.param("chat-7d9f8b6c5d-bbbbb", "", None, pools("chat"), "chat", id="named after a Deployment"),
        pytest.param("chat-3", "", None, pools("chat", kind="StatefulSet"), "chat", id="named after a StatefulSet"),
        pytest.param(
            "other-3", "", None, pools("chat", kind="StatefulSet"), None, id="named after another StatefulSet"
        ),
        pytest.param("other-7d9f8b6c5d-bbbbb", "", None, pools("chat"), None, id="named after another Deployment"),
        pytest.param("10.0.0.1:8000", "", None, pools("chat"), "chat", id="an address, and one pool only"),
        pytest.param(
            "vllm-0", "", None, pools("chat"), "chat", id="a name that no Deployment gives, and one pool only"
        ),
        pytest.param("a", "decode", None, pd_pools(), "decode", id="by its role label"),
        pytest.param(
            "chat-prefill-7d9f8b6c5d-bbbbb", "decode", None, pd_pools(), "prefill", id="its name before its label"
        ),
        pytest.param("a", "", None, pd_pools(), None, id="two pools and nothing that tells"),
        pytest.param("a", "router", None, pd_pools(), None, id="a role that no pool has"),
    ],
)
def test_an_engine_finds_its_pool_or_none(
    pod: str, role: str, owner: Owner | None, spec: list[dict[str, Any]], wanted: str | None
) -> None:
    named = Pod("ns", pod)
    cluster = ClusterState({named: owner} if owner else {}, {}, frozenset())
    found = pool_of(named, Group("", (role,)), policy("ns", pools=spec), cluster)
    assert (found.name if found else None) == wanted


@pytest.mark.parametrize(
    ("pod", "workload"),
    [
        pytest.param("chat-8b-7d9f8b6c5d-x2x4z", "chat-8b", id="a Deployment's pod"),
        pytest.param("chat-8b-12", "chat-8b", id="a StatefulSet's pod"),
        pytest.param("chat", "", id="a pod of its own"),
        pytest.param("10.0.0.1:8000", "", id="an address"),
    ],
)
def test_a_pods_name_tells_its_workload(pod: str, workload: str) -> None:
    assert workload_of(pod) == workload


@pytest.mark.parametrize(
    ("labels", "wanted"),
    [
        pytest.param({"namespace": "a", "model_name": "m"}, "a/m", id="as the scrape says"),
        pytest.param(
            {"namespace": "x", "exported_namespace": "a", "model_name": "m"}, "a/m", id="the exporter knows better"
        ),
        pytest.param({"model_name": "m"}, "a/m", id="no namespace: the one policy that names the model"),
        pytest.param({"model_name": "n"}, "/n", id="no namespace, and two policies name the model"),
        pytest.param({"namespace": "a"}, "None", id="no model"),
    ],
)
def test_a_series_names_its_model(labels: dict[str, str], wanted: str) -> None:
    naming = Naming([ModelRef("a", "m"), ModelRef("a", "n"), ModelRef("b", "n")])
    assert str(naming.ref(labels)) == wanted
