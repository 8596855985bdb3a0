"""The simulated fleet, live: each replica's metrics, and where Prometheus finds them."""

from contextlib import AbstractContextManager
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Request, Response

from aiops.simulate.exposition import exposition
from aiops.simulate.factory import Factory

_TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"


def fleet_router(factory: Factory, lock: AbstractContextManager[Any]) -> APIRouter:
    """Serve a factory's replicas: ``/fleet/targets`` for ``http_sd_configs`` and a scrape path for each.

    The lock is held while the factory is read; whoever advances it holds the same one. A replica that is gone
    leaves the targets and answers 404.
    """
    router = APIRouter(prefix="/fleet", tags=["fleet"])

    @router.get("/targets")
    def targets(request: Request) -> list[dict[str, object]]:
        """Give the live replicas as Prometheus' HTTP service discovery reads them."""
        with lock:
            return [
                {
                    "targets": [request.url.netloc],
                    "labels": {
                        "__metrics_path__": f"/fleet/{pool.ref.namespace}/{replica.name}/metrics",
                        "namespace": pool.ref.namespace,
                        "pod": replica.name,
                        "llm_d_ai_role": str(pool.role),
                    },
                }
                for pool, replica in factory.live_replicas()
            ]

    @router.get("/{namespace}/{replica}/metrics")
    def metrics(namespace: Annotated[str, Path()], replica: Annotated[str, Path()]) -> Response:
        """Give one replica's metrics in the text format."""
        with lock:
            for pool, found in factory.live_replicas():
                if pool.ref.namespace == namespace and found.name == replica:
                    return Response(exposition(factory, found), media_type=_TEXT_FORMAT)
        raise HTTPException(404, f"no live replica {namespace}/{replica}")

    return router
