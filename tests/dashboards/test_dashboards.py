"""The generated dashboards: as files, and against a real Prometheus that holds what aiops emits."""

import json
import re
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest

from aiops.act.emit import Emitter
from dashboards.generate import HERE, dashboards, generate, generated, main
from tests import parts
from tests.dashboards.checks import complaints, expressions, panels, query_complaints
from tests.dashboards.emitted import CHAT, STEP_S, emitter_after, requests_per_s, write_history
from tests.dashboards.known import known, units_in
from tests.dashboards.promql import filled_in
from tests.dashboards.units import shown_as, unit_of

FILES = {path.name: json.loads(text) for path, text in generated().items()}
SPECS = {dashboard.uid: dashboard for dashboard in dashboards()}
KNOWN = known()


@pytest.mark.parametrize("name", FILES)
def test_a_dashboard_keeps_to_the_rules(name):
    assert complaints(FILES[name], KNOWN) == []


@pytest.mark.parametrize(
    ("expr", "complaint"),
    [
        pytest.param(
            "sum(vllm:gpu_cache_usage_perc)", "an old name of vllm:kv_cache_usage_perc", id="a name of the past"
        ),
        pytest.param("sum(rate(vllm:num_preemptions[5m]))", "nobody exposes", id="a counter without its _total"),
        pytest.param("rate(vllm:iteration_tokens_total[5m])", "nobody exposes", id="a histogram called total"),
        pytest.param("sum(DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION)", "not wrapped", id="a counter that no name betrays"),
        pytest.param("sum by (pods) (vllm:num_requests_waiting)", "have no label pods", id="a label to group by"),
        pytest.param("sum(up) / on (gpu) up", "a side has no label gpu", id="a label to join on"),
        pytest.param('sum({namespace="a"})', "without a name", id="every series there is"),
        pytest.param("sum by (cluster) (vllm:cache_config_info{model_name='a'})", "has no label model_name", id="trap"),
    ],
)
def test_the_rules_for_queries_find_what_is_broken(expr, complaint):
    found = list(query_complaints(expr, KNOWN))
    assert any(complaint in one for one in found), found


@pytest.mark.parametrize(
    ("expr", "shown", "right"),
    [
        pytest.param("sum(rate(vllm:generation_tokens_total[5m]))", "suffix: tok/s", True, id="tokens a second"),
        pytest.param("sum(rate(vllm:generation_tokens_total[5m]))", "reqps", False, id="tokens are no requests"),
        pytest.param("sum(increase(vllm:generation_tokens_total[5m]))", "suffix: tok/s", False, id="growth is no rate"),
        pytest.param("sum(rate(vllm:request_queue_time_seconds_sum[5m]))", "s", False, id="seconds a second"),
        pytest.param(
            "sum(rate(vllm:request_queue_time_seconds_sum[5m])) / sum(rate(vllm:request_queue_time_seconds_count[5m]))",
            "s", True, id="a mean",
        ),
        pytest.param(
            "histogram_quantile(0.9, sum by (le) (rate(vllm:time_to_first_token_seconds_bucket[5m])))",
            "s", True, id="a quantile",
        ),
        pytest.param("sum(rate(DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION[5m]))", "watt", False, id="milliwatts"),
        pytest.param("sum(rate(DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION[5m])) / 1000", "watt", True, id="watts"),
        pytest.param("max(vllm:kv_cache_usage_perc)", "percent", False, id="_perc goes from 0 to 1"),
        pytest.param("avg(DCGM_FI_DEV_GPU_UTIL)", "percentunit", False, id="this one goes to 100"),
        pytest.param("time() - max(aiops_loop_last_success_timestamp_seconds)", "s", True, id="an age"),
        pytest.param("sum(kube_pod_status_ready)", "short", True, id="truths are counted"),
        pytest.param("sum(aiops_cost_usd_per_hour)", "currencyUSD", True, id="money"),
    ],
)  # fmt: skip
def test_a_unit_is_told_from_the_query(expr, shown, right):
    unit = unit_of(promql.parse(expr), units_in(KNOWN))
    assert unit is not None
    assert shown_as(unit, shown) is right


@pytest.mark.parametrize("path", generated(), ids=lambda path: path.name)
def test_the_committed_file_is_what_is_generated_byte_for_byte(path):
    assert path.read_bytes() == generated()[path].encode()
    assert path.stat().st_size <= 1024 * 1024, "a ConfigMap holds no more"


def test_no_file_is_left_over():
    assert {path.name for path in (HERE / "json").iterdir()} == set(FILES)


def test_uids_are_unique_and_in_the_names():
    assert len(SPECS) == len(dashboards())
    assert {f"{uid}.json" for uid in SPECS} == set(FILES)


