"""Engines, routers and a Prometheus that scrapes them: the world that the observer's tests look at."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiops.model.cluster import ClusterView
from aiops.model.policy import PolicySet, ScalingPolicy
from aiops.model.snapshot import ModelSnapshot, ReplicaSample, SignalHealth, Snapshot
from aiops.observe.observer import PrometheusObserver
from aiops.observe.prometheus import PrometheusAccess, PrometheusClient


@dataclass
class Exporter:
    """An HTTP server with one page for each target; a page that is None answers 503, one that is not there 404."""

    port: int = 0
    pages: dict[str, str | None] = field(default_factory=dict)


@contextmanager
def exporter() -> Iterator[Exporter]:
    """Serve pages on loopback until the block ends."""
    served = Exporter()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = served.pages.get(self.path.lstrip("/"), "")
            body = (page or "").encode()
            self.send_response(503 if page is None else 200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(ConnectionError):  # Prometheus was stopped in the middle of a scrape
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as port:
        served.port = port
        yield served


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """Run a handler on a free loopback port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def target(port: int, page: str, **labels: str) -> dict[str, Any]:
    """A scrape target: its page, and the labels that service discovery would add."""
    return {
        "targets": [f"127.0.0.1:{port}"],
        "labels": {"__metrics_path__": f"/{page}", "instance": f"{page}:8000", **labels},
    }


def engine_page(
    *,
    model: str = "m",
    rank: str = "0",
    running: float = 0,
    waiting: float = 0,
    kv_usage: float = 0.0,
    finished: float = 0,
    counters: Mapping[str, float] | None = None,
    extra: str = "",
    **labels: str,
) -> str:
    """A small page of one engine, under vLLM's names."""
    inside = ",".join(f'{key}="{value}"' for key, value in {"model_name": model, "engine": rank, **labels}.items())
    lines = [
        f"vllm:num_requests_running{{{inside}}} {running}",
        f"vllm:num_requests_waiting{{{inside}}} {waiting}",
        f"vllm:kv_cache_usage_perc{{{inside}}} {kv_usage}",
        f'vllm:request_success_total{{{inside},finished_reason="stop"}} {finished}',
        *(f"{name}{{{inside}}} {value}" for name, value in (counters or {}).items()),
        extra,
    ]
    return "\n".join(lines) + "\n"


def policy(namespace: str, model: str = "m", pools: list[dict[str, Any]] | None = None, **spec: Any) -> ScalingPolicy:
    """A policy with one aggregated pool, the Deployment ``chat``, unless other pools are given."""
    return ScalingPolicy.model_validate(
        {
            "metadata": {"name": "p", "namespace": namespace},
            "spec": {
                "model": model,
                "pools": pools or [{"name": "all", "target": {"name": "chat"}, "variant": "v"}],
                **spec,
            },
        }
    )


def pd_pools() -> list[dict[str, Any]]:
    """One pool for prefill and one for decode."""
    return [
        {"name": role, "role": role, "target": {"name": f"chat-{role}"}, "variant": "v"}
        for role in ("prefill", "decode")
    ]


def look(
    url: str,
    at: datetime,
    *policies: ScalingPolicy,
    window_s: float = 8,
    matchers: tuple[str, ...] = (),
    view: ClusterView | None = None,
) -> Snapshot:
    """Observe once, as of a moment; ``view`` is what Kubernetes says."""
    with PrometheusClient(PrometheusAccess(url=url, matchers=matchers)) as client:
        window = timedelta(seconds=window_s)
        return PrometheusObserver(client, lambda: PolicySet(policies), lambda: at, window).observe(view)


def only(snapshot: Snapshot) -> ModelSnapshot:
    """The one model of a snapshot that is not blind as a whole."""
    assert snapshot.blind == ""
    (model,) = snapshot.models
    return model


def replicas(model: ModelSnapshot) -> dict[str, ReplicaSample]:
    """The engines of all pools, by name."""
    return {replica.name: replica for pool in model.pools for replica in pool.replicas}


def signal(model: ModelSnapshot, name: str) -> SignalHealth:
    """The state of one signal."""
    return next(one for one in model.signals if one.signal == name)


def sleep_until(moment_s: float) -> None:
    """Let the scrapes go on until a moment of the monotonic clock."""
    time.sleep(max(0.0, moment_s - time.monotonic()))


def now() -> datetime:
    """The present."""
    return datetime.now(UTC)
