"""The pods of a cluster as they are now, kept up to date by a list and a watch, and how one leaves."""

import json
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

import structlog
import urllib3
from kubernetes.client import ApiClient, CoreV1Api, V1DeleteOptions, V1Preconditions
from kubernetes.client.exceptions import ApiException
from kubernetes.watch import Watch

from aiops.simulate.followed import SeenPod

_CONNECT_S, _ANSWER_S = 3.0, 30.0
_FIRST_WAIT_S, _LAST_WAIT_S = 0.25, 5.0  # from a lost API server to the next try
_STOP_S = 5.0
_AGAIN_S = 2.0  # from one deletion of a pod that stays to the next
_ENDED = ("Failed", "Succeeded")
_LOST = (ApiException, urllib3.exceptions.HTTPError, OSError, ValueError, KeyError)
_GONE_ALREADY = (404, 409)


class PodWatch:
    """Follows the pods of some namespaces in the background; ``selector`` is a label selector, empty for all.

    Each namespace is listed, then watched, and listed again every ``resync_s`` and whenever its watch is lost. While
    the API server cannot be reached, the pods stay what they were. Needs the verbs list, watch and, for
    :meth:`send_away`, delete on pods.
    """

    def __init__(self, api: ApiClient, namespaces: Sequence[str], selector: str = "", *, resync_s: int = 60) -> None:
        self._core = CoreV1Api(api)
        self._selector = selector
        self._resync_s = resync_s
        self._lock = threading.Lock()
        self._pods: dict[str, dict[str, SeenPod]] = {namespace: {} for namespace in namespaces}
        self._version = 0
        self._watches: dict[str, Watch] = {}
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._follow, args=(namespace,), name=f"pods of {namespace}", daemon=True)
            for namespace in self._pods
        ]
        self._senders = ThreadPoolExecutor(4, thread_name_prefix="pods that leave")
        self._again_at: dict[str, float] = {}
        self._log = structlog.get_logger()

    @property
    def version(self) -> int:
        """A number that grows with every change of the pods."""
        with self._lock:
            return self._version

    def pods(self) -> list[SeenPod]:
        """Give the pods there are, those of all namespaces."""
        with self._lock:
            return [pod for pods in self._pods.values() for pod in pods.values()]

    def send_away(self, pods: Iterable[SeenPod]) -> None:
        """Delete pods with a grace period of 0, in the background; those that stay are to be given again.

        A pod of the same name that came in the meantime is left alone.
        """
        now_s, chosen = time.monotonic(), list(pods)
        self._again_at = {pod.uid: self._again_at[pod.uid] for pod in chosen if pod.uid in self._again_at}
        for pod in chosen:
            if now_s >= self._again_at.get(pod.uid, 0.0):
                self._again_at[pod.uid] = now_s + _AGAIN_S
                self._senders.submit(self._delete, pod)

    def start(self) -> None:
        """Begin to watch."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the watches; the pods stay what they were."""
        self._stop.set()
        with self._lock:
            watches = list(self._watches.values())
        for watch in watches:
            watch.stop()  # type: ignore[no-untyped-call]
        for thread in self._threads:
            thread.join(_STOP_S)
        self._senders.shutdown(cancel_futures=True)

    def __enter__(self) -> "PodWatch":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _follow(self, namespace: str) -> None:
        wait_s = _FIRST_WAIT_S
        while not self._stop.is_set():
            try:
                version = self._list(namespace)
                wait_s = _FIRST_WAIT_S
                self._watch(namespace, version)
            except _LOST as error:
                if not self._stop.is_set():
                    self._log.warning("the pods cannot be watched", namespace=namespace, error=str(error)[:300])
                self._stop.wait(wait_s)
                wait_s = min(2 * wait_s, _LAST_WAIT_S)

    def _list(self, namespace: str) -> str:
        answer: Any = self._core.list_namespaced_pod(
            namespace,
            label_selector=self._selector,
            _preload_content=False,
            _request_timeout=(_CONNECT_S, _ANSWER_S),
        )
        if answer.status != 200:
            raise ApiException(status=answer.status, reason=answer.data.decode("utf-8", "replace")[:300])
        body = json.loads(answer.data)
        found = [seen_pod(item) for item in body["items"]]
        with self._lock:
            self._pods[namespace] = {pod.uid: pod for pod in found}
            self._version += 1
        return str(body["metadata"]["resourceVersion"])

    def _watch(self, namespace: str, version: str) -> None:
        watch = Watch(return_type="object")  # type: ignore[no-untyped-call]
        with self._lock:
            self._watches[namespace] = watch
        if self._stop.is_set():
            return
        events = watch.stream(  # type: ignore[no-untyped-call]
            self._core.list_namespaced_pod,
            namespace,
            label_selector=self._selector,
            resource_version=version,
            timeout_seconds=self._resync_s,
            _request_timeout=(_CONNECT_S, self._resync_s + _ANSWER_S),
        )
        for event in events:
            self._take(namespace, event["type"], event["object"])
            if self._stop.is_set():
                return

    def _take(self, namespace: str, kind: str, item: Mapping[str, Any]) -> None:
        if kind not in ("ADDED", "MODIFIED", "DELETED"):
            return
        pod = seen_pod(item)
        with self._lock:
            pods = self._pods[namespace]
            if kind == "DELETED":
                pods.pop(pod.uid, None)
            elif pods.get(pod.uid) == pod:
                return
            else:
                pods[pod.uid] = pod
            self._version += 1

    def _delete(self, pod: SeenPod) -> None:
        options = V1DeleteOptions(grace_period_seconds=0, preconditions=V1Preconditions(uid=pod.uid))
        try:
            self._core.delete_namespaced_pod(
                pod.name, pod.namespace, body=options, _request_timeout=(_CONNECT_S, _ANSWER_S)
            )
        except ApiException as error:
            if error.status not in _GONE_ALREADY:
                self._log.warning("a pod that ended cannot be deleted", pod=pod.name, error=str(error.reason))
        except (urllib3.exceptions.HTTPError, OSError) as error:
            self._log.warning("a pod that ended cannot be deleted", pod=pod.name, error=str(error)[:300])


def seen_pod(item: Mapping[str, Any]) -> SeenPod:
    """Read a pod from the API's JSON. Raises KeyError for what is no pod."""
    metadata, spec, status = item["metadata"], item.get("spec", {}), item.get("status", {})
    owners = [owner["name"] for owner in metadata.get("ownerReferences", ()) if owner.get("controller")]
    conditions = {each["type"]: each["status"] for each in status.get("conditions", ())}
    return SeenPod(
        uid=metadata["uid"],
        namespace=metadata["namespace"],
        name=metadata["name"],
        labels=metadata.get("labels", {}),
        owner=next(iter(owners), ""),
        address=status.get("podIP", ""),
        node=spec.get("nodeName", ""),
        ready=conditions.get("Ready") == "True",
        ended=status.get("phase") in _ENDED,
        leaving="deletionTimestamp" in metadata,
        grace_s=float(metadata.get("deletionGracePeriodSeconds", 0.0)),
    )
