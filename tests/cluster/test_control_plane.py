"""The testbed is a real cluster: each part does what the tests of aiops stand on."""

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from tests.cluster import manifests
from tests.cluster.build import Built
from tests.cluster.control_plane import BROKEN_NODE, BROKEN_POD, ControlPlane, control_plane
from tests.cluster.manifests import PORT, Server
from tests.cluster.place import Place, condition, forbidden, is_ready
from tests.cluster.scrape import PodPrometheus
from tests.parts import wait_for

pytestmark = [pytest.mark.real, pytest.mark.slow]


def test_the_control_plane_is_ready_and_says_its_version(plane: ControlPlane) -> None:
    version = client.VersionApi(plane.admin).get_code()

    assert plane.ready()
    assert version.git_version == "v1.37.2"
    assert [program.name for program in plane.programs if program.pid is None] == []


def test_the_ninth_pod_finds_no_gpu_on_a_node_of_eight(place: Place) -> None:
    (node,) = place.add_nodes(gpus=8)

    place.apply(Server(name="decode", replicas=9).deployment())
    wait_for(lambda: len(place.ready_pods()) == 8, "eight pods are ready")
    wait_for(lambda: all(condition(pod, "PodScheduled") for pod in place.pods()), "the scheduler looked at the ninth")
    (waiting,) = [pod for pod in place.pods() if pod.spec.node_name is None]
    scheduled = condition(waiting, "PodScheduled")

    assert {pod.spec.node_name for pod in place.ready_pods()} == {node}
    assert waiting.status.phase == "Pending"
    assert (scheduled.status, scheduled.reason) == ("False", "Unschedulable")
    assert "Insufficient nvidia.com/gpu" in scheduled.message


def test_pods_have_loopback_addresses_and_are_ready_after_their_cold_start(place: Place) -> None:
    place.add_nodes()

    place.apply(Server(name="decode", replicas=2, cold_start_s=3).deployment())
    pods = place.wait_for_ready(2)
    cold_s = [
        (condition(pod, "Ready").last_transition_time - condition(pod, "Initialized").last_transition_time).seconds
        for pod in pods
    ]

    network = ipaddress.ip_network(place.plane.block.pods)
    assert all(ipaddress.ip_address(pod.status.pod_ip) in network for pod in pods)
    assert len({pod.status.pod_ip for pod in pods}) == 2
    # Kubernetes tells whole seconds.
    assert all(took >= 2 for took in cold_s)


@pytest.mark.parametrize("kind", ["deployment", "stateful_set"])
def test_the_scale_subresource_moves_the_pods(place: Place, kind: str) -> None:
    place.add_nodes()
    place.apply(getattr(Server(name="decode"), kind)())
    place.wait_for_ready(1)
    scale = getattr(place.apps, f"patch_namespaced_{kind}_scale")

    scale("decode", place.namespace, {"spec": {"replicas": 3}})
    place.wait_for_ready(3)
    scale("decode", place.namespace, {"spec": {"replicas": 1}})

    assert len(place.wait_for_ready(1)) == 1


def test_a_pod_that_leaves_stays_for_its_grace_period_unless_it_is_sent_away(place: Place) -> None:
    place.add_nodes()
    place.apply(Server(name="decode", replicas=1, grace_s=3600).deployment())
    (leaving,) = place.wait_for_ready(1)

    place.apps.patch_namespaced_deployment_scale("decode", place.namespace, {"spec": {"replicas": 0}})
    wait_for(lambda: place.pods()[0].metadata.deletion_timestamp, "the pod is asked to leave")
    assert is_ready(place.pods()[0])
    place.core.delete_namespaced_pod(leaving.metadata.name, place.namespace, grace_period_seconds=0)

    wait_for(lambda: not place.pods(), "the pod is gone")


def test_a_label_breaks_a_pod_and_another_one_takes_its_place(place: Place) -> None:
    place.add_nodes()
    place.apply(Server(name="decode", replicas=2).deployment())
    (broken, other) = place.wait_for_ready(2)

    place.core.patch_namespaced_pod(broken.metadata.name, place.namespace, {"metadata": {"labels": BROKEN_POD}})
    wait_for(lambda: len(place.pods()) == 3 and len(place.ready_pods()) == 2, "another pod serves")

    failed = place.core.read_namespaced_pod(broken.metadata.name, place.namespace)
    assert failed.status.phase == "Failed"
    assert failed.status.container_statuses[0].state.terminated.exit_code == 1
    assert other.metadata.name in {pod.metadata.name for pod in place.ready_pods()}


def test_a_label_takes_a_node_down(place: Place) -> None:
    (node,) = place.add_nodes()

    place.core.patch_node(node, {"metadata": {"labels": BROKEN_NODE}})
    wait_for(lambda: place.core.read_node(node).spec.taints, "the node is tainted")
    place.apply(Server(name="decode").deployment())
    wait_for(lambda: place.pods() and condition(place.pods()[0], "PodScheduled"), "the scheduler looked at the pod")

    assert {taint.key for taint in place.core.read_node(node).spec.taints} == {"node.kubernetes.io/not-ready"}
    assert place.pods()[0].spec.node_name is None


