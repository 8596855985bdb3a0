"""A real Chromium without a screen, driven over its DevTools protocol."""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import websocket

from tests.parts import require, running, wait_for

_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --remote-debugging-port=0 --remote-allow-origins=*"
)
_TROUBLE = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")


class Tab:
    """One page. ``requests`` are the URLs that it asked for, ``troubles`` all that it complained about."""

    def __init__(self, socket: websocket.WebSocket) -> None:
        self._socket, self._last_id = socket, 0
        self.requests: list[str] = []
        self.troubles: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.command(f"{domain}.enable")

    def command(self, method: str, **parameters: object) -> dict[str, Any]:
        self._last_id += 1
        self._socket.send(json.dumps({"id": self._last_id, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == self._last_id:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result
            if message.get("method") == "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
            elif message.get("method") in _TROUBLE:
                self.troubles.append(json.dumps(message["params"]))

    def evaluate(self, script: str) -> Any:
        answer = self.command("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def open(self, url: str, width: int = 1280, scheme: str = "light") -> None:
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.command("Page.navigate", url=url)
        wait_for(
            lambda: self.evaluate(f"location.href === {json.dumps(url)} && document.readyState === 'complete'"),
            f"{url} is shown",
        )

    def press(self, key: str, code: int) -> None:
        for kind in ("keyDown", "keyUp"):
            self.command("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, text="\r")


@contextmanager
def chromium(folder: Path) -> Iterator[Tab]:
    """Start a browser with a profile of its own."""
    profile = folder / "profile"
    command = [require("chromium", "chromium"), *_FLAGS.split(), f"--user-data-dir={profile}", "about:blank"]
    with running(command, folder / "chromium.log"):
        told = profile / "DevToolsActivePort"
        wait_for(lambda: told.exists() and told.read_text().count("\n"), "Chromium listens")
        port = told.read_text().splitlines()[0]

        def page() -> str | None:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=5) as answer:
                found = [target["webSocketDebuggerUrl"] for target in json.load(answer) if target["type"] == "page"]
            return found[0] if found else None

        socket = websocket.create_connection(str(wait_for(page, "Chromium has a page")), timeout=30)
        try:
            yield Tab(socket)
        finally:
            socket.close()
