"""Who is told of which alert, and what is muted meanwhile."""

import json
import re
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import parts
from tests.alerts.rules import ALERT_RULES, ALERTS, RULE_FILES
from tests.dashboards.known import known, labels_in
from tests.dashboards.labels import label_names

TEXT = (ALERTS / "alertmanager.yaml").read_text()
CONFIG: dict[str, Any] = yaml.safe_load(TEXT)
INHIBITIONS: list[dict[str, Any]] = CONFIG["inhibit_rules"]


def told(*command: str | Path) -> str:
    """Run a program that must succeed, from the folder of the alerts; give all it printed."""
    done = subprocess.run(command, cwd=ALERTS, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.real
def test_alertmanager_takes_its_configuration():
    assert "SUCCESS" in told(parts.require("amtool", "prometheus-alertmanager"), "check-config", "alertmanager.yaml")


@pytest.mark.real
@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        pytest.param(("team=aiops", "severity=critical"), "pagerduty,slack", id="critical pages one and tells all"),
        pytest.param(("team=aiops", "severity=warning"), "slack", id="a warning tells all"),
        pytest.param(("team=aiops", "severity=info"), "records", id="info is kept"),
        pytest.param(
            ("team=aiops", "severity=none", "alertname=AiopsWatchdog"), "dead-mans-switch", id="the watchdog is no news"
        ),
        pytest.param(("team=payments", "severity=critical"), "slack", id="alerts of others page nobody"),
    ],
)
def test_an_alert_reaches_whom_it_should(labels, receivers):
    amtool = parts.require("amtool", "prometheus-alertmanager")
    verify = f"--verify.receivers={receivers}"
    told(amtool, "config", "routes", "test", "--config.file=alertmanager.yaml", verify, *labels)


def test_every_receiver_is_reached_and_every_severity_has_a_route():
    routes = CONFIG["route"]["routes"]

    assert {route["receiver"] for route in routes} == {receiver["name"] for receiver in CONFIG["receivers"]}
    severities = {rule["labels"]["severity"] for rule in ALERT_RULES.values()} - {"none", "{{ $labels.severity }}"}
    assert severities == {"critical", "warning", "info"}


def test_secrets_are_in_files():
    assert not re.search(r"\b(api_url|routing_key|service_key|bearer_token|password|credentials):", TEXT)
    assert len(re.findall(r"_file: /etc/alertmanager/secrets/", TEXT)) == len(CONFIG["receivers"])


def matched(matchers: list[str]) -> set[str]:
    """The alerts that ship which these matchers take, by their name and severity."""
    found = set()
    for name, rule in ALERT_RULES.items():
        labels = {"alertname": name, **rule["labels"]}
        labels["severity"] = labels["severity"] if "$" not in labels["severity"] else "critical"
        if all(_matches(matcher, labels) for matcher in matchers):
            found.add(name)
    return found


def _matches(matcher: str, labels: Mapping[str, str]) -> bool:
    label, op, value = re.fullmatch(r'(\w+)(=~|=)"(.*)"', matcher).groups()  # type: ignore[union-attr]
    return bool(re.fullmatch(value if op == "=~" else re.escape(value), labels.get(label, "")))


@pytest.mark.parametrize("inhibition", INHIBITIONS, ids=lambda one: one["source_matchers"][0])
def test_what_mutes_others_is_there_and_has_all_labels_that_must_be_equal(inhibition):
    sources, targets = matched(inhibition["source_matchers"]), matched(inhibition["target_matchers"])

    assert sources
    assert targets - sources
    assert "AiopsWatchdog" not in targets
    for name in sources | targets:
        labels = label_names(ALERT_RULES[name]["expr"], labels_in(known())) | set(ALERT_RULES[name]["labels"])
        assert set(inhibition["equal"]) <= labels, f"{name} lacks what it is held equal by"


def test_no_page_is_muted_but_by_what_is_its_cause():
    muted = {
        (source, target)
        for inhibition in INHIBITIONS
        for target in matched(inhibition["target_matchers"])
        for source in matched(inhibition["source_matchers"])
        if ALERT_RULES[target]["labels"]["severity"] == "critical"
    }

    assert muted == {("AiopsBlind", "TokenFactoryScaleUpStuck")}


# --- the real thing ---

