import string
from typing import Any

import promql_parser as promql
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from aiops.act.emit import Emitter
from aiops.act.scaled_object import (
    METRIC,
    MetricSource,
    adapter_rule,
    desired_replicas_query,
    external_autoscaler,
    scaled_object,
)
from aiops.model.policy import Mode, PoolSpec, ScalingPolicy
from tests.act import evidence

SOURCE = MetricSource("http://prometheus.monitoring:9090")


def policy_of(model: str = "llama", target: str = "chat", kind: str = "Deployment", **pool: Any) -> ScalingPolicy:
    stated = {"name": "chat", "target": {"kind": kind, "name": target}, "variant": "h100", **pool}
    spec = {"model": model, "mode": "emit", "pools": [stated]}
    return ScalingPolicy.model_validate({"metadata": {"name": "chat", "namespace": "llm"}, "spec": spec})


def scaled(policy: ScalingPolicy, source: MetricSource = SOURCE) -> dict[str, Any]:
    spec: dict[str, Any] = scaled_object(policy, policy.spec.pools[0], "apps/v1", source)["spec"]
    return spec


def matchers(query: str) -> dict[str, str]:
    """What a query demands of the labels, as a parser of PromQL that is not ours reads it."""
    selected = promql.parse(query).expr
    assert selected.name == METRIC
    assert all(one.op == promql.MatchOp.Equal for one in selected.matchers.matchers)
    return {one.name: one.value for one in selected.matchers.matchers}


@given(model=st.text(min_size=1), target=st.text(string.ascii_lowercase + "-.", min_size=1))
def test_whatever_a_model_is_called_the_query_asks_for_its_pool_alone(model: str, target: str) -> None:
    policy = policy_of(model, target)

    assert matchers(desired_replicas_query(policy, policy.spec.pools[0])) == {
        "model_name": model,
        "pool": f"llm/{target}",
        "role": "both",
    }


@pytest.mark.parametrize("number", [0, 1])
def test_of_all_that_is_exported_one_series_answers_each_pool(number: int) -> None:
    policies = evidence.policies(Mode.EMIT)
    emitter = Emitter("1.2.3", 15.0)
    emitter.record(evidence.cycle(mode=Mode.EMIT), policies)
    (policy,) = policies.policies
    pool = policy.spec.pools[number]
    demanded = matchers(desired_replicas_query(policy, pool))

    samples = [
        sample for family in text_string_to_metric_families(emitter.expose().decode()) for sample in family.samples
    ]
    (found,) = [one for one in samples if one.name == METRIC and demanded.items() <= one.labels.items()]

    assert found.labels["pool"] == f"llm/{pool.target.name}"
    assert found.value == next(one.desired for one in evidence.cycle().decisions if one.pool == policy.pool_ref(pool))


def test_of_two_clusters_behind_one_prometheus_the_matchers_pick_one() -> None:
    source = MetricSource("http://thanos", matchers=('cluster="a"',))
    query = scaled(policy_of(), source)["triggers"][0]["metadata"]["query"]

    assert matchers(query)["cluster"] == "a"


@pytest.mark.parametrize(
    ("least", "most"),
    [pytest.param(1, 1, id="of one replica"), pytest.param(2, 24, id="of many"), pytest.param(0, 3, id="to zero")],
)
def test_nothing_but_the_policy_s_bounds_stands_between_the_number_and_the_replicas(least: int, most: int) -> None:
    policy = policy_of(min=least, max=most)
    spec = scaled(policy)
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    plain = external_autoscaler(policy, policy.spec.pools[0], "apps/v1")["spec"]

    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (least, most)
    assert (plain["minReplicas"], plain["maxReplicas"]) == (max(1, least), most)
    assert plain["behavior"] == behavior
    assert set(behavior) == {"scaleUp", "scaleDown"}
    for rules in behavior.values():
        assert (rules["stabilizationWindowSeconds"], rules["tolerance"], rules["selectPolicy"]) == (0, "0", "Max")
        (only,) = rules["policies"]
        assert only["type"] == "Pods"
        assert only["value"] >= most


def test_nothing_known_is_an_error_and_an_error_keeps_the_replicas() -> None:
    spec = scaled(policy_of(min=0))

    assert spec["triggers"][0]["metadata"]["ignoreNullValues"] == "false"
    assert spec["fallback"]["behavior"] == "currentReplicas"
    assert spec["fallback"]["replicas"] > 0, "KEDA takes a pool of min 0 to zero on errors where this is 0"
    assert spec["advanced"]["restoreToOriginalReplicaCount"] is False


def test_the_last_replica_goes_when_the_number_says_so_and_only_where_the_policy_lets_it() -> None:
    assert (scaled(policy_of(min=0))["cooldownPeriod"], scaled(policy_of(min=0))["pollingInterval"]) == (0, 15)
    assert not {"cooldownPeriod", "pollingInterval"} & scaled(policy_of(min=1)).keys()


def test_a_prometheus_that_asks_who_is_there_is_told() -> None:
    source = MetricSource(
        "https://mimir",
        tenant="llm",
        authentication={"kind": "ClusterTriggerAuthentication", "name": "mimir"},
        auth_modes=("bearer", "tls"),
    )
    (trigger,) = scaled(policy_of(), source)["triggers"]
    (open_one,) = scaled(policy_of())["triggers"]

    assert trigger["authenticationRef"] == {"kind": "ClusterTriggerAuthentication", "name": "mimir"}
    assert trigger["metadata"]["authModes"] == "bearer,tls"
    assert trigger["metadata"]["customHeaders"] == "X-Scope-OrgID=llm"
    assert "authenticationRef" not in open_one
    assert open_one["metadata"].keys() == {"serverAddress", "query", "threshold", "ignoreNullValues"}


def test_targets_that_differ_in_kind_or_namespace_alone_have_objects_and_metrics_of_their_own() -> None:
    def named(kind: str, namespace: str, name: str) -> tuple[str, str, str]:
        policy = policy_of(target=name, kind=kind)
        policy = policy.model_copy(update={"metadata": policy.metadata.model_copy(update={"namespace": namespace})})
        pool: PoolSpec = policy.spec.pools[0]
        made = scaled_object(policy, pool, "apps/v1", SOURCE)["metadata"]
        autoscaler = external_autoscaler(policy, pool, "apps/v1")
        metric: str = autoscaler["spec"]["metrics"][0]["external"]["metric"]["name"]
        rule = adapter_rule(policy, pool)
        assert rule["name"]["as"] == metric
        assert rule["metricsQuery"] == desired_replicas_query(policy, pool)
        return made["namespace"], made["name"], metric

    targets = [
        ("Deployment", "llm", "chat"),
        ("StatefulSet", "llm", "chat"),
        ("Deployment", "other", "chat"),
        ("Deployment", "llm-chat", "chat"),
        ("Deployment", "llm", "chat-chat"),
    ]
    found = [named(*target) for target in targets]

    assert len({(namespace, name) for namespace, name, _ in found}) == len(targets)
    assert len({metric for _, _, metric in found}) == len(targets)
