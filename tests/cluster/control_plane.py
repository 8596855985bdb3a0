"""A real Kubernetes control plane on loopback: etcd, API server, controller manager, scheduler, and KWOK for the nodes.

RBAC is on and every call of a ServiceAccount is in the audit log. The API server can call others (aggregation layer).
"""

import json
import secrets
import ssl
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client, config

from tests.cluster import addresses
from tests.cluster.addresses import Block, claimed_block
from tests.cluster.build import Built
from tests.cluster.certificates import KeyPair, authority, signed
from tests.cluster.program import Program

# The nodes that KWOK plays; others are left alone.
FAKE_NODE = {"kwok.x-k8s.io/node": "fake"}
# Labels that break a pod that runs and a node, of stages that come along and wait for them.
BROKEN_POD = {"pod-container-running-failed.stage.kwok.x-k8s.io": "true"}
BROKEN_NODE = {"node-not-ready.stage.kwok.x-k8s.io": "true"}
_STAGES = ("pod/general", "pod/chaos", "node/fast", "node/heartbeat-with-lease", "node/chaos")
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Request", "userGroups": ["system:serviceaccounts"]}, {"level": "None"}],
}


@dataclass(frozen=True, slots=True)
class Keys:
    """What the programs of one control plane trust each other by."""

    authority: KeyPair
    server: KeyPair
    front_authority: KeyPair
    front_client: KeyPair
    service_accounts: KeyPair
    admin_token: str


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """A control plane that runs; each of its programs can be stopped and started again by itself."""

    folder: Path
    block: Block
    keys: Keys
    etcd: Program
    api_server: Program
    controller_manager: Program
    scheduler: Program
    kwok: Program
    admin: client.ApiClient

    @property
    def programs(self) -> tuple[Program, ...]:
        return (self.etcd, self.api_server, self.controller_manager, self.scheduler, self.kwok)

    @property
    def url(self) -> str:
        return f"https://{self.block.server}:{addresses.API_PORT}"

    @property
    def admin_kubeconfig(self) -> Path:
        return self.folder / "admin.kubeconfig"

    def ready(self) -> bool:
        """Whether the API server says so itself."""
        context = ssl.create_default_context(cafile=str(self.keys.authority.certificate))
        url = f"{self.url}/readyz"
        with urllib.request.urlopen(url, timeout=5, context=context) as answer:  # noqa: S310  # loopback only
            return bool(answer.read() == b"ok")

    def wait_until_ready(self) -> None:
        self.api_server.wait_until(self.ready, "is ready")

    def kubeconfig(self, service_account: str, namespace: str, *, valid_s: int = 24 * 3600) -> Path:
        """A kubeconfig with a new token of a ServiceAccount that exists already."""
        spec = client.V1TokenRequestSpec(expiration_seconds=valid_s)
        asked = client.AuthenticationV1TokenRequest(spec=spec)
        api = client.CoreV1Api(self.admin)
        token = api.create_namespaced_service_account_token(service_account, namespace, asked).status.token
        path = self.folder / f"{namespace}.{service_account}.kubeconfig"
        return write_kubeconfig(path, self.url, self.keys.authority.certificate, token, namespace)

    def client_of(self, service_account: str, namespace: str) -> client.ApiClient:
        """A client that may do what the ServiceAccount's roles allow."""
        return new_client(self.kubeconfig(service_account, namespace))

    def calls(self, service_account: str, namespace: str) -> list[dict[str, Any]]:
        """The audit log's events of a ServiceAccount, the oldest first: verb, objectRef, responseStatus and so on."""
        user = f"system:serviceaccount:{namespace}:{service_account}"
        events = (json.loads(line) for line in (self.folder / "audit.log").read_text().splitlines())
        return [event for event in events if event["user"]["username"] == user]


@contextmanager
def control_plane(
    folder: Path, built: Built, *, stages: Sequence[Path] = (), autoscaler_period_s: float = 5.0
) -> Iterator[ControlPlane]:
    """Start a control plane in a scratch folder of its own and give it once it works.

    ``stages`` are further files of KWOK's Stages.
    """
    with claimed_block() as block, ExitStack() as stack:
        keys = make_keys(folder, block)
        url = f"https://{block.server}:{addresses.API_PORT}"
        admin = folder / "admin.kubeconfig"
        write_kubeconfig(admin, url, keys.authority.certificate, keys.admin_token)
        stage_files = [*_stage_files(built.data["stages"]), *stages]
        commands = {
            "etcd": _etcd(folder, block),
            "kube-apiserver": _api_server(folder, block, keys),
            "kube-controller-manager": _controller_manager(admin, keys, autoscaler_period_s),
            "kube-scheduler": [*_client_flags(admin), "--leader-elect=false", "--secure-port=0"],
            "kwok": _kwok(admin, block, stage_files),
        }
        running = {name: Program(name, [str(built.programs[name]), *flags], folder) for name, flags in commands.items()}
        plane = ControlPlane(folder, block, keys, *running.values(), new_client(admin))
        stack.callback(plane.admin.close)
        for program in plane.programs:
            stack.callback(program.stop)
        _start(plane)
        yield plane


def _start(plane: ControlPlane) -> None:
    plane.etcd.start()
    plane.api_server.start()
    plane.wait_until_ready()
    for program in (plane.controller_manager, plane.scheduler, plane.kwok):
        program.start()
    core = client.CoreV1Api(plane.admin)
    plane.controller_manager.wait_until(
        lambda: core.list_namespaced_service_account("default").items, "has made the first ServiceAccount"
    )


