"""The whole loop on a real cluster: aiops run sees real pods, and sets replicas by its own ServiceAccount's rights."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from kubernetes import client

from aiops.act.kubernetes_api import FIELD_MANAGER
from tests.act.granted import grant, writes
from tests.cluster.controller import RIGHTS, controller
from tests.cluster.live import Settings, factory_on_pods
from tests.cluster.place import Place
from tests.cluster.scrape import PodPrometheus
from tests.parts import http_text, wait_for
from tests.simulate.factories import shipped_profiles

pytestmark = [pytest.mark.real, pytest.mark.slow]

POOL = "chat-8b"
# From the start as many requests as eight replicas can answer.
SETTINGS = Settings(night_req_per_s=45.0, peak_req_per_s=45.0, cold_start_s=(2.0, 4.0), grace_s=20)


def policy(place: Place, mode: str) -> str:
    return yaml.safe_dump(
        {
            "metadata": {"name": POOL, "namespace": place.namespace},
            "spec": {
                "model": SETTINGS.model,
                "mode": mode,
                "pools": [{"name": POOL, "target": {"name": POOL}, "variant": "h100", "min": 1, "max": 12}],
                "scaleUp": {"maxStep": "400%", "per": "10s"},
            },
            "variants": {"h100": {"gpus": 1, "profile": SETTINGS.profile}},
        }
    )


@contextmanager
def aiops_run(
    place: Place, prometheus: PodPrometheus, folder: Path, mode: str = "act", options: Sequence[str] = ()
) -> Iterator[str]:
    """Run aiops with its own token; give the URL of its page."""
    with controller(place, prometheus.url, folder, policy(place, mode), options=options) as started:
        yield started.page


@pytest.fixture
def served(place: Place) -> Iterator[Place]:
    """A Deployment of two replicas with a load that needs eight."""
    place.add_nodes(2)
    settings = replace(SETTINGS, namespace=place.namespace)
    grant(place, *RIGHTS)
    with factory_on_pods(place, [settings.spec], shipped_profiles()):
        place.apply(settings.server.deployment())
        place.wait_for_ready(2)
        yield place


def asked(place: Place) -> int:
    found: int = place.apps.read_namespaced_deployment(POOL, place.namespace).spec.replicas
    return found


def annotate(place: Place, **annotations: str | None) -> None:
    named = {f"aiops.tokenfactory.dev/{name.replace('_', '-')}": value for name, value in annotations.items()}
    place.apps.patch_namespaced_deployment(POOL, place.namespace, {"metadata": {"annotations": named}})


def test_replicas_follow_the_load_a_person_and_nobody_else(
    served: Place, prometheus: PodPrometheus, tmp_path: Path
) -> None:
    with aiops_run(served, prometheus, tmp_path) as page:
        wait_for(lambda: asked(served) >= 6, "the load's replicas are ordered", timeout_s=240.0)
        wait_for(lambda: len(served.ready_pods()) >= 6, "they serve", timeout_s=180.0)
        events = client.CustomObjectsApi(served.plane.admin).list_namespaced_custom_object(
            "events.k8s.io", "v1", served.namespace, "events"
        )["items"]
        ours = [event["note"] for event in events if "aiops" in event.get("reportingController", "")]
        managers = served.apps.read_namespaced_deployment(POOL, served.namespace).metadata.managed_fields
        emitted = http_text(f"{page}/metrics")

        annotate(served, hold_at="3")
        # Not any write of a three: the way up may have led over it.
        wait_for(lambda: asked(served) == 3, "a person's word is kept", timeout_s=180.0)
        wait_for(lambda: writes(served)[-1] == (POOL, 3, 200), "the audit log has it")
        written = len(writes(served))
        annotate(served, hold_at=None, paused="true")
        wait_for(lambda: "paused" in reasons_of(page), "the pause is seen", timeout_s=180.0)

    assert asked(served) == 3
    assert len(writes(served)) == written
    assert {code for _, _, code in writes(served)} <= {200, 409}
    assert any(entry.manager == FIELD_MANAGER and entry.subresource == "scale" for entry in managers)
    assert ours
    assert "aiops_leader 1.0" in emitted
    assert f'aiops_desired_replicas{{model_name="{SETTINGS.model}",namespace="{served.namespace}"' in emitted


def test_a_target_of_another_scaler_is_refused_and_one_that_only_observes_writes_nothing(
    served: Place, prometheus: PodPrometheus, tmp_path: Path
) -> None:
    with aiops_run(served, prometheus, tmp_path / "observe", "observe") as page:
        wait_for(
            lambda: "demand" in reasons_of(page) or "backlog" in reasons_of(page), "more is needed", timeout_s=180.0
        )
    scaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "theirs", "namespace": served.namespace},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": POOL},
            "minReplicas": 2,
            "maxReplicas": 2,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 90}},
                }
            ],
        },
    }
    served.apply(scaler)
    with aiops_run(served, prometheus, tmp_path / "act") as page:
        wait_for(lambda: "owned_by_another_scaler" in reasons_of(page), "the other scaler is seen", timeout_s=180.0)

    assert asked(served) == 2
    assert writes(served) == []


def reasons_of(page: str) -> str:
    """The reasons of the newest decisions, as the metrics tell them."""
    lines = http_text(f"{page}/metrics").splitlines()
    return "\n".join(line for line in lines if line.startswith("aiops_decisions_total"))
