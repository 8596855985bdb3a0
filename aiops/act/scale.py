"""Sets replicas through the ``scale`` subresource of a target, and never over somebody else's change."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from kubernetes.client import ApiClient
from kubernetes.dynamic.resource import Resource

from aiops.act.kubernetes_api import FIELD_MANAGER, KubernetesApi
from aiops.act.kubernetes_errors import API_ERRORS, Failure, Rule, read_error
from aiops.model.decision import Decision, Outcome
from aiops.model.refs import PoolRef

_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 60.0
_MOST_REPLICAS = 2**31 - 1
_NOT_LEADING = "this process does not hold the Lease, so it writes nothing"

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Scaled:
    """A change that was written, and the object that it was written to."""

    decision: Decision
    api_version: str
    uid: str


@dataclass(frozen=True, slots=True)
class _Wait:
    """How often in a row a target's calls failed, and until when it is left alone, in seconds of the clock."""

    failures: int
    until_s: float


class _RefusedError(Exception):
    """Why a decision is not carried out."""


class ScaleActuator:
    """Writes ``spec.replicas`` of any kind that has a ``scale`` subresource; fits ``control.protocols.Actuator``.

    A decision stands on the replicas that were seen (``decision.current``). Where the target has others by now, or
    changes between the read and the write (``resourceVersion`` tells), the decision is dropped: the next cycle sees
    what is there and decides anew. A busy or unreachable API server is left alone for 1 s, 2 s, 4 s ... 60 s for each
    target, longer if it says so; meanwhile decisions for that target are refused at once. Nothing here sleeps.

    ``may_write`` is asked immediately before each write, and ``timeout_s`` bounds each request on both sides: it must
    be no longer than the margin by which ``may_write`` ends before another process may write. ``writes_off`` gives the
    reason why nothing shall be written; empty where it may be. ``on_change`` is told each change that was written.
    ``now`` is for people, ``clock_s`` gives seconds that only grow.
    """

    def __init__(
        self,
        api: ApiClient,
        *,
        may_write: Callable[[], bool],
        writes_off: Callable[[], str] = lambda: "",
        timeout_s: float = 4.0,
        on_change: Callable[[Scaled], None] = lambda _: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = KubernetesApi(api, timeout_s)
        self._may_write, self._writes_off, self._on_change = may_write, writes_off, on_change
        self._now, self._clock_s = now, clock_s
        self._waits: dict[PoolRef, _Wait] = {}

    def apply(self, decision: Decision) -> Outcome:
        """Ask for ``decision.desired`` replicas; a refusal is an Outcome whose error says why."""
        error = ""
        try:
            self._apply(decision)
        except _RefusedError as refusal:
            error = str(refusal)
        return Outcome(decision.pool, self._now(), decision.desired or 0, applied=not error, error=error)

    def _apply(self, decision: Decision) -> None:
        pool = decision.pool
        current, desired = _believable(decision)
        self._must_be_allowed()
        self._must_not_wait(pool)
        scale = self._call(pool, _rule(pool, None, "get"), lambda: self._api.scale(pool.kind))
        read = self._call(
            pool,
            _rule(pool, scale, "get"),
            lambda: scale.get(name=pool.name, namespace=pool.namespace).to_dict(),
        )
        # Go leaves a zero out of the JSON, so here the missing number is one.
        replicas = read["spec"].get("replicas", 0)
        if replicas != desired:
            if replicas != current:
                raise _RefusedError(
                    f"somebody set {_named(pool)} to {replicas} replicas since {current} were seen: "
                    f"the decision for {desired} is dropped"
                )
            self._write(decision, scale, read)
        self._waits.pop(pool, None)

    def _write(self, decision: Decision, scale: Resource, read: dict[str, Any]) -> None:
        pool, metadata = decision.pool, read["metadata"]
        kept = {key: metadata[key] for key in ("name", "namespace", "uid", "resourceVersion")}
        body = {**{key: read[key] for key in ("apiVersion", "kind")}, "metadata": kept}
        body["spec"] = {"replicas": decision.desired}
        self._must_be_allowed()
        self._call(
            pool,
            _rule(pool, scale, "update"),
            lambda: scale.replace(body=body, namespace=pool.namespace, field_manager=FIELD_MANAGER),
        )
        self._on_change(Scaled(decision, scale.group_version, metadata["uid"]))

    def _must_be_allowed(self) -> None:
        off = self._writes_off()
        if off:
            raise _RefusedError(f"writing is switched off: {off}")
        if not self._may_write():
            raise _RefusedError(_NOT_LEADING)

    def _must_not_wait(self, pool: PoolRef) -> None:
        wait = self._waits.get(pool)
        if wait is not None and self._clock_s() < wait.until_s:
            raise _RefusedError(f"{_named(pool)} is left alone {self._until(wait)}, since the API server failed")

    def _call(self, pool: PoolRef, rule: Rule, call: Callable[[], Answer]) -> Answer:
        try:
            return call()
        except API_ERRORS as error:
            told = read_error(error, rule, _named(pool))
            if told.failure is not Failure.BUSY:
                self._waits.pop(pool, None)
                dropped = " and the decision is dropped" if told.failure is Failure.CONFLICT else ""
                raise _RefusedError(f"{told.sentence}{dropped}") from error
            wait = self._longer(pool, told.retry_after_s or 0.0)
            # A write without an answer may have been carried out.
            doubt = "; the next look shows whether it was written" if rule.verb == "update" else ""
            raise _RefusedError(f"{told.sentence}{doubt}; left alone {self._until(wait)}") from error

    def _longer(self, pool: PoolRef, asked_s: float) -> _Wait:
        failures = self._waits[pool].failures + 1 if pool in self._waits else 1
        own_s = min(_FIRST_WAIT_S * 2 ** min(failures - 1, 16), _LONGEST_WAIT_S)
        wait = _Wait(failures, self._clock_s() + max(own_s, asked_s))
        self._waits[pool] = wait
        return wait

    def _until(self, wait: _Wait) -> str:
        left_s = max(0.0, wait.until_s - self._clock_s())
        at = self._now() + timedelta(seconds=left_s)
        return f"until {at.isoformat(timespec='seconds')} ({left_s:.0f} s)"


def _believable(decision: Decision) -> tuple[int, int]:
    """Give what was seen and what is wanted; nonsense must never reach a cluster."""
    pool = _named(decision.pool)
    if decision.desired is None or decision.current is None:
        raise _RefusedError(f"the decision for {pool} has no number of replicas, so nothing is asked")
    if not 0 <= decision.desired <= _MOST_REPLICAS:
        raise _RefusedError(f"{decision.desired} replicas for {pool} is no number of replicas; nothing is asked")
    return decision.current, decision.desired


def _named(pool: PoolRef) -> str:
    return f"{pool.kind} {pool.namespace}/{pool.name}"


def _rule(pool: PoolRef, scale: Resource | None, verb: str) -> Rule:
    if scale is None:
        return Rule("*", pool.kind, verb, pool.namespace)
    return Rule(scale.group, scale.name, verb, pool.namespace)