def make_keys(folder: Path, block: Block) -> Keys:
    trusted = authority(folder, "kubernetes-authority")
    # Apart from the first, or its clients could pass for the proxy, which is believed about users.
    front = authority(folder, "front-proxy-authority")
    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"]
    alternative = [f"IP:{block.server}", f"IP:{block.service(1)}", *(f"DNS:{name}" for name in names)]
    return Keys(
        authority=trusted,
        server=signed(folder, "kube-apiserver", trusted, alternative_names=alternative),
        front_authority=front,
        front_client=signed(folder, "front-proxy-client", front),
        service_accounts=authority(folder, "service-accounts"),
        admin_token=secrets.token_hex(16),
    )


def write_kubeconfig(path: Path, url: str, trusted: Path, token: str, namespace: str = "default") -> Path:
    stated = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "testbed", "cluster": {"server": url, "certificate-authority": str(trusted)}}],
        "users": [{"name": path.stem, "user": {"token": token}}],
        "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": path.stem, "namespace": namespace}}],
        "current-context": "testbed",
    }
    path.write_text(yaml.safe_dump(stated))
    path.chmod(0o600)
    return path


def new_client(kubeconfig: Path) -> client.ApiClient:
    made: client.ApiClient = config.new_client_from_config(config_file=str(kubeconfig))
    return made


def _flags(stated: Mapping[str, object]) -> list[str]:
    return [f"--{name}={value}" for name, value in stated.items()]


def _etcd(folder: Path, block: Block) -> list[str]:
    clients = f"http://{block.server}:{addresses.ETCD_PORT}"
    peers = f"http://{block.server}:{addresses.ETCD_PEER_PORT}"
    return [
        *_flags(
            {
                "data-dir": folder / "etcd",
                "listen-client-urls": clients,
                "advertise-client-urls": clients,
                "listen-peer-urls": peers,
                "initial-advertise-peer-urls": peers,
                "initial-cluster": f"default={peers}",
                "log-level": "warn",
            }
        ),
        "--unsafe-no-fsync",
    ]


def _api_server(folder: Path, block: Block, keys: Keys) -> list[str]:
    tokens = folder / "tokens.csv"
    tokens.write_text(f'{keys.admin_token},admin,admin,"system:masters"\n')
    tokens.chmod(0o600)
    audit = folder / "audit-policy.yaml"
    audit.write_text(yaml.safe_dump(_AUDIT_POLICY))
    return _flags(
        {
            "etcd-servers": f"http://{block.server}:{addresses.ETCD_PORT}",
            "bind-address": block.server,
            "advertise-address": block.server,
            "secure-port": addresses.API_PORT,
            "service-cluster-ip-range": block.services,
            # This API server is reached by its address alone; an Endpoints object cannot hold one in loopback.
            "endpoint-reconciler-type": "none",
            "authorization-mode": "RBAC",
            # Pods are only objects here: no token is mounted, and their ServiceAccount need not exist.
            "disable-admission-plugins": "ServiceAccount",
            "token-auth-file": tokens,
            "client-ca-file": keys.authority.certificate,
            "tls-cert-file": keys.server.certificate,
            "tls-private-key-file": keys.server.key,
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": keys.service_accounts.certificate,
            "service-account-signing-key-file": keys.service_accounts.key,
            "requestheader-client-ca-file": keys.front_authority.certificate,
            "requestheader-allowed-names": "front-proxy-client",
            "requestheader-username-headers": "X-Remote-User",
            "requestheader-group-headers": "X-Remote-Group",
            "requestheader-extra-headers-prefix": "X-Remote-Extra-",
            "proxy-client-cert-file": keys.front_client.certificate,
            "proxy-client-key-file": keys.front_client.key,
            # Else a server that stops waits a minute for its watches to end by themselves.
            "shutdown-watch-termination-grace-period": "1s",
            "audit-policy-file": audit,
            "audit-log-path": folder / "audit.log",
            "audit-log-mode": "blocking",
        }
    )


def _client_flags(kubeconfig: Path) -> list[str]:
    # The defaults are for clusters that others use too, and slow a thousand pods down.
    return _flags({"kubeconfig": kubeconfig, "kube-api-qps": 500, "kube-api-burst": 1000})


def _controller_manager(kubeconfig: Path, keys: Keys, autoscaler_period_s: float) -> list[str]:
    stated = {
        "leader-elect": "false",
        "secure-port": 0,
        "root-ca-file": keys.authority.certificate,
        "horizontal-pod-autoscaler-sync-period": f"{autoscaler_period_s:g}s",
        # A node that is late on a busy machine would take its pods along, which KWOK never makes ready again.
        "node-monitor-grace-period": "10m",
    }
    return [*_client_flags(kubeconfig), *_flags(stated)]


def _kwok(kubeconfig: Path, block: Block, stage_files: Sequence[Path]) -> list[str]:
    ((annotation, value),) = FAKE_NODE.items()
    stated = {
        "kubeconfig": kubeconfig,
        "manage-all-nodes": "false",
        "manage-nodes-with-annotation-selector": f"{annotation}={value}",
        "cidr": block.pods,
        "node-ip": block.server,
        "node-lease-duration-seconds": 40,
    }
    return [*_flags(stated), *(f"--config={path}" for path in stage_files)]


def _stage_files(folder: Path) -> list[Path]:
    files = [path for stage in _STAGES for path in sorted((folder / stage).glob("*.yaml"))]
    return [path for path in files if path.name != "kustomization.yaml"]
