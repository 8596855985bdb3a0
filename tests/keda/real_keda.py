"""The real KEDA beside the control plane: its operator, and its adapter as the API server's external metrics.

Both run with the rights of KEDA's own manifests, which come from its module.
"""

import base64
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from kubernetes import client

from tests.cluster.build import Built
from tests.cluster.certificates import authority, signed
from tests.cluster.control_plane import ControlPlane
from tests.cluster.manifests import Manifest
from tests.cluster.place import Place, new_place
from tests.cluster.program import Program

NAMESPACE = "keda"
_ACCOUNT = "keda-operator"
_SERVICE = "keda-metrics-apiserver"
_EXTERNAL_METRICS = "v1beta1.external.metrics.k8s.io"
_OPERATOR_NAME = f"{_ACCOUNT}.{NAMESPACE}.svc.cluster.local"
_ADAPTER_PORT = 6443
_GRPC_PORT = 9666
_HEALTH_PORT = 8081
_METRICS_PORT = 8080


@dataclass(frozen=True, slots=True)
class Keda:
    """KEDA that runs; each half can be stopped and started again."""

    operator: Program
    adapter: Program


@contextmanager
def keda(folder: Path, built: Built, plane: ControlPlane) -> Iterator[Keda]:
    """Install KEDA in the control plane, start it, and give it once the API server can ask it for metrics.

    What it installed stays: a control plane has it once.
    """
    place = new_place(plane, NAMESPACE)
    place.apply(*_installed(built.data["config"]))
    certificates = _certificates(folder)
    place.apply(*_external_metrics(built.data["config"], plane, certificates / "ca.crt"))
    kubeconfig = plane.kubeconfig(_ACCOUNT, NAMESPACE)
    env = os.environ | {
        "KUBECONFIG": str(kubeconfig),
        "KEDA_CLUSTER_OBJECT_NAMESPACE": NAMESPACE,
        "POD_NAMESPACE": NAMESPACE,
        "WATCH_NAMESPACE": "",
    }
    started = Keda(
        Program("keda-operator", _operator(built, plane, certificates), folder, env),
        Program("keda-adapter", _adapter(built, plane, certificates, kubeconfig), folder, env),
    )
    with ExitStack() as stack:
        for program in (started.operator, started.adapter):
            stack.callback(program.stop)
            program.start()
        started.adapter.wait_until(lambda: _available(place), "answers the API server")
        yield started


def _installed(config: Path) -> list[Manifest]:
    """The manifests of KEDA's that need no change: definitions first, then who may do what."""
    files = [
        *sorted((config / "crd" / "bases").glob("*.yaml")),
        config / "service_account" / "service_account.yaml",
        *(config / "rbac" / name for name in ("role.yaml", "role_binding.yaml")),
        *(config / "metrics-server" / name for name in ("role.yaml", "role_binding.yaml")),
    ]
    return [manifest for path in files for manifest in yaml.safe_load_all(path.read_text()) if manifest]


def _certificates(folder: Path) -> Path:
    """A folder with the files that both programs look for."""
    made = folder / "certificates"
    made.mkdir()
    trusted = authority(folder, "keda-authority")
    names = [f"DNS:{name}" for name in (f"{_SERVICE}.{NAMESPACE}.svc", _OPERATOR_NAME, "localhost")]
    pair = signed(folder, "keda", trusted, alternative_names=names)
    shutil.copyfile(trusted.certificate, made / "ca.crt")
    shutil.copyfile(pair.certificate, made / "tls.crt")
    shutil.copyfile(pair.key, made / "tls.key")
    return made


def _external_metrics(config: Path, plane: ControlPlane, trusted: Path) -> list[Manifest]:
    """The API server asks the adapter at its cluster IP, which is this machine's own."""
    api_service = yaml.safe_load((config / "metrics-server" / "api_service.yaml").read_text())
    api_service["spec"]["service"]["port"] = _ADAPTER_PORT
    api_service["spec"]["caBundle"] = base64.b64encode(trusted.read_bytes()).decode()
    ports = [{"name": "https", "port": _ADAPTER_PORT, "protocol": "TCP"}]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": _SERVICE},
        "spec": {"clusterIP": plane.block.service(50), "ports": ports},
    }
    # A service counts as available only with an endpoint; this one is never asked.
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": _SERVICE, "labels": {"kubernetes.io/service-name": _SERVICE}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["192.0.2.1"], "conditions": {"ready": True}}],
        "ports": ports,
    }
    return [service, endpoints, api_service]


def _operator(built: Built, plane: ControlPlane, certificates: Path) -> list[str]:
    address = plane.block.server
    # Of what triggers ask over TLS; no trigger here does.
    authorities = certificates.with_name("authorities")
    authorities.mkdir()
    return [
        str(built.programs["keda-operator"]),
        f"--metrics-bind-address={address}:{_METRICS_PORT}",
        f"--health-probe-bind-address={address}:{_HEALTH_PORT}",
        f"--metrics-service-bind-address={address}:{_GRPC_PORT}",
        f"--cert-dir={certificates}",
        f"--ca-dir={authorities}",
    ]


def _adapter(built: Built, plane: ControlPlane, certificates: Path, kubeconfig: Path) -> list[str]:
    return [
        str(built.programs["keda-adapter"]),
        # Its own metrics, which it serves on every address and which nobody reads.
        "--port=0",
        f"--bind-address={plane.block.service(50)}",
        f"--secure-port={_ADAPTER_PORT}",
        f"--metrics-service-address={plane.block.server}:{_GRPC_PORT}",
        f"--metrics-service-grpc-authority={_OPERATOR_NAME}",
        f"--lister-kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--cert-dir={certificates}",
        f"--client-ca-file={certificates / 'ca.crt'}",
        f"--tls-cert-file={certificates / 'tls.crt'}",
        f"--tls-private-key-file={certificates / 'tls.key'}",
    ]


def _available(place: Place) -> bool:
    service = client.ApiregistrationV1Api(place.plane.admin).read_api_service(_EXTERNAL_METRICS)
    return any(one.type == "Available" and one.status == "True" for one in service.status.conditions or [])
