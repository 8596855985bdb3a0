"""What the rules record: named by what it is, and by what it is kept."""

import re

import promql_parser as promql
import pytest

from tests.alerts.rules import RECORDINGS
from tests.dashboards.promql import walk

_PLACE = {"cluster", "namespace"}
_OF_LEVEL = {
    "cluster": {"cluster"},
    "namespace": _PLACE,
    "model": _PLACE | {"model_name"},
    "role": _PLACE | {"model_name", "llm_d_ai_role"},
    "pod": _PLACE | {"pod"},
    "pool": _PLACE | {"pool"},
    "inference_pool": _PLACE | {"inference_pool"},
    "endpoint": _PLACE | {"endpoint_name"},
    "gpu": {"cluster", "hostname", "gpu"},
}
_LEVEL = re.compile(rf"({'|'.join(sorted(_OF_LEVEL, key=len, reverse=True))})((?:_[a-z]+)*)")


def told_labels(record: str) -> set[str]:
    """The labels that a recorded name promises to keep, by its level."""
    level, _, _ = record.split(":")
    match = _LEVEL.fullmatch(level)
    assert match, f"{level} is no level"
    return _OF_LEVEL[match[1]] | ({match[2].removeprefix("_")} if match[2] else set())


@pytest.mark.parametrize("rule", RECORDINGS, ids=lambda rule: rule["record"])
def test_a_recorded_name_says_its_level_its_metric_and_its_operation(rule):
    level, metric, operation = rule["record"].split(":")

    assert _LEVEL.fullmatch(level)
    assert re.fullmatch(r"[a-z][a-z0-9_]+", metric)
    assert re.fullmatch(r"sum|count|avg|max|median|p25|(top|bottom)10|info|(rate|mean|ratio_rate)\d+[mhd]", operation)
    windowed = re.search(r"(rate|mean|increase)\d+[mhd]\b", f"{metric}:{operation}")
    assert bool(re.search(r"(rate|increase)\(", rule["expr"])) <= (bool(windowed) or metric.endswith("_watts"))


@pytest.mark.parametrize("rule", RECORDINGS, ids=lambda rule: rule["record"])
def test_every_aggregation_keeps_the_cluster_and_the_level_of_the_name(rule):
    aggregations = [part for part, _ in walk(promql.parse(rule["expr"])) if isinstance(part, promql.AggregateExpr)]
    # What picks some series leaves them all their labels.
    kept = [set(part.modifier.labels) for part in aggregations if str(part.op) not in ("topk", "bottomk")]

    assert all("cluster" in part.modifier.labels for part in aggregations)
    assert any(told_labels(rule["record"]) <= labels for labels in kept) or not kept
