"""What came back from a Prometheus: believed only when it is whole."""

import json
import time
from typing import Any

import requests
from urllib3.exceptions import HTTPError

_TRANSIENT_STATUS = frozenset({408, 429, 500, 502, 503, 504})
_PIECE_BYTES = 1 << 16
_WAYS_OUT = {
    401: "the credentials are missing or wrong: give a bearer token, or a user and a password",
    403: "the credentials have no right to query: give others, or the right tenant",
    404: "there is no query API under this path: does the URL lack a prefix, such as /prometheus?",
}


class PrometheusError(Exception):
    """A Prometheus that did not answer, or whose answer must not be believed; the message names the way out."""


class TransientError(PrometheusError):
    """A failure that may be gone at the next attempt."""


class Answer(requests.Response):
    """A checked answer: whole, successful, and parsed once."""

    def __init__(self, document: dict[str, Any]) -> None:
        super().__init__()
        self.status_code = 200
        self._document = document

    def json(self, **_: object) -> dict[str, Any]:
        """Give the document."""
        return self._document


def read_answer(response: requests.Response, deadline: float) -> Answer:
    """Read and check an answer; ``deadline`` is a value of the monotonic clock.

    Raises PrometheusError, or TransientError where another attempt is worth it; their messages begin after the name of
    the one that answered.
    """
    text = _body(response, deadline).decode("utf-8", errors="replace")
    document = _parsed(text)
    status = response.status_code
    if status in _TRANSIENT_STATUS:
        raise TransientError(f"answered {status} {response.reason}: {_told(document, text)}")
    if 300 <= status < 400:
        raise PrometheusError(f"sends elsewhere, to {response.headers.get('Location', '?')}: give that URL instead")
    if isinstance(document, dict) and document.get("status") == "error":
        way_out = _WAYS_OUT.get(status, "see its log")
        raise PrometheusError(f"refused the query ({status}): {_told(document, text)}; {way_out}")
    if status != 200:
        raise PrometheusError(f"answered {status} {response.reason}; {_WAYS_OUT.get(status, 'is it a Prometheus?')}")
    if document is None:
        kind = "HTML" if text.lstrip()[:1] == "<" else "text"
        raise PrometheusError(
            f"answered {kind} instead of JSON ({_short(text)!r}): a proxy or login page? Give the URL of the API itself"
        )
    return Answer(_checked(document))


def _body(response: requests.Response, deadline: float) -> bytes:
    pieces = []
    try:
        while piece := response.raw.read1(_PIECE_BYTES, decode_content=True):
            pieces.append(piece)
            # Each read has its own timeout, so a server that sends a byte a second would never run into one.
            if time.monotonic() > deadline:
                raise TransientError("sends its answer too slowly: is it overloaded?")
    except HTTPError as error:
        raise TransientError("broke off in the middle of its answer: is it overloaded, or restarting?") from error
    return b"".join(pieces)


def _parsed(text: str) -> object:
    try:
        document: object = json.loads(text)
    except ValueError:
        return None
    return document


def _checked(document: object) -> dict[str, Any]:
    """Give a document that a Prometheus may have written, and that misses nothing."""
    if not isinstance(document, dict) or not isinstance(document.get("data"), dict):
        raise PrometheusError(f"answered JSON of another shape ({_short(str(document))!r}): is it a Prometheus API?")
    if document.get("status") != "success" or not isinstance(document["data"].get("result"), list):
        raise PrometheusError(f"answered JSON of another shape ({_short(str(document))!r}): is it a Prometheus API?")
    # Until 3.0, notes on a query's style came as warnings too; they say nothing about the data being whole.
    warnings = [text for text in document.get("warnings") or () if not str(text).startswith("PromQL info")]
    if warnings:
        raise PrometheusError(
            f"answered only in part ({_short('; '.join(map(str, warnings)))!r}), which would read as less load: "
            "is one of its stores down?"
        )
    return document


def _told(document: object, text: str) -> str:
    told = document.get("error") if isinstance(document, dict) else None
    return _short(str(told or text)) or "without a word"


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= 160 else words[:157] + "..."
