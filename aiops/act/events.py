"""Says in the cluster what was changed and why, where ``kubectl describe`` shows it."""

import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog
from kubernetes.client import ApiClient

from aiops.act.kubernetes_api import FIELD_MANAGER, MERGE_PATCH, KubernetesApi
from aiops.act.kubernetes_errors import API_ERRORS, Rule, read_error
from aiops.act.scale import Scaled
from aiops.model.refs import PoolRef

_GROUP = "events.k8s.io"
_CONTROLLER = "aiops.tokenfactory.dev/aiops"
_SAME_S = 600.0
"""An event that comes again within this time is the same one, seen once more."""
_SERIES_EVERY_S = 60.0
_BURST = 10
_ONE_EVERY_S = 30.0
_LONGEST_NOTE = 1024


@dataclass(slots=True)
class _Told:
    """The last event on a target, and what may still be written there."""

    tokens: float
    at_s: float
    key: tuple[str, str] = ("", "")
    name: str = ""
    count: int = 0
    wrote_s: float = 0.0


class EventRecorder:
    """Writes an Event on the target of each change: its first reason, the sentence, and from how many to how many.

    The same event within ten minutes becomes a count, written at most once a minute. A target gets ten Events in a
    row and then one every 30 s; more are dropped, since the journal has them all. Whatever fails is logged once and
    stops nothing. ``clock_s`` gives seconds that only grow.
    """

    def __init__(
        self, api: ApiClient, *, timeout_s: float = 2.0, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._api = KubernetesApi(api, timeout_s)
        self._clock_s = clock_s
        self._told: dict[PoolRef, _Told] = {}
        self._failed = False

    def changed(self, scaled: Scaled) -> None:
        """Tell a change that was written; nothing is told where nothing changed."""
        if not scaled.decision.change:
            return
        pool, now_s = scaled.decision.pool, self._clock_s()
        told = self._told.setdefault(pool, _Told(float(_BURST), now_s))
        told.tokens = min(float(_BURST), told.tokens + (now_s - told.at_s) / _ONE_EVERY_S)
        key = (_reason(scaled), _note(scaled))
        again = bool(told.name) and told.key == key and now_s - told.at_s <= _SAME_S
        told.at_s = now_s
        if again:
            told.count += 1
            if told.count > 2 and now_s - told.wrote_s < _SERIES_EVERY_S:
                return
        elif told.tokens < 1:
            told.name = ""
            return
        self._write(scaled, told, key, again=again)

    def _write(self, scaled: Scaled, told: _Told, key: tuple[str, str], *, again: bool) -> None:
        verb = "patch" if again else "create"
        try:
            if not again or not self._counted(scaled, told):
                verb = "create"
                told.name, told.key, told.count = self._created(scaled, key), key, 1
                told.tokens -= 1
            told.wrote_s = told.at_s
            self._failed = False
        except API_ERRORS as error:
            self._say(read_error(error, Rule(_GROUP, "events", verb, scaled.decision.pool.namespace), "Event").sentence)

    def _created(self, scaled: Scaled, key: tuple[str, str]) -> str:
        pool = scaled.decision.pool
        reason, note = key
        body = {
            "apiVersion": f"{_GROUP}/v1",
            "kind": "Event",
            "metadata": {"name": f"{pool.name[:200]}.{uuid.uuid4().hex[:16]}", "namespace": pool.namespace},
            "eventTime": _micro_time(),
            "reportingController": _CONTROLLER,
            "reportingInstance": socket.gethostname()[:128],
            "action": "ScaleUp" if scaled.decision.change > 0 else "ScaleDown",
            "reason": reason,
            "note": note,
            "type": "Normal",
            "regarding": {
                "apiVersion": scaled.api_version,
                "kind": pool.kind,
                "namespace": pool.namespace,
                "name": pool.name,
                "uid": scaled.uid,
            },
        }
        events = self._api.resource("Event", _GROUP)
        made: str = events.create(body=body, namespace=pool.namespace, field_manager=FIELD_MANAGER).metadata.name
        return made

    def _counted(self, scaled: Scaled, told: _Told) -> bool:
        """Count the event up; False where it is there no more, since the API server forgets them after an hour."""
        series: dict[str, Any] = {"count": told.count, "lastObservedTime": _micro_time()}
        try:
            self._api.resource("Event", _GROUP).patch(
                name=told.name,
                namespace=scaled.decision.pool.namespace,
                body={"series": series},
                content_type=MERGE_PATCH,
                field_manager=FIELD_MANAGER,
            )
        except API_ERRORS as error:
            if getattr(error, "status", None) == 404:
                return False
            raise
        return True

    def _say(self, why: str) -> None:
        if not self._failed:
            structlog.get_logger().warning("an Event was not written; the loop goes on", why=why)
        self._failed = True


def _reason(scaled: Scaled) -> str:
    """Give the first reason as Kubernetes writes them: ``demand_now`` is ``DemandNow``."""
    reasons = scaled.decision.reasons
    return "".join(word.capitalize() for word in reasons[0].value.split("_")) if reasons else "Scaled"


def _note(scaled: Scaled) -> str:
    decision = scaled.decision
    sentence = decision.reasons[0].sentence if decision.reasons else ""
    return f"{sentence} Replicas from {decision.current} to {decision.desired}.".strip()[:_LONGEST_NOTE]


def _micro_time() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
