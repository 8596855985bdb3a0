"""Questions to a Prometheus, or to anything that speaks its API: answered whole and in time, or not at all."""

import math
import random
import re
import ssl
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import requests
from prometheus_api_client import PrometheusConnect
from requests.auth import AuthBase, HTTPBasicAuth
from urllib3.util.retry import Retry

from aiops.observe.answer import Answer, PrometheusError, TransientError, read_answer

__all__ = ["MAX_POINTS", "PrometheusAccess", "PrometheusClient", "PrometheusError", "Series"]

Key = TypeVar("Key")

MAX_POINTS = 11_000
"""What Prometheus gives at most for one series in one range query."""
_MATCHER = re.compile(r'[a-zA-Z_][a-zA-Z0-9_]*\s*(=|!=|=~|!~)\s*"(?:[^"\\]|\\.)*"')
_FIRST_WAIT_S = 0.2


@dataclass(frozen=True, slots=True)
class Series:
    """One series of an answer: its labels and its samples, oldest first. NaN and infinities are missing (None)."""

    labels: dict[str, str]
    times_s: tuple[float, ...]
    values: tuple[float | None, ...]

    @property
    def value(self) -> float | None:
        """The newest sample."""
        return self.values[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusAccess:
    """Where a Prometheus is, how to get in, and how long to wait.

    ``matchers`` such as ``cluster="a"`` go into every selector. ``timeout_s`` bounds one attempt at one query, and
    ``total_s`` one look with all its queries and attempts. ``bearer_token_file`` and ``password_file`` are read anew
    for each request, since what they hold rotates.
    Raises ValueError for what cannot work.
    """

    url: str
    bearer_token: str | None = field(default=None, repr=False)
    bearer_token_file: Path | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    password_file: Path | None = None
    verify: bool | Path = True
    tenant: str | None = None
    matchers: tuple[str, ...] = ()
    timeout_s: float = 4.0
    total_s: float = 10.0
    attempts: int = 3
    concurrency: int = 8

    def __post_init__(self) -> None:
        if urlsplit(self.url).scheme not in ("http", "https") or not urlsplit(self.url).netloc:
            raise ValueError(
                f"{self.public_url!r} is no URL of a Prometheus; write http://host:9090 or https://host/path"
            )
        ways = [self.bearer_token is not None, self.bearer_token_file is not None, self.user is not None]
        if sum(ways) > 1:
            raise ValueError("give one of a bearer token, a file with one, and a user with a password, not several")
        if self.password_file is not None and (self.user is None or self.password is not None):
            raise ValueError(
                f"{self.password_file} holds the password of which user? Name the user, and no other password"
            )
        for matcher in self.matchers:
            if not _MATCHER.fullmatch(matcher):
                raise ValueError(f'{matcher!r} is no label matcher; write it as PromQL does, such as cluster="a"')

    @property
    def public_url(self) -> str:
        """The URL without credentials, for messages."""
        parts = urlsplit(self.url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))


