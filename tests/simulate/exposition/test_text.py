import pytest
from prometheus_client.parser import text_string_to_metric_families

from aiops.simulate.exposition.text import family, go_bound, page
from aiops.simulate.histogram import Histogram


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("meta-llama/Llama-3.3-70B", id="a model's name stays as it is"),
        pytest.param('a "quoted" name', id="quotes are escaped"),
        pytest.param("back\\slash", id="a backslash is escaped"),
        pytest.param("two\nlines", id="a line break is escaped"),
        pytest.param("", id="an empty value is a value"),
    ],
)
def test_a_label_comes_back_as_it_was(value: str) -> None:
    text = page(family("some_gauge", "gauge", "Meaning.", [({"name": value, "other": "x"}, 2.5)]))
    (found,) = text_string_to_metric_families(text)
    (sample,) = found.samples
    assert (sample.labels, sample.value) == ({"name": value, "other": "x"}, 2.5)
    assert (found.name, found.type, found.documentation) == ("some_gauge", "gauge", "Meaning.")


def test_a_histogram_is_cumulative_and_ends_with_all() -> None:
    histogram = Histogram((0.5, 1.0, 2048.0))
    histogram.counts, histogram.sum = [3, 0, 2, 1], 5000.0
    text = page(family("waits_seconds", "histogram", "Waits.", [({}, histogram)]))
    (found,) = text_string_to_metric_families(text)
    buckets = {sample.labels["le"]: sample.value for sample in found.samples if sample.name.endswith("_bucket")}
    assert buckets == {"0.5": 3, "1": 3, "2048": 5, "+Inf": 6}
    assert {sample.name: sample.value for sample in found.samples[4:]} == {
        "waits_seconds_count": 6,
        "waits_seconds_sum": 5000.0,
    }


def test_a_family_without_samples_is_not_there() -> None:
    assert list(family("nothing", "gauge", "Nothing.", [])) == []


@pytest.mark.parametrize(
    ("bound", "written"),
    [
        pytest.param(1.0, "1", id="a whole number has no fraction"),
        pytest.param(0.00205, "0.00205", id="a fraction stays"),
        pytest.param(1048576.0, "1048576", id="a large number has no exponent"),
    ],
)
def test_bounds_are_written_as_in_go(bound: float, written: str) -> None:
    assert go_bound(bound) == written