def _spoil(change: Callable[[str], str]) -> dict[str, Any]:
    spoilt: dict[str, Any] = json.loads(change(json.dumps(FILES["aiops-decisions.json"])))
    return spoilt


def _with_panel(title: str, change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    spoilt = deepcopy(FILES["aiops-decisions.json"])
    change(next(panel for panel in panels(spoilt) if panel["title"].startswith(title)))
    return spoilt


@pytest.mark.parametrize(
    ("spoilt", "complaint"),
    [
        pytest.param(
            _spoil(lambda text: text.replace("aiops_lead_time_seconds", "aiops_lead_seconds")),
            "nobody exposes aiops_lead_seconds",
            id="a metric that nobody exposes",
        ),
        pytest.param(
            _spoil(lambda text: text.replace("sum by (le, stage)", "sum by (stage)")), "le", id="a quantile without le"
        ),
        pytest.param(
            _with_panel("Lead time", lambda panel: panel["fieldConfig"]["defaults"].update(unit="ms")),
            "shown as 'ms'",
            id="another unit",
        ),
        pytest.param(_spoil(lambda text: text.replace("horizon=", "ahead=")), "no label ahead", id="another label"),
        pytest.param(
            _spoil(lambda text: text.replace("$__rate_interval", "5m")), "fixed rate window", id="a fixed window"
        ),
        pytest.param(
            _spoil(lambda text: text.replace("max(aiops_loop_queries)", "rate(aiops_loop_queries[1m])")),
            "is a gauge",
            id="the rate of a gauge",
        ),
        pytest.param(
            _spoil(lambda text: text.replace("max(aiops_loop_queries)", "max(aiops_decisions_total)")),
            "not wrapped in a rate",
            id="a counter as it is",
        ),
        pytest.param(
            _with_panel("Cost", lambda panel: panel["gridPos"].update(x=0)), "overlaps", id="one panel upon another"
        ),
        pytest.param(
            _with_panel(
                "Cost", lambda panel: panel["fieldConfig"]["defaults"]["thresholds"]["steps"][0].update(value=0)
            ),
            "null",
            id="a threshold that begins at zero",
        ),
        pytest.param(
            _with_panel("Cost", lambda panel: panel.update(description="")), "description", id="no description"
        ),
        pytest.param(
            _with_panel("Cost", lambda panel: panel["targets"][0].update(datasource="Prometheus")),
            "data source",
            id="a data source by name",
        ),
        pytest.param(_with_panel("Cost", lambda panel: panel.update(id=1)), "same id", id="two panels with one id"),
        pytest.param(
            _with_panel("Cost", lambda panel: panel.update(span=6)), "stale key span", id="a key of Grafana 5"
        ),
        pytest.param(
            _spoil(lambda text: text.replace("sum by (kind", "sum by kind")), "Forecast ahead", id="no PromQL"
        ),
    ],
)
def test_the_rules_find_what_is_broken(spoilt, complaint):
    assert any(complaint in found for found in complaints(spoilt, KNOWN)), complaints(spoilt, KNOWN)


def test_generating_elsewhere_gives_the_same_bytes(tmp_path):
    written = generate(tmp_path / "new" / "folder")
    assert [path.read_bytes() for path in written] == [text.encode() for text in generated().values()]


def test_check_tells_a_stale_file(tmp_path, capsys):
    generate(tmp_path)
    assert main(["--check", "--out", str(tmp_path)]) == 0
    (tmp_path / "aiops-decisions.json").write_text("{}")
    assert main(["--check", "--out", str(tmp_path)]) == 1
    assert "aiops-decisions.json is out of date" in capsys.readouterr().err


def test_it_runs_as_a_program_from_any_folder(tmp_path):
    command = [sys.executable, str(HERE / "generate.py"), "--check"]
    assert subprocess.run(command, cwd=tmp_path, check=False, capture_output=True).returncode == 0


# The real Prometheus

# One to three hours ago, always at the same place in everything that repeats: whenever the tests run, the two hours
# before look the same.
ENDS = datetime.fromtimestamp(datetime.now(UTC).timestamp() // 7200 * 7200, UTC) - timedelta(hours=1)
CYCLES = 2 * 3600 // STEP_S


@pytest.fixture(scope="module")
def two_hours(tmp_path_factory) -> Iterator[str]:
    """A Prometheus with two hours of aiops' own metrics, back-filled."""
    folder = tmp_path_factory.mktemp("two-hours")
    _, scrapes = emitter_after(ENDS, CYCLES)
    with parts.prometheus(folder, [], history=[write_history(scrapes, folder / "history.txt")]) as url:
        yield url


def ask(url: str, expr: str, *, hours: float = 1.0) -> list[dict[str, Any]]:
    """The series that an expression gives over the last hours before ENDS, as Grafana would ask."""
    query = {
        "query": filled_in(expr),
        "start": (ENDS - timedelta(hours=hours)).timestamp(),
        "end": ENDS.timestamp(),
        "step": STEP_S,
    }
    answer = json.loads(parts.http_text(f"{url}/api/v1/query_range?{urllib.parse.urlencode(query)}"))
    assert answer["status"] == "success"
    found: list[dict[str, Any]] = answer["data"]["result"]
    return [series for series in found if any(value != "NaN" for _, value in series["values"])]


@pytest.mark.real
@pytest.mark.parametrize("uid", SPECS)
def test_every_query_of_every_panel_answers(two_hours, uid):
    silent = [
        (panel.title, query.expr)
        for panel in SPECS[uid].panels
        for query in panel.queries
        if not ask(two_hours, query.expr)
    ]
    assert silent == []


@pytest.mark.real
@pytest.mark.parametrize("uid", SPECS)
def test_series_have_the_labels_that_their_legend_names(two_hours, uid):
    nameless = [
        (panel.title, series["metric"])
        for panel in SPECS[uid].panels
        for query in panel.queries
        for series in ask(two_hours, query.expr)
        if not set(re.findall(r"{{(\w+)}}", query.legend)) <= set(series["metric"]) | {"replica", "pool"}
    ]
    assert nameless == []  # a replica or pool that a finding has none of is an empty label, which Prometheus drops


@pytest.mark.real
@pytest.mark.parametrize("uid", SPECS)
def test_variables_and_annotations_answer(two_hours, uid):
    titles = {panel.title for panel in SPECS[uid].panels}
    others = [(place, expr) for place, expr in expressions(FILES[f"{uid}.json"]) if place not in titles]
    assert len(others) >= 5
    assert [place for place, expr in others if not ask(two_hours, expr)] == []


@pytest.mark.real
def test_the_fan_shows_what_was_forecast_for_each_moment(two_hours):
    demand, low, middle, high = next(
        panel.queries for panel in SPECS["aiops-decisions"].panels if panel.title.startswith("Requests")
    )
    lines = [dict(ask(two_hours, query.expr)[0]["values"]) for query in (demand, low, middle, high)]
    for at_s, value in lines[2].items():
        came = requests_per_s(datetime.fromtimestamp(at_s, UTC))
        assert float(value) == pytest.approx(came, rel=0.05), "the forecast was right, so it must lie on the demand"
        assert float(lines[0][at_s]) == pytest.approx(came, rel=0.05)
        assert float(lines[1][at_s]) < float(value) < float(lines[3][at_s])


@pytest.mark.real
def test_the_first_decision_of_a_kind_is_counted_though_increase_alone_misses_it(two_hours):
    panel = next(panel for panel in SPECS["aiops-decisions"].panels if panel.title.startswith("Decisions"))
    series = next(s for s in ask(two_hours, panel.queries[0].expr, hours=2.1) if s["metric"]["direction"] == "up")
    total = ask(two_hours, 'sum(aiops_decisions_total{direction="up",reason="forecast"})', hours=2.1)[0]["values"]
    assert series["values"][0][0] == total[0][0]


@pytest.mark.real
def test_a_wanted_change_is_marked_once_and_not_while_it_lasts(two_hours):
    (marks,) = (
        annotation["expr"]
        for annotation in FILES["aiops-decisions.json"]["annotations"]["list"]
        if annotation["name"] == "More replicas wanted"
    )
    rises = ask(two_hours, "sum by (pool) (aiops_recommended_replicas > aiops_current_replicas)")
    wanted = sum(len(series["values"]) for series in rises)
    marked = sum(len(s["values"]) for s in ask(two_hours, marks) if s["metric"]["reason"] == "forecast")
    assert 0 < marked < wanted


@contextmanager
def served(emitter: Emitter) -> Iterator[int]:
    """An HTTP server on loopback that answers each request with the emitter's exposition; gives its port."""

    class Metrics(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.end_headers()
            self.wfile.write(emitter.expose())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Metrics)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.real
def test_a_real_scrape_keeps_the_labels_that_the_dashboards_choose_by(tmp_path: Path):
    emitter, _ = emitter_after(datetime.now(UTC), 90)
    with served(emitter) as port:
        target = {
            "job_name": "aiops",
            "honor_labels": True,
            "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": {"namespace": "where-aiops-runs"}}],
        }
        with parts.prometheus(tmp_path, [target]) as url:

            def labels() -> dict[str, str]:
                answer = parts.http_text(f"{url}/api/v1/query?query=aiops_current_replicas")
                metric: dict[str, str] = json.loads(answer)["data"]["result"][0]["metric"]
                return metric

            found = parts.wait_for(labels, "aiops' own metrics are scraped")
    assert isinstance(found, dict)
    assert (found["namespace"], found["model_name"]) == (CHAT.namespace, CHAT.model)
    assert {"pool", "role", "variant"} <= set(found)
