"""Objects as users write them, and how they come into the cluster."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.cluster.control_plane import FAKE_NODE

Manifest = dict[str, Any]

H100 = "NVIDIA-H100-80GB-HBM3"
PORT = 8000
_STAGE = "stage.kwok.x-k8s.io"
# Longer than any grace period, which ends first.
_NEVER = "24h"


def node(name: str, *, gpus: int = 8, product: str = H100, labels: Mapping[str, str] | None = None) -> Manifest:
    """A node as the GPU operator labels it; KWOK makes it ready."""
    resources = {"cpu": "192", "memory": "2Ti", "pods": "250", "nvidia.com/gpu": str(gpus)}
    described = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "nvidia.com/gpu.product": product,
        "nvidia.com/gpu.count": str(gpus),
        **(labels or {}),
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": described, "annotations": dict(FAKE_NODE)},
        "status": {"capacity": resources, "allocatable": resources},
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A pool of vLLM-like servers, labelled as llm-d labels its own.

    A pod becomes ready ``cold_start_s`` after it has its address, and when it is deleted it stays for its whole grace
    period, unless somebody deletes it at once.
    """

    name: str
    model: str = "llama"
    role: str = "both"
    replicas: int = 1
    gpus: int = 1
    product: str = H100
    cold_start_s: float = 0.0
    grace_s: int = 1
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    def deployment(self, **spec: object) -> Manifest:
        return self._workload("Deployment", spec)

    def stateful_set(self, **spec: object) -> Manifest:
        return self._workload("StatefulSet", {"serviceName": self.name, "podManagementPolicy": "Parallel", **spec})

    def _workload(self, kind: str, spec: Mapping[str, object]) -> Manifest:
        selector = {"app.kubernetes.io/name": self.name}
        return {
            "apiVersion": "apps/v1",
            "kind": kind,
            "metadata": {"name": self.name, "labels": selector | self._role_labels()},
            "spec": {
                "replicas": self.replicas,
                "selector": {"matchLabels": selector},
                "template": self.pod(selector),
                **spec,
            },
        }

    def _role_labels(self) -> dict[str, str]:
        return {"llm-d.ai/model": self.model, "llm-d.ai/role": self.role, **self.labels}

    def pod(self, labels: Mapping[str, str]) -> Manifest:
        """The pod template."""
        delays = {"pod-create": "0s", "pod-ready": f"{round(self.cold_start_s * 1000)}ms", "pod-delete": _NEVER}
        stages = {f"{name}.{_STAGE}/delay": delay for name, delay in delays.items()}
        stages |= {f"{name}.{_STAGE}/jitter-delay": delays[name] for name in ("pod-create", "pod-ready")}
        return {
            "metadata": {
                "labels": {**labels, **self._role_labels()},
                "annotations": {"prometheus.io/scrape": "true", **stages, **self.annotations},
            },
            "spec": {
                "terminationGracePeriodSeconds": self.grace_s,
                "nodeSelector": {"nvidia.com/gpu.product": self.product},
                "containers": [
                    {
                        "name": "vllm",
                        "image": "vllm",
                        "args": ["serve", self.model],
                        "ports": [{"name": "http", "containerPort": PORT}],
                        "resources": {"limits": {"nvidia.com/gpu": str(self.gpus)}},
                    }
                ],
            },
        }


def config_map(name: str, files: Mapping[str, str]) -> Manifest:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": dict(files)}


def service_account(name: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}


def role(name: str, *rules: tuple[str, str, str]) -> Manifest:
    """A Role; each rule is the API group, the resources and the verbs, several with commas between."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": name},
        "rules": [
            {"apiGroups": [group], "resources": resources.split(","), "verbs": verbs.split(",")}
            for group, resources, verbs in rules
        ],
    }


def role_binding(role_name: str, account: str, namespace: str) -> Manifest:
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": f"{role_name}-{account}"},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": role_name},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    }