def test_a_service_account_can_do_what_its_role_allows_and_no_more(place: Place) -> None:
    place.apply(
        manifests.service_account("reader"),
        manifests.role("reads-pods", ("", "pods", "get,list")),
        manifests.role_binding("reads-pods", "reader", place.namespace),
        manifests.config_map("policies", {"default.yaml": "{}"}),
    )
    reader = place.plane.client_of("reader", place.namespace)
    core = client.CoreV1Api(reader)

    assert core.list_namespaced_pod(place.namespace).items == []
    assert forbidden(lambda: core.list_namespaced_pod("kube-system"))
    assert forbidden(lambda: core.read_namespaced_config_map("policies", place.namespace))
    assert forbidden(lambda: core.delete_namespaced_pod("any", place.namespace))
    answers = [
        (call["verb"], call["objectRef"]["resource"], call["responseStatus"]["code"])
        for call in place.plane.calls("reader", place.namespace)
    ]
    assert answers == [
        ("list", "pods", 200),
        ("list", "pods", 403),
        ("get", "configmaps", 403),
        ("delete", "pods", 403),
    ]


def test_the_real_autoscaler_owns_its_target(place: Place) -> None:
    place.add_nodes()
    place.apply(Server(name="decode").deployment())
    place.wait_for_ready(1)
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "decode"}

    place.apply(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "decode"},
            "spec": {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 3},
        }
    )
    place.wait_for_ready(2)
    place.apps.patch_namespaced_deployment_scale("decode", place.namespace, {"spec": {"replicas": 6}})
    place.wait_for_ready(3)

    fields = place.apps.read_namespaced_deployment("decode", place.namespace).metadata.managed_fields
    assert "kube-controller-manager" in {one.manager for one in fields if one.subresource == "scale"}


@pytest.mark.usefixtures("keda_definitions")
def test_what_keda_refuses_is_refused_without_keda(place: Place) -> None:
    trigger = {"type": "prometheus", "metadata": {"serverAddress": "http://prometheus", "query": "vector(6)"}}
    wanted = {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "decode"},
        "spec": {"scaleTargetRef": {"name": "decode"}, "minReplicaCount": 1, "triggers": [trigger]},
    }

    place.apply(wanted)
    del wanted["spec"]["triggers"]
    with pytest.raises(ApiException, match=r"spec\.triggers: Required value"):
        place.apply(wanted)


class _Engine(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(b'vllm:num_requests_waiting{model_name="llama"} 7\n')

    def log_message(self, *_: object) -> None:
        """No line a scrape."""


@contextmanager
def engine(address: str) -> Iterator[None]:
    with ThreadingHTTPServer((address, PORT), _Engine) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield
        server.shutdown()


def test_prometheus_finds_a_pod_and_scrapes_its_own_address(place: Place, prometheus: PodPrometheus) -> None:
    place.add_nodes()
    place.apply(Server(name="decode", role="decode").deployment())
    (pod,) = place.wait_for_ready(1)
    asked = f'vllm:num_requests_waiting{{namespace="{place.namespace}"}}'

    with engine(pod.status.pod_ip):
        (series,) = wait_for(lambda: prometheus.query(asked), "Prometheus has the pod's metric")

    assert series["value"][1] == "7"
    assert series["metric"] == {
        "__name__": "vllm:num_requests_waiting",
        "job": "vllm",
        "instance": f"{pod.status.pod_ip}:{PORT}",
        "namespace": place.namespace,
        "pod": pod.metadata.name,
        "container": "vllm",
        "endpoint": "http",
        "model_name": "llama",
        "llm_d_ai_model": "llama",
        "llm_d_ai_role": "decode",
    }


def test_objects_outlive_the_api_server(place: Place) -> None:
    place.add_nodes()
    place.apply(Server(name="decode", replicas=2).deployment())
    before = {pod.metadata.uid for pod in place.wait_for_ready(2)}
    server = place.plane.api_server

    server.stop()
    assert server.pid is None
    with pytest.raises(OSError, match="refused"):
        place.plane.ready()
    server.start()
    place.plane.wait_until_ready()

    assert {pod.metadata.uid for pod in place.pods()} == before
    place.apps.patch_namespaced_deployment_scale("decode", place.namespace, {"spec": {"replicas": 3}})
    assert before < {pod.metadata.uid for pod in place.wait_for_ready(3)}


def test_planes_stand_side_by_side_and_leave_nothing(plane: ControlPlane, testbed: Built, tmp_path: Path) -> None:
    with control_plane(tmp_path, testbed) as other:
        pids = [program.pid for program in other.programs]
        own = client.CoreV1Api(other.admin).list_namespace().items
        blocks = {plane.block, other.block}

    assert len(blocks) == 2
    assert {one.metadata.name for one in own} == {"default", "kube-node-lease", "kube-public", "kube-system"}
    assert None not in pids
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
