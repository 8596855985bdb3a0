"""A past that promtool back-filled under vLLM's and the router's names, read back through a real Prometheus."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from aiops.model.demand import DemandHistory
from aiops.model.policy import PolicySet, ScalingPolicy
from aiops.observe.history import read_history, window_s
from aiops.observe.prometheus import PrometheusAccess, PrometheusClient
from tests import parts
from tests.observe.world import pd_pools, policy

STEP_S = 600
DAY_ROWS = 144
HOLE = range(60, 78)
COLUMNS = ("req_per_s", "input_tok_per_s", "output_tok_per_s")
ENGINE_NAMES = ("vllm:request_success", "vllm:prompt_tokens", "vllm:generation_tokens")


@dataclass(frozen=True)
class Past:
    url: str
    rows: list[tuple[float, ...]]
    begin_s: int

    @property
    def end(self) -> datetime:
        return datetime.fromtimestamp(self.begin_s + DAY_ROWS * STEP_S, UTC)

    def read(self, *policies: ScalingPolicy, span_h: float = 24, bin_s: int = STEP_S) -> tuple[DemandHistory, ...]:
        with PrometheusClient(PrometheusAccess(url=self.url)) as client:
            span, width = timedelta(hours=span_h), timedelta(seconds=bin_s)
            return read_history(client, PolicySet(policies), self.end, span, width)


def counter(rates: Sequence[float], begin_s: int, labels: str, hole: range = range(0)) -> list[str]:
    """A counter that grows at each row's rate for one step, as OpenMetrics lines without its name."""
    total, lines = 0.0, []
    for row, rate in enumerate([*rates, 0.0]):
        if row not in hole:
            lines.append(f"{labels} {total} {begin_s + row * STEP_S}")
        total += rate * STEP_S
    return lines