class PrometheusClient:
    """Asks many queries at once. Every failure is a PrometheusError that names the URL and the way out.

    Raises ValueError where the CA file cannot be used.
    """

    def __init__(self, access: PrometheusAccess) -> None:
        self.access = access
        session = _Session(access)
        session.verify = _trusted(access.verify) if isinstance(access.verify, Path) else access.verify
        self._connect = PrometheusConnect(
            url=access.url.rstrip("/"),
            headers={"X-Scope-OrgID": access.tenant} if access.tenant else None,
            auth=_auth(access),
            session=session,
            retry=Retry(0, read=False),  # the session does it, within one limit for all its attempts
        )
        self._pool = ThreadPoolExecutor(access.concurrency, thread_name_prefix="prometheus")

    def __enter__(self) -> "PrometheusClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connections and the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._connect.close()

    def deadline(self, total_s: float | None = None) -> float:
        """When what begins now has to end, as a value of the monotonic clock: after ``total_s``, or as access says."""
        return time.monotonic() + (self.access.total_s if total_s is None else total_s)

    def ask(
        self, queries: Mapping[Key, str], at: datetime, deadline: float | None = None
    ) -> dict[Key, tuple[Series, ...]]:
        """Ask instant queries, evaluated at ``at``; all of them are answered before ``deadline``, or none is.

        Raises PrometheusError.
        """
        params = {"time": f"{at.timestamp():.3f}", "timeout": f"{self.access.timeout_s:g}s"}

        def one(text: str, budget_s: float) -> Any:  # noqa: ANN401  # what the library gives is not typed
            limits = _Limits(budget_s, self.access.timeout_s)
            return self._connect.custom_query(text, params=dict(params), timeout=limits)

        calls = {key: partial(one, text) for key, text in queries.items()}
        return self._all(calls, self.deadline() if deadline is None else deadline)

    def ahead_s(self) -> float:
        """Give how far Prometheus' clock is ahead of this machine's, in seconds. Raises PrometheusError."""

        def present(budget_s: float) -> Any:  # noqa: ANN401  # as in ask
            # Without a time of ours it is evaluated at its own present.
            return self._connect.custom_query("vector(time())", timeout=_Limits(budget_s, self.access.timeout_s))

        begun_s = time.time()
        told = self._one(present, self.deadline())
        if len(told) != 1 or told[0].value is None:
            raise PrometheusError(f"{self.access.public_url} does not tell its time: is it a Prometheus API?")
        return told[0].value - (begun_s + time.time()) / 2

    def ask_range(
        self, queries: Mapping[Key, str], start: datetime, end: datetime, step_s: int, deadline: float | None = None
    ) -> dict[Key, tuple[Series, ...]]:
        """Ask range queries from ``start`` to ``end``, both included, in pieces of at most MAX_POINTS points.

        Raises PrometheusError.
        """
        first, last = int(start.timestamp()), int(end.timestamp())
        piece_s = (MAX_POINTS - 1) * step_s
        pieces = [(begin, min(begin + piece_s, last)) for begin in range(first, last + 1, piece_s + step_s)]

        def one(text: str, span: tuple[int, int], budget_s: float) -> Any:  # noqa: ANN401  # as above
            begin, finish = (datetime.fromtimestamp(moment, UTC) for moment in span)
            # A long range is slow by nature: half of the time for a first attempt leaves as much for a second.
            limits = _Limits(budget_s, max(self.access.timeout_s, budget_s / 2))
            return self._connect.custom_query_range(text, begin, finish, str(step_s), timeout=limits)

        calls = {(key, piece): partial(one, text, piece) for key, text in queries.items() for piece in pieces}
        answers = self._all(calls, self.deadline() if deadline is None else deadline)
        return {key: _joined([answers[key, piece] for piece in pieces]) for key in queries}

    def _all(self, calls: Mapping[Key, Callable[[float], Any]], deadline: float) -> dict[Key, tuple[Series, ...]]:
        futures = {key: self._pool.submit(self._one, call, deadline) for key, call in calls.items()}
        done, waiting = wait(futures.values(), return_when=FIRST_EXCEPTION)
        for future in waiting:
            future.cancel()
        for future in futures.values():
            error = future.exception() if future in done else None
            if error is not None:
                raise error
        return {key: future.result() for key, future in futures.items()}

    def _one(self, call: Callable[[float], Any], deadline: float) -> tuple[Series, ...]:
        budget_s = deadline - time.monotonic()
        url = self.access.public_url
        if budget_s <= 0:
            raise PrometheusError(f"{url} is too slow, and its answers did not all come in time: is it overloaded?")
        try:
            rows = call(budget_s)
        except OSError as error:  # what requests raises is one, and so is a token file that is not there
            raise PrometheusError(f"{url} cannot be asked: {error}") from error
        try:
            return tuple(_series(row) for row in rows)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PrometheusError(
                f"{url} answered rows that are no series ({error!r}); is it a Prometheus API?"
            ) from error


@dataclass(frozen=True, slots=True)
class _Limits:
    """How long a request may take, with all its retries and at each attempt."""

    total_s: float
    attempt_s: float


