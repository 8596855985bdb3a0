"""Prefill and decode on a real cluster: ordered together, and neither is taken from alone while the other cannot go."""

import json
from contextlib import AbstractContextManager
from datetime import datetime
from math import inf
from pathlib import Path

import pytest
import yaml

from aiops.simulate.spec import FactorySpec
from tests.act.granted import ACCOUNT, allow, grant
from tests.cluster.controller import controller
from tests.cluster.live import Live, factory_on_pods
from tests.cluster.manifests import Server
from tests.cluster.place import Place
from tests.cluster.scrape import PodPrometheus
from tests.cluster.test_acting import reasons_of
from tests.parts import http_text, wait_for
from tests.simulate.factories import shipped_profiles

pytestmark = [pytest.mark.real, pytest.mark.slow]

MODEL, PROFILE = "rag-8b", "llama-8b-h100-tp1"
POOLS = {"prefill": "rag-prefill", "decode": "rag-decode"}
BUSY_S = 60
# A minute that needs four replicas of prefill, and then a load for one of each.
WINDOWS = [{"at": "0s", "requestsPerS": 30.0}, {"at": f"{BUSY_S}s", "requestsPerS": 3.0}]
# All that aiops needs to see and to lead, and to scale by name.
RIGHTS = ("observe", "controller/leader-election.yaml", "cluster/nodes.yaml", "cluster/pods.yaml")


def policy(place: Place) -> str:
    pools = [
        {"name": role, "role": role, "target": {"name": name}, "variant": "h100", "min": 1, "max": 8}
        for role, name in POOLS.items()
    ]
    spec = {
        "model": MODEL,
        "mode": "act",
        # The median, so that the forecast lets go soon.
        "risk": 0.5,
        "pools": pools,
        "ratio": {"decodePerPrefill": {"min": 1, "max": 2}},
        "scaleUp": {"maxStep": "400%", "per": "10s"},
        "scaleDown": {"maxStep": "50%", "per": "10s", "stabilization": "10s"},
    }
    variant = {"gpus": 1, "profile": PROFILE, "coldStart": {"p50": "3s", "p90": "5s"}}
    name = {"name": "rag", "namespace": place.namespace}
    return yaml.safe_dump({"metadata": name, "spec": spec, "variants": {"h100": variant}})


def scaling_of(place: Place, *names: str) -> None:
    """Let aiops scale these Deployments, and no other any more."""
    rule = {"apiGroups": ["apps"], "resources": ["deployments/scale"], "resourceNames": [*names]}
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "some-aiops"},
        "rules": [{**rule, "verbs": ["get", "update"]}],
    }
    place.apply(role)


@pytest.fixture
def pair(place: Place) -> Place:
    """One replica of each role."""
    place.add_nodes(2)
    grant(place, *RIGHTS)
    allow(place, ("apps", "deployments/scale", "get,update"))
    scaling_of(place, *POOLS.values())
    servers = [Server(name=name, model=MODEL, role=role, cold_start_s=2, grace_s=600) for role, name in POOLS.items()]
    place.apply(*(server.deployment() for server in servers))
    place.wait_for_ready(2)
    return place


def load(place: Place) -> AbstractContextManager[Live]:
    """A load that begins with the block."""
    spec = FactorySpec.model_validate(
        {
            "model": MODEL,
            "namespace": place.namespace,
            "pools": [{"name": name, "role": role, "profile": PROFILE} for role, name in POOLS.items()],
            "workload": {
                "demand": {"windows": WINDOWS},
                "inputTokens": {"mean": 4000, "spread": 0.5, "max": 16384},
                "outputTokens": {"mean": 300, "spread": 0.5, "max": 1024},
            },
        }
    )
    return factory_on_pods(place, [spec], shipped_profiles())


def asked(place: Place) -> tuple[int, int]:
    """The replicas asked for, prefill and decode."""
    found = [place.apps.read_namespaced_deployment(name, place.namespace).spec.replicas for name in POOLS.values()]
    return (found[0], found[1])


def scaled(place: Place) -> list[tuple[str, int, int, datetime]]:
    """Every write of scale by aiops, and every one that was refused: the role, the replicas, the answer, and when."""
    roles = {name: role for role, name in POOLS.items()}
    return [
        (
            roles[call["objectRef"]["name"]],
            (call.get("requestObject") or {}).get("spec", {}).get("replicas", 0),
            call["responseStatus"]["code"],
            datetime.fromisoformat(call["requestReceivedTimestamp"]),
        )
        for call in place.plane.calls(ACCOUNT, place.namespace)
        if call.get("objectRef", {}).get("subresource") == "scale"
        if call["verb"] == "update" or call["responseStatus"]["code"] == 403
    ]


def arriving(page: str) -> float:
    """Requests a second, as the newest cycle has it; endless while it is blind."""
    (model,) = json.loads(http_text(f"{page}/api/v1/models"))["models"]
    return float(model["demand"]["requests_per_s"]) if model["demand"] else inf


def test_a_pair_moves_together_and_not_at_all_where_it_could_only_move_apart(
    pair: Place, prometheus: PodPrometheus, tmp_path: Path
) -> None:
    with controller(pair, prometheus.url, tmp_path, policy(pair)) as aiops, load(pair):
        wait_for(lambda: min(asked(pair)) >= 3, "both roles are ordered", 150.0)
        grown = scaled(pair)
        wait_for(lambda: arriving(aiops.page) < 10.0, "the load ends", 240.0)
        scaling_of(pair, POOLS["prefill"])
        peak = asked(pair)
        wait_for(
            lambda: any(role == "decode" and code == 403 for role, _, code, _ in scaled(pair)),
            "decode is refused",
            300.0,
        )
        wait_for(lambda: "cooldown_after_failure" in reasons_of(aiops.page), "decode is left alone for a while", 180.0)
        alone = asked(pair)
        refused = [write for write in scaled(pair) if write[2] == 403]
        scaling_of(pair, *POOLS.values())
        wait_for(lambda: max(asked(pair)) <= 2, "both are taken back", 240.0)

    first = {role: next(at for one, _, _, at in grown if one == role) for role in POOLS}
    assert abs(first["prefill"] - first["decode"]).total_seconds() < 1, "in one cycle"
    assert alone[1] >= peak[1], "decode could not go"
    assert alone[0] <= alone[1] <= 2 * alone[0], "so prefill went no further than the band allows"
    assert len(refused) <= 4, refused
    assert [write for write in scaled(pair) if write[2] not in (200, 403, 409)] == []