def open_metrics(rows: list[tuple[float, ...]], begin_s: int) -> str:
    columns = list(zip(*rows, strict=True))
    half = [[value / 2 for value in column] for column in columns]
    lines = []
    for name, column, less in zip(ENGINE_NAMES, columns, half, strict=True):
        model = 'model_name="m",engine="0"'
        families = [
            *counter(less, begin_s, f'{{namespace="plain",pod="chat-0",instance="a",{model}}}'),
            *counter(less, begin_s, f'{{namespace="plain",pod="chat-1",instance="b",{model}}}'),
            *counter(column, begin_s, f'{{namespace="hole",pod="chat-0",instance="c",{model}}}', HOLE),
            *counter(column, begin_s, f'{{namespace="pd",pod="chat-decode-0",instance="d",{model}}}'),
            *counter(column, begin_s, f'{{namespace="pd",pod="chat-prefill-0",instance="e",{model}}}'),
            *counter(less, begin_s, f'{{namespace="gateway",pod="chat-0",instance="f",{model}}}'),
        ]
        lines += [f"# TYPE {name} counter", *(f"{name}_total{line}" for line in families)]
    router = '{namespace="gateway",pod="epp",model_name="m",target_model_name="m"}'
    lines += ["# TYPE llm_d_epp_request counter"]
    lines += [f"llm_d_epp_request_total{line}" for line in counter(columns[0], begin_s, router, range(DAY_ROWS // 2))]
    return "\n".join([*lines, "# EOF", ""])


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    with parts.shared_data("servegen", "m-large_10min.csv").open() as file:
        rows = [tuple(float(row[name]) for name in COLUMNS) for row in list(csv.DictReader(file))[:DAY_ROWS]]
    now_s = int(datetime.now(UTC).timestamp())
    begin_s = (now_s // STEP_S - DAY_ROWS - 12) * STEP_S
    folder = tmp_path_factory.mktemp("history")
    text = folder / "past.om"
    text.write_text(open_metrics(rows, begin_s))
    with parts.prometheus(folder / "prometheus", [], history=[text]) as url:
        yield Past(url, rows, begin_s)


def columns_of(history: DemandHistory) -> tuple[tuple[float | None, ...], ...]:
    return history.requests_per_s, history.input_tok_per_s, history.output_tok_per_s


real = pytest.mark.real


@real
def test_a_day_reads_back_as_it_was(past: Past) -> None:
    (history,) = past.read(policy("plain"))

    assert history.ends_s[-1] == past.end.timestamp()
    for found, column in zip(columns_of(history), zip(*past.rows, strict=True), strict=True):
        # Scrapes ten minutes apart are read over two of them, so each bin is the mean of two rows.
        wanted = [(column[row - 2] + column[row - 1]) / 2 for row in range(2, DAY_ROWS + 1)]
        assert found[-len(wanted) :] == pytest.approx(wanted, rel=0.01)


@real
def test_bins_finer_than_the_scrapes_keep_each_hour(past: Past) -> None:
    (history,) = past.read(policy("plain"), bin_s=60)
    by_hour: dict[int, list[float]] = {}
    for end_s, rate in zip(history.ends_s, history.output_tok_per_s, strict=True):
        assert rate is not None
        by_hour.setdefault(int(end_s - 1 - past.begin_s) // 3600, []).append(rate)

    assert len(history.ends_s) > 1400
    for hour, rates in list(by_hour.items())[1:]:
        wanted = [row[2] for row in past.rows[hour * 6 : hour * 6 + 6]]
        # Read ten minutes late on average, since what happens between two scrapes is known at the second.
        assert sum(rates) / len(rates) == pytest.approx(sum(wanted) / 6, rel=0.25)
    whole = [row[2] for row in past.rows]
    found = [rate for rate in history.output_tok_per_s if rate is not None]
    assert sum(found) / len(found) == pytest.approx(sum(whole) / len(whole), rel=0.03)


@real
def test_a_hole_is_a_gap_and_not_a_zero(past: Past) -> None:
    (history,) = past.read(policy("hole"))
    inside = range(past.begin_s + (HOLE.start + 1) * STEP_S, past.begin_s + HOLE.stop * STEP_S, STEP_S)
    for column in columns_of(history):
        found = dict(zip(history.ends_s, column, strict=True))
        assert {found[float(end_s)] for end_s in inside} == {None}
        assert sum(value is None for value in column) <= len(HOLE) + 1


@real
def test_prefill_pods_count_no_request_a_second_time(past: Past) -> None:
    (both,) = past.read(policy("pd"))
    (apart,) = past.read(policy("pd", pools=pd_pools()))

    assert apart.requests_per_s[-1] == pytest.approx(past.rows[-1][0] / 2 + past.rows[-2][0] / 2, rel=0.01)
    assert both.requests_per_s[-1] == pytest.approx(2 * (apart.requests_per_s[-1] or 0), rel=0.01)


@real
def test_the_router_counts_where_it_was_there(past: Past) -> None:
    (history,) = past.read(policy("gateway"))
    requests = dict(zip(history.ends_s, history.requests_per_s, strict=True))

    def mean(row: int) -> float:
        return (past.rows[row - 2][0] + past.rows[row - 1][0]) / 2

    early, late = 20, DAY_ROWS - 20
    assert requests[past.begin_s + early * STEP_S] == pytest.approx(mean(early) / 2, rel=0.01)
    assert requests[past.begin_s + late * STEP_S] == pytest.approx(mean(late), rel=0.01)


@real
def test_nothing_there_is_nothing_and_not_zeros(past: Past) -> None:
    assert past.read(policy("plain", "stranger")) == ()
    assert [history.ref.namespace for history in past.read(policy("nowhere"), policy("plain"))] == ["plain"]


@real
def test_what_lies_before_the_first_sample_is_left_out(past: Past) -> None:
    (history,) = past.read(policy("plain"), span_h=240)
    assert history.ends_s[0] >= past.begin_s + STEP_S
    assert None not in history.requests_per_s


@pytest.mark.parametrize(
    ("pace_s", "bin_s", "wanted"),
    [
        pytest.param(15, 60, 60, id="four scrapes in a bin: the bin"),
        pytest.param(30, 60, 120, id="slower scrapes: four of them"),
        pytest.param(5, 60, 60, id="fast scrapes: the bin"),
        pytest.param(60, 60, 240, id="one scrape a minute: four of them"),
        pytest.param(600, 60, 1200, id="samples ten minutes apart: two of them"),
        pytest.param(600, 3600, 3600, id="coarse samples and coarser bins: the bin"),
    ],
)
def test_rates_are_over_enough_scrapes(pace_s: float, bin_s: int, wanted: int) -> None:
    assert window_s(pace_s, bin_s) == wanted
