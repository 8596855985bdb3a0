"""Everything in a factory that a Prometheus would scrape, and where it would find it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from aiops.simulate.cluster import ReplicaState
from aiops.simulate.cold_start import Stage
from aiops.simulate.exposition import kubernetes, vllm
from aiops.simulate.exposition.gateway import Gateway
from aiops.simulate.exposition.gpu import Gpus
from aiops.simulate.exposition.pods import NamedPod, all_nodes, all_pods, slug
from aiops.simulate.factory import Factory

GPU_NAMESPACE = "gpu-operator"
STATE_NAMESPACE = "monitoring"


@dataclass(frozen=True, slots=True)
class Target:
    """A place to scrape, by namespace and name, with the labels that a scrape adds to its series.

    ``read`` writes what it answers; it is None while it does not answer.
    """

    namespace: str
    name: str
    labels: Mapping[str, str]
    read: Callable[[], str] | None


class Targets:
    """The targets of a factory; what they count begins when this is made.

    Engines, routers and the exporters of GPUs are labelled as a PodMonitor does, so that labels of the same name that
    exporters of GPUs and routers give themselves turn into ``exported_…``, as in the charts' defaults.
    kube-state-metrics keeps its own (honorLabels), so its target brings none.
    """

    def __init__(
        self,
        factory: Factory,
        watts: Mapping[str, float] | None = None,
        wanted: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """Watch a factory; ``watts`` are the peaks of replicas by the names of variants.

        ``wanted`` picks the families of engines, as :func:`vllm.exposition` has it.
        """
        self._factory, self._wanted = factory, wanted
        self._gateways = [(model.ref.namespace, Gateway(model)) for model in factory.models]
        self._gpus = Gpus(factory, watts)

    def all(self) -> Iterator[Target]:
        """Go through what there is now."""
        for pod in all_pods(self._factory):
            if _has_address(self._factory, pod):
                yield self._engine(pod)
        for namespace, gateway in self._gateways:
            name = f"{gateway.name}-epp"
            labels = _pod_labels("epp", namespace, name, 9090)
            yield Target(namespace, name, labels, gateway.exposition if gateway.answers else None)
        for node in all_nodes(self._factory):
            name = f"dcgm-exporter-{slug(node.name)}"
            yield Target(
                GPU_NAMESPACE, name, _pod_labels("dcgm-exporter", GPU_NAMESPACE, name, 9400),
                partial(self._gpus.exposition, node.name) if node.node.up else None,
            )  # fmt: skip
        state = "kube-state-metrics"
        yield Target(
            STATE_NAMESPACE, state, {"job": state, "instance": f"{state}:8080"},
            partial(kubernetes.exposition, self._factory),
        )  # fmt: skip

    def find(self, namespace: str, name: str) -> Target | None:
        """Give a target; None where there is none of that name."""
        return next((each for each in self.all() if (each.namespace, each.name) == (namespace, name)), None)

    def _engine(self, pod: NamedPod) -> Target:
        replica = pod.replica
        labels = _pod_labels("vllm", pod.pool.ref.namespace, replica.name, 8000)
        answers = replica.live and pod.model.faults.answers(replica)
        return Target(
            pod.pool.ref.namespace, replica.name, {**labels, "llm_d_ai_role": str(pod.pool.role)},
            partial(vllm.exposition, self._factory, replica, self._wanted) if answers else None,
        )  # fmt: skip


def _has_address(factory: Factory, pod: NamedPod) -> bool:
    """Whether a pod has begun to run: only then does service discovery list it, ready or not."""
    if pod.replica.state is ReplicaState.PENDING:
        return False
    return pod.pool.stage(pod.replica, factory.now_s) is not Stage.IMAGE


def _pod_labels(job: str, namespace: str, pod: str, port: int) -> dict[str, str]:
    return {"job": job, "namespace": namespace, "pod": pod, "instance": f"{pod}:{port}"}
