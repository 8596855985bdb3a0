import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from kubernetes import client
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient

from tests.cluster import manifests
from tests.cluster.control_plane import ControlPlane
from tests.cluster.manifests import Manifest
from tests.parts import wait_for

_WHO = "aiops-tests"


@dataclass(frozen=True, slots=True)
class Place:
    """A namespace and nodes that one test has for itself, looked at and changed as the admin."""

    plane: ControlPlane
    namespace: str
    core: client.CoreV1Api
    apps: client.AppsV1Api
    dynamic: DynamicClient
    node_names: list[str] = field(default_factory=list)

    def add_nodes(self, count: int = 1, **spec: Any) -> list[str]:
        """Add nodes and wait until the scheduler may use them; ``spec`` as ``manifests.node`` takes it."""
        first = len(self.node_names)
        added = [f"{self.namespace}-{first + number}" for number in range(count)]
        self.node_names.extend(added)
        for name in added:
            self.core.create_node(manifests.node(name, **spec))
        wait_for(lambda: all(self._usable(name) for name in added), f"nodes {added} are ready", 180.0)
        return added

    def _usable(self, name: str) -> bool:
        node = self.core.read_node(name)
        ready = any(one.type == "Ready" and one.status == "True" for one in node.status.conditions or [])
        return ready and not node.spec.taints

    def apply(self, *wanted: Manifest) -> None:
        """Server-side apply; a namespaced object that names no namespace comes into this one."""
        for manifest in wanted:
            kind = self.dynamic.resources.get(api_version=manifest["apiVersion"], kind=manifest["kind"])
            namespace = manifest["metadata"].get("namespace", self.namespace) if kind.namespaced else None
            self.dynamic.server_side_apply(
                kind, body=manifest, namespace=namespace, field_manager=_WHO, force_conflicts=True
            )

    def pods(self, selector: str = "") -> list[client.V1Pod]:
        pods: list[client.V1Pod] = self.core.list_namespaced_pod(self.namespace, label_selector=selector).items
        return pods

    def ready_pods(self, selector: str = "") -> list[client.V1Pod]:
        """Those that serve: ready, and nobody asked them to leave."""
        return [pod for pod in self.pods(selector) if is_ready(pod) and pod.metadata.deletion_timestamp is None]

    def wait_for_ready(self, count: int, selector: str = "", timeout_s: float = 180.0) -> list[client.V1Pod]:
        """Wait until there are that many pods and all of them serve."""
        wait_for(
            lambda: len(self.pods(selector)) == count == len(self.ready_pods(selector)),
            f"{count} pods of {self.namespace} are ready",
            timeout_s,
        )
        return self.ready_pods(selector)


def condition(pod: client.V1Pod, kind: str) -> client.V1PodCondition | None:
    return next((one for one in pod.status.conditions or [] if one.type == kind), None)


def is_ready(pod: client.V1Pod) -> bool:
    found = condition(pod, "Ready")
    return found is not None and found.status == "True"


def forbidden(call: Callable[[], object]) -> bool:
    """Whether the API server refuses the call for want of a right."""
    try:
        call()
    except ApiException as error:
        if error.status != 403:
            raise
        return True
    return False


@contextmanager
def own_place(plane: ControlPlane, stem: str) -> Iterator[Place]:
    """A namespace with a name that nobody had before; its objects and nodes go when the block ends."""
    name = f"{stem}-{secrets.token_hex(3)}"
    place = new_place(plane, name)
    try:
        yield place
    finally:
        place.core.delete_namespace(name)
        place.core.delete_collection_namespaced_pod(name, grace_period_seconds=0)
        for node in place.node_names:
            place.core.delete_node(node)


def new_place(plane: ControlPlane, name: str) -> Place:
    """A namespace of a given name, which stays."""
    core = client.CoreV1Api(plane.admin)
    core.create_namespace({"metadata": {"name": name}})
    # By itself the client would share what it discovered with every other cluster at this address, before and after.
    discovery = str(plane.folder / "discovery.json")
    return Place(plane, name, core, client.AppsV1Api(plane.admin), DynamicClient(plane.admin, cache_file=discovery))
