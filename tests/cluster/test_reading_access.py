"""Reading with a ServiceAccount's own token: with the rights it needs, with fewer, and with an API server that goes."""

import shutil
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

import pytest
import yaml
from kubernetes import client

from aiops.model.refs import PoolRef
from aiops.observe.cluster_reader import ClusterReader
from aiops.observe.kubernetes import AccessError, connect
from tests.cluster import manifests
from tests.cluster.addresses import API_PORT
from tests.cluster.build import Built
from tests.cluster.control_plane import control_plane
from tests.cluster.manifests import Server
from tests.cluster.place import Place, new_place
from tests.cluster.reading import autoscaler, new_reader, policies
from tests.parts import wait_for

pytestmark = [pytest.mark.real, pytest.mark.slow]

# What reading needs in each namespace that policies name.
NAMESPACED = (
    ("apps", "deployments,replicasets,statefulsets", "list"),
    ("leaderworkerset.x-k8s.io", "leaderworkersets", "list"),
    ("autoscaling", "horizontalpodautoscalers", "list"),
    ("keda.sh", "scaledobjects", "list"),
    ("", "pods,resourcequotas", "list"),
)
GROUP = "rbac.authorization.k8s.io"


def account(place: Place, *rules: tuple[str, str, str]) -> None:
    place.apply(manifests.service_account("aiops"))
    if rules:
        place.apply(manifests.role("aiops", *rules), manifests.role_binding("aiops", "aiops", place.namespace))


def allow_cluster_wide(place: Place, resources: str) -> None:
    name = f"{place.namespace}-reads-{resources.replace(',', '-and-')}"
    rules = [{"apiGroups": [""], "resources": resources.split(","), "verbs": ["list"]}]
    subject = {"kind": "ServiceAccount", "name": "aiops", "namespace": place.namespace}
    place.apply(
        {"apiVersion": f"{GROUP}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules},
        {
            "apiVersion": f"{GROUP}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": name},
            "subjects": [subject],
        },
    )


def reader_of(place: Place, *targets: tuple[str, str]) -> ClusterReader:
    pools = [PoolRef(place.namespace, kind, name) for kind, name in targets]
    return new_reader(place.plane.kubeconfig("aiops", place.namespace), *pools)


def missing_rule(verb: str, resource: str, group: str, namespace: str | None) -> str:
    where = f"in namespace {namespace}: its Role" if namespace else "in the whole cluster: a ClusterRole"
    return f'may not {verb} {resource} {where} needs apiGroups: ["{group}"], resources: [{resource}], verbs: [{verb}]'


@pytest.mark.usefixtures("keda_definitions")
def test_all_is_read_with_the_rights_that_reading_needs(place: Place) -> None:
    place.add_nodes()
    account(place, *NAMESPACED)
    allow_cluster_wide(place, "pods,nodes")
    place.apply(Server(name="chat", replicas=2).deployment(), Server(name="batch").stateful_set())
    place.wait_for_ready(3)

    reader = reader_of(place, ("Deployment", "chat"), ("StatefulSet", "batch"))
    view = reader.read()

    assert (view.problem, view.forbidden, view.missing) == ("", (), ())
    assert [len(target.pods) for target in view.targets] == [2, 1]
    assert {node.name for node in view.nodes} >= set(place.node_names)
    calls = place.plane.calls("aiops", place.namespace)
    assert len(calls) == view.calls
    listed = [call for call in calls if "objectRef" in call]
    assert {call["verb"] for call in listed} == {"list"}
    # What aiops itself writes is never read from a cache.
    uncached = {call["objectRef"]["resource"] for call in listed if "resourceVersion=0" not in call["requestURI"]}
    assert uncached == {"deployments", "statefulsets"}
    # What kinds there are is asked once.
    assert reader.read().calls == view.calls - 1


@pytest.mark.parametrize(
    ("cluster_wide", "denied"),
    [
        pytest.param("", "nodes", id="no node can be listed"),
        pytest.param("nodes", "pods", id="pods can be listed in the namespace alone"),
    ],
)
def test_without_rights_in_the_whole_cluster_targets_are_read_and_nodes_are_not(
    place: Place, cluster_wide: str, denied: str
) -> None:
    place.add_nodes()
    account(place, *NAMESPACED)
    if cluster_wide:
        allow_cluster_wide(place, cluster_wide)
    place.apply(Server(name="chat", replicas=2).deployment())
    place.wait_for_ready(2)

    view = reader_of(place, ("Deployment", "chat")).read()

    assert view.forbidden == (missing_rule("list", denied, "", None),)
    assert (view.problem, view.nodes) == ("", ())
    assert [len(target.pods) for target in view.targets] == [2]


def test_each_right_that_is_missing_is_named_and_only_what_needs_it_is_left_out(place: Place) -> None:
    place.apply(Server(name="chat").deployment(), Server(name="batch").stateful_set())
    place.apply(autoscaler("one", "Deployment", "chat"))
    account(place, ("apps", "deployments", "list"), ("autoscaling", "horizontalpodautoscalers", "list"))

    view = reader_of(place, ("Deployment", "chat"), ("StatefulSet", "batch"), ("ReplicaSet", "other")).read()
    (target,) = view.targets

    assert (target.pool.name, target.replicas, target.scaled_by) == (
        "chat",
        1,
        f"HorizontalPodAutoscaler {place.namespace}/one",
    )
    assert (view.problem, view.missing) == ("", ())
    rules = [("statefulsets", "apps"), ("replicasets", "apps"), ("resourcequotas", ""), ("pods", "")]
    needed = {missing_rule("list", resource, group, place.namespace) for resource, group in rules}
    assert needed < set(view.forbidden)
    # Where KEDA's definitions are, whether ScaledObjects are there cannot be known either.
    keda = missing_rule("list", "scaledobjects", "keda.sh", place.namespace)
    assert set(view.forbidden) - needed - {keda} == {missing_rule("list", "nodes", "", None)}