_FOUND = 'aiops_detection_active{{namespace="{}",model_name="{}",pool="{}",replica="{}",kind="{}",severity="{}"}} 1\n'
_SEEN = '{}{{namespace="llm",model_name="seen"}} {}\n'
_FINDINGS = (
    ("llm", "seen", "llm/seen", "", "saturation", "warning"),
    ("llm", "lost", "llm/lost", "", "saturation", "warning"),
    ("llm", "lost", "", "", "blind", "critical"),
    ("llm", "half", "llm/half", "", "saturation", "warning"),
    ("llm", "half", "", "", "blind", "warning"),
    ("lab", "lost", "lab/lost", "a", "cold_cache", "info"),
)
_SHARES = {
    "model:ttft_all:rate5m": 3, "model:ttft_late:rate5m": 2.7, "model:ttft_late:ratio_rate5m": 0.9,
    "model:ttft_late:ratio_rate1h": 0.9, "model:ttft_late:ratio_rate2h": 0.9, "model:ttft_late:ratio_rate1d": 0.4,
    "model:itl_all:rate5m": 300, "model:itl_late:rate5m": 120, "model:itl_late:ratio_rate2h": 0.4,
    "model:itl_late:ratio_rate1d": 0.4,
}  # fmt: skip
_SERIES = (
    'aiops_loop_last_success_timestamp_seconds{namespace="aiops",job="aiops"} 9e9\n'
    'aiops_loop_interval_seconds{namespace="aiops",job="aiops"} 15\n'
    + "".join(_FOUND.format(*finding) for finding in _FINDINGS)
    + "".join(_SEEN.format(name, value) for name, value in _SHARES.items())
)
Told = tuple[str, str, str]
"""A receiver, an alert, and the model or empty."""


class _Hearing:
    """A server that is scraped for the series above, and keeps what it is told by webhook."""

    def __init__(self) -> None:
        self.heard: set[Told] = set()
        hearing = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(_SERIES.encode())

            def do_POST(self) -> None:
                document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver = self.path.strip("/")
                for alert in document["alerts"]:
                    labels = alert["labels"]
                    hearing.heard.add((receiver, labels["alertname"], labels.get("model_name", "")))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"


@contextmanager
def hearing() -> Iterator[_Hearing]:
    made = _Hearing()
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()
        thread.join(10)


def impatient(route: dict[str, Any]) -> dict[str, Any]:
    """A route that waits for nothing."""
    times = dict.fromkeys(("group_wait", "group_interval"), "1s")
    return {**route, **times, "routes": [impatient(one) for one in route.get("routes", [])]}


def alerts_at_once(path: Path) -> Path:
    """The alerts that ship, without the time that they wait; their recordings are in the series already.

    Those of what is absent wait for a moment: rules are evaluated before anything was scraped, too.
    """
    alerts = []
    for file in RULE_FILES:
        for group in yaml.safe_load(file.read_text())["groups"]:
            shipped = [rule for rule in group["rules"] if "alert" in rule]
            alerts += [
                {**rule, "for": "5s" if "absent(" in rule["expr"] else "0s", "keep_firing_for": "0s"}
                for rule in shipped
            ]
    path.write_text(yaml.safe_dump({"groups": [{"name": "all", "interval": "1s", "rules": alerts}]}))
    return path


@pytest.mark.real
@pytest.mark.slow
def test_a_real_alertmanager_tells_whom_it_should_and_mutes_what_follows_from_what_it_told(tmp_path):
    with hearing() as heard:
        receivers = [
            {"name": receiver["name"], "webhook_configs": [{"url": f"http://{heard.address}/{receiver['name']}"}]}
            for receiver in CONFIG["receivers"]
        ]
        config = {**CONFIG, "route": impatient(CONFIG["route"]), "receivers": receivers}
        scrape = {"job_name": "test", "honor_labels": True, "static_configs": [{"targets": [heard.address]}]}
        rules = alerts_at_once(tmp_path / "rules.yaml")
        with (
            parts.alertmanager(tmp_path / "alertmanager", config) as alertmanager,
            parts.prometheus(tmp_path / "prometheus", [scrape], rules=[rules], alertmanager=alertmanager),
        ):
            wanted: set[Told] = {
                ("pagerduty", "AiopsBlind", "lost"),
                ("slack", "AiopsBlind", "lost"),
                ("slack", "AiopsBlind", "half"),
                ("slack", "TokenFactorySaturated", "seen"),
                ("slack", "TokenFactorySaturated", "half"),
                ("pagerduty", "TokenFactoryTTFTBurnFast", "seen"),
                ("slack", "TokenFactoryTTFTBurnFast", "seen"),
                ("slack", "TokenFactoryITLBurnSlow", "seen"),
                ("records", "TokenFactoryColdCache", "lost"),
                ("dead-mans-switch", "AiopsWatchdog", ""),
            }

            def told_of_all() -> bool:
                if wanted <= heard.heard:
                    return True
                raise ValueError(f"not told: {wanted - heard.heard}")

            parts.wait_for(told_of_all, "all are told of")

            def suppressed() -> set[tuple[str, str]]:
                listed = json.loads(parts.http_text(f"http://{alertmanager}/api/v2/alerts"))
                return {
                    (one["labels"]["alertname"], one["labels"].get("model_name", ""))
                    for one in listed
                    if one["status"]["inhibitedBy"]
                }

            muted = {("TokenFactorySaturated", "lost"), ("TokenFactoryTTFTBurnSlow", "seen")}
            parts.wait_for(lambda: suppressed() == muted, "what follows is muted, and nothing else")

    assert heard.heard == wanted
