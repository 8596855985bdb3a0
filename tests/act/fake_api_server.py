"""An API server with two Deployments that answers as it is told, and refuses as a real one does only under load."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

from kubernetes.client import ApiClient, Configuration

_SCALE = {
    "apiVersion": "autoscaling/v1",
    "kind": "Scale",
    "metadata": {"name": "decode", "namespace": "llm", "uid": "u", "resourceVersion": "7"},
    "spec": {"replicas": 2},
}
_VERSIONS = [{"groupVersion": "apps/v1", "version": "v1"}]
_ANSWERS: dict[str, dict[str, object]] = {
    "/version": {"gitVersion": "v1.37.2"},
    "/apis": {
        "kind": "APIGroupList",
        "groups": [{"name": "apps", "versions": _VERSIONS, "preferredVersion": _VERSIONS[0]}],
    },
    "/apis/apps/v1": {
        "kind": "APIResourceList",
        "resources": [
            {"name": "deployments", "kind": "Deployment", "namespaced": True, "verbs": []},
            {"name": "deployments/scale", "kind": "Scale", "namespaced": True, "verbs": []},
        ],
    },
    "/apis/apps/v1/namespaces/llm/deployments/decode/scale": _SCALE,
    "/apis/apps/v1/namespaces/llm/deployments/prefill/scale": _SCALE,
}


@dataclass
class Refusal:
    """What is answered to a method from now on; ``late_s`` is how long nothing comes."""

    status: int
    message: str = "no"
    headers: Mapping[str, str] = field(default_factory=dict)
    late_s: float = 0.0


@dataclass
class FakeApiServer:
    url: str
    refusals: dict[str, Refusal] = field(default_factory=dict)
    """By the method."""
    asked: list[tuple[str, str, dict[str, list[str]]]] = field(default_factory=list)
    """The method, the path and the query of each request."""

    tokens: list[str] = field(default_factory=list)

    def client(self) -> ApiClient:
        return ApiClient(Configuration(host=self.url))

    def written(self) -> int:
        return sum(method == "PUT" for method, _, _ in self.asked)


@contextmanager
def fake_api_server() -> Iterator[FakeApiServer]:
    state = FakeApiServer("")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer()

        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._answer()

        def _answer(self) -> None:
            target = urlsplit(self.path)
            state.asked.append((self.command, target.path, parse_qs(target.query)))
            state.tokens.append(self.headers["Authorization"] or "")
            refusal = state.refusals.get(self.command)
            if refusal is None:
                self._send(200, _ANSWERS[target.path], {})
                return
            time.sleep(refusal.late_s)
            body = {"kind": "Status", "message": refusal.message} if refusal.status >= 400 else refusal.message
            self._send(refusal.status, body, refusal.headers)

        def _send(self, status: int, body: object, headers: Mapping[str, str]) -> None:
            text = json.dumps(body).encode()
            try:
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)
            except OSError:
                """Whoever asked does not wait any more."""

        def log_message(self, *_: object) -> None:
            """No line a request."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.url = f"http://127.0.0.1:{server.server_port}"
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield state
        server.shutdown()
