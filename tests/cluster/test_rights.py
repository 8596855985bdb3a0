"""Each part of deploy/ grants what it says and no more: asked with the token of aiops' own ServiceAccount."""

from itertools import count, product

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from aiops.act.deletion_cost import ANNOTATION
from tests.act.granted import grant, manifests_of
from tests.cluster.manifests import Server
from tests.cluster.place import Place, own_place
from tests.parts import wait_for

pytestmark = [pytest.mark.real, pytest.mark.slow]

READS = ("get", "list", "watch")
WRITES = ("create", "update", "patch", "delete", "deletecollection")
VERBS = (*READS, *WRITES)
WATCHED = (
    ("", "pods"),
    ("", "resourcequotas"),
    ("apps", "deployments"),
    ("apps", "statefulsets"),
    ("apps", "replicasets"),
    ("leaderworkerset.x-k8s.io", "leaderworkersets"),
    ("autoscaling", "horizontalpodautoscalers"),
    ("keda.sh", "scaledobjects"),
)
SCALES = (
    ("apps", "deployments/scale"),
    ("apps", "statefulsets/scale"),
    ("leaderworkerset.x-k8s.io", "leaderworkersets/scale"),
)
ELSE = (
    ("", "secrets"),
    ("", "configmaps"),
    ("", "events"),
    ("", "services"),
    ("", "serviceaccounts"),
    ("", "serviceaccounts/token"),
    ("", "pods/exec"),
    ("", "pods/status"),
    ("", "pods/eviction"),
    ("", "pods/ephemeralcontainers"),
    ("", "namespaces"),
    ("", "nodes"),
    ("apps", "replicasets/scale"),
    ("apps", "deployments/status"),
    ("apps", "daemonsets"),
    ("batch", "jobs"),
    ("events.k8s.io", "events"),
    ("coordination.k8s.io", "leases"),
    ("rbac.authorization.k8s.io", "roles"),
    ("rbac.authorization.k8s.io", "rolebindings"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicies"),
)
Right = tuple[str, str, str]

OBSERVE = {(*resource, verb) for resource, verb in product(WATCHED, READS)}
ACT = {(*resource, verb) for resource, verb in product(SCALES, ("get", "update"))} | {
    ("events.k8s.io", "events", "create"),
    ("events.k8s.io", "events", "patch"),
}
DELETION_COST = {("", "pods", "list"), ("", "pods", "patch")}
LEADER_ELECTION = {("coordination.k8s.io", "leases", "create")}


def rights(api: client.ApiClient, namespace: str, name: str = "") -> set[Right]:
    """Every right of the table that the API server's own authorizer grants in a namespace."""
    authorization = client.AuthorizationV1Api(api)
    granted = set()
    for (group, resource), verb in product((*WATCHED, *SCALES, *ELSE), VERBS):
        kind, _, subresource = resource.partition("/")
        attributes = {"namespace": namespace, "group": group, "resource": kind, "verb": verb, "name": name}
        review = {"spec": {"resourceAttributes": {**attributes, "subresource": subresource}}}
        if authorization.create_self_subject_access_review(review).status.allowed:
            granted.add((group, resource, verb))
    return granted


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        pytest.param([], set(), id="the ServiceAccount alone may do nothing"),
        pytest.param(["observe"], OBSERVE, id="observe looks and writes nothing"),
        pytest.param(["act"], ACT, id="act sets replicas and tells it, and cannot even look"),
        pytest.param(["observe", "act"], OBSERVE | ACT, id="both together are no more than both"),
        pytest.param(["deletion-cost/role.yaml"], DELETION_COST, id="deletion cost patches pods"),
        pytest.param(["controller/leader-election.yaml"], LEADER_ELECTION, id="any Lease may only be made"),
    ],
)
def test_a_part_grants_what_it_says_and_no_more(place: Place, parts: list[str], expected: set[Right]) -> None:
    assert rights(grant(place, *parts), place.namespace) == expected


def test_its_own_lease_may_be_renewed_and_not_deleted(place: Place) -> None:
    api = grant(place, "controller/leader-election.yaml")

    assert rights(api, place.namespace, "aiops") == LEADER_ELECTION | {
        ("coordination.k8s.io", "leases", "get"),
        ("coordination.k8s.io", "leases", "update"),
    }


def test_in_another_namespace_there_is_no_right(place: Place) -> None:
    with own_place(place.plane, "neighbour") as neighbour:
        api = grant(place, "observe", "act", "deletion-cost/role.yaml", "controller/leader-election.yaml")

        assert rights(api, neighbour.namespace) == set()


def test_aiops_may_live_in_another_namespace_than_the_models(place: Place) -> None:
    with own_place(place.plane, "controller") as home:
        api = grant(place, "observe", own=home)

        assert (rights(api, place.namespace), rights(api, home.namespace)) == (OBSERVE, set())


