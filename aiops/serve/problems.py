"""Errors as RFC 9457 problem documents: what is wrong, and the way out."""

import sqlite3
from dataclasses import asdict, dataclass
from http import HTTPStatus

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException


@dataclass(frozen=True, slots=True)
class Problem:
    """The members of a problem document; ``type`` is about:blank, so ``title`` is the status' own name."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"


PROBLEM_RESPONSES: dict[int | str, dict[str, object]] = {
    status: {"model": Problem, "description": HTTPStatus(status).phrase, "content": {"application/problem+json": {}}}
    for status in (404, 422, 503)
}
"""What every route of the API may answer besides its own, for the OpenAPI document."""


def install_problems(app: FastAPI) -> None:
    """Answer every error of the app with a problem document."""
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(sqlite3.Error, _on_journal)


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Build the answer."""
    return JSONResponse(
        asdict(Problem(HTTPStatus(status).phrase, status, detail)),
        status_code=status,
        headers=headers,
        media_type="application/problem+json",
    )


async def _on_http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101  # Starlette's handlers take any Exception
    return problem(error.status_code, str(error.detail), dict(error.headers) if error.headers else None)


async def _on_validation(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101  # as above
    wrong = [f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}" for each in error.errors()]
    return problem(422, "; ".join(wrong))


async def _on_journal(_: Request, error: Exception) -> JSONResponse:
    structlog.get_logger().warning("the journal was not read", error=str(error))
    return problem(503, f"the journal cannot be read now: {error}")
