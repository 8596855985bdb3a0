"""Scrapes that are slow, late or interrupted: a past that promtool back-filled, seen from some moment in it."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import pytest

from aiops.model.snapshot import ModelSnapshot
from tests import parts
from tests.observe.world import look, only, policy

pytestmark = [pytest.mark.real]

SPAN_S = 900
PER_S = 2.0
"""Requests that finish a second; the engine always holds 4."""
SCRAPES = {
    "brisk": range(0, SPAN_S + 1, 15),
    "slow": range(0, SPAN_S + 1, 30),
    "minutely": range(0, SPAN_S + 1, 60),
    "stopped": range(0, SPAN_S - 149, 15),
    "forgotten": range(0, SPAN_S - 269, 15),
    "interrupted": [second for second in range(0, SPAN_S + 1, 15) if not SPAN_S - 100 < second < SPAN_S - 10],
    "begun": range(SPAN_S - 45, SPAN_S + 1, 15),
}


def open_metrics(begin_s: int) -> str:
    def lines(
        name: str, seconds: Sequence[int], namespace: str, per_s: float, least: float, more: str = ""
    ) -> list[str]:
        labels = f'{{namespace="{namespace}",pod="chat-0",instance="a",model_name="m",engine="0"{more}}}'
        return [f"{name}{labels} {least + per_s * second} {begin_s + second}" for second in seconds]

    text = []
    for name, kind, per_s, least, more in (
        ("vllm:num_requests_running", "gauge", 0.0, 3.0, ""),
        ("vllm:num_requests_waiting", "gauge", 0.0, 1.0, ""),
        ("vllm:request_success", "counter", PER_S, 100.0, ',finished_reason="stop"'),
    ):
        wire = name + ("_total" if kind == "counter" else "")
        text += [f"# TYPE {name} {kind}"]
        for namespace, seconds in SCRAPES.items():
            text += lines(wire, seconds, namespace, per_s, least, more)
    return "\n".join([*text, "# EOF", ""])


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, datetime]]:
    folder = tmp_path_factory.mktemp("scrapes")
    begin_s = int(datetime.now(UTC).timestamp()) - 3 * 3600
    (folder / "past.om").write_text(open_metrics(begin_s))
    with parts.prometheus(folder / "prometheus", [], history=[folder / "past.om"]) as url:
        yield url, datetime.fromtimestamp(begin_s + SPAN_S, UTC)


def observed(seen: tuple[str, datetime], namespace: str) -> ModelSnapshot:
    url, at = seen
    # One engine at a time: a window suits the slowest that is seen.
    return only(look(url, at, policy(namespace), window_s=60, matchers=(f'namespace="{namespace}"',)))


@pytest.mark.parametrize(
    ("namespace", "window_s"),
    [
        pytest.param("brisk", 60, id="four scrapes in a window"),
        pytest.param("slow", 120, id="two scrapes in a window: twice as long"),
        pytest.param("minutely", 240, id="one scrape in a window: four times as long"),
        pytest.param("begun", 60, id="Prometheus began a window ago"),
    ],
)
def test_a_window_has_four_scrapes(seen: tuple[str, datetime], namespace: str, window_s: float) -> None:
    demand = observed(seen, namespace).demand
    assert demand is not None
    assert demand.window.total_seconds() == pytest.approx(window_s)
    assert demand.requests_per_s == pytest.approx(PER_S, rel=0.01)


@pytest.mark.parametrize(
    ("namespace", "says"),
    [
        pytest.param("stopped", "was last scraped 150 s ago", id="no sample for two minutes and a half"),
        pytest.param("forgotten", "was scraped long ago", id="no sample for longer than is looked back"),
    ],
)
def test_scrapes_that_stopped_are_stale_and_not_idle(seen: tuple[str, datetime], namespace: str, says: str) -> None:
    model = observed(seen, namespace)
    assert says in model.blind
    assert model.demand is None


def test_an_interruption_leaves_the_engine_and_hides_its_arrivals(seen: tuple[str, datetime]) -> None:
    model = observed(seen, "interrupted")
    assert model.blind == ""
    assert model.pools[0].total("running") == 3
    assert model.demand is None