def test_a_lost_api_server_is_no_empty_cluster(testbed: Built, tmp_path: Path) -> None:
    # Its own: what else runs on a control plane takes long to come back after it.
    with control_plane(tmp_path, testbed) as plane:
        place = new_place(plane, "llm")
        account(place, *NAMESPACED)
        place.apply(Server(name="chat", replicas=0).deployment())
        reader = reader_of(place, ("Deployment", "chat"))
        before = reader.read()

        plane.api_server.stop()
        lost = reader.read()
        plane.api_server.start()
        plane.wait_until_ready()

        assert [target.pool.name for target in before.targets] == ["chat"]
        assert lost.problem.startswith(f"{plane.url} cannot be reached")
        assert "is it running" in lost.problem
        assert (lost.targets, lost.missing, lost.forbidden, lost.nodes) == ((), (), (), ())
        wait_for(lambda: [target.pool.name for target in reader.read().targets] == ["chat"], "the target is read again")


def test_a_token_that_is_refused_is_read_anew(place: Place, tmp_path: Path) -> None:
    account(place, *NAMESPACED)
    place.apply(Server(name="chat", replicas=0).deployment())
    good = place.plane.kubeconfig("aiops", place.namespace)
    stale = yaml.safe_load(good.read_text())
    stale["users"][0]["user"]["token"] = "no longer good"  # noqa: S105  # the point is that it is none
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(yaml.safe_dump(stale))
    reader = new_reader(kubeconfig, PoolRef(place.namespace, "Deployment", "chat"))

    refused = reader.read()
    shutil.copyfile(good, kubeconfig)

    assert refused.problem.startswith(f"{place.plane.url} does not accept the credentials (401)")
    assert refused.targets == ()
    assert [target.pool.name for target in reader.read().targets] == ["chat"]


def test_a_certificate_that_is_not_trusted_is_told(place: Place, tmp_path: Path) -> None:
    account(place, *NAMESPACED)
    stated = yaml.safe_load(place.plane.kubeconfig("aiops", place.namespace).read_text())
    del stated["clusters"][0]["cluster"]["certificate-authority"]
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(yaml.safe_dump(stated))

    view = new_reader(kubeconfig, PoolRef(place.namespace, "Deployment", "chat")).read()

    assert view.problem.startswith(f"{place.plane.url} has a certificate that is not trusted")
    assert "name its CA in the kubeconfig" in view.problem


def test_a_pod_reaches_its_cluster_by_its_service_account(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account(place, *NAMESPACED)
    place.apply(Server(name="chat", replicas=0).deployment())
    stated = yaml.safe_load(place.plane.kubeconfig("aiops", place.namespace).read_text())
    token = tmp_path / "token"
    token.write_text(stated["users"][0]["user"]["token"])
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", place.plane.block.server)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(API_PORT))

    with pytest.raises(AccessError, match="does not give access to the cluster"):
        connect(token_file=token)
    shutil.copyfile(place.plane.keys.authority.certificate, tmp_path / "ca.crt")
    access = connect(token_file=token)
    named = policies(PoolRef(place.namespace, "Deployment", "chat"))
    view = ClusterReader(access, lambda: named, lambda: datetime.now(UTC)).read()

    assert access.host == place.plane.url
    assert (view.problem, [target.pool.name for target in view.targets]) == ("", ["chat"])


def test_a_thousand_pods_take_a_handful_of_calls(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    account(place, *NAMESPACED)
    allow_cluster_wide(place, "pods,nodes")
    place.add_nodes(5, gpus=250)
    names = [f"chat-{number}" for number in range(10)]
    place.apply(*(Server(name=name, replicas=100).deployment() for name in names))
    core = client.CoreV1Api(place.plane.admin)
    wait_for(lambda: _ready(core, place.namespace) == 1000, "1,000 pods are ready", timeout_s=180)
    reader = reader_of(place, *(("Deployment", name) for name in names))
    reader.read()

    begun = monotonic()
    view = reader.read()
    took_s = monotonic() - begun
    tracemalloc.start()
    reader.read()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    with capsys.disabled():
        print(f"\n1,000 pods: {view.calls} calls, {took_s:.2f} s, {peak / 1e6:.1f} MB at the peak")  # noqa: T201
    assert (view.problem, view.forbidden) == ("", ())
    assert sum(len(target.pods) for target in view.targets) == 1000
    assert all(pod.ready_at for target in view.targets for pod in target.pods)
    assert sum(node.free_gpus for node in view.nodes if node.name in place.node_names) == 250
    # One for each kind, and pods by pages: more targets are no more calls.
    assert view.calls <= 10


def _ready(core: client.CoreV1Api, namespace: str) -> int:
    pods = core.list_namespaced_pod(namespace, resource_version="0").items
    return sum(any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions or ()) for pod in pods)
