"""Burn rates of objectives: at which bounds they are measured, of which models, and when they fire."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from aiops.model.policy import PolicySet
from aiops.observe.catalogue import GATEWAY_TTFT, ITL, TTFT
from aiops.observe.objective_rules import nearest_bound, objective_groups, snapped_bounds
from aiops.observe.policies import read_policies
from aiops.simulate.exposition import gateway
from aiops.simulate.histogram import ITL_S, TTFT_S
from tests import parts

_CHAT = """\
metadata: {name: chat, namespace: llm}
spec:
  model: chat
  objectives: {ttft: {p95: 1s}, itl: {p95: 50ms}}
  pools: [{name: chat, target: {name: chat}, variant: h100}]
variants: {h100: {}}
---
metadata: {name: batch, namespace: llm}
spec:
  model: org/batch-3.1
  adapters: [tuned]
  objectives: {ttft: {p90: 40s}, itl: {p95: 50ms}}
  pools: [{name: batch, target: {name: batch}, variant: h100}]
"""


@pytest.fixture
def two(tmp_path: Path) -> PolicySet:
    """A chat model that promises 1 s, and a batch model that promises 40 s; both 50 ms from token to token."""
    file = tmp_path / "policies.yaml"
    file.write_text(_CHAT)
    return read_policies([file])


def rules(policies: PolicySet, **more: float) -> list[dict[str, Any]]:
    return [rule for group in objective_groups(policies, **more) for rule in group["rules"]]  # type: ignore[attr-defined]


def alerts(policies: PolicySet, name: str) -> list[dict[str, Any]]:
    return [rule for rule in rules(policies) if rule.get("alert") == name]


@pytest.mark.parametrize(
    ("bound_s", "bounds_s", "nearest_s"),
    [
        pytest.param(2.5, TTFT.buckets, 2.5, id="one that is there"),
        pytest.param(2.0, TTFT.buckets, 2.5, id="vLLM has no 2 s"),
        pytest.param(2.5, GATEWAY_TTFT.buckets, 3.0, id="the router has no 2.5 s, and 3 is nearer to it than 2"),
        pytest.param(0.001, ITL.buckets, 0.01, id="below all of them"),
        pytest.param(9999.0, GATEWAY_TTFT.buckets, 120.0, id="above all of them"),
        pytest.param(2.0, (1.0, 4.0), 4.0, id="of two as near the one that alarms later"),
    ],
)
def test_an_objective_is_measured_at_the_nearest_bound(bound_s, bounds_s, nearest_s):
    assert nearest_bound(bound_s, bounds_s) == nearest_s


@given(st.floats(0.001, 5000))
def test_no_bound_is_nearer_than_the_nearest(bound_s):
    ratio = {one: max(one / bound_s, bound_s / one) for one in TTFT.buckets}

    assert ratio[nearest_bound(bound_s, TTFT.buckets)] == min(ratio.values())


def test_the_bounds_are_those_that_engines_and_router_have():
    assert (TTFT.buckets, ITL.buckets, GATEWAY_TTFT.buckets) == (TTFT_S, ITL_S, gateway._TTFT_S)


def test_what_is_measured_elsewhere_than_promised_is_told(two):
    told = {(one.slo, one.models): one for one in snapped_bounds(two)}

    assert {key: (one.engine_s, one.router_s, one.exact) for key, one in told.items()} == {
        ("ttft", ("llm/chat",)): (1.0, 1.0, True),
        ("ttft", ("llm/org/batch-3.1",)): (40.0, 45.0, False),
        ("itl", ("llm/chat", "llm/org/batch-3.1")): (0.05, None, True),
    }


def test_without_policies_the_default_objectives_are_everybodys():
    assert {(one.slo, one.models, one.bound_s) for one in snapped_bounds(PolicySet())} == {
        ("ttft", (), 2.5),
        ("itl", (), 0.05),
    }
    assert all("model_name=" not in rule["expr"] for rule in rules(PolicySet()))


def test_bounds_are_matched_as_either_prometheus_stores_them(two):
    exprs = "\n".join(rule["expr"] for rule in rules(two))

    assert r'le=~"45(\\.0)?"' in exprs
    assert r'le=~"1(\\.0)?"' in exprs
    assert 'le="0.05"' in exprs


def test_models_that_promise_the_same_share_their_rules_and_others_have_their_own(two):
    batch, chat = alerts(two, "TokenFactoryTTFTBurnFast")
    (both,) = alerts(two, "TokenFactoryITLBurnFast")

    assert 'namespace="llm", model_name="chat"' in chat["expr"]
    assert r'namespace="llm", model_name=~"org/batch-3\\.1|tuned"' in batch["expr"]
    assert r'model_name=~"chat|org/batch-3\\.1|tuned"' in both["expr"]
    assert "later than 1s" in chat["annotations"]["summary"]
    assert "counted at 45 s where a router measures it, else at 40 s" in batch["annotations"]["description"]


@pytest.mark.parametrize(
    ("availability", "fast"),
    [
        pytest.param(0.999, "> 0.0144 ", id="a thousandth may fail, 14.4 times that is too fast"),
        pytest.param(0.9, "> 0.55 ", id="where a tenth may fail, 14.4 times that cannot be"),
    ],
)
def test_a_share_that_is_too_much_is_one_that_can_be(availability, fast):
    (rule,) = [r for r in rules(PolicySet(), availability=availability) if "AvailabilityBurnFast" in r.get("alert", "")]

    assert fast in rule["expr"]


_SERIES = 'vllm:time_to_first_token_seconds_{}{{namespace="llm",model_name="{}",pod="{}-0"{}}}'


@pytest.mark.real
def test_the_same_latency_breaks_one_promise_and_keeps_the_other(tmp_path, two):
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": objective_groups(two)}))
    series = []
    for model in ("chat", "org/batch-3.1", "somebody-elses"):
        for part, le, per_scrape in (("count", "", 60), ("bucket", ',le="1.0"', 6), ("bucket", ',le="40.0"', 60)):
            name = _SERIES.format(part, model, model.rpartition("/")[2], le)
            series.append({"series": name, "values": f"0+{per_scrape}x60"})
    summary = {"summary": "90% of the first tokens of chat come later than 1s"}
    rest = alerts(two, "TokenFactoryTTFTBurnFast")[1]["annotations"]
    fired = {
        "exp_labels": {
            "namespace": "llm",
            "model_name": "chat",
            "slo": "ttft",
            "severity": "critical",
            "team": "aiops",
        },
        "exp_annotations": {**rest, **summary},
    }
    case = {"eval_time": "20m", "alertname": "TokenFactoryTTFTBurnFast", "exp_alerts": [fired]}
    test = {"interval": "30s", "input_series": series, "alert_rule_test": [case]}
    document = {"rule_files": ["rules.yaml"], "evaluation_interval": "30s", "tests": [test]}
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(document))

    done = subprocess.run(
        [parts.require("promtool", "prometheus"), "test", "rules", str(tmp_path / "test.yaml")],
        check=False, capture_output=True, text=True,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
