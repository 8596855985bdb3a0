"""What Prometheus and Kubernetes ask: metrics, health, readiness."""

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from aiops.act.emit import Emitter
from aiops.serve.health import Health, LoopState


def probe_routes(emitter: Emitter, health: Health) -> APIRouter:
    """Make the routes that machines poll."""
    routes = APIRouter(tags=["probes"])

    @routes.get("/metrics", response_class=PlainTextResponse)
    def metrics() -> Response:
        """Give aiops' own metrics in Prometheus' text format."""
        return Response(emitter.expose(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    @routes.get("/healthz", response_class=PlainTextResponse, responses={503: {"description": "The loop is stuck."}})
    def healthz() -> PlainTextResponse:
        """Tell whether the loop still turns; 503 means that a restart is due."""
        if health.state is LoopState.STUCK:
            return PlainTextResponse(f"stuck: no cycle ended for {health.silent_s:.0f} s\n", 503)
        return PlainTextResponse(f"{health.state}\n")

    @routes.get("/readyz", response_class=PlainTextResponse, responses={503: {"description": "Nothing to show yet."}})
    def readyz() -> PlainTextResponse:
        """Tell whether a first cycle that saw the world is done."""
        if not health.ready:
            return PlainTextResponse("not ready: no cycle has seen the metrics yet\n", 503)
        return PlainTextResponse("ready\n")

    return routes
