"""What kube-state-metrics shows of a factory's workloads, pods and nodes, with its allow-list for the llm-d labels."""

from collections.abc import Iterable, Iterator
from itertools import chain

from aiops.simulate.cluster import Pool, Replica, ReplicaState
from aiops.simulate.cold_start import Stage
from aiops.simulate.exposition.gpu import CONTAINER
from aiops.simulate.exposition.pods import NamedNode, NamedPod, all_nodes, all_pods, uid
from aiops.simulate.exposition.text import Kind, Sample, family, page
from aiops.simulate.factory import Factory

_GPU = {"resource": "nvidia_com_gpu", "unit": "integer"}
_PHASES = ("Pending", "Running", "Succeeded", "Failed", "Unknown")
_TRUTHS = ("true", "false", "unknown")
_PRESENT = (ReplicaState.PENDING, ReplicaState.STARTING, ReplicaState.DOWN, ReplicaState.READY)


def exposition(factory: Factory) -> str:
    """Write what a scrape of kube-state-metrics answers at the factory's present time."""
    pools = [pool for model in factory.models for pool in model.pools]
    pods = [_Pod(factory, pod) for pod in all_pods(factory)]
    nodes = _node_lines(all_nodes(factory))
    return page(chain(_workload_lines(pools), _pod_lines(pods), _container_lines(pods), nodes))


class _Pod:
    """A pod as the API server would describe it. Times are Unix seconds, None where the thing has not happened."""

    def __init__(self, factory: Factory, pod: NamedPod) -> None:
        pool, replica = pod.pool, pod.replica
        stage, state, bound_s = pool.stage(replica, factory.now_s), replica.state, replica.bound_at_s
        names = pool.ref.namespace, replica.name
        self.pool, self.replica, self.host, self.model_name = pool, replica, pod.host, pod.model.ref.model
        self.labels = {"namespace": names[0], "pod": names[1], "uid": uid(*names)}
        self.container = {**self.labels, "container": CONTAINER}
        self.running = state is not ReplicaState.PENDING and stage is not Stage.IMAGE
        self.created = factory.time(replica.ordered_at_s).timestamp()
        self.scheduled = None if bound_s is None else factory.time(bound_s).timestamp()
        self.ready = factory.time(replica.ready_at_s).timestamp() if replica.live else None
        self.waits_for = _waits_for(replica, stage)

    @property
    def owner(self) -> tuple[str, str]:
        """Kind and name of the object that made it."""
        if self.pool.ref.kind == "Deployment":
            return "ReplicaSet", self.replica.name.rpartition("-")[0]
        return self.pool.ref.kind, self.pool.ref.name


def _waits_for(replica: Replica, stage: Stage | None) -> str | None:
    """Tell why a pod's container does not run, where the kubelet says so."""
    if stage is Stage.IMAGE:
        return "ContainerCreating"
    fallen = replica.state is ReplicaState.DOWN and replica.node is not None and replica.node.up
    return "CrashLoopBackOff" if fallen else None


def _workload_lines(pools: Iterable[Pool]) -> Iterator[str]:
    for kind, prefix, wanted in (
        ("Deployment", "kube_deployment", "kube_deployment_spec_replicas"),
        ("StatefulSet", "kube_statefulset", "kube_statefulset_replicas"),
    ):
        chosen = [pool for pool in pools if pool.ref.kind == kind]
        labels = [{"namespace": pool.ref.namespace, kind.lower(): pool.ref.name} for pool in chosen]
        ready = [len(pool.in_state(ReplicaState.READY)) for pool in chosen]
        present = [len(pool.in_state(*_PRESENT)) for pool in chosen]
        for name, meaning, values in (
            (wanted, "Replicas asked for.", [pool.wanted for pool in chosen]),
            (f"{prefix}_status_replicas", "Replicas there are, those that terminate excepted.", present),
            (f"{prefix}_status_replicas_ready", "Replicas that are ready.", ready),
            (f"{prefix}_status_replicas_available", "Replicas that are ready.", ready),
        ):
            yield from family(name, "gauge", meaning, zip(labels, values, strict=True))


