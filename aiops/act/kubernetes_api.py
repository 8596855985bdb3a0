"""Calls to a Kubernetes API server that answer or fail in time: one attempt, no waiting inside, any kind."""

import copy
import tempfile
from pathlib import Path
from typing import Any

from kubernetes.client import ApiClient
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import ResourceNotFoundError, ResourceNotUniqueError
from kubernetes.dynamic.resource import Resource

FIELD_MANAGER = "aiops"
"""Who aiops says that it is with every write; managedFields then tell its changes from those of others."""
MERGE_PATCH = "application/merge-patch+json"
_GROUPS = {
    "Deployment": "apps",
    "StatefulSet": "apps",
    "ReplicaSet": "apps",
    "LeaderWorkerSet": "leaderworkerset.x-k8s.io",
}
"""Where the kinds that vLLM runs under live; others are looked for everywhere."""

_NO_OBJECT = "the answer is no object of Kubernetes; is a proxy in between?"


class KubernetesApi:
    """The dynamic client, bounded: each request is one attempt of at most ``timeout_s`` seconds, on both sides.

    ``api`` says where the server is and who asks; it is not changed. What the server has is discovered at the first
    use and kept, so making one of these asks nothing. Raises what ``kubernetes_errors.API_ERRORS`` names.
    """

    def __init__(self, api: ApiClient, timeout_s: float) -> None:
        if timeout_s <= 0:
            raise ValueError(f"a timeout of {timeout_s:g} s leaves no time to answer; give more than 0")
        configuration = copy.deepcopy(api.configuration)
        # urllib3 repeats a PUT that got no answer and sleeps through a Retry-After: a write could outlive the Lease.
        configuration.retries = False
        self._api = ApiClient(configuration)
        self._api.default_headers.update(api.default_headers)
        self._timeout_s = timeout_s
        self._found: dict[tuple[str, str], Resource] = {}
        self._client: _Bounded | None = None

    def resource(self, kind: str, group: str | None = None) -> Resource:
        """Find the resource of a kind, in the version that its group prefers. An empty group is the core."""
        known = _GROUPS.get(kind) if group is None else group
        key = (kind, known or "")
        if key not in self._found:
            wanted: dict[str, Any] = {"kind": kind, "preferred": True}
            if known is not None:
                wanted |= {"prefix": "apis", "group": known} if known else {"prefix": "api", "api_version": "v1"}
            self._found[key] = self._discovered(kind, wanted)
        return self._found[key]

    def scale(self, kind: str) -> Resource:
        """Find the ``scale`` subresource of a kind."""
        resource = self.resource(kind)
        found = (resource.subresources or {}).get("scale")
        if found is None:
            raise ResourceNotFoundError(f"{kind} has no scale subresource")
        return found

    def _discovered(self, kind: str, wanted: dict[str, Any]) -> Resource:
        try:
            found: Resource = self._bounded().resources.get(**wanted)
            return found
        except ResourceNotFoundError as error:
            raise ResourceNotFoundError(f"the cluster has no kind {kind}; is its definition installed?") from error
        except ResourceNotUniqueError as error:
            raise ResourceNotUniqueError(f"the cluster has several kinds {kind}") from error

    def close(self) -> None:
        """Close the connections."""
        self._api.close()  # type: ignore[no-untyped-call]  # left untyped there

    def _bounded(self) -> "_Bounded":
        if self._client is None:
            # By itself the client shares what it discovered with whatever else was ever at this address.
            with tempfile.TemporaryDirectory(prefix="aiops-") as folder:
                self._client = _Bounded(self._api, Path(folder, "discovery.json"), self._timeout_s)
        return self._client


class _Bounded(DynamicClient):
    """A dynamic client whose every request, discovery included, ends in time."""

    def __init__(self, api: ApiClient, cache_file: Path, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        super().__init__(api, cache_file=str(cache_file))  # type: ignore[no-untyped-call]  # left untyped there

    def request(self, method: str, path: str, body: object = None, **params: Any) -> Any:  # noqa: ANN401  # as the library has it
        # The server is told too, so that it gives up a request that nobody waits for any more.
        query = [*params.pop("query_params", []), ("timeout", f"{max(1, round(self._timeout_s * 1000))}ms")]
        stated = {"_request_timeout": self._timeout_s, **params}
        try:
            answer = super().request(method, path, body, query_params=query, **stated)
        except (KeyError, TypeError, AttributeError) as error:
            raise ApiException(status=502, reason=_NO_OBJECT) from error
        if isinstance(answer, str):
            raise ApiException(status=502, reason=_NO_OBJECT)
        return answer
