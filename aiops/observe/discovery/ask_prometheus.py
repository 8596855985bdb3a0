"""Finds engines, and as far as it goes their targets, through Prometheus alone."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from aiops.model.refs import PoolRef
from aiops.observe.catalogue import RUNNING
from aiops.observe.cluster_kinds import KNOWN
from aiops.observe.discovery.workloads import EngineSeen, Workload, role_of, with_engines
from aiops.observe.engines import kv_tokens
from aiops.observe.identity import Group, Pod
from aiops.observe.pools import ClusterState, read_cluster_state, shape_of
from aiops.observe.prometheus import PrometheusClient, Series
from aiops.observe.queries import Now, now

_LOOK_S = 240


class _Ask(StrEnum):
    ENGINES = "engines"
    GPUS = "gpus"


@dataclass(frozen=True, slots=True)
class SeenByPrometheus:
    """Engines that answer now, and the targets that they seem to belong to."""

    engines: tuple[EngineSeen, ...]
    workloads: tuple[Workload, ...]


def ask_prometheus(client: PrometheusClient, at: datetime, namespaces: Sequence[str]) -> SeenByPrometheus:
    """Look for engines, in some namespaces or (where none is named) in all. Raises PrometheusError."""
    matchers = client.access.matchers
    asked = now(matchers, _LOOK_S)
    known = {
        key: asked[key] for key in (Now.POD_OWNERS, Now.REPLICASET_OWNERS, Now.REPLICAS, Now.UNREADY, Now.CACHE_CONFIG)
    }
    own = {_Ask.ENGINES: RUNNING.queries(matchers)[0], _Ask.GPUS: _gpus(matchers)}
    deadline = client.deadline()
    found, answers = client.ask(own, at, deadline), client.ask(known, at, deadline)
    cluster = read_cluster_state(answers)
    sizes, gpus = kv_tokens(answers[Now.CACHE_CONFIG]), _gpus_by_pod(found[_Ask.GPUS])
    engines = {
        (engine.pod, engine.model): engine
        for one in found[_Ask.ENGINES]
        if (engine := _engine(one, cluster, sizes)) is not None
        and (not namespaces or engine.pod.namespace in namespaces)
    }
    return SeenByPrometheus(tuple(engines.values()), tuple(_workloads(list(engines.values()), cluster, gpus)))


def _gpus(matchers: Sequence[str]) -> str:
    inside = ",".join([*matchers, 'resource=~"nvidia_com_gpu|amd_com_gpu"'])
    return f"sum by (namespace, pod) (kube_pod_container_resource_requests{{{inside}}})"


def _gpus_by_pod(series: Sequence[Series]) -> dict[Pod, int]:
    return {Pod.of(one.labels): round(one.value) for one in series if one.value}


def _engine(one: Series, cluster: ClusterState, sizes: Mapping[Pod, float]) -> EngineSeen | None:
    model, pod, group = one.labels.get("model_name"), Pod.of(one.labels), Group.of(one.labels)
    if not model:
        return None
    return EngineSeen(pod, model, group.role, _target(pod, group.workload, cluster), sizes.get(pod))


def _target(pod: Pod, workload: str, cluster: ClusterState) -> PoolRef | None:
    owner, kind = cluster.owners.get(pod), shape_of(pod.name)
    if owner is not None and owner.kind in KNOWN:
        return PoolRef(pod.namespace, owner.kind, owner.name)
    if owner is not None and owner.kind != "ReplicaSet":  # whose owner was not told
        return None
    return PoolRef(pod.namespace, kind, workload) if kind else None


def _workloads(engines: list[EngineSeen], cluster: ClusterState, gpus: Mapping[Pod, int]) -> list[Workload]:
    by_owner: dict[PoolRef, list[EngineSeen]] = defaultdict(list)
    for engine in engines:
        if engine.owner is not None:
            by_owner[engine.owner].append(engine)
    return [_workload(pool, mine, cluster, gpus) for pool, mine in sorted(by_owner.items())]


def _workload(pool: PoolRef, engines: list[EngineSeen], cluster: ClusterState, gpus: Mapping[Pod, int]) -> Workload:
    asked, held = cluster.replicas.get(pool), {gpus[engine.pod] for engine in engines if engine.pod in gpus}
    inferred = []
    if not any(engine.pod in cluster.owners for engine in engines):
        inferred.append("the target is told by the names of its pods")
    if asked is None:
        inferred.append("the replicas were counted from engines that answer")
    workload = Workload(
        pool=pool,
        replicas=len({engine.pod for engine in engines}) if asked is None else asked,
        role=role_of(next((engine.role for engine in engines if engine.role), "")),
        gpus=max(held, default=None),
        inferred=tuple(inferred),
    )
    return with_engines(workload, engines)
