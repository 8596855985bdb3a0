"""The real parts that tests start: each listens on loopback, keeps its files in a scratch folder, and is stopped by
the test that started it."""

import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest
import yaml

Found = TypeVar("Found")


def require(program: str, package: str) -> str:
    """Find a system program: its absence fails in CI and skips elsewhere, naming what installs it."""
    found = shutil.which(program)
    if found is None:
        message = f"{program} is not installed; on Debian: apt-get install {package}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


def shared_data(*parts: str) -> Path:
    """A file or folder of the shared data, found through AIOPS_DATA; skips where it is absent."""
    root = os.environ.get("AIOPS_DATA")
    if not root:
        pytest.skip("AIOPS_DATA names no folder with the shared data")
    path = Path(root, *parts)
    if not path.exists():
        pytest.skip(f"the shared data has no {'/'.join(parts)}")
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(condition: Callable[[], Found], what: str, timeout_s: float = 60.0) -> Found:
    """Wait for a state, never for a time, and say what was found: asked again, it may be another."""
    deadline = time.monotonic() + timeout_s
    last: object = None
    while time.monotonic() < deadline:
        try:
            last = found = condition()
        except (OSError, urllib.error.URLError, ValueError, KeyError, IndexError) as error:
            last = error
        else:
            if found:
                return found
        time.sleep(0.1)
    raise AssertionError(f"{what} did not happen within {timeout_s:g} s; last: {last!r}")


def http_text(url: str, timeout_s: float = 5.0) -> str:
    with urllib.request.urlopen(url, timeout=timeout_s) as answer:  # noqa: S310  # loopback only
        text: str = answer.read().decode()
        return text


@contextmanager
def running(command: list[str], log: Path, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the block ends; then ask it to stop, and insist after 10 s."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=env)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def prometheus(
    folder: Path,
    scrape_configs: list[dict[str, object]],
    *,
    interval: str = "1s",
    rules: list[Path] | None = None,
    history: list[Path] | None = None,
    web: dict[str, object] | None = None,
    alertmanager: str | None = None,
    program: Path | None = None,
    lookback: str = "5m",
) -> Iterator[str]:
    """A real Prometheus; gives its URL once it is ready.

    ``history`` are OpenMetrics files that promtool back-fills before the start; ``web`` is its web configuration, by
    which it demands TLS and passwords; ``alertmanager`` is the address that it sends alerts to; ``program`` is another
    Prometheus than the system's; ``lookback`` how long a sample stands for the present.
    """
    binary = str(program) if program else require("prometheus", "prometheus")
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "prometheus.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
                "scrape_configs": scrape_configs,
                "rule_files": [str(path) for path in rules or []],
                "alerting": {
                    "alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}] if alertmanager else []
                },
            }
        )
    )
    data = folder / "data"
    for path in history or []:
        promtool = require("promtool", "prometheus")
        subprocess.run(
            [promtool, "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=24h", str(path), str(data)],
            check=True,
            capture_output=True,
        )
    port = free_port()
    command = [
        binary,
        f"--config.file={config}",
        f"--storage.tsdb.path={data}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--storage.tsdb.retention.time=60d",
        f"--query.lookback-delta={lookback}",
        "--web.enable-lifecycle",
    ]
    if alertmanager is not None:
        # What is told before the Alertmanager has been found is lost; it is told again soon and not in a minute.
        command.append("--rules.alert.resend-delay=1s")
    if web is not None:
        (folder / "web.yaml").write_text(yaml.safe_dump(web))
        command.append(f"--web.config.file={folder / 'web.yaml'}")
    log = folder / "prometheus.log"
    with running(command, log):
        url = f"{'https' if 'tls_server_config' in (web or {}) else 'http'}://127.0.0.1:{port}"
        wait_for(lambda: "Server is ready" in log.read_text(), "Prometheus is ready")
        yield url


@contextmanager
def alertmanager(folder: Path, config: Mapping[str, object]) -> Iterator[str]:
    """A real Alertmanager, alone; gives its address (host and port) once it is ready."""
    binary = require("prometheus-alertmanager", "prometheus-alertmanager")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "alertmanager.yaml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    command = [
        binary,
        f"--config.file={folder / 'alertmanager.yaml'}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    ]
    with running(command, folder / "alertmanager.log"):
        wait_for(lambda: http_text(f"http://{address}/-/ready"), "Alertmanager is ready")
        yield address
