"""The checks of the rules, checked: a rule that is spoilt is found out."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests import parts
from tests.alerts.rules import ALERTS, RULE_FILES
from tests.alerts.test_recordings import told_labels
from tests.dashboards.checks import query_complaints
from tests.dashboards.known import known, labels_in
from tests.dashboards.labels import label_names

TEXTS = {path.name: path.read_text() for path in RULE_FILES}


def spoilt(name: str, old: str, new: str) -> str:
    """A rule file with one place changed."""
    assert TEXTS[name].count(old) == 1, f"{old!r} is not once in {name}"
    return TEXTS[name].replace(old, new)


def exprs(text: str) -> list[str]:
    return [rule["expr"] for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


@pytest.mark.parametrize(
    ("name", "old", "new", "complaint"),
    [
        pytest.param(
            "token-factory.rules.yaml", "max by (cluster, namespace, pod) (up == 0)", "max by (cluster) (ups == 0)",
            "nobody exposes ups", id="a metric that nobody exposes",
        ),
        pytest.param(
            "fleet.rules.yaml", "(vllm:kv_cache_usage_perc)\n      - record: role:vllm_kv_cache_usage:max",
            "(vllm:gpu_cache_usage_perc)\n      - record: role:vllm_kv_cache_usage:max",
            "is an old name of vllm:kv_cache_usage_perc", id="a name of the past",
        ),
        pytest.param(
            "fleet.rules.yaml", "(rate(vllm:num_preemptions_total[5m]))", "(vllm:num_preemptions_total)",
            "is a counter and is not wrapped in a rate", id="a counter as it is",
        ),
        pytest.param(
            "fleet.rules.yaml", "sum by (cluster) (kube_node_status_allocatable{resource=",
            "sum by (cluster) (kube_node_status_allocatable{kind=", "has no label kind", id="another label",
        ),
    ],
)  # fmt: skip
def test_a_query_that_can_find_nothing_is_found_out(name, old, new, complaint):
    found = [one for expr in exprs(spoilt(name, old, new)) for one in query_complaints(expr, known())]

    assert any(complaint in one for one in found)


def test_a_histogram_that_loses_its_bounds_is_found_out():
    text = re.sub(
        r"(llm_d_ai_role), le\) \(rate\(vllm:inter_token", r"\1) (rate(vllm:inter_token", TEXTS["fleet.rules.yaml"]
    )
    rules = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    record, expr = next(
        (rule["record"], rule["expr"])
        for rule in rules
        if rule["record"] == "role_le:vllm_inter_token_latency_seconds_bucket:rate5m"
    )

    assert told_labels(record) - label_names(expr, labels_in(known())) == {"le"}


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize(
    ("alert", "old", "new"),
    [
        pytest.param("GPUThermalThrottling", " / 1e9", "", id="nanoseconds for seconds"),
        pytest.param("GPUThermalThrottling", "> 88", "> 361", id="kelvin for degrees"),
        pytest.param("TokenFactoryTTFTBurnFast", 'le="2.5"', 'le="2500"', id="milliseconds for seconds"),
        pytest.param("TokenFactoryTTFTBurnFast", "(\\\\.0)?", ".0", id="bounds as Prometheus 3 alone stores them"),
        pytest.param("TokenFactoryStartSlow", ") 2 * pool:", ") 2 / 60 * pool:", id="minutes for seconds"),
        pytest.param("TokenFactoryRouterRefusing", "> 0.05", "> 5", id="percent for a share"),
        pytest.param("AiopsCapped", "for: 30m", "for: 30s", id="half a minute for half an hour"),
        pytest.param("AiopsCapped", '!="observe"', '!=""', id="in a mode in which nothing is asked for"),
    ],
)
def test_a_threshold_that_is_off_fails_its_tests(tmp_path: Path, alert: str, old: str, new: str) -> None:
    promtool = parts.require("promtool", "prometheus")
    (tmp_path / "tests").mkdir()
    for file in RULE_FILES:
        shutil.copy(file, tmp_path)
    test = tmp_path / "tests" / f"{alert}.test.yaml"
    shutil.copy(ALERTS / "tests" / test.name, test)
    whole = subprocess.run([promtool, "test", "rules", test], check=False, capture_output=True, text=True)
    for name, text in TEXTS.items():
        if f"alert: {alert}" in text:
            assert old in text
            (tmp_path / name).write_text(text.replace(old, new))
    broken = subprocess.run([promtool, "test", "rules", test], check=False, capture_output=True, text=True)

    assert (whole.returncode, broken.returncode) == (0, 1), broken.stdout + broken.stderr
