"""Asks the API server for what a checkup judges: its time, the rights of whoever asks, and what manifests say."""

from datetime import datetime
from typing import Any

from aiops.model.cluster import ClusterView
from aiops.model.policy import PolicySet
from aiops.model.refs import PoolRef
from aiops.observe.checkup.facts import ClusterFacts, Right
from aiops.observe.checkup.rights import ACCOUNT, dangerous_rights, needed_rights
from aiops.observe.cluster_kinds import DISCOVERY, DISCOVERY_PATH, KNOWN, Kinds, read_kinds
from aiops.observe.cluster_reader import ClusterReader
from aiops.observe.cluster_template import Template, read_template
from aiops.observe.kubernetes import ForbiddenError, KubernetesAccess, KubernetesError, NotFoundError, Reading

Json = dict[str, Any]

_TOTAL_S = 60.0
_ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_WHO_REVIEWS = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


def ask_cluster(
    access: KubernetesAccess, policies: PolicySet, lease: str, at: datetime, *, victims: bool = False
) -> ClusterFacts:
    """Ask about all targets of the policies. An API server that does not answer gives a view with its ``problem``.

    ``lease`` is ``[NAMESPACE/]NAME``; without a namespace it is that of the ServiceAccount that asks. ``victims`` is
    whether aiops shall say which pods leave first.
    """
    reading = access.reading(_TOTAL_S)
    try:
        ahead_s = reading.ahead_s()
        kinds, asked_as = _kinds(reading), _who(reading)
        wanted = needed_rights(policies, kinds, _lease_place(lease, asked_as), victims=victims)
        granted = {right: _allowed(reading, right) for right in wanted}
        pools = sorted({policy.pool_ref(pool) for policy in policies.policies for pool in policy.spec.pools})
        templates = [_template(reading, pool) for pool in pools if pool.kind in KNOWN]
        excess = [right for right in dangerous_rights(asked_as) if _allowed(reading, right)]
    except (KubernetesError, ForbiddenError, NotFoundError) as error:
        return ClusterFacts(ClusterView(at, problem=str(error)))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        why = f"{access.host} answered objects that cannot be read ({error!r}): which Kubernetes is it?"
        return ClusterFacts(ClusterView(at, problem=why))
    return ClusterFacts(
        view=ClusterReader(access, lambda: policies, lambda: at).read(),
        ahead_s=ahead_s,
        asked_as=asked_as,
        granted=tuple(right for right, allowed in granted.items() if allowed),
        refused=tuple(right for right, allowed in granted.items() if not allowed),
        excess=tuple(excess),
        templates=tuple(one for one in templates if one is not None),
    )


def _kinds(reading: Reading) -> Kinds:
    try:
        return read_kinds(reading.one(DISCOVERY_PATH, "", accept=f"{DISCOVERY},application/json"))
    except (ForbiddenError, NotFoundError):
        return Kinds()


def _who(reading: Reading) -> str:
    """Give the name of whoever asks; empty where the server is older than that question (1.28)."""
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        review = reading.created(_WHO_REVIEWS, body, "")
    except (ForbiddenError, NotFoundError):
        return ""
    return str(((review.get("status") or {}).get("userInfo") or {}).get("username") or "")


def _lease_place(lease: str, asked_as: str) -> tuple[str, str]:
    namespace, _, name = lease.rpartition("/")
    own = asked_as.removeprefix(ACCOUNT).partition(":")[0] if asked_as.startswith(ACCOUNT) else "default"
    return namespace or own, name


def _allowed(reading: Reading, right: Right) -> bool:
    asked = {
        "verb": right.verb,
        "group": right.resource.group,
        "resource": right.resource.plural,
        "subresource": right.subresource,
        "namespace": right.namespace or "",
        "name": right.name,
    }
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": asked},
    }
    review = reading.created(_ACCESS_REVIEWS, body, "may not ask which rights it has: does this cluster use RBAC?")
    return bool((review.get("status") or {}).get("allowed"))


def _template(reading: Reading, pool: PoolRef) -> Template | None:
    resource = KNOWN[pool.kind]
    try:
        return read_template(pool, reading.one(resource.path(pool.namespace, pool.name), ""))
    except (ForbiddenError, NotFoundError):  # told with the rights, and with the targets
        return None
