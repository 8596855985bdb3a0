"""A load for more replicas than the nodes have room for: told, followed by no further orders, and taken back."""

import json
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import yaml

from aiops.simulate.spec import FactorySpec
from tests.act.granted import grant
from tests.cluster.controller import RIGHTS, controller
from tests.cluster.live import Live, factory_on_pods
from tests.cluster.manifests import Server
from tests.cluster.place import Place
from tests.cluster.scrape import PodPrometheus
from tests.cluster.test_acting import reasons_of
from tests.parts import http_text, wait_for
from tests.simulate.factories import shipped_profiles

pytestmark = [pytest.mark.real, pytest.mark.slow]

MODEL, POOL, PROFILE = "chat", "chat-8b", "llama-8b-h100-tp1"
GPUS = 3
# Most of a minute for more replicas than there is room for, then for one.
WINDOWS = [{"at": "0s", "requestsPerS": 30.0}, {"at": "50s", "requestsPerS": 3.0}]


def policy(place: Place) -> str:
    pool = {"name": POOL, "target": {"name": POOL}, "variant": "h100", "min": 1, "max": 20}
    spec = {
        "model": MODEL,
        "mode": "act",
        # The median, so that the forecast lets go soon.
        "risk": 0.5,
        "pools": [pool],
        "scaleUp": {"maxStep": "400%", "per": "10s"},
        "scaleDown": {"stabilization": "30m"},
    }
    variant = {"gpus": 1, "profile": PROFILE, "coldStart": {"p50": "3s", "p90": "5s"}}
    name = {"name": "chat", "namespace": place.namespace}
    return yaml.safe_dump({"metadata": name, "spec": spec, "variants": {"h100": variant}})


@pytest.fixture
def crowded(place: Place) -> Place:
    """One node with three GPUs, and one replica."""
    place.add_nodes(1, gpus=GPUS)
    grant(place, *RIGHTS)
    place.apply(Server(name=POOL, model=MODEL, cold_start_s=2, grace_s=600).deployment())
    place.wait_for_ready(1)
    return place


def load(place: Place) -> AbstractContextManager[Live]:
    """A load that begins with the block."""
    spec = FactorySpec.model_validate(
        {
            "model": MODEL,
            "namespace": place.namespace,
            "pools": [{"name": POOL, "profile": PROFILE}],
            "workload": {
                "demand": {"windows": WINDOWS},
                "inputTokens": {"mean": 4000, "spread": 0.5, "max": 16384},
                "outputTokens": {"mean": 300, "spread": 0.5, "max": 1024},
            },
        }
    )
    return factory_on_pods(place, [spec], shipped_profiles())


def asked(place: Place) -> int:
    found: int = place.apps.read_namespaced_deployment(POOL, place.namespace).spec.replicas
    return found


def unplaced(page: str) -> tuple[int, str]:
    """How many replicas found no node, and what they wait for, as the newest cycle has it."""
    (model,) = json.loads(http_text(f"{page}/api/v1/models"))["models"]
    (pool,) = model["pools"]
    return pool["unplaced"], pool["unplaced_reason"]


def test_what_finds_no_node_is_told_and_taken_back_when_the_load_ends(
    crowded: Place, prometheus: PodPrometheus, tmp_path: Path
) -> None:
    with controller(crowded, prometheus.url, tmp_path, policy(crowded)) as aiops, load(crowded):
        wait_for(lambda: asked(crowded) > GPUS, "more are ordered than there is room for", 120.0)
        wait_for(lambda: "unschedulable" in reasons_of(aiops.page), "it is told", 120.0)
        told = unplaced(aiops.page)
        peak = asked(crowded)
        wait_for(lambda: asked(crowded) == GPUS, "what found no node is taken back", 400.0)
        decisions = json.loads(http_text(f"{aiops.page}/api/v1/decisions?changed=true"))

    assert told == (peak - GPUS, "waiting for nvidia.com/gpu: 1")
    # What arrives varies by a replica; the queue behind what cannot be placed would ask for many.
    assert max(one["decision"]["desired"] for one in decisions) <= peak + 1
    assert len(crowded.ready_pods()) == GPUS, "those that serve are given the whole stabilization window"
