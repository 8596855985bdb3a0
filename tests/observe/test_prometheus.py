"""A Prometheus that fails: each way is one clear error, in time, and a blind snapshot."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiops.model.policy import PolicySet
from aiops.observe.observer import PrometheusObserver
from aiops.observe.prometheus import MAX_POINTS, PrometheusAccess, PrometheusClient, PrometheusError
from tests import parts
from tests.observe.world import policy, serving

AT = datetime(2026, 1, 1, tzinfo=UTC)
GOOD: dict[str, Any] = {"status": "success", "data": {"resultType": "vector", "result": []}}
ROW = {"metric": {"pod": "a"}, "value": [1767225600, "1"]}


@contextmanager
def answering(
    body: str | dict[str, Any], status: int = 200, stall_s: float = 0.0, seen: list[Any] | None = None
) -> Iterator[str]:
    """A server that gives every request the same answer; where it stalls, byte by byte."""
    text = body if isinstance(body, str) else json.dumps(body)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if seen is not None:
                seen.append((self.path, dict(self.headers)))
            self.send_response(status)
            self.send_header("Location", "https://login.example/")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            for byte in text if stall_s else ():
                time.sleep(stall_s)
                self.wfile.write(byte.encode())
                self.wfile.flush()
            self.wfile.write(b"" if stall_s else text.encode())

        def log_message(self, *_: object) -> None:
            pass

        def handle(self) -> None:
            with suppress(BrokenPipeError, ConnectionResetError):  # the client has given up, as it should
                super().handle()

    with serving(Handler) as port:
        yield f"http://127.0.0.1:{port}"


@contextmanager
def silent() -> Iterator[str]:
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def refused() -> Iterator[str]:
    yield f"http://127.0.0.1:{parts.free_port()}"


def client_of(url: str, **more: Any) -> PrometheusClient:
    settings = {"timeout_s": 0.5, "total_s": 1.5} | more
    return PrometheusClient(PrometheusAccess(url=url, **settings))


def part(name: str) -> dict[str, Any]:
    return GOOD | {"warnings": [name]}


BAD = [
    pytest.param(refused(), "cannot be reached", id="nobody listens"),
    pytest.param(silent(), "does not answer", id="it takes the connection and says nothing"),
    pytest.param(answering(GOOD, stall_s=0.3), "too slow", id="it sends a byte now and then"),
    pytest.param(answering("oops", 500), "answered 500", id="an internal error"),
    pytest.param(answering("busy", 503), "answered 503 Service Unavailable: busy", id="overload"),
    pytest.param(answering("<html>Log in</html>"), "HTML instead of JSON", id="a login page"),
    pytest.param(answering("", 302), "give that URL instead", id="a redirect"),
    pytest.param(answering("no", 401), "bearer token", id="no credentials"),
    pytest.param(answering("404 page not found", 404), "prefix", id="a wrong path"),
    pytest.param(answering("pong"), "text instead of JSON", id="something that is no Prometheus"),
    pytest.param(answering("[]"), "another shape", id="JSON that is a list"),
    pytest.param(answering({"status": "success"}), "another shape", id="JSON without data"),
    pytest.param(answering({"status": "success", "data": {"result": None}}), "another shape", id="JSON without rows"),
    pytest.param(
        answering({"status": "success", "data": {"result": [{"a": 1}]}}), "no series", id="rows of another kind"
    ),
    pytest.param(
        answering({"status": "error", "error": "too many samples"}, 422), "too many samples", id="a refused query"
    ),
    pytest.param(answering({"status": "error", "error": "hm"}), "hm", id="an error that calls itself 200"),
    pytest.param(answering(part("store 10.0.0.1 is down")), "only in part", id="an answer that lacks a store's series"),
    pytest.param(answering(json.dumps(GOOD)[:-5]), "instead of JSON", id="half a document"),
]


@pytest.mark.parametrize(("server", "says"), BAD)
def test_a_bad_answer_is_one_clear_error_in_time_and_a_blind_snapshot(server: Any, says: str) -> None:
    with server as url, client_of(url) as client:
        begun = time.monotonic()
        with pytest.raises(PrometheusError, match=says) as error:
            client.ask(dict.fromkeys(range(20), "up"), AT)
        took_s = time.monotonic() - begun
        seen = PrometheusObserver(client, lambda: PolicySet((policy("llm"),)), lambda: AT).observe()

    assert str(error.value).startswith(url)
    assert took_s < 15  # the limit is 1.5 s; one try after another for each of 20 queries would take far longer
    assert says in seen.blind
    assert [(model.ref.namespace, bool(model.blind)) for model in seen.models] == [("llm", True)]
    assert seen.models[0].pools[0].current is None


def test_the_usual_limits_tell_a_blind_command_within_15_s() -> None:
    access = PrometheusAccess(url="http://h")
    assert access.total_s <= 12  # the rest is for the program to start
    assert access.timeout_s * 2 < access.total_s


def test_a_failure_that_passes_is_asked_again() -> None:
    answers = iter([503, 503, 200])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(GOOD | {"data": {"result": [ROW]}}).encode()
            self.send_response(next(answers))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as port, client_of(f"http://127.0.0.1:{port}", total_s=10) as client:
        assert client.ask({"up": "up"}, AT)["up"][0].value == 1


def test_notes_on_style_are_no_partial_answer() -> None:
    with answering(part("PromQL info: metric might not be a counter")) as url, client_of(url) as client:
        assert client.ask({"up": "up"}, AT) == {"up": ()}


def test_a_clock_that_is_ahead_is_noticed() -> None:
    row = ROW | {"value": [0, str(time.time() + 120)]}
    with answering(GOOD | {"data": {"result": [row]}}) as url, client_of(url) as client:
        assert client.ahead_s() == pytest.approx(120, abs=3)


def test_a_server_that_tells_no_time_is_no_prometheus() -> None:
    with answering(GOOD) as url, client_of(url) as client, pytest.raises(PrometheusError, match="its time"):
        client.ahead_s()


@pytest.mark.parametrize("text", ["NaN", "+Inf", "-Inf"])
def test_what_is_no_number_is_missing(text: str) -> None:
    row = ROW | {"value": [1767225600, text]}
    with answering(GOOD | {"data": {"result": [row]}}) as url, client_of(url) as client:
        assert client.ask({"up": "up"}, AT)["up"][0].values == (None,)


@pytest.mark.parametrize(
    ("settings", "header", "value"),
    [
        pytest.param({"bearer_token": "t"}, "Authorization", "Bearer t", id="a token"),
        pytest.param({"user": "u", "password": "p"}, "Authorization", "Basic dTpw", id="a user with a password"),
        pytest.param({"tenant": "team"}, "X-Scope-OrgID", "team", id="a tenant"),
    ],
)
def test_credentials_are_sent(settings: dict[str, Any], header: str, value: str) -> None:
    seen: list[Any] = []
    with answering(GOOD, seen=seen) as url, client_of(url, **settings) as client:
        client.ask({"up": "up"}, AT)
    assert seen[0][1][header] == value


@pytest.mark.parametrize(
    ("way", "sent"),
    [
        pytest.param("bearer_token_file", ["Bearer one", "Bearer two"], id="a token"),
        pytest.param("password_file", ["Basic dTpvbmU=", "Basic dTp0d28="], id="a password"),
    ],
)
def test_a_file_with_a_secret_is_read_anew_and_told_when_it_is_gone(way: str, sent: list[str], tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    seen: list[Any] = []
    settings: dict[str, Any] = {way: secret} | ({"user": "u"} if way == "password_file" else {})
    with answering(GOOD, seen=seen) as url, client_of(url, **settings) as client:
        for text in ("one", "two\n"):
            secret.write_text(text)
            client.ask({"up": "up"}, AT)
        secret.unlink()
        with pytest.raises(PrometheusError, match="secret"):
            client.ask({"up": "up"}, AT)
    assert [headers["Authorization"] for _, headers in seen] == sent


def test_credentials_are_never_shown() -> None:
    access = PrometheusAccess(url="http://me:secret@127.0.0.1:1/prom/", password="hush")  # noqa: S106  # nobody's
    assert "hush" not in repr(access)
    with PrometheusClient(access) as client, pytest.raises(PrometheusError) as error:
        client.ask({"up": "up"}, AT)
    assert "secret" not in str(error.value)
    assert "http://127.0.0.1:1/prom" in str(error.value)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        pytest.param({"url": "localhost:9090"}, "write http://", id="a URL without its scheme"),
        pytest.param({"matchers": ("cluster=a",)}, "no label matcher", id="a matcher without quotes"),
        pytest.param({"matchers": ('a="b"} or vector(1',)}, "no label matcher", id="a matcher that is more"),
        pytest.param({"bearer_token": "t", "user": "u"}, "not several", id="two ways to log in"),
        pytest.param({"password_file": Path("p")}, "of which user", id="a password of nobody"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        PrometheusAccess(**({"url": "http://h"} | settings))


@given(points=st.integers(1, 3 * MAX_POINTS + 7), step_s=st.sampled_from([1, 15, 60]))
def test_pieces_of_a_range_cover_each_moment_once(points: int, step_s: int) -> None:
    asked: list[tuple[int, int]] = []

    class Recording(PrometheusClient):
        def _all(self, calls: Any, deadline: float) -> Any:
            asked.extend(span for _, span in calls)
            return dict.fromkeys(calls, ())

    start = int(AT.timestamp())
    end = start + (points - 1) * step_s
    with Recording(PrometheusAccess(url="http://h")) as client:
        client.ask_range({"up": "up"}, AT, datetime.fromtimestamp(end, UTC), step_s)
    moments = [moment for begin, finish in asked for moment in range(begin, finish + 1, step_s)]
    assert moments == list(range(start, end + 1, step_s))
    assert all((finish - begin) // step_s < MAX_POINTS for begin, finish in asked)