def _pod_lines(pods: list[_Pod]) -> Iterator[str]:
    def gauge(name: str, meaning: str, samples: Iterable[Sample]) -> Iterator[str]:
        return family(f"kube_pod_{name}", "gauge", meaning, samples)

    yield from gauge("info", "What a pod is.", ((_info(pod), 1.0) for pod in pods))
    yield from gauge("owner", "Who made a pod.", ((pod.labels | _owner(*pod.owner), 1.0) for pod in pods))
    yield from family("kube_replicaset_owner", "gauge", "Who made a ReplicaSet.", _replicaset_owners(pods))
    yield from gauge("labels", "Labels of a pod.", ((pod.labels | _llm_d_labels(pod), 1.0) for pod in pods))
    yield from gauge(
        "status_phase", "A pod's phase.",
        (
            ({**pod.labels, "phase": phase}, float(phase == ("Running" if pod.running else "Pending")))
            for pod in pods
            for phase in _PHASES
        ),
    )  # fmt: skip
    yield from gauge(
        "status_ready", "Whether a pod is ready.",
        (
            ({**pod.labels, "condition": truth}, float(truth == ("true" if pod.replica.live else "false")))
            for pod in pods
            for truth in _TRUTHS
        ),
    )  # fmt: skip
    unschedulable = (pod for pod in pods if pod.replica.unschedulable)
    yield from gauge("status_unschedulable", "No node has room.", ((pod.labels, 1.0) for pod in unschedulable))
    for name, meaning, times in (
        ("created", "When a pod was ordered.", [pod.created for pod in pods]),
        ("status_scheduled_time", "When a pod was bound to a node.", [pod.scheduled for pod in pods]),
        ("status_initialized_time", "The same; no init container is simulated.", [pod.scheduled for pod in pods]),
        ("status_ready_time", "When a pod became ready, the last time.", [pod.ready for pod in pods]),
    ):
        happened = ((pod.labels, time) for pod, time in zip(pods, times, strict=True) if time is not None)
        yield from gauge(name, f"{meaning} Unix seconds.", happened)


def _container_lines(pods: list[_Pod]) -> Iterator[str]:
    def of(name: str, kind: Kind, meaning: str, samples: Iterable[Sample]) -> Iterator[str]:
        return family(f"kube_pod_container_{name}", kind, meaning, samples)

    requests = (({**pod.container, **_GPU, "node": pod.host}, float(pod.pool.gpus)) for pod in pods)
    yield from of("resource_requests", "gauge", "What a container asks for.", requests)
    restarts = ((pod.container, float(pod.replica.restarts)) for pod in pods)
    yield from of("status_restarts_total", "counter", "How often a container has died.", restarts)
    waiting = (({**pod.container, "reason": pod.waits_for}, 1.0) for pod in pods if pod.waits_for is not None)
    yield from of("status_waiting_reason", "gauge", "Why a container does not run.", waiting)
    died = (({**pod.container, "reason": "Error"}, 1.0) for pod in pods if pod.replica.restarts)
    yield from of("status_last_terminated_reason", "gauge", "Why a container died the last time.", died)


def _node_lines(nodes: Iterable[NamedNode]) -> Iterator[str]:
    listed = list(nodes)
    gpus = (({**_GPU, "node": node.name}, float(node.node.gpus)) for node in listed)
    yield from family("kube_node_status_allocatable", "gauge", "What pods can have of a node.", gpus)
    conditions = (
        (
            {"node": node.name, "condition": "Ready", "status": truth},
            float(truth == ("true" if node.node.up else "unknown")),
        )
        for node in listed
        for truth in _TRUTHS
    )
    yield from family("kube_node_status_condition", "gauge", "How a node is.", conditions)


def _info(pod: _Pod) -> dict[str, str]:
    kind, name = pod.owner
    return {**pod.labels, "node": pod.host, "created_by_kind": kind, "created_by_name": name}


def _owner(kind: str, name: str) -> dict[str, str]:
    return {"owner_kind": kind, "owner_name": name, "owner_is_controller": "true"}


def _replicaset_owners(pods: list[_Pod]) -> Iterator[Sample]:
    sets = {(pod.pool.ref, pod.owner[1]) for pod in pods if pod.owner[0] == "ReplicaSet"}
    for ref, name in sorted(sets, key=lambda each: (str(each[0]), each[1])):
        yield {"namespace": ref.namespace, "replicaset": name, **_owner("Deployment", ref.name)}, 1.0


def _llm_d_labels(pod: _Pod) -> dict[str, str]:
    # A label's value holds letters, digits, dashes, underscores and dots alone.
    model = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in pod.model_name)
    return {"label_llm_d_ai_role": str(pod.pool.role), "label_llm_d_ai_model": model}
