"""The manifests of deploy/ are taken by the real API server, and say what aiops is."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from aiops.observe.policies import read_policies
from tests.act.granted import ACCOUNT, DEPLOY, manifests_of
from tests.cluster.manifests import Manifest
from tests.cluster.place import Place
from tests.parts import wait_for

pytestmark = [pytest.mark.real, pytest.mark.slow]

# The Prometheus operator defines the kinds; here the shape of the one is enough, and the fields of the other.
SERVICE_MONITORS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "servicemonitors.monitoring.coreos.com"},
    "spec": {
        "group": "monitoring.coreos.com",
        "scope": "Namespaced",
        "names": {"plural": "servicemonitors", "singular": "servicemonitor", "kind": "ServiceMonitor"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}
PROMETHEUS_RULES = yaml.safe_load((Path(__file__).parent / "prometheus_rule.yaml").read_text())
FOLDERS = sorted(folder.name for folder in DEPLOY.iterdir() if folder.is_dir())


@pytest.fixture
def ready(place: Place) -> Iterator[Place]:
    place.apply(SERVICE_MONITORS, PROMETHEUS_RULES)
    extensions = client.ApiextensionsV1Api(place.plane.admin)

    def established(name: str) -> bool:
        status = extensions.read_custom_resource_definition(name).status
        return any(one.type == "Established" and one.status == "True" for one in status.conditions or [])

    for name in (SERVICE_MONITORS["metadata"]["name"], PROMETHEUS_RULES["metadata"]["name"]):
        wait_for(partial(established, name), f"{name} are defined")
    yield place
    authorization = client.RbacAuthorizationV1Api(place.plane.admin)
    for name in ("aiops-nodes", "aiops-pods"):
        try:
            authorization.delete_cluster_role_binding(name)
        except ApiException as error:
            if error.status != 404:
                raise


def apply(place: Place, manifest: Manifest, dry_run: str | None = None) -> dict[str, Any]:
    kind = place.dynamic.resources.get(api_version=manifest["apiVersion"], kind=manifest["kind"])
    applied = place.dynamic.server_side_apply(
        kind,
        body=manifest,
        namespace=place.namespace if kind.namespaced else None,
        field_manager="kubectl",
        dry_run=dry_run,
        force_conflicts=True,
        query_params=[("fieldValidation", "Strict")],
    )
    stored: dict[str, Any] = applied.to_dict()
    return stored


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_api_server_takes_every_manifest_and_knows_every_field(ready: Place, folder: str) -> None:
    manifests = manifests_of(folder, ready.namespace)

    tried = [apply(ready, manifest, "All") for manifest in manifests]
    made = [apply(ready, manifest) for manifest in manifests]
    again = [apply(ready, manifest) for manifest in manifests]

    assert manifests
    assert [one["metadata"]["name"] for one in tried] == [one["metadata"]["name"] for one in made]
    assert [version(one) for one in again] == [version(one) for one in made]


def version(stored: dict[str, Any]) -> object:
    """Of what people say of an object; its status changes by itself."""
    return stored["metadata"].get("generation") or stored["metadata"]["resourceVersion"]


def test_a_field_that_does_not_exist_would_be_refused(ready: Place) -> None:
    (account,) = manifests_of("controller/service-account.yaml", ready.namespace)

    with pytest.raises(ApiException, match="automountServiceAccountTokens"):
        apply(ready, account | {"automountServiceAccountTokens": True}, "All")


def test_a_rule_that_waits_for_no_time_would_be_refused(ready: Place) -> None:
    (rules,) = manifests_of("monitoring/gpu.rules.yaml", ready.namespace)
    rules["spec"]["groups"][0]["rules"][0]["for"] = "a while"

    with pytest.raises(ApiException, match="for: Invalid value"):
        apply(ready, rules, "All")


def test_the_admission_policy_has_no_mistake_that_the_server_sees(ready: Place) -> None:
    policy, _ = manifests_of("deletion-cost/admission-policy.yaml", ready.namespace)
    apply(ready, policy)
    api = client.AdmissionregistrationV1Api(ready.plane.admin)

    def checked() -> client.V1ValidatingAdmissionPolicyStatus | None:
        found = api.read_validating_admission_policy(policy["metadata"]["name"])
        seen = found.status and found.status.observed_generation == found.metadata.generation
        return found.status if seen and found.status.type_checking else None

    status = wait_for(checked, "the types of the expressions are checked")

    assert status.type_checking.expression_warnings in (None, [])


def test_the_example_policy_is_one(ready: Place) -> None:
    (policies,) = manifests_of("controller/policies.yaml", ready.namespace)
    folder = ready.plane.folder / "policies-of-deploy"
    folder.mkdir(exist_ok=True)
    for name, text in policies["data"].items():
        (folder / name).write_text(text)

    (policy,) = read_policies([folder]).policies

    assert (policy.ref.namespace, policy.spec.mode) == ("llm", "observe")


def pod_spec() -> Manifest:
    (deployment,) = manifests_of("controller/deployment.yaml", "aiops")
    spec: Manifest = deployment["spec"]["template"]["spec"]
    return spec


def test_the_pod_is_admitted_where_pods_are_restricted(ready: Place) -> None:
    strict = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    ready.core.patch_namespace(ready.namespace, strict)

    ready.core.create_namespaced_pod(
        ready.namespace, {"metadata": {"name": "aiops"}, "spec": pod_spec()}, dry_run="All"
    )
    loose = pod_spec() | {"securityContext": {}}
    with pytest.raises(ApiException, match='violates PodSecurity \\\\"restricted'):
        ready.core.create_namespaced_pod(ready.namespace, {"metadata": {"name": "aiops"}, "spec": loose}, dry_run="All")


def test_what_belongs_together_has_one_name() -> None:
    controller = {one["kind"]: one for one in manifests_of("controller", "aiops")}
    spec = pod_spec()
    (container,) = spec["containers"]
    (port,) = container["ports"]

    assert spec["serviceAccountName"] == ACCOUNT == controller["ServiceAccount"]["metadata"]["name"]
    assert {one["configMap"]["name"] for one in spec["volumes"] if "configMap" in one} == {
        controller["ConfigMap"]["metadata"]["name"]
    }
    assert controller["Service"]["spec"]["ports"][0]["targetPort"] == port["name"]
    assert f"--listen=0.0.0.0:{port['containerPort']}" in container["args"]
    assert container["image"] == "aiops:VERSION"
    assert [one["namespace"] for text in texts() for one in subjects(text)] == ["aiops"] * 6


def texts() -> list[str]:
    return [path.read_text() for path in sorted(DEPLOY.glob("*/*.yaml"))]


def subjects(text: str) -> list[dict[str, str]]:
    return [subject for document in yaml.safe_load_all(text) for subject in document.get("subjects", ())]
