"""What comes of an API server that misbehaves, and of credentials that are not there."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from aiops.observe.kubernetes import (
    AccessError,
    ForbiddenError,
    KubernetesAccess,
    KubernetesError,
    NotFoundError,
    Resource,
    connect,
)

PODS = Resource("", "v1", "pods")
PAGE = {"metadata": {}, "items": [{"a": 1}]}


class Answer:
    """One answer of a server that does as it is told."""

    def __init__(self, status: int, body: object, **headers: str) -> None:
        self.status = status
        self.body = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@contextmanager
def server(*answers: Answer) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Gives the answers in turn, the last one for ever; and its URL, and what it was asked with which credentials."""
    asked: list[tuple[str, str]] = []

    class Told(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked.append((self.path, self.headers.get("Authorization", "")))
            answer = answers[min(len(asked), len(answers)) - 1]
            self.send_response(answer.status)
            for name, value in ({"Content-Length": str(len(answer.body))} | answer.headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: object) -> None:
            """No line a request."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Told) as listening:
        listening.daemon_threads = True
        threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_address[1]}", asked
        listening.shutdown()


def kubeconfig(folder: Path, url: str, token: str = "good") -> Path:  # noqa: S107  # it opens nothing
    stated = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "one", "cluster": {"server": url}}],
        "users": [{"name": "one", "user": {"token": token}}],
        "contexts": [{"name": "one", "context": {"cluster": "one", "user": "one"}}],
        "current-context": "one",
    }
    path = folder / "config"
    path.write_text(yaml.safe_dump(stated))
    return path


def listed(access: KubernetesAccess, total_s: float = 5.0, namespace: str | None = "llm") -> list[dict[str, Any]]:
    return list(access.reading(total_s).items(PODS, namespace))


def test_pages_are_read_to_the_last(tmp_path: Path) -> None:
    first = {"metadata": {"continue": "to be/continued"}, "items": [{"a": 1}, {"a": 2}]}
    with server(Answer(200, first), Answer(200, PAGE)) as (url, asked):
        reading = connect(kubeconfig(tmp_path, url)).reading()
        found = list(reading.items(PODS, "llm", fields="status.phase!=Failed"))

    assert found == [{"a": 1}, {"a": 2}, {"a": 1}]
    selector = "limit=500&fieldSelector=status.phase%21%3DFailed"
    assert asked == [
        (f"/api/v1/namespaces/llm/pods?{selector}&resourceVersion=0", "Bearer good"),
        (f"/api/v1/namespaces/llm/pods?{selector}&continue=to+be%2Fcontinued", "Bearer good"),
    ]
    assert reading.calls == 2


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(Answer(500, {"message": "etcdserver: leader changed"}), id="it fails"),
        pytest.param(Answer(503, "down"), id="a proxy before it says that it is gone"),
        pytest.param(Answer(429, {"message": "too many requests"}, Retry_After="0"), id="it has too much to do"),
    ],
)
def test_trouble_that_passes_is_waited_out(tmp_path: Path, trouble: Answer) -> None:
    with server(trouble, Answer(200, PAGE)) as (url, asked):
        assert listed(connect(kubeconfig(tmp_path, url))) == [{"a": 1}]
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param(Answer(500, {"message": "etcd is gone"}), "fails (500: etcd is gone): see its log", id="it fails"),
        pytest.param(
            Answer(429, {"message": "slow down"}, Retry_After="600"),
            "has too much to do (429: slow down)",
            id="too much",
        ),
        pytest.param(
            Answer(401, {"message": "Unauthorized"}), "does not accept the credentials (401)", id="a bad token"
        ),
        pytest.param(Answer(302, "", Location="/login"), "answered 302", id="a page to sign in"),
        pytest.param(Answer(200, "<html>hello</html>"), "is it the API server, or a proxy before it?", id="no JSON"),
        pytest.param(Answer(200, '{"items": [{"a": 1}, {'), "a list that breaks off", id="half a list"),
        pytest.param(Answer(200, {"items": []}, Content_Length="100"), "broke off its answer", id="half an answer"),
    ],
)
def test_trouble_that_stays_is_told_with_the_way_out(tmp_path: Path, answer: Answer, said: str) -> None:
    with server(answer) as (url, _), pytest.raises(KubernetesError) as told:
        # An answer that never gets whole would be waited for as long as there is time.
        listed(connect(kubeconfig(tmp_path, url)), total_s=2)

    assert str(told.value).startswith(url)
    assert said in str(told.value)


@pytest.mark.parametrize(
    ("namespace", "rule"),
    [
        pytest.param(
            "llm",
            'may not list pods in namespace llm: its Role needs apiGroups: [""], resources: [pods], verbs: [list]',
            id="in a namespace",
        ),
        pytest.param(
            None,
            'may not list pods in the whole cluster: a ClusterRole needs apiGroups: [""], resources: [pods], '
            "verbs: [list]",
            id="in the whole cluster",
        ),
    ],
)
def test_a_right_that_is_missing_is_named_as_a_role_would(tmp_path: Path, namespace: str | None, rule: str) -> None:
    with server(Answer(403, {"message": "pods is forbidden"})) as (url, asked), pytest.raises(ForbiddenError) as told:
        listed(connect(kubeconfig(tmp_path, url)), namespace=namespace)

    assert str(told.value) == rule
    assert len(asked) == 1


def test_what_is_not_there_is_told_so(tmp_path: Path) -> None:
    with server(Answer(404, "404 page not found")) as (url, _), pytest.raises(NotFoundError):
        listed(connect(kubeconfig(tmp_path, url)))


def test_an_answer_that_was_given_up_does_not_spoil_the_next_one(tmp_path: Path) -> None:
    many = {"metadata": {}, "items": [{"name": "x" * 1000}] * 2000}
    with server(Answer(200, many), Answer(404, "x" * 100_000), Answer(200, PAGE)) as (url, _):
        access = connect(kubeconfig(tmp_path, url))
        items = access.reading().items(PODS, None)
        next(items)
        items.close()
        with pytest.raises(NotFoundError):
            listed(access)

        assert listed(access) == [{"a": 1}]


def test_a_server_that_does_not_answer_is_given_up_in_time(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        path = kubeconfig(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(KubernetesError, match="is it overloaded"):
            listed(connect(path), total_s=0.5)


def test_a_server_that_is_not_there_is_told_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        path = kubeconfig(tmp_path, f"http://127.0.0.1:{gone.getsockname()[1]}")

    with pytest.raises(KubernetesError, match=r"cannot be reached \(.*refused.*\): is it running"):
        listed(connect(path))


def test_new_credentials_are_used_as_soon_as_the_old_ones_are_refused(tmp_path: Path) -> None:
    with server(Answer(200, PAGE), Answer(401, {}), Answer(200, PAGE)) as (url, asked):
        access = connect(kubeconfig(tmp_path, url, "old"))
        listed(access)
        kubeconfig(tmp_path, url, "new")
        listed(access)

    assert [credentials for _, credentials in asked] == ["Bearer old", "Bearer old", "Bearer new"]


def test_credentials_that_went_are_told(tmp_path: Path) -> None:
    with server(Answer(401, {})) as (url, _):
        path = kubeconfig(tmp_path, url)
        access = connect(path)
        path.unlink()
        with pytest.raises(KubernetesError, match="does not exist"):
            listed(access)


def without_contexts(folder: Path) -> Path:
    path = folder / "empty"
    path.write_text("apiVersion: v1\nkind: Config\n")
    return path


def with_bad_yaml(folder: Path) -> Path:
    path = folder / "broken"
    path.write_text("clusters: [\n")
    return path


@pytest.mark.parametrize(
    ("named", "context", "said"),
    [
        pytest.param(lambda folder: folder / "none", None, "does not exist", id="no such file"),
        pytest.param(with_bad_yaml, None, "cannot be used", id="no YAML"),
        pytest.param(without_contexts, None, "cannot be used", id="no contexts"),
        pytest.param(
            lambda folder: kubeconfig(folder, "http://127.0.0.1:1"),
            "other",
            "context 'other' of ",
            id="no such context",
        ),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_is_named(
    tmp_path: Path, named: Callable[[Path], Path], context: str | None, said: str
) -> None:
    path = named(tmp_path)

    with pytest.raises(AccessError) as told:
        connect(path, context)

    assert str(path) in str(told.value)
    assert said in str(told.value)


def test_without_any_kubeconfig_the_error_names_where_one_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(AccessError, match=rf"{tmp_path}/\.kube/config does not exist.*give --kubeconfig"):
        connect()


def test_the_file_that_the_environment_names_comes_before_a_pods_own_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "token"
    token.write_text("of a pod")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path, "http://127.0.0.1:7")))

    assert connect(token_file=token).host == "http://127.0.0.1:7"


@pytest.mark.parametrize(
    ("offset_s", "told"),
    [
        pytest.param(0, 0.0, id="the same time"),
        pytest.param(90, 90.0, id="a clock that is ahead"),
        pytest.param(-40, -40.0, id="a clock that is behind"),
        pytest.param(None, None, id="no time at all"),
    ],
)
def test_the_servers_clock_is_read_within_a_second(tmp_path: Path, offset_s: float | None, told: float | None) -> None:
    class Clock(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def date_time_string(self, timestamp: float | None = None) -> str:
            return "" if offset_s is None else super().date_time_string(time.time() + offset_s)

        def log_message(self, *_: object) -> None:
            """No line a request."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Clock) as listening:
        threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True).start()
        access = connect(kubeconfig(tmp_path, f"http://127.0.0.1:{listening.server_address[1]}"))
        found = access.reading(5.0).ahead_s()
        listening.shutdown()

    assert found == (told if told is None else pytest.approx(told, abs=2.0))
