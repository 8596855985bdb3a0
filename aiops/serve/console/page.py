"""The routes of the page: the whole, its content alone, the files it needs, and the runbooks that alerts lead to."""

from collections.abc import Awaitable, Callable
from importlib.resources import files

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from aiops.act.journal import Journal
from aiops.model.policy import PolicySet
from aiops.observe.packaged import packaged
from aiops.serve.console.view import page_view
from aiops.serve.console.words import ago, clock, number, quantity
from aiops.serve.health import Health

_ASSETS = {"console.css": "text/css", "console.js": "text/javascript", "icon.svg": "image/svg+xml"}
# Nothing may be loaded from elsewhere, and no inline script or style would run: a hostile model name stays text.
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def page_routes(app: FastAPI, journal: Journal, health: Health, policies: Callable[[], PolicySet], title: str) -> None:
    """Add ``/``, ``/fragment``, ``/assets`` and ``/runbook`` to an app, and the security headers to every answer."""
    environment = _environment()
    assets = {name: files("aiops.serve.console").joinpath("assets", name).read_bytes() for name in _ASSETS}

    def render(template: str, model: str, span: str) -> HTMLResponse:
        view = page_view(journal, health, policies(), title, model, span)
        return HTMLResponse(environment.get_template(template).render(view=view))

    @app.middleware("http")
    async def secure(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        answer = await call_next(request)
        for name, value in _HEADERS.items():
            answer.headers[name] = value
        return answer

    @app.get("/", include_in_schema=False)
    def page(model: str = "", span: str = "") -> HTMLResponse:
        return render("page.html", model, span)

    @app.get("/fragment", include_in_schema=False)
    def fragment(model: str = "", span: str = "") -> HTMLResponse:
        return render("content.html", model, span)

    @app.get("/assets/{name}", include_in_schema=False)
    def asset(name: str) -> Response:
        if name not in assets:
            raise HTTPException(404, f"there is no file {name!r}; there are {', '.join(assets)}")
        return Response(assets[name], media_type=_ASSETS[name])

    @app.get("/runbook/{alert}", include_in_schema=False)
    def runbook(alert: str) -> PlainTextResponse:
        pages = {path.stem: path for path in packaged("alerts", "runbook").glob("*.md")}
        if alert not in pages:
            raise HTTPException(404, f"there is no runbook {alert!r}; there are {', '.join(sorted(pages))}")
        return PlainTextResponse(pages[alert].read_text(encoding="utf-8"))


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("aiops.serve.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, quantity=quantity, clock=clock, ago=ago)
    return environment
