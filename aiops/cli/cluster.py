"""The options by which commands reach a cluster, and what the loop is wired to there."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from kubernetes.client import ApiClient

from aiops.act.deletion_cost import DeletionCosts
from aiops.act.events import EventRecorder
from aiops.act.lease import LeaseElector, new_identity
from aiops.act.scale import ScaleActuator
from aiops.act.victims import VictimActuator
from aiops.cli.shell import CommandError
from aiops.control.lead import Alone
from aiops.control.protocols import Actuator, Elector, Observer
from aiops.model.decision import Decision, Outcome
from aiops.model.policy import Mode, PolicySet
from aiops.observe.cluster_reader import ClusterReader
from aiops.observe.clustered import ClusteredObserver, SnapshotSource
from aiops.observe.kubernetes import AccessError, KubernetesAccess, connect

NO_CLUSTER = (
    "mode act writes to a cluster, and none is connected: give --kubeconfig FILE or run in a pod with a "
    "ServiceAccount, or set mode: observe or mode: emit"
)
_SWITCHED_OFF = "the FleetPolicy says writes: off"
_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

KubeconfigOption = Annotated[
    Path | None,
    typer.Option(
        "--kubeconfig", metavar="FILE", help="Connect to the cluster that it names; in a pod, its own is found."
    ),
]
ContextOption = Annotated[
    str | None, typer.Option("--context", help="The kubeconfig's context, if not the current one.")
]


@dataclass(frozen=True, slots=True)
class World:
    """What the loop sees with, writes with, and may lead by."""

    observer: Observer
    actuator: Actuator
    elector: Elector
    problem: Callable[[], str] = lambda: ""
    """Why it cannot get or keep the Lease; empty where it can."""
    settle: Callable[[], None] = lambda: None
    """Ends, after a turn, what earlier ones began."""


class _NoCluster:
    """The actuator where no cluster is connected: a policy that turns to ``act`` while running is refused, aloud."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now

    def apply(self, decision: Decision) -> Outcome:
        return Outcome(decision.pool, self._now(), decision.desired or 0, applied=False, error=NO_CLUSTER)


@contextmanager
def access_to(kubeconfig: Path | None, context: str | None) -> Iterator[KubernetesAccess | None]:
    """Connect to the cluster that is named, or to the pod's own; None where neither is. Raises CommandError."""
    in_a_pod = bool(os.environ.get("KUBERNETES_SERVICE_HOST")) and _OWN_NAMESPACE.is_file()
    if kubeconfig is None and context is None and not in_a_pod:
        yield None
        return
    try:
        access = connect(kubeconfig, context)
    except AccessError as error:
        raise CommandError(str(error)) from error
    try:
        yield access
    finally:
        access.close()


def observer_of(
    access: KubernetesAccess | None,
    metrics: SnapshotSource,
    policies: Callable[[], PolicySet],
    now: Callable[[], datetime],
) -> Observer:
    """Let an observer of metrics see the cluster too, where one is connected."""
    return metrics if access is None else _clustered(access, metrics, policies, now)


def _clustered(
    access: KubernetesAccess, metrics: SnapshotSource, policies: Callable[[], PolicySet], now: Callable[[], datetime]
) -> ClusteredObserver:
    return ClusteredObserver(metrics, ClusterReader(access, policies, now).read)


@contextmanager
def world_of(
    access: KubernetesAccess | None,
    metrics: SnapshotSource,
    policies: Callable[[], PolicySet],
    now: Callable[[], datetime],
    lease: str,
    *,
    victims: bool,
) -> Iterator[World]:
    """Wire the loop to a cluster, where one is connected; the Lease is released at the end.

    ``victims`` lets it say which pods leave first.
    """
    if access is None:
        yield World(metrics, _NoCluster(now), Alone())
        return
    observer = _clustered(access, metrics, policies, now)
    namespace, _, name = lease.rpartition("/")
    api: ApiClient = access.client

    def writes_off() -> str:
        return _SWITCHED_OFF if policies().fleet.writes_off else ""

    with LeaseElector(api, namespace or _own_namespace(), name, new_identity()) as elector:
        scale = ScaleActuator(
            api,
            may_write=elector.leads,
            writes_off=writes_off,
            on_change=EventRecorder(api).changed,
            now=now,
        )
        if not victims:
            yield World(observer, scale, elector, lambda: elector.problem)
            return
        costs = DeletionCosts(api, may_write=elector.leads, writes_off=writes_off)
        chosen = VictimActuator(scale.apply, costs, elector.leads, now)
        yield World(
            observer,
            chosen,
            elector,
            lambda: elector.problem,
            lambda: chosen.settle(observer.view, _written_namespaces(policies())),
        )


def _written_namespaces(policies: PolicySet) -> list[str]:
    """Give the namespaces in which replicas may be removed."""
    return sorted({policy.metadata.namespace for policy in policies.policies if policy.spec.mode is Mode.ACT})


def _own_namespace() -> str:
    try:
        return _OWN_NAMESPACE.read_text(encoding="utf-8").strip() or "default"
    except OSError:
        return "default"
