"""KEDA is the real one: it asks Prometheus, tells the real autoscaler, and that one moves the replicas."""

import pytest
from kubernetes import client

from tests.cluster.manifests import Server
from tests.cluster.place import Place
from tests.cluster.scrape import PodPrometheus

pytestmark = [pytest.mark.real, pytest.mark.slow]

_AT_ONCE = {
    "scaleUp": {"stabilizationWindowSeconds": 0, "policies": [{"type": "Pods", "value": 9, "periodSeconds": 15}]}
}


@pytest.mark.usefixtures("running_keda")
def test_a_scaled_object_takes_its_deployment_to_what_prometheus_says(place: Place, prometheus: PodPrometheus) -> None:
    place.add_nodes()
    place.apply(Server(name="decode").deployment())
    place.wait_for_ready(1)

    place.apply(
        {
            "apiVersion": "keda.sh/v1alpha1",
            "kind": "ScaledObject",
            "metadata": {"name": "decode"},
            "spec": {
                "scaleTargetRef": {"kind": "Deployment", "name": "decode"},
                "pollingInterval": 1,
                "minReplicaCount": 1,
                "maxReplicaCount": 9,
                "advanced": {"horizontalPodAutoscalerConfig": {"behavior": _AT_ONCE}},
                "triggers": [
                    {
                        "type": "prometheus",
                        "metadata": {"serverAddress": prometheus.url, "query": "vector(6)", "threshold": "1"},
                    }
                ],
            },
        }
    )
    pods = place.wait_for_ready(6, timeout_s=90)
    (autoscaler,) = (
        client.AutoscalingV2Api(place.plane.admin).list_namespaced_horizontal_pod_autoscaler(place.namespace).items
    )

    assert len(pods) == 6
    assert autoscaler.status.desired_replicas == 6
    assert autoscaler.spec.scale_target_ref.name == "decode"
    assert [metric.type for metric in autoscaler.spec.metrics] == ["External"]
    assert autoscaler.metadata.owner_references[0].kind == "ScaledObject"