def test_over_the_whole_cluster_only_lists_are_granted(place: Place) -> None:
    api = grant(place, "cluster")
    try:
        assert rights(api, "") == {("", "nodes", "list"), ("", "pods", "list")}
    finally:
        authorization = client.RbacAuthorizationV1Api(place.plane.admin)
        for manifest in manifests_of("cluster", place.namespace):
            if manifest["kind"] == "ClusterRoleBinding":
                authorization.delete_cluster_role_binding(manifest["metadata"]["name"])


# Pods may be patched, and the admission policy looks at each patch


@pytest.fixture
def pod(place: Place) -> str:
    """A pod of a Deployment, with labels, an annotation and an owner."""
    place.add_nodes()
    place.apply(Server(name="decode").deployment())
    return str(place.wait_for_ready(1)[0].metadata.name)


def patch(api: client.ApiClient, place: Place, pod: str, body: object) -> str:
    """The API server's refusal of a patch; empty where it takes it."""
    try:
        client.CoreV1Api(api).patch_namespaced_pod(pod, place.namespace, body)
    except ApiException as error:
        return f"{error.status} {error.body}"
    return ""


def cost(value: str | None, **others: str | None) -> dict[str, object]:
    return {"metadata": {"annotations": {ANNOTATION: value, **others}}}


def guarded(place: Place, pod: str) -> client.ApiClient:
    """A client with the right to patch pods, once the admission policy is in force."""
    api = grant(place, "deletion-cost", "act", "observe")
    # What is there already would be no change, and nothing to deny.
    probes = count()
    wait_for(lambda: "denied" in patch(api, place, pod, cost("1", probe=f"{next(probes)}")), "the policy is in force")
    return api


def test_the_deletion_cost_may_be_set_changed_and_cleared(place: Place, pod: str) -> None:
    api = guarded(place, pod)

    refusals = [patch(api, place, pod, cost(value)) for value in ("3", "-7", None)]

    assert refusals == ["", "", ""]
    assert ANNOTATION not in (place.core.read_namespaced_pod(pod, place.namespace).metadata.annotations or {})


IMAGE = {"spec": {"containers": [{"name": "vllm", "image": "evil"}]}}
OWNER = {"apiVersion": "v1", "kind": "ConfigMap", "name": "evil", "uid": "1"}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(IMAGE, id="its image"),
        pytest.param(cost("3") | IMAGE, id="its image under the cover of the cost"),
        pytest.param({"spec": {"activeDeadlineSeconds": 1}}, id="how long it may live"),
        pytest.param({"metadata": {"labels": {"app.kubernetes.io/name": "evil"}}}, id="its labels"),
        pytest.param({"metadata": {"labels": None}}, id="all its labels"),
        pytest.param(cost("3", other="x"), id="another annotation beside it"),
        pytest.param(cost("3", **{"prometheus.io/scrape": None}), id="an annotation taken away"),
        pytest.param(cost("3", **{"prometheus.io/scrape": "no"}), id="an annotation changed"),
        pytest.param({"metadata": {"annotations": None}}, id="all its annotations"),
        pytest.param({"metadata": {"finalizers": ["evil.example.com/stay"]}}, id="what keeps it from going"),
        pytest.param({"metadata": {"ownerReferences": [OWNER]}}, id="whose it is"),
        pytest.param({"metadata": {"ownerReferences": None}}, id="that it is anybody's"),
    ],
)
def test_nothing_else_of_a_pod_may_be_changed(place: Place, pod: str, body: dict[str, object]) -> None:
    api = guarded(place, pod)
    before = place.core.read_namespaced_pod(pod, place.namespace).metadata.resource_version

    refusal = patch(api, place, pod, body)

    assert refusal.startswith("403 ")
    assert "ValidatingAdmissionPolicy 'aiops-deletion-cost-only'" in refusal
    assert place.core.read_namespaced_pod(pod, place.namespace).metadata.resource_version == before


def test_with_every_right_on_pods_aiops_may_still_only_change_that(place: Place, pod: str) -> None:
    api = guarded(place, pod)
    generous = manifests_of("deletion-cost/role.yaml", place.namespace)[0]
    generous["rules"] = [{"apiGroups": [""], "resources": ["pods", "pods/status"], "verbs": ["*"]}]
    place.apply(generous)
    core = client.CoreV1Api(api)
    made = {"metadata": {"name": "evil"}, "spec": {"containers": [{"name": "evil", "image": "evil"}]}}

    refusals = []
    for call in (
        lambda: core.create_namespaced_pod(place.namespace, made),
        lambda: core.delete_namespaced_pod(pod, place.namespace),
        lambda: core.patch_namespaced_pod_status(pod, place.namespace, {"status": {"phase": "Failed"}}),
    ):
        with pytest.raises(ApiException) as refused:
            call()
        refusals.append((refused.value.status, "they may not" in str(refused.value.body)))

    assert [status for status, _ in refusals] == [403, 403, 403]
    assert [one.metadata.name for one in place.pods()] == [pod]


def test_others_are_not_held_back(place: Place, pod: str) -> None:
    guarded(place, pod)

    assert patch(place.plane.admin, place, pod, cost("3", other="x")) == ""
