"""A person's word on a target, kept in its annotations: paused where it is, or held at a number of replicas."""

from datetime import UTC, datetime
from typing import Any

from kubernetes.client import ApiClient

from aiops.act.kubernetes_api import FIELD_MANAGER, MERGE_PATCH, KubernetesApi
from aiops.act.kubernetes_errors import API_ERRORS, Rule, read_error
from aiops.model.refs import PoolRef

PAUSED = "aiops.tokenfactory.dev/paused"
"""``true``, or until when (RFC 3339)."""
HOLD_AT = "aiops.tokenfactory.dev/hold-at"
"""``N``, or ``N@`` and until when."""


class OverrideError(Exception):
    """The cluster did not take an override; the message says why."""


def pause(api: ApiClient, pool: PoolRef, now: datetime, until: datetime | None = None, timeout_s: float = 10.0) -> None:
    """Leave a target's replicas as they are until ``until`` (None: until ``release``). It takes the place of a hold.

    Raises ValueError for an ``until`` that is past or names no time zone, and OverrideError where the cluster refuses.
    """
    _annotate(api, pool, {PAUSED: "true" if until is None else _future(until, now), HOLD_AT: None}, timeout_s)


def hold(
    api: ApiClient,
    pool: PoolRef,
    replicas: int,
    now: datetime,
    until: datetime | None = None,
    timeout_s: float = 10.0,
) -> None:
    """Hold a target at ``replicas`` until ``until`` (None: until ``release``). It takes the place of a pause.

    Raises ValueError for replicas below 0 and as ``pause`` does.
    """
    if replicas < 0:
        raise ValueError(f"{replicas} replicas cannot be held; give 0 or more")
    expiry = "" if until is None else f"@{_future(until, now)}"
    _annotate(api, pool, {HOLD_AT: f"{replicas}{expiry}", PAUSED: None}, timeout_s)


def release(api: ApiClient, pool: PoolRef, timeout_s: float = 10.0) -> None:
    """Take every override from a target; nothing happens where there is none. Raises OverrideError."""
    _annotate(api, pool, {PAUSED: None, HOLD_AT: None}, timeout_s)


def _future(until: datetime, now: datetime) -> str:
    if until.tzinfo is None:
        raise ValueError(f"{until.isoformat()} names no time zone; write it with one, such as 2026-03-02T18:00:00Z")
    if until <= now:
        raise ValueError(f"{until.isoformat()} is past; give a time after {now.isoformat(timespec='seconds')}")
    return until.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _annotate(api: ApiClient, pool: PoolRef, annotations: dict[str, str | None], timeout_s: float) -> None:
    cluster = KubernetesApi(api, timeout_s)
    rule = Rule("*", pool.kind, "patch", pool.namespace)
    # Definitions of one's own know no strategic merge; a merge patch takes null for removal everywhere.
    body: dict[str, Any] = {"metadata": {"annotations": annotations}}
    try:
        resource = cluster.resource(pool.kind)
        rule = Rule(resource.group, resource.name, "patch", pool.namespace)
        resource.patch(
            name=pool.name,
            namespace=pool.namespace,
            body=body,
            content_type=MERGE_PATCH,
            field_manager=FIELD_MANAGER,
        )
    except API_ERRORS as error:
        subject = f"{pool.kind} {pool.namespace}/{pool.name}"
        raise OverrideError(read_error(error, rule, subject).sentence) from error
    finally:
        cluster.close()
