import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

from tests.cluster.build import Built
from tests.cluster.manifests import PORT, Manifest, service_account
from tests.cluster.place import Place
from tests.cluster.program import Program
from tests.parts import http_text

_NAME = "prometheus"
_META = "__meta_kubernetes_"
_POD = f"{_META}pod_"


def pod_job(kubeconfig: Path, *, port: int = PORT, name: str = "vllm") -> dict[str, object]:
    """A job that scrapes pods as a PodMonitor's does.

    It takes the pods with the annotation ``prometheus.io/scrape: "true"``, at their own address and ``port``, and its
    series carry the labels that the Prometheus operator adds, with the two of llm-d (``podTargetLabels``).
    """
    labels = {
        "namespace": f"{_META}namespace",
        "pod": f"{_POD}name",
        "container": f"{_POD}container_name",
        "endpoint": f"{_POD}container_port_name",
        "llm_d_ai_model": f"{_POD}label_llm_d_ai_model",
        "llm_d_ai_role": f"{_POD}label_llm_d_ai_role",
    }
    rules: list[dict[str, object]] = [
        {"action": "keep", "source_labels": [f"{_POD}annotation_prometheus_io_scrape"], "regex": "true"},
        {"action": "keep", "source_labels": [f"{_POD}container_port_number"], "regex": str(port)},
        {"action": "drop", "source_labels": [f"{_POD}phase"], "regex": "Succeeded|Failed"},
        *({"source_labels": [source], "target_label": target} for target, source in labels.items()),
    ]
    return {
        "job_name": name,
        "kubernetes_sd_configs": [{"role": "pod", "kubeconfig_file": str(kubeconfig)}],
        "relabel_configs": rules,
    }


@dataclass(frozen=True, slots=True)
class PodPrometheus:
    """A Prometheus that runs; stopped and started again it is where it was and knows what it knew."""

    url: str
    program: Program

    def wait_until_ready(self) -> None:
        self.program.wait_until(lambda: http_text(f"{self.url}/-/ready"), "is ready")

    def query(self, promql: str) -> list[dict[str, Any]]:
        """The instant vector as the API tells it: each with ``metric`` and ``value``."""
        answer = json.loads(http_text(f"{self.url}/api/v1/query?{urlencode({'query': promql})}"))
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found


@contextmanager
def pod_prometheus(
    folder: Path,
    built: Built,
    place: Place,
    *,
    jobs: Sequence[dict[str, object]] = (),
    interval: str = "1s",
    listen_port: int = 9090,
) -> Iterator[PodPrometheus]:
    """Start a real Prometheus that finds the cluster's pods with a ServiceAccount of its own.

    ``jobs`` are scrape configurations beside the one for pods.
    """
    place.apply(*_account(place.namespace))
    kubeconfig = place.plane.kubeconfig(_NAME, place.namespace)
    stated = {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
        "scrape_configs": [pod_job(kubeconfig), *jobs],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(stated))
    address = f"{place.plane.block.server}:{listen_port}"
    flags = {
        "config.file": folder / "prometheus.yaml",
        "storage.tsdb.path": folder / "data",
        "web.listen-address": address,
    }
    command = [str(built.programs["prometheus"]), *(f"--{name}={value}" for name, value in flags.items())]
    started = PodPrometheus(f"http://{address}", Program("prometheus", [*command, "--web.enable-lifecycle"], folder))
    started.program.start()
    try:
        started.wait_until_ready()
        yield started
    finally:
        started.program.stop()


def _account(namespace: str) -> list[Manifest]:
    rights, name = "rbac.authorization.k8s.io", f"{_NAME}-{namespace}"
    return [
        service_account(_NAME),
        {
            "apiVersion": f"{rights}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name},
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}],
        },
        {
            "apiVersion": f"{rights}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": rights, "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": _NAME, "namespace": namespace}],
        },
    ]