class _Session(requests.Session):
    """Sends with bounded retries, and lets only whole, successful answers through.

    The ``timeout`` of a request is a _Limits here, which the library hands on as it is.
    """

    def __init__(self, access: PrometheusAccess) -> None:
        super().__init__()
        self._access = access

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:  # noqa: ANN401  # requests' own signature
        begun = time.monotonic()
        limits: _Limits = kwargs.pop("timeout")
        deadline = begun + limits.total_s
        # A redirect would take the credentials to another place; its target is named in the error instead.
        kwargs |= {"stream": True, "allow_redirects": False}
        url = self._access.public_url
        for attempt in range(1, self._access.attempts + 1):
            timeout_s = max(0.05, min(limits.attempt_s, deadline - time.monotonic()))
            try:
                return self._send_once(request, timeout_s, kwargs)
            except TransientError as error:
                pause_s = _FIRST_WAIT_S * 2**attempt * random.uniform(0.5, 1.0)  # noqa: S311  # jitter keeps no secret
                if attempt == self._access.attempts or time.monotonic() + pause_s >= deadline:
                    took_s = time.monotonic() - begun
                    raise PrometheusError(f"{url} {error} (attempt {attempt}, after {took_s:.1f} s)") from error
                time.sleep(pause_s)
            except PrometheusError as error:
                raise PrometheusError(f"{url} {error}") from error
        raise AssertionError("the last attempt returns or raises")

    def _send_once(self, request: requests.PreparedRequest, timeout_s: float, kwargs: dict[str, Any]) -> Answer:
        deadline = time.monotonic() + timeout_s
        try:
            with super().send(request, timeout=timeout_s, **kwargs) as response:
                return read_answer(response, deadline)
        except requests.exceptions.SSLError as error:
            raise PrometheusError(
                "has a certificate that is not trusted: name the CA file, or the right host"
            ) from error
        except requests.Timeout as error:
            raise TransientError("does not answer: is it overloaded?") from error
        except requests.ConnectionError as error:
            raise TransientError("cannot be reached: is it running, and is the URL right?") from error


class _Bearer(AuthBase):
    def __init__(self, access: PrometheusAccess) -> None:
        self._access = access

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = (
            f"Bearer {_secret(self._access.bearer_token, self._access.bearer_token_file)}"
        )
        return request


class _Basic(AuthBase):
    def __init__(self, access: PrometheusAccess, user: str) -> None:
        self._access, self._user = access, user

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        password = _secret(self._access.password, self._access.password_file)
        signed: requests.PreparedRequest = HTTPBasicAuth(self._user.encode(), password.encode())(request)
        return signed


def _secret(given: str | None, file: Path | None) -> str:
    return file.read_text("utf-8").strip() if file else given or ""


def _auth(access: PrometheusAccess) -> AuthBase | None:
    if access.user is not None:
        return _Basic(access, access.user)
    return _Bearer(access) if access.bearer_token or access.bearer_token_file else None


def _trusted(ca_file: Path) -> str:
    """Look at a CA file once, at the start: later it would only look like a server that is not trusted."""
    try:
        ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError) as error:  # what ssl raises is an OSError too
        why = getattr(error, "strerror", None) or error
        raise ValueError(f"the CA file {ca_file} cannot be used: {why}; it holds certificates in PEM") from error
    return str(ca_file)


def _series(row: Mapping[str, Any]) -> Series:
    samples = row["values"] if "values" in row else [row["value"]]
    return Series(
        labels=dict(row["metric"]),
        times_s=tuple(float(moment) for moment, _ in samples),
        values=tuple(_number(text) for _, text in samples),
    )


def _number(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


def _joined(pieces: list[tuple[Series, ...]]) -> tuple[Series, ...]:
    """Put the pieces of each series behind one another."""
    whole: dict[frozenset[tuple[str, str]], list[Series]] = {}
    for piece in pieces:
        for series in piece:
            whole.setdefault(frozenset(series.labels.items()), []).append(series)
    return tuple(
        Series(
            labels=parts[0].labels,
            times_s=tuple(moment for part in parts for moment in part.times_s),
            values=tuple(value for part in parts for value in part.values),
        )
        for parts in whole.values()
    )
