"""Questions to a Kubernetes API server: answered whole and in time, or refused with the reason and the way out."""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3
import yaml
from kubernetes import config
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.client.rest import RESTResponse
from kubernetes.config.config_exception import ConfigException
from kubernetes.config.incluster_config import (
    SERVICE_HOST_ENV_NAME,
    SERVICE_TOKEN_FILENAME,
    InClusterConfigLoader,
)

from aiops.observe.cluster_items import ItemStream, ListError

CONNECT_S = 3.0
READ_S = 10.0
_PAGE = 500
_CHUNK = 1 << 18
_FIRST_WAIT_S = 0.3
_ATTEMPTS = 3
_OK, _CREATED, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _TOO_MANY, _SERVER_ERROR = 200, 201, 401, 403, 404, 429, 500
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_JSON = "application/json"
_VERSION = "/version"
Json = dict[str, Any]


class AccessError(ValueError):
    """No cluster is named in a way that can be used; the message names the file and the way out."""


class KubernetesError(Exception):
    """The API server gave no answer that can be used; the message names it and the way out."""


class ForbiddenError(Exception):
    """The API server refuses a read for want of a right; the message names the missing rule."""


class NotFoundError(Exception):
    """The API server has no such object, or no such kind."""


class _TransientError(Exception):
    def __init__(self, message: str, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True)
