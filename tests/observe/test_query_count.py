"""The number of queries a cycle does not depend on what is served."""

from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests import parts
from tests.observe.world import engine_page, exporter, look, now, policy, target

pytestmark = [pytest.mark.real, pytest.mark.slow]

SIZES = (1, 10, 100)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with exporter() as served:
        for size in SIZES:
            served.pages[f"fleet-{size}"] = "".join(
                engine_page(model=f"m{n}", namespace="llm", pod=f"pod-{n}-{replica}")
                for n in range(size)
                for replica in range(4)
            )
        targets = [target(served.port, f"fleet-{size}", fleet=str(size)) for size in SIZES]
        jobs: list[dict[str, object]] = [{"job_name": "vllm", "honor_labels": True, "static_configs": targets}]
        with parts.prometheus(tmp_path_factory.mktemp("queries"), jobs) as url:
            yield url


def answered(url: str) -> float:
    """Queries that Prometheus has answered, by its own count."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(parts.http_text(f"{url}/metrics"))
        for sample in family.samples
        if sample.name == "prometheus_http_requests_total" and sample.labels["handler"] == "/api/v1/query"
    )


def asked(url: str, size: int) -> tuple[int, int]:
    """Queries that one look at a fleet takes, and the models it sees."""
    before = answered(url)
    policies = [policy("llm", f"m{n}") for n in range(size)]
    seen = look(url, now(), *policies, matchers=(f'fleet="{size}"',))
    assert answered(url) - before == seen.queries
    return seen.queries, sum(not model.blind for model in seen.models)


def test_one_ten_and_a_hundred_models_take_as_many_queries(url: str) -> None:
    taken = set()

    def every_model_is_seen() -> bool:
        found = [asked(url, size) for size in SIZES]
        taken.update(queries for queries, _ in found)
        return [models for _, models in found] == list(SIZES)

    # A busy machine may miss a scrape, and then a look is rightly blind: what it asked counts all the same.
    parts.wait_for(every_model_is_seen, "all models are seen", 60)
    assert len(taken) == 1


def test_a_prometheus_without_engines_takes_as_many_too(url: str) -> None:
    nothing = look(url, now(), policy("llm"), matchers=('fleet="none"',))
    assert nothing.queries == asked(url, 1)[0]
    assert "no series" in nothing.models[0].blind
