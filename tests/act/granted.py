"""The manifests of deploy/, and what they let aiops do in a place of its own."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import product
from pathlib import Path

import yaml
from kubernetes.client import ApiClient, AuthorizationV1Api

from aiops.model.decision import Decision, Reason
from aiops.model.refs import ModelRef, PoolRef, Role
from tests.cluster import manifests
from tests.cluster.manifests import Manifest
from tests.cluster.place import Place
from tests.parts import wait_for

DEPLOY = Path(__file__).parents[2] / "deploy"
ACCOUNT = "aiops"
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def manifests_of(path: str, own_namespace: str) -> list[Manifest]:
    """The objects of a folder or file, with aiops in a namespace of another name, as deploy/README.md says it."""
    named = DEPLOY / path
    files = sorted(named.glob("*.yaml")) if named.is_dir() else [named]
    texts = [file.read_text().replace("namespace: aiops\n", f"namespace: {own_namespace}\n") for file in files]
    return [document for text in texts for document in yaml.safe_load_all(text)]


def grant(place: Place, *paths: str, own: Place | None = None) -> ApiClient:
    """Apply parts of deploy/ to a place, and give a client with the token of aiops' ServiceAccount."""
    home = own or place
    applied = [manifest for path in paths for manifest in manifests_of(path, home.namespace)]
    home.apply(*manifests_of("controller/service-account.yaml", home.namespace))
    place.apply(*applied)
    return effective(place, place.plane.client_of(ACCOUNT, home.namespace), applied)


def allow(place: Place, *rules: tuple[str, str, str], account: str = ACCOUNT) -> ApiClient:
    """Give a ServiceAccount a Role of its own, with rules as ``manifests.role`` takes them, and a client with it."""
    role = manifests.role(f"some-{account}", *rules)
    binding = manifests.role_binding(f"some-{account}", account, place.namespace)
    place.apply(manifests.service_account(account), role, binding)
    return effective(place, place.plane.client_of(account, place.namespace), [role])


def effective(place: Place, api: ApiClient, applied: Sequence[Manifest]) -> ApiClient:
    """Wait until the API server has heard of every rule: its authorizer learns of them some moments later."""
    authorization = AuthorizationV1Api(api)

    def heard(namespace: str, group: str, resource: str, verb: str, name: str) -> bool:
        kind, _, subresource = resource.partition("/")
        asked = {"namespace": namespace, "group": group, "resource": kind, "subresource": subresource, "verb": verb}
        review = {"spec": {"resourceAttributes": {**asked, "name": name}}}
        return bool(authorization.create_self_subject_access_review(review).status.allowed)

    for role in applied:
        for rule in role.get("rules", ()):
            namespace, name = place.namespace if role["kind"] == "Role" else "", rule.get("resourceNames", [""])[0]
            for stated in product(rule["apiGroups"], rule["resources"], rule["verbs"]):
                wait_for(partial(heard, namespace, *stated, name), f"{stated} is allowed")
    return api


def decided(
    pool: PoolRef, current: int | None, desired: int | None, reasons: Sequence[Reason] = (Reason.DEMAND_NOW,)
) -> Decision:
    return Decision(
        ModelRef(pool.namespace, "llama"), pool, Role.BOTH, current, desired, needed=desired, reasons=tuple(reasons)
    )


def writes(place: Place, verb: str = "update") -> list[tuple[str, object, int]]:
    """The audit log's writes of scale by aiops: the object, the replicas asked for, and the answer."""
    return [
        (call["objectRef"]["name"], call["requestObject"]["spec"].get("replicas", 0), call["responseStatus"]["code"])
        for call in place.plane.calls(ACCOUNT, place.namespace)
        if call["verb"] == verb and call["objectRef"].get("subresource") == "scale"
    ]


def settle(place: Place, kind: str = "Deployment") -> None:
    """Wait until the controllers have nothing more to say of a target: each word of theirs is a change as well."""

    def settled() -> bool:
        target = place.dynamic.resources.get(api_version="apps/v1", kind=kind).get("decode", place.namespace).to_dict()
        status, wanted = target["status"], target["spec"]["replicas"]
        counts = {status.get(key, 0) for key in ("replicas", "readyReplicas", "availableReplicas", "updatedReplicas")}
        rolled_out = any(one["reason"] == "NewReplicaSetAvailable" for one in status.get("conditions", ()))
        seen = status.get("observedGeneration") == target["metadata"]["generation"]
        return seen and counts == {wanted} and (rolled_out or kind == "StatefulSet")

    wait_for(settled, f"the {kind} is settled")