class Resource:
    """What a Role rule names: an API group (empty for the core), and the plural name of a kind in it."""

    group: str
    version: str
    plural: str
    kind: str = ""
    has_scale: bool = False

    @property
    def root(self) -> str:
        """Where the group and version begin."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def path(self, namespace: str | None, *parts: str) -> str:
        """Give the path of the list, in one namespace or in the whole cluster, or of what lies below it."""
        within = ("namespaces", namespace) if namespace is not None else ()
        return "/".join((self.root, *within, self.plural, *parts))

    def denied(self, verb: str, namespace: str | None, subresource: str = "") -> str:
        """Say which rule is missing, as a Role states one."""
        name = f"{self.plural}/{subresource}" if subresource else self.plural
        where = f"in namespace {namespace}: its Role" if namespace else "in the whole cluster: a ClusterRole"
        return f'may not {verb} {name} {where} needs apiGroups: ["{self.group}"], resources: [{name}], verbs: [{verb}]'


class KubernetesAccess:
    """The way to one API server. ``client`` is for whoever writes; reads go through ``reading``.

    ``load`` reads the credentials anew: tokens rotate, and after a refusal the old ones are given up.
    """

    def __init__(self, load: Callable[[], ApiClient]) -> None:
        self._load = load
        self.client = load()

    @property
    def host(self) -> str:
        """The URL of the API server."""
        return str(self.client.configuration.host)

    def reload(self) -> None:
        """Read the credentials anew. Raises AccessError."""
        former, self.client = self.client, self._load()
        former.close()  # type: ignore[no-untyped-call]

    def reading(self, total_s: float = 15.0) -> "Reading":
        """Begin to read: all calls and retries of it end within ``total_s``."""
        return Reading(self, time.monotonic() + total_s)

    def close(self) -> None:
        """End the connections."""
        self.client.close()  # type: ignore[no-untyped-call]


@dataclass(slots=True)
class Reading:
    """Several reads within one limit of time. ``calls`` counts the requests that were sent."""

    access: KubernetesAccess
    deadline: float
    calls: int = field(default=0, init=False)

    def items(
        self, resource: Resource, namespace: str | None, *, accept: str = _JSON, cached: bool = True, fields: str = ""
    ) -> Iterator[Json]:
        """List objects page by page, and give each as it arrives; ``fields`` is a field selector.

        ``cached`` lets the API server answer from its cache, which is cheap for it and may be some seconds old.
        Raises KubernetesError, ForbiddenError and NotFoundError.
        """
        query = {"limit": str(_PAGE)} | ({"fieldSelector": fields} if fields else {})
        first = query | ({"resourceVersion": "0"} if cached else {})
        page: Mapping[str, str] = first
        while page:
            stream = ItemStream()
            for chunk in self._chunks(resource.path(namespace), resource.denied("list", namespace), page, accept):
                yield from self._parsed(stream, chunk)
            try:
                further = stream.end()
            except ListError as error:
                raise self._unreadable(error) from error
            page = query | {"continue": further} if further else {}

    def one(self, path: str, denied: str, *, accept: str = _JSON) -> Json:
        """Read one object; ``denied`` says which rule is missing where it is refused.

        Raises KubernetesError, ForbiddenError and NotFoundError.
        """
        try:
            read = json.loads(b"".join(self._chunks(path, denied, {}, accept)))
        except ValueError as error:
            raise self._unreadable(error) from error
        if not isinstance(read, dict):
            raise self._unreadable(f"{type(read).__name__} where an object was asked for")
        return read

    def created(self, path: str, body: Json, denied: str) -> Json:
        """Create an object that only asks, such as a review of rights, and give what the server made of it.

        Raises KubernetesError, ForbiddenError and NotFoundError.
        """
        try:
            made: Json = json.loads(b"".join(self._chunks(path, denied, {}, _JSON, body)))
        except ValueError as error:
            raise self._unreadable(error) from error
        return made

    def ahead_s(self) -> float | None:
        """Give how far the server's clock is ahead of this machine's, within a second; None where it does not tell.

        Raises KubernetesError, ForbiddenError and NotFoundError.
        """
        begun_s = time.time()
        answer = self._answer(_VERSION, "", {}, _JSON)
        ended_s = time.time()
        told = answer.getheader("Date")  # type: ignore[no-untyped-call]  # left untyped there
        _give_back(answer)
        try:
            # It tells whole seconds, the rest cut off.
            return parsedate_to_datetime(told).timestamp() + 0.5 - (begun_s + ended_s) / 2
        except (TypeError, ValueError):
            return None

    def _parsed(self, stream: ItemStream, chunk: bytes) -> Sequence[Json]:
        try:
            return stream.feed(chunk)
        except ListError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, why: object) -> KubernetesError:
        return KubernetesError(
            f"{self.access.host} answered what cannot be read ({why}): is it the API server, or a proxy before it?"
        )

    def _chunks(
        self, path: str, denied: str, query: Mapping[str, str], accept: str, body: Json | None = None
    ) -> Iterator[bytes]:
        answer = self._answer(path, denied, query, accept, body)
        try:
            while chunk := answer.response.read(_CHUNK):
                yield chunk
                if time.monotonic() > self.deadline:
                    raise self._late()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise KubernetesError(f"{self.access.host} broke off its answer: {error}") from error
        finally:
            _give_back(answer)

    def _answer(
        self, path: str, denied: str, query: Mapping[str, str], accept: str, body: Json | None = None
    ) -> RESTResponse:
        """Ask until there is an answer: once more with new credentials, or after a pause, while there is time."""
        attempt, renewed = 1, False
        while True:
            try:
                answer = self._asked(path, query, accept, body)
            except _TransientError as error:
                pause_s = _FIRST_WAIT_S * attempt if error.wait_s is None else error.wait_s
                if attempt == _ATTEMPTS or time.monotonic() + pause_s >= self.deadline:
                    raise KubernetesError(f"{self.access.host} {error}") from error
                time.sleep(pause_s)
                attempt += 1
                continue
            if answer.status in (_OK, _CREATED):
                return answer
            said = _status_message(answer)
            if answer.status == _FORBIDDEN:
                raise ForbiddenError(denied)
            if answer.status == _NOT_FOUND:
                raise NotFoundError(said)
            if answer.status == _UNAUTHORIZED and not renewed:
                renewed = True
                self._renew()
                continue
            raise KubernetesError(f"{self.access.host} {_refusal(answer.status, said)}")

    def _renew(self) -> None:
        try:
            self.access.reload()
        except AccessError as error:
            raise KubernetesError(str(error)) from error

    def _asked(self, path: str, query: Mapping[str, str], accept: str, body: Json | None) -> RESTResponse:
        remaining_s = self.deadline - time.monotonic()
        if remaining_s <= 0:
            raise self._late()
        client = self.access.client
        url = f"{path}?{urlencode(query)}" if query else path
        try:
            headers = {"Accept": accept} | ({} if body is None else {"Content-Type": _JSON})
            asked = client.param_serialize(
                "GET" if body is None else "POST", url, header_params=headers, body=body, auth_settings=["BearerToken"]
            )
        except (ConfigException, OSError) as error:
            raise KubernetesError(f"the credentials for {self.access.host} cannot be read: {error}") from error
        self.calls += 1
        try:
            answer = client.call_api(*asked, _request_timeout=(min(CONNECT_S, remaining_s), min(READ_S, remaining_s)))
        except ApiException as error:
            raise KubernetesError(
                f"{self.access.host} has a certificate that is not trusted ({_first_line(error.reason)}): "
                "name its CA in the kubeconfig"
            ) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            # What refuses a connection counts as one that timed out there.
            refused = isinstance(error, urllib3.exceptions.NewConnectionError)
            if isinstance(error, urllib3.exceptions.TimeoutError) and not refused:
                raise _TransientError("does not answer: is it overloaded, or is a firewall between?") from error
            raise _TransientError(
                f"cannot be reached ({_cause(error)}): is it running, and is the address right?"
            ) from error
        if answer.status == _TOO_MANY or answer.status >= _SERVER_ERROR:
            said = _status_message(answer)
            raise _TransientError(_refusal(answer.status, said), _retry_after_s(answer))
        return answer

    def _late(self) -> KubernetesError:
        return KubernetesError(
            f"{self.access.host} is too slow, and its answers did not come in time: is it overloaded?"
        )


def connect(
    kubeconfig: Path | None = None,
    context: str | None = None,
    *,
    token_file: Path = Path(SERVICE_TOKEN_FILENAME),
) -> KubernetesAccess:
    """Find the cluster: what is given, else ``$KUBECONFIG``, else the pod's own, else ``~/.kube/config``.

    ``token_file`` is where a pod finds its token, with its CA beside it. Nothing is asked yet.
    Raises AccessError.
    """
    named = str(kubeconfig) if kubeconfig is not None else os.environ.get("KUBECONFIG", "")
    in_pod = bool(os.environ.get(SERVICE_HOST_ENV_NAME)) and token_file.is_file()
    if not named and context is None and in_pod:
        return KubernetesAccess(lambda: _from_pod(token_file))
    files = named or str(Path.home() / ".kube" / "config")
    return KubernetesAccess(lambda: _from_files(files, context))


def _from_pod(token_file: Path) -> ApiClient:
    stated = _configuration()
    try:
        InClusterConfigLoader(str(token_file), str(token_file.with_name("ca.crt"))).load_and_set(stated)  # type: ignore[no-untyped-call]
    except (ConfigException, OSError) as error:
        raise AccessError(
            f"{token_file.parent} does not give access to the cluster: {error}; mount a ServiceAccount's token, "
            "or give --kubeconfig"
        ) from error
    return ApiClient(stated)


def _from_files(files: str, context: str | None) -> ApiClient:
    paths = [Path(part).expanduser() for part in files.split(os.pathsep) if part]
    if not any(path.is_file() for path in paths):
        raise AccessError(
            f"{files} does not exist, and this is no pod with a ServiceAccount's token: give --kubeconfig FILE or set "
            "KUBECONFIG"
        )
    stated = _configuration()
    try:
        config.load_kube_config(  # type: ignore[no-untyped-call]
            os.pathsep.join(map(str, paths)), context=context, client_configuration=stated, persist_config=False
        )
    except (ConfigException, yaml.YAMLError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        of_context = f"context {context!r} of " if context else ""
        raise AccessError(
            f"{of_context}{files} cannot be used: {_first_line(error)}; check it with: kubectl config get-contexts"
        ) from error
    return ApiClient(stated)


def _configuration() -> Configuration:
    stated = Configuration()
    # By itself urllib3 would try three times more, each with the whole timeout.
    stated.retries = False
    return stated


def _give_back(answer: RESTResponse) -> None:
    # Closes what was not read to its end, which would be taken for the next answer; else the connection lives on.
    answer.response.close()
    answer.response.release_conn()


def _status_message(answer: RESTResponse) -> str:
    """Read the message of a Status object, or the beginning of what else a proxy says."""
    try:
        text = answer.response.read(4096).decode("utf-8", "replace")
    except (urllib3.exceptions.HTTPError, OSError):
        return ""
    finally:
        _give_back(answer)
    try:
        return _first_line(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return _first_line(text)


def _refusal(status: int, said: str) -> str:
    if status == _UNAUTHORIZED:
        return "does not accept the credentials (401): has the token run out, or is it another cluster's?"
    if status == _TOO_MANY:
        return f"has too much to do (429: {said}): try again later"
    if status >= _SERVER_ERROR:
        return f"fails ({status}: {said}): see its log"
    return f"answered {status}: {said}; is it the API server?"


def _retry_after_s(answer: RESTResponse) -> float | None:
    text = answer.getheader("Retry-After") or ""  # type: ignore[no-untyped-call]
    return float(text) if text.isdecimal() else None


def _cause(error: BaseException) -> str:
    reason = getattr(error, "reason", None)
    text = _first_line(reason or error)
    # urllib3 puts the connection object before what people can read.
    return text.rpartition("object at ")[2].partition(">: ")[2] or text.rpartition(": ")[2] or text


def _first_line(text: object, most: int = 200) -> str:
    lines = str(text).strip().splitlines()
    return lines[0][:most] if lines else ""
