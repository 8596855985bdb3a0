"""The web app: the JSON API over the journal, the probes, and the page."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, FastAPI, HTTPException, Path, Query
from pydantic import AfterValidator

from aiops.act.emit import Emitter
from aiops.act.journal import Journal, RecordedDecision
from aiops.model.cycle import Cycle, ModelCycle
from aiops.model.policy import PolicySet
from aiops.model.refs import ModelRef
from aiops.serve.console.page import page_routes
from aiops.serve.health import Health
from aiops.serve.metrics import probe_routes
from aiops.serve.problems import PROBLEM_RESPONSES, install_problems

_MOST_CYCLES, _MOST_DECISIONS = 200, 500
_MOST_DIGITS = 18  # what SQLite counts up to, in digits that are sure to fit


@dataclass(frozen=True, slots=True)
class ModelsAnswer:
    """All models as the newest cycle saw them; ``at`` and ``number`` are None before the first cycle."""

    at: datetime | None
    number: int | None
    blind: str
    models: tuple[ModelCycle, ...]
    unmanaged: tuple[ModelRef, ...]


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """One model as the newest cycle saw it."""

    at: datetime
    number: int
    model: ModelCycle


def _in_utc(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)


Time = Annotated[datetime, AfterValidator(_in_utc)]
Since = Annotated[Time | None, Query(description="the earliest time, ISO 8601; UTC where no zone is given")]
Until = Annotated[Time | None, Query(description="the latest time, ISO 8601; UTC where no zone is given")]


def create_app(
    journal: Journal,
    emitter: Emitter,
    health: Health,
    policies: Callable[[], PolicySet],
    *,
    title: str = "aiops",
) -> FastAPI:
    """Make the app of one loop: ``/`` and ``/fragment``, ``/api/v1``, ``/openapi.json``, ``/metrics`` and the probes.

    Nothing in it writes, and no answer makes a browser ask another host: FastAPI's own documentation pages do, so they
    are off. ``title`` heads the page. The app only reads ``journal`` and may serve while the loop writes it.
    """
    app = FastAPI(title="aiops", description="What the loop saw, decided and why.", docs_url=None, redoc_url=None)
    install_problems(app)
    app.include_router(probe_routes(emitter, health))
    app.include_router(_api_routes(journal))
    page_routes(app, journal, health, policies, title)
    return app


def _api_routes(journal: Journal) -> APIRouter:
    routes = APIRouter(prefix="/api/v1", responses=PROBLEM_RESPONSES)

    @routes.get("/models", tags=["models"])
    def models() -> ModelsAnswer:
        """Give every model as the newest cycle saw it."""
        cycle = journal.latest()
        if cycle is None:
            return ModelsAnswer(None, None, "", (), ())
        return ModelsAnswer(cycle.at, cycle.number, cycle.blind, cycle.models, cycle.unmanaged)

    @routes.get("/models/{namespace}/{model:path}", tags=["models"])
    def model(namespace: str, model: str) -> ModelAnswer:
        """Give one model as the newest cycle saw it; its name may hold slashes."""
        cycle = journal.latest()
        known = {found.ref: found for found in cycle.models} if cycle else {}
        wanted = ModelRef(namespace, model)
        if cycle is None or wanted not in known:
            names = ", ".join(str(ref) for ref in known) or "none yet"
            raise HTTPException(404, f"there is no model {wanted}; the models of the newest cycle: {names}")
        return ModelAnswer(cycle.at, cycle.number, known[wanted])

    @routes.get("/cycles", tags=["cycles"])
    def cycles(
        since: Since = None, until: Until = None, limit: Annotated[int, Query(ge=1, le=_MOST_CYCLES)] = 20
    ) -> tuple[Cycle, ...]:
        """Give the cycles between two times, newest first."""
        return journal.cycles(since, until, limit)

    @routes.get("/cycles/{which}", tags=["cycles"])
    def cycle(
        which: Annotated[str, Path(description="a cycle's number, or a time: the last cycle until then")],
    ) -> Cycle:
        """Give one cycle."""
        found = _find_cycle(journal, which)
        if found is None:
            raise HTTPException(404, f"the journal holds no cycle for {which!r}; /api/v1/cycles lists those it has")
        return found

    @routes.get("/decisions", tags=["decisions"])
    def decisions(
        model: str | None = None,
        namespace: str | None = None,
        since: Since = None,
        until: Until = None,
        changed: Annotated[bool, Query(description="only those that newly ask for another number")] = False,
        limit: Annotated[int, Query(ge=1, le=_MOST_DECISIONS)] = 100,
    ) -> tuple[RecordedDecision, ...]:
        """Give decisions, newest first."""
        return journal.decisions(
            namespace=namespace, model=model, since=since, until=until, changed_only=changed, limit=limit
        )

    return routes


def _find_cycle(journal: Journal, which: str) -> Cycle | None:
    if which.isascii() and which.isdigit():
        return journal.cycle_number(int(which)) if len(which) <= _MOST_DIGITS else None
    try:
        at = datetime.fromisoformat(which)
    except ValueError:
        raise HTTPException(
            422, f"{which!r} is neither a cycle's number nor a time such as 2026-01-31T12:00:00Z"
        ) from None
    return journal.cycle_at(_in_utc(at))
