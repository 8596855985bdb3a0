"""Manifests by which others carry out the number that aiops exports: KEDA's ScaledObject, and a plain HPA."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiops.model.policy import PoolSpec, ScalingPolicy
from aiops.model.refs import PoolRef

Manifest = dict[str, Any]

METRIC = "aiops_desired_replicas"
# By which all of them are found: kubectl delete scaledobjects -l app.kubernetes.io/created-by=aiops
_MADE_BY = {"app.kubernetes.io/created-by": "aiops"}
# Which of the exported labels name one pool. The namespace is not among them: a scraper may put its own above it.
_ONE_POOL = ("model_name", "pool", "role")
_FAILURES = 3
_POLL_S = 15


@dataclass(frozen=True, slots=True)
class MetricSource:
    """The Prometheus that KEDA asks, and how.

    ``authentication`` is KEDA's reference to a TriggerAuthentication (``kind``, ``name``), empty where none is needed;
    ``matchers`` go into the selector, such as ``cluster="a"``.
    """

    address: str
    tenant: str | None = None
    authentication: Mapping[str, str] | None = None
    auth_modes: tuple[str, ...] = ()
    matchers: tuple[str, ...] = ()


def desired_replicas_query(policy: ScalingPolicy, pool: PoolSpec, matchers: tuple[str, ...] = ()) -> str:
    """Write the PromQL for the replicas of exactly one pool: one value, or none where nobody asks for any.

    While the lead passes from one process to another, both numbers may be there: the higher one counts.
    """
    values = (policy.spec.model, str(policy.pool_ref(pool)), pool.role.value)
    # PromQL reads strings as Go does, and what JSON escapes is escaped there alike.
    stated = [
        f"{label}={json.dumps(value, ensure_ascii=False)}" for label, value in zip(_ONE_POOL, values, strict=True)
    ]
    return f"max by ({', '.join(_ONE_POOL)}) ({METRIC}{{{','.join((*matchers, *stated))}}})"


def scaled_object(policy: ScalingPolicy, pool: PoolSpec, api_version: str, source: MetricSource) -> Manifest:
    """Write KEDA's ScaledObject of a pool; ``api_version`` is that of the pool's target.

    It passes the number on as it is: what is stabilized and bounded already must not be damped again. Where there is
    no number, the replicas stay as they are.
    """
    trigger: Manifest = {
        "type": "prometheus",
        # Replicas are then the number ÷ 1; those of "Value" would be the number × the pods that are ready.
        "metricType": "AverageValue",
        "metadata": {
            "serverAddress": source.address,
            "query": desired_replicas_query(policy, pool, source.matchers),
            "threshold": "1",
            # Else KEDA reads an empty answer as 0 replicas.
            "ignoreNullValues": "false",
            **({"authModes": ",".join(source.auth_modes)} if source.auth_modes else {}),
            **({"customHeaders": f"X-Scope-OrgID={source.tenant}"} if source.tenant else {}),
        },
    }
    if source.authentication:
        trigger["authenticationRef"] = dict(source.authentication)
    spec: Manifest = {
        "scaleTargetRef": {"apiVersion": api_version, "kind": pool.target.kind, "name": pool.target.name},
        "minReplicaCount": pool.min,
        "maxReplicaCount": pool.max,
        # With 0 here KEDA would take a pool of min 0 to zero on an error, whatever the behavior says.
        "fallback": {"behavior": "currentReplicas", "failureThreshold": _FAILURES, "replicas": max(1, pool.min)},
        "advanced": {
            # Whoever deletes the ScaledObject keeps the replicas.
            "restoreToOriginalReplicaCount": False,
            "horizontalPodAutoscalerConfig": {"behavior": _as_it_is(pool)},
        },
        "triggers": [trigger],
    }
    if pool.min == 0:
        # Between 0 and 1 KEDA scales itself, and of its own accord it waits 5 minutes before the last one goes.
        spec |= {"pollingInterval": _POLL_S, "cooldownPeriod": 0}
    return _object("keda.sh/v1alpha1", "ScaledObject", policy.pool_ref(pool), spec)


def external_autoscaler(policy: ScalingPolicy, pool: PoolSpec, api_version: str) -> Manifest:
    """Write an HPA (autoscaling/v2) of a pool, for clusters whose external metrics come from prometheus-adapter.

    Without a number it holds still by itself. It never goes to zero.
    """
    ref = policy.pool_ref(pool)
    target = {"type": "AverageValue", "averageValue": "1"}
    spec = {
        "scaleTargetRef": {"apiVersion": api_version, "kind": ref.kind, "name": ref.name},
        "minReplicas": max(1, pool.min),
        "maxReplicas": pool.max,
        "behavior": _as_it_is(pool),
        "metrics": [{"type": "External", "external": {"metric": {"name": external_metric(ref)}, "target": target}}],
    }
    return _object("autoscaling/v2", "HorizontalPodAutoscaler", ref, spec)


def adapter_rule(policy: ScalingPolicy, pool: PoolSpec, matchers: tuple[str, ...] = ()) -> Manifest:
    """Write prometheus-adapter's external rule for the metric of one pool's HPA.

    Each pool has a metric of its own: an HPA cannot select by the labels, whose values hold slashes.
    """
    return {
        "seriesQuery": METRIC,
        "resources": {"namespaced": False},
        "name": {"as": external_metric(policy.pool_ref(pool))},
        "metricsQuery": desired_replicas_query(policy, pool, matchers),
    }


def external_metric(ref: PoolRef) -> str:
    """Name the external metric of one pool, unique in the cluster: a namespace holds no dot, nor does a kind."""
    return f"{METRIC}.{ref.namespace}.{ref.kind.lower()}.{ref.name}"


def _as_it_is(pool: PoolSpec) -> Manifest:
    """How an HPA goes to any number within the bounds at once, in both directions."""
    any_number = {"type": "Pods", "value": pool.max, "periodSeconds": 1}
    # A tolerance of 10 %, its default, would leave 20 replicas where 21 are asked for.
    rules = {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [any_number], "tolerance": "0"}
    return {"scaleUp": rules, "scaleDown": {**rules, "policies": [dict(any_number)]}}


def _object(api_version: str, kind: str, ref: PoolRef, spec: Manifest) -> Manifest:
    # As the target, which keeps the name short enough for KEDA's label with it; two targets may differ in kind alone.
    name = ref.name if ref.kind == "Deployment" else f"{ref.name}-{ref.kind.lower()}"
    metadata = {"name": name, "namespace": ref.namespace, "labels": dict(_MADE_BY)}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}
