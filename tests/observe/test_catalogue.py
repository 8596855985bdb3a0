"""The catalogue against recorded scrapes, and the query texts against the catalogue."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from prometheus_client import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

from aiops.observe import queries
from aiops.observe.catalogue import CACHE_CONFIG, HISTOGRAM_PARTS, MetricType, any_of, catalogue
from tests.observe.scenarios import recorded

ROOM = Path(queries.__file__).parent
MATCHER = 'cluster="a"'


def families() -> dict[str, Family]:
    return {family.name: family for family in text_string_to_metric_families(recorded("saturated"))}


def selectors(expression: Any) -> Iterator[Any]:
    if isinstance(expression, promql_parser.VectorSelector):
        yield expression
    for name in ("expr", "lhs", "rhs", "vector_selector", "args"):
        parts = getattr(expression, name, [])
        for part in parts if isinstance(parts, list) else [parts]:
            yield from selectors(part)


def texts(*matchers: str) -> list[str]:
    groups = (queries.now(matchers, 240), queries.over(matchers, 60), queries.past(matchers, 60))
    return [text for group in groups for text in group.values()] + [queries.scrapes(matchers, 60)]


def test_each_name_stands_once() -> None:
    names = [name for metric in catalogue().metrics for name in metric.names]
    assert len(names) == len(set(names))


def test_recorded_engine_has_each_metric_as_the_catalogue_says() -> None:
    found = families()
    checked = 0
    for metric in catalogue().of("vllm"):
        family = found.get(metric.name.removesuffix("_total") if metric.type is MetricType.COUNTER else metric.name)
        if family is None or not family.samples:
            continue
        checked += 1
        labels = {label for sample in family.samples for label in sample.labels if label != "le"}
        assert family.type == metric.type, metric.name
        assert set(metric.labels) <= labels, metric.name
        # The labels of cache_config are a whole configuration.
        assert metric == CACHE_CONFIG or labels == set(metric.labels), metric.name
    assert checked > 30


def test_every_metric_of_a_recorded_engine_is_in_it() -> None:
    names = [name for name in families() if name.startswith("vllm:") and not name.endswith("_created")]
    assert [name for name in names if not catalogue().find(name) and not catalogue().find(f"{name}_total")] == []


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        pytest.param("vllm:gpu_cache_usage_perc", "vllm:kv_cache_usage_perc", id="by an old name"),
        pytest.param("vllm:time_to_first_token_seconds_bucket", "vllm:time_to_first_token_seconds", id="by a bucket"),
        pytest.param("inference_pool_ready_pods", "llm_d_epp_ready_endpoints", id="by a router's old name"),
    ],
)
def test_a_metric_is_found(name: str, metric: str) -> None:
    found = catalogue().find(name)
    assert found is not None
    assert found.name == metric


def test_what_is_no_metric_is_not_found() -> None:
    assert catalogue().find("vllm:num_requests_swapped_off_the_table") is None
    assert catalogue().find("vllm:num_requests_running_bucket") is None


def test_a_histogram_has_no_series_of_its_own_name() -> None:
    with pytest.raises(ValueError, match="no part"):
        catalogue().by_id["ttft"].series()
    with pytest.raises(ValueError, match="no part"):
        catalogue().by_id["running"].series("_bucket")


@pytest.mark.parametrize("text", texts(MATCHER))
def test_every_selector_has_the_extra_matcher_and_a_known_metric(text: str) -> None:
    found = list(selectors(promql_parser.parse(text)))
    assert found
    for selector in found:
        matchers = {matcher.name: matcher.value for matcher in selector.matchers.matchers}
        assert matchers["cluster"] == "a"
        names = [selector.name] if selector.name else matchers["__name__"].split("|")
        assert all(catalogue().find(name) for name in names)


def test_a_histogram_is_always_asked_for_by_its_parts_and_a_counter_by_its_growth() -> None:
    for text in texts():
        for selector in selectors(promql_parser.parse(text)):
            metric = catalogue().find(selector.name or "")
            if metric is not None and metric.type is MetricType.HISTOGRAM:
                assert selector.name.endswith(HISTOGRAM_PARTS)
            if metric is not None and metric.type is MetricType.COUNTER:
                assert any(
                    f"{function}({selector.name}" in text for function in ("increase", "rate", "count_over_time")
                )


def test_several_names_are_one_selector() -> None:
    assert any_of(["a", "b"], [MATCHER]) == '{__name__=~"a|b",cluster="a"}'


def test_no_other_file_of_the_room_spells_a_metric_out() -> None:
    names = [name for metric in catalogue().metrics for name in metric.names if len(name) > len("up")]
    for path in ROOM.glob("*.py"):
        strings = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
        spelled = [name for name in names for text in strings if isinstance(text, str) and name in text]
        assert spelled == [] or path.name == "catalogue.py", path.name


@pytest.mark.parametrize("name", ["ttft", "itl"])
def test_bucket_bounds_are_those_of_the_recorded_engine(name: str) -> None:
    metric = catalogue().by_id[name]
    samples = families()[metric.name].samples
    bounds = {float(sample.labels["le"]) for sample in samples if "le" in sample.labels}
    assert bounds == {*metric.buckets, float("inf")}
