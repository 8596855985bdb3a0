"""The dashboard of decisions against a real Prometheus that holds what aiops emits."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from aiops.act.emit import Emitter
from dashboards.generate import dashboards, generated
from tests import parts
from tests.dashboards.asking import ask
from tests.dashboards.checks import expressions
from tests.dashboards.emitted import CHAT, emitter_after, requests_per_s

(FILE,) = (json.loads(text) for path, text in generated().items() if path.stem == "aiops-decisions")
(SPEC,) = (dashboard for dashboard in dashboards() if dashboard.uid == "aiops-decisions")
NOT_OURS = {"Critical alerts"}  # what the rules make is shown on a world of its own
_ALWAYS = {"replica", "pool", "instance"}


@pytest.mark.real
def test_every_query_of_every_panel_answers(two_hours):
    silent = [
        (panel.title, query.expr) for panel in SPEC.panels for query in panel.queries if not ask(two_hours, query.expr)
    ]
    assert silent == []


@pytest.mark.real
def test_series_have_the_labels_that_their_legend_names(two_hours):
    nameless = [
        (panel.title, series["metric"])
        for panel in SPEC.panels
        for query in panel.queries
        for series in ask(two_hours, query.expr)
        if not set(re.findall(r"{{(\w+)}}", query.legend)) <= set(series["metric"]) | _ALWAYS
    ]
    assert nameless == []  # an empty label is dropped, and nothing was scraped that would have an instance


@pytest.mark.real
def test_variables_and_annotations_answer(two_hours):
    titles = {panel.title for panel in SPEC.panels}
    others = [(place, expr) for place, expr in expressions(FILE) if place not in titles | NOT_OURS]
    assert len(others) >= 5
    assert [place for place, expr in others if not ask(two_hours, expr)] == ["cluster"]  # `up` is a scrape's


@pytest.mark.real
def test_the_fan_shows_what_was_forecast_for_each_moment(two_hours):
    demand, low, middle, high = next(panel.queries for panel in SPEC.panels if panel.title.startswith("Requests"))
    lines = [dict(ask(two_hours, query.expr)[0]["values"]) for query in (demand, low, middle, high)]
    for at_s, value in lines[2].items():
        came = requests_per_s(datetime.fromtimestamp(at_s, UTC))
        assert float(value) == pytest.approx(came, rel=0.05), "the forecast was right, so it must lie on the demand"
        assert float(lines[0][at_s]) == pytest.approx(came, rel=0.05)
        assert float(lines[1][at_s]) < float(value) < float(lines[3][at_s])


@pytest.mark.real
def test_the_first_decision_of_a_kind_is_counted_though_increase_alone_misses_it(two_hours):
    panel = next(panel for panel in SPEC.panels if panel.title.startswith("Decisions"))
    series = next(s for s in ask(two_hours, panel.queries[0].expr, hours=2.1) if s["metric"]["direction"] == "up")
    total = ask(two_hours, 'sum(aiops_decisions_total{direction="up",reason="forecast"})', hours=2.1)[0]["values"]
    assert series["values"][0][0] == total[0][0]


@pytest.mark.real
def test_a_wanted_change_is_marked_once_and_not_while_it_lasts(two_hours):
    (marks,) = (
        annotation["expr"] for annotation in FILE["annotations"]["list"] if annotation["name"] == "More replicas wanted"
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
