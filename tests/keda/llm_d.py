"""llm-d's own KEDA configuration of a pool, from its guide for scaling by the endpoint picker's metrics."""

from tests.cluster.manifests import Manifest


def scaled_object(
    namespace: str, deployment: str, model: str, prometheus_url: str, *, least: int, most: int, running: int = 16
) -> Manifest:
    """The guide's ScaledObject: one replica for each request that waits at the gateway, and for each ``running`` ones.

    Up by 100 % in 15 s, down to the highest of 300 s. ``running`` is the guide's, which says that it is to be measured.
    """

    def trigger(metric: str, threshold: int) -> Manifest:
        query = f'sum({metric}{{namespace="{namespace}",model_name="{model}"}})'
        return {
            "type": "prometheus",
            "metricType": "AverageValue",
            "metadata": {"serverAddress": prometheus_url, "query": query, "threshold": str(threshold)},
        }

    doubled = {"type": "Percent", "value": 100, "periodSeconds": 15}
    behavior = {
        "scaleUp": {"stabilizationWindowSeconds": 0, "policies": [dict(doubled)]},
        "scaleDown": {"stabilizationWindowSeconds": 300, "policies": [dict(doubled)]},
    }
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": deployment, "namespace": namespace},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment},
            "pollingInterval": 15,
            "cooldownPeriod": 300,
            "minReplicaCount": least,
            "maxReplicaCount": most,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": behavior}},
            "triggers": [
                trigger("llm_d_epp_flow_control_queue_size", 1),
                trigger("llm_d_epp_request_running", running),
            ],
        },
    }
