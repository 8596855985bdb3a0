import socket
import urllib.error

import pytest

from aiops.act.emit import Emitter
from aiops.act.journal import Journal
from aiops.serve.api import create_app
from aiops.serve.health import Health
from aiops.serve.server import Server
from tests.act import evidence
from tests.parts import http_text


def server(**where: object) -> Server:
    app = create_app(Journal.memory(), Emitter("1", 15), Health(15), evidence.policies)
    return Server(app, **where)  # type: ignore[arg-type]  # host and port, as the tests name them


def test_it_serves_from_start_to_stop_and_frees_the_port() -> None:
    first = server(port=0)
    first.start()
    url, port = first.url, int(first.url.rsplit(":", 1)[1])
    assert http_text(f"{url}/healthz") == "starting\n"
    first.stop()
    with pytest.raises(urllib.error.URLError):
        http_text(f"{url}/healthz")
    with server(port=port) as second:
        assert http_text(f"{second.url}/healthz") == "starting\n"


def test_it_listens_on_loopback_unless_told_otherwise() -> None:
    with server(port=0) as running:
        assert running.url.startswith("http://127.0.0.1:")


def test_a_port_in_use_is_named_with_the_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(OSError, match=rf"port {port}: Address already in use; choose another with --port"):
            server(port=port).start()


def test_a_port_that_does_not_exist_is_refused() -> None:
    with pytest.raises(OSError, match="port 70000"):
        server(port=70000).start()


def test_stopping_what_never_started_does_nothing() -> None:
    server(port=0).stop()
