"""What a Kubernetes API server's refusals mean, in sentences for people."""

import json
from dataclasses import dataclass
from enum import StrEnum

from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from kubernetes.dynamic.exceptions import ResourceNotFoundError, ResourceNotUniqueError
from urllib3.exceptions import HTTPError

API_ERRORS = (
    ApiException,
    HTTPError,
    OSError,
    ConfigException,
    ResourceNotFoundError,
    ResourceNotUniqueError,
)
"""All that a call of the ``kubernetes`` client raises where the API server refuses, fails or cannot be reached; a token
that cannot be read among them, since it is read anew as it rotates. An SSLError is an OSError."""
LONGEST_RETRY_AFTER_S = 600.0
"""More than this is not believed: a proxy that says a day must not freeze a pool for one."""


class Failure(StrEnum):
    """What kind of no it was."""

    CONFLICT = "conflict"
    """Somebody changed the object in between (409)."""
    FORBIDDEN = "forbidden"
    """A right is missing, or admission refused (403)."""
    GONE = "gone"
    """The object, its kind or its namespace does not exist (404)."""
    BUSY = "busy"
    """Too many requests, a failing server, or no connection: the same call may work later (429, 5xx)."""
    REFUSED = "refused"
    """The server understood the call and does not want it; asking again would not help."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One right as a Role writes it: the API group, the resource with its subresource, the verb, and where."""

    group: str
    resource: str
    verb: str
    namespace: str

    def __str__(self) -> str:
        # The core group has an empty name, and that is what must stand in the Role.
        return f"{self.group or repr('')} {self.resource} {self.verb} in namespace {self.namespace}"


@dataclass(frozen=True, slots=True)
class Told:
    """What an error means: its kind, a sentence, and for how long the server asks to be left alone (None: not said)."""

    failure: Failure
    sentence: str
    retry_after_s: float | None = None


def read_error(error: Exception, rule: Rule, subject: str) -> Told:
    """Say what an error of ``API_ERRORS`` means for a call that needed ``rule``, about ``subject``."""
    if isinstance(error, ResourceNotFoundError | ResourceNotUniqueError):
        return Told(Failure.GONE, f"{subject}: {error}")
    if not isinstance(error, ApiException) or not error.status:
        return Told(Failure.BUSY, f"the API server could not be reached: {_words(error)}")
    message = _message(error)
    if error.status == 403:
        return Told(Failure.FORBIDDEN, _forbidden(message, rule))
    if error.status == 404:
        return Told(Failure.GONE, f"{subject} is gone: {message}")
    if error.status == 409:
        return Told(Failure.CONFLICT, f"{subject} was changed by somebody else in between")
    if error.status == 429 or error.status >= 500:
        return Told(Failure.BUSY, f"the API server answered {error.status}: {message}", _retry_after_s(error))
    if error.status == 401:
        return Told(Failure.REFUSED, f"the API server does not accept the token (401): {message}")
    return Told(Failure.REFUSED, f"the API server refused it ({error.status}): {message}")


def _forbidden(message: str, rule: Rule) -> str:
    # Quota and admission answer 403 as well, and no rule would help against those.
    if f'cannot {rule.verb} resource "{rule.resource}"' in message:
        return f"a right is missing: {rule}"
    return f"the API server forbids it: {message}"


def _message(error: ApiException) -> str:
    try:
        told = json.loads(error.body or "")["message"]
    except (ValueError, KeyError, TypeError):
        told = str(error.body or error.reason or "no word why")
    return " ".join(str(told).split())[:300]


def _retry_after_s(error: ApiException) -> float | None:
    try:
        stated = float((error.headers or {}).get("Retry-After", ""))
    except (TypeError, ValueError):  # absent, or a date, which Kubernetes does not send
        return None
    return min(stated, LONGEST_RETRY_AFTER_S) if stated >= 0 else None


def _words(error: Exception) -> str:
    told = error.reason if isinstance(error, ApiException) else error
    return " ".join(str(told or type(error).__name__).split())[:300]
