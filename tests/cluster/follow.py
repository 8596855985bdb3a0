import json
import threading
from collections.abc import Callable
from typing import Any

import urllib3
from kubernetes.client.exceptions import ApiException
from kubernetes.watch import Watch

Json = dict[str, Any]
Take = Callable[[Json, bool], None]

_LOST = (ApiException, urllib3.exceptions.HTTPError, OSError, ValueError, KeyError)
_AGAIN_S = 0.2
_ANSWER_S = 15
_TOO_OLD = 410


class Following:
    """Tells ``take`` each object of a namespace, each change of it, and its end (True), in a thread of its own.

    It lists once and watches from exactly there. A watch that is lost goes on where it was, as far as the API server
    still knows what came since; else another list tells the newest state of everything.
    """

    def __init__(self, lister: Callable[..., Any], namespace: str, take: Take) -> None:
        self._lister, self._namespace, self._take = lister, namespace, take
        self._known: dict[str, Json] = {}
        self._version = ""
        self._watch = Watch(return_type="object")
        self._stop = threading.Event()
        self._listed = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=f"following {lister.__name__}", daemon=True)

    def start(self) -> None:
        """Begin; gives back once everything that is there was told."""
        self._thread.start()
        assert self._listed.wait(60.0), f"{self._thread.name}: no list was answered"

    def stop(self) -> None:
        self._stop.set()
        self._watch.stop()
        self._thread.join(2 * _ANSWER_S)

    def _follow(self) -> None:
        while not self._stop.is_set():
            try:
                if not self._version:
                    self._list()
                self._watch_on()
            except ApiException as error:
                self._version = "" if error.status == _TOO_OLD else self._version
                self._stop.wait(_AGAIN_S)
            except _LOST:
                self._stop.wait(_AGAIN_S)

    def _list(self) -> None:
        answer = self._lister(self._namespace, _preload_content=False, _request_timeout=_ANSWER_S)
        if answer.status != 200:
            raise ApiException(status=answer.status)
        body = json.loads(answer.data)
        there = {item["metadata"]["uid"]: item for item in body["items"]}
        for uid in self._known.keys() - there.keys():
            self._take(self._known[uid], True)
        for item in there.values():
            self._take(item, False)
        self._known, self._version = there, body["metadata"]["resourceVersion"]
        self._listed.set()

    def _watch_on(self) -> None:
        stream = self._watch.stream(
            self._lister,
            self._namespace,
            resource_version=self._version,
            allow_watch_bookmarks=True,
            timeout_seconds=_ANSWER_S,
            _request_timeout=2 * _ANSWER_S,
        )
        for event in stream:
            item, gone = event["object"], event["type"] == "DELETED"
            if event["type"] in ("ADDED", "MODIFIED", "DELETED"):
                self._known.pop(item["metadata"]["uid"], None)
                if not gone:
                    self._known[item["metadata"]["uid"]] = item
                self._take(item, gone)
            self._version = item["metadata"]["resourceVersion"]
            if self._stop.is_set():
                return
