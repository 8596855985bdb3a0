"""Asks the API server for what a checkup judges: its time, the rights of whoever asks, and what manifests say."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from aiops.model.cluster import ClusterView
from aiops.model.policy import PolicySet
from aiops.model.refs import PoolRef
from aiops.observe.checkup.facts import ClusterFacts, ReplicasOwner, Right, Template
from aiops.observe.checkup.rights import ACCOUNT, needed_rights
from aiops.observe.cluster_kinds import DISCOVERY, DISCOVERY_PATH, KNOWN, Kinds, read_kinds
from aiops.observe.cluster_reader import ClusterReader
from aiops.observe.kubernetes import ForbiddenError, KubernetesAccess, KubernetesError, NotFoundError, Reading

Json = dict[str, Any]

_TOTAL_S = 60.0
_ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_WHO_REVIEWS = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


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
    except (KubernetesError, ForbiddenError, NotFoundError) as error:
        return ClusterFacts(ClusterView(at, problem=str(error)))
    return ClusterFacts(
        view=ClusterReader(access, lambda: policies, lambda: at).read(),
        ahead_s=ahead_s,
        asked_as=asked_as,
        granted=tuple(right for right, allowed in granted.items() if allowed),
        refused=tuple(right for right, allowed in granted.items() if not allowed),
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


def read_template(pool: PoolRef, item: Json) -> Template:
    """Read what a target's manifest says of its replicas and its engines."""
    metadata, spec = item["metadata"], item["spec"]
    pods = _pod_spec(spec)
    containers = pods.get("containers") or ()
    applied = (metadata.get("annotations") or {}).get(_APPLIED, "")
    return Template(
        pool=pool,
        replicas_owners=tuple(_replicas_owners(metadata)),
        # The annotation is the file, as JSON: one line, keys in their order.
        replicas_applied='"replicas":' in applied.replace(" ", ""),
        grace_s=float(pods.get("terminationGracePeriodSeconds", 30)),
        images=tuple(str(one.get("image", "")) for one in containers),
        flags=_flags(containers),
    )


def _pod_spec(spec: Json) -> Json:
    workers = spec.get("leaderWorkerTemplate")
    template = spec["template"] if workers is None else workers.get("leaderTemplate") or workers["workerTemplate"]
    found: Json = template["spec"]
    return found


def _replicas_owners(metadata: Json) -> Iterable[ReplicasOwner]:
    for entry in metadata.get("managedFields") or ():
        if "f:replicas" in ((entry.get("fieldsV1") or {}).get("f:spec") or {}):
            yield ReplicasOwner(entry["manager"], entry.get("operation", ""), entry.get("subresource", ""))


def _flags(containers: Iterable[Json]) -> Mapping[str, str]:
    """Read flags as vLLM takes them, ``--a-b=1`` and ``--a_b 1``, also from the line of a shell."""
    stated = [part for one in containers for part in (*(one.get("command") or ()), *(one.get("args") or ()))]
    words = [word for part in stated for word in str(part).split()]
    found: dict[str, str] = {}
    for word, following in zip(words, [*words[1:], ""], strict=False):
        if word.startswith("--"):
            name, given, value = word.removeprefix("--").partition("=")
            found[name.replace("_", "-")] = value if given else "" if following.startswith("-") else following
    return found
