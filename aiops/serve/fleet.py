"""The simulated fleet, live: what its engines, routers, GPUs and cluster show, and where Prometheus finds it."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Request, Response

from aiops.simulate.exposition.targets import Targets
from aiops.simulate.factory import Factory

_TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"


def fleet_router(
    factory: Factory, lock: AbstractContextManager[Any], watts: Mapping[str, float] | None = None
) -> APIRouter:
    """Serve a factory's metrics: ``/fleet/targets`` for ``http_sd_configs`` and a scrape path for each.

    There are engines, a router for each model, an exporter of GPUs for each node, and one kube-state-metrics. The lock
    is held while the factory is read; whoever advances it holds the same one. What is gone leaves the targets and
    answers 404; what is there and cannot be read answers 503. ``watts`` are the peaks of replicas by variant.
    """
    router = APIRouter(prefix="/fleet", tags=["fleet"])
    with lock:
        watched = Targets(factory, watts)

    @router.get("/targets")
    def targets(request: Request) -> list[dict[str, object]]:
        """Give all targets as Prometheus' HTTP service discovery reads them."""
        with lock:
            return [
                {
                    "targets": [request.url.netloc],
                    "labels": {**each.labels, "__metrics_path__": f"/fleet/{each.namespace}/{each.name}/metrics"},
                }
                for each in watched.all()
            ]

    @router.get("/{namespace}/{name}/metrics")
    def metrics(namespace: Annotated[str, Path()], name: Annotated[str, Path()]) -> Response:
        """Give one target's metrics in the text format."""
        with lock:
            found = watched.find(namespace, name)
            if found is None:
                raise HTTPException(404, f"no target {namespace}/{name}")
            if found.read is None:
                raise HTTPException(503, f"{namespace}/{name} does not answer")
            return Response(found.read(), media_type=_TEXT_FORMAT)

    return router
