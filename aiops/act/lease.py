"""Who leads: one of several processes, by a Lease in the cluster."""

import socket
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import structlog
from kubernetes.client import ApiClient

from aiops.act.kubernetes_api import FIELD_MANAGER, KubernetesApi
from aiops.act.kubernetes_errors import API_ERRORS, Failure, Rule, read_error

# Unlike the monotonic clock of Linux it goes on while the machine sleeps: who wakes up leads no more.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_GROUP = "coordination.k8s.io"


def new_identity() -> str:
    """Give a name that no other process has, not even this pod's container before its restart."""
    return f"{socket.gethostname()}_{uuid.uuid4()}"


def _boot_time_s() -> float:
    return time.clock_gettime(_CLOCK)


class LeaseElector:
    """Leads while it holds the Lease ``namespace/name``; fits ``control.protocols.Elector``.

    It leads from a renewal that the API server confirmed until ``lease_s - margin_s`` after that request was sent, and
    another takes over no sooner than ``lease_s`` after it has itself seen the last renewal. So two never lead at once
    as long as their clocks run equally fast; what the clocks show does not matter, and no timestamp of the other is
    believed. A write that begins while it leads is over before another one leads if it takes at most ``margin_s``.

    ``lease_s`` is in whole seconds, as the Lease has it. A background thread renews, or asks, every ``retry_s``; one
    request takes at most ``timeout_s``. A connection that is lost for longer than ``lease_s - margin_s`` ends the lead
    by itself. Use it as a context: it starts as the block begins, and releases the Lease as it ends, when nothing
    must be written any more. ``clock_s`` gives seconds that only grow.
    """

    problem: str = ""
    """Why the last attempt to get or renew the Lease failed; empty where it did not."""

    def __init__(
        self,
        api: ApiClient,
        namespace: str,
        name: str,
        identity: str,
        *,
        lease_s: int = 15,
        margin_s: float = 5.0,
        retry_s: float = 2.0,
        timeout_s: float = 4.0,
        clock_s: Callable[[], float] = _boot_time_s,
    ) -> None:
        if not (0 < retry_s < lease_s - margin_s and margin_s > 0):
            raise ValueError(
                f"a lease of {lease_s} s with a margin of {margin_s:g} s cannot be renewed every {retry_s:g} s; "
                "the margin must be above 0, and the retry shorter than what it leaves of the lease"
            )
        self._api = KubernetesApi(api, timeout_s)
        self._namespace, self._name, self._identity = namespace, name, identity
        self._lease_s, self._margin_s, self._retry_s, self._clock_s = lease_s, margin_s, retry_s, clock_s
        self._held_until_s: float | None = None
        self._own: dict[str, Any] | None = None
        self._seen: dict[str, Any] = {}
        self._seen_s = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"lease {namespace}/{name}", daemon=True)

    @property
    def valid_until_s(self) -> float | None:
        """Until when it leads if no renewal follows, in seconds of the clock; None where it does not hold the Lease."""
        held = self._held_until_s
        return None if held is None else held - self._margin_s

    def leads(self) -> bool:
        """Whether this process may write now. Asks nobody, so it is quick and may be asked before each write."""
        until = self.valid_until_s
        return until is not None and self._clock_s() < until

    def __enter__(self) -> "LeaseElector":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()
        self._release()
        self._api.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.attempt()
            self._stopping.wait(self._pause_s())

    def _pause_s(self) -> float:
        """Until the next attempt: a Lease that runs out is asked for as it does, not up to ``retry_s`` later."""
        if self._own is not None or not self._seen:
            return self._retry_s
        left_s = self._seen_s + self._duration_s() - self._clock_s()
        return min(self._retry_s, left_s + 0.001) if left_s > 0 else self._retry_s

    def attempt(self) -> None:
        """Get or renew the Lease once. The background thread calls it; errors become ``problem``, never raised."""
        led = self.leads()
        verb = "get"
        try:
            lease = self._own or self._read()
            if lease is None:
                verb = "create"
                self._create()
            elif self._free(lease["spec"]):
                verb = "update"
                self._update(lease)
            else:
                self._held_until_s = None
            self._tell("")
        except API_ERRORS as error:
            # Whatever is there now must be read again before anything is built on it.
            self._own = None
            told = read_error(error, Rule(_GROUP, "leases", verb, self._namespace), self._subject)
            # Another one was faster: that is how one of them is chosen.
            self._tell("" if told.failure is Failure.CONFLICT else told.sentence)
        if self.leads() is not led:
            structlog.get_logger().info("leads now" if not led else "leads no more", lease=self._subject)

    @property
    def _subject(self) -> str:
        return f"Lease {self._namespace}/{self._name}"

    def _tell(self, problem: str) -> None:
        if problem and problem != self.problem:
            structlog.get_logger().warning("the Lease cannot be had or renewed", lease=self._subject, problem=problem)
        self.problem = problem

    def _read(self) -> dict[str, Any] | None:
        leases = self._api.resource("Lease", _GROUP)
        try:
            lease: dict[str, Any] = leases.get(name=self._name, namespace=self._namespace).to_dict()
        except API_ERRORS as error:
            if getattr(error, "status", None) == 404:
                return None
            raise
        if lease["spec"] != self._seen:
            # Now, not when it was sent: whoever holds it renewed it before this moment, so this errs to their side.
            self._seen, self._seen_s = lease["spec"], self._clock_s()
        return lease

    def _duration_s(self) -> float:
        return float(self._seen.get("leaseDurationSeconds") or self._lease_s)

    def _free(self, spec: dict[str, Any]) -> bool:
        holder = spec.get("holderIdentity") or ""
        return holder in ("", self._identity) or self._clock_s() >= self._seen_s + self._duration_s()

    def _create(self) -> None:
        spec = self._spec({}, _micro_time())
        body = {
            "apiVersion": f"{_GROUP}/v1",
            "kind": "Lease",
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": spec,
        }
        leases = self._api.resource("Lease", _GROUP)
        sent_s = self._clock_s()
        made = leases.create(body=body, namespace=self._namespace, field_manager=FIELD_MANAGER)
        self._holds(made.to_dict(), sent_s)

    def _update(self, lease: dict[str, Any]) -> None:
        # The resourceVersion of what was read goes along: of two that both think it free, one gets it.
        body = {**lease, "spec": self._spec(lease["spec"], _micro_time())}
        self._holds(*self._replace(body))

    def _replace(self, body: dict[str, Any]) -> tuple[dict[str, Any], float]:
        leases = self._api.resource("Lease", _GROUP)
        sent_s = self._clock_s()
        answer = leases.replace(body=body, namespace=self._namespace, field_manager=FIELD_MANAGER)
        return answer.to_dict(), sent_s

    def _holds(self, lease: dict[str, Any], sent_s: float) -> None:
        self._own = lease
        self._seen, self._seen_s = lease["spec"], self._clock_s()
        self._held_until_s = sent_s + self._lease_s

    def _spec(self, old: dict[str, Any], now: str) -> dict[str, Any]:
        spec = {**old, "holderIdentity": self._identity, "leaseDurationSeconds": self._lease_s, "renewTime": now}
        if old.get("holderIdentity") != self._identity:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = old.get("leaseTransitions", 0) + 1 if old else 0
        return spec

    def _release(self) -> None:
        lease, self._own, self._held_until_s = self._own, None, None
        if lease is None:
            return
        now = _micro_time()
        freed = {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": now, "acquireTime": now}
        try:
            self._replace({**lease, "spec": {**lease["spec"], **freed}})
        except API_ERRORS as error:
            told = read_error(error, Rule(_GROUP, "leases", "update", self._namespace), self._subject)
            structlog.get_logger().warning("the Lease is not released and runs out", problem=told.sentence)


def _micro_time() -> str:
    """Give the present as Kubernetes reads it: six digits after the point, always."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
