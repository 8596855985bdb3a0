"""Reads what Kubernetes says of the targets that policies name: a few list calls, however many targets there are."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from aiops.model.cluster import ClusterView, NodeView, TargetView
from aiops.model.policy import PolicySet
from aiops.model.refs import PoolRef
from aiops.observe.cluster_kinds import (
    AUTOSCALERS,
    DEPLOYMENTS,
    DISCOVERY,
    DISCOVERY_PATH,
    KNOWN,
    LEADER_WORKER_SETS,
    NODES,
    PODS,
    QUOTAS,
    REPLICA_SETS,
    SCALED_OBJECTS,
    STATEFUL_SETS,
    Kinds,
    read_kinds,
)
from aiops.observe.cluster_nodes import gpu_capacity, quota_left, read_node
from aiops.observe.cluster_owners import Scaler, read_autoscaler, read_scaled_object
from aiops.observe.cluster_pods import SeenPod, held_gpus, read_pod
from aiops.observe.cluster_targets import Around, OwnedSet, read_other_target, read_owned_set, read_target
from aiops.observe.kubernetes import (
    METADATA_ONLY,
    ForbiddenError,
    KubernetesAccess,
    KubernetesError,
    NotFoundError,
    Reading,
    Resource,
)

Json = dict[str, Any]

# What is installed changes seldom; a kind that appears, or was left out while the server started, is soon noticed.
_KINDS_LAST = timedelta(minutes=10)
_KINDS_LAST_INCOMPLETE = timedelta(minutes=1)
_UNFINISHED = "status.phase!=Succeeded,status.phase!=Failed"


@dataclass(slots=True)
class ClusterReader:
    """Reads the cluster once a cycle, as far as the rights go."""

    access: KubernetesAccess
    policies: Callable[[], PolicySet]
    now: Callable[[], datetime]
    _kinds: Kinds = field(default=Kinds(), init=False)
    _kinds_at: datetime | None = field(default=None, init=False)

    def read(self) -> ClusterView:
        """Take one look. An API server that cannot be believed gives a view with a ``problem`` and nothing else."""
        return self.look_at(
            {policy.pool_ref(pool) for policy in self.policies().policies for pool in policy.spec.pools}
        )

    def look_at(self, pools: set[PoolRef]) -> ClusterView:
        """Take one look at some targets, whether a policy names them or not."""
        at = self.now()
        if not pools:
            return ClusterView(at)
        reading = self.access.reading()
        try:
            return _Look(reading, at, self._current_kinds(reading, at, {pool.kind for pool in pools})).view(pools)
        except KubernetesError as error:
            return ClusterView(at, problem=str(error), calls=reading.calls)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            why = f"{self.access.host} answered objects that cannot be read ({error!r}): which Kubernetes is it?"
            return ClusterView(at, problem=why, calls=reading.calls)

    def _current_kinds(self, reading: Reading, at: datetime, wanted: set[str]) -> Kinds:
        complete = all(self._kinds.target(kind) for kind in wanted) and self._kinds.has(SCALED_OBJECTS)
        good_for = _KINDS_LAST if complete else _KINDS_LAST_INCOMPLETE
        if self._kinds_at is None or not timedelta(0) <= at - self._kinds_at < good_for:
            try:
                self._kinds = read_kinds(reading.one(DISCOVERY_PATH, "", accept=f"{DISCOVERY},application/json"))
            except (ForbiddenError, NotFoundError):
                self._kinds = Kinds()
            self._kinds_at = at
        return self._kinds


@dataclass(slots=True)
class _Seen:
    """All pods that one look read: those of the targets' namespaces, and the GPUs that any hold, by node."""

    pods: dict[str, dict[str, list[SeenPod]]] = field(default_factory=dict)
    """By namespace, then by the uid of what controls them."""
    held_gpus: dict[str, int] = field(default_factory=dict)

    def add(self, pod: Json, namespaces: set[str]) -> None:
        node, gpus = held_gpus(pod)
        if gpus:
            self.held_gpus[node] = self.held_gpus.get(node, 0) + gpus
        namespace = pod["metadata"]["namespace"]
        if namespace in namespaces:
            seen = read_pod(pod)
            self.pods.setdefault(namespace, {}).setdefault(seen.owner, []).append(seen)


@dataclass(slots=True)
class _Look:
    reading: Reading
    at: datetime
    kinds: Kinds
    forbidden: list[str] = field(default_factory=list)
    unread: set[PoolRef] = field(default_factory=set)

    def view(self, pools: set[PoolRef]) -> ClusterView:
        # Targets before what is around them, and pods last: who comes later can only be newer than its owner.
        namespaces = {pool.namespace for pool in pools}
        found = {namespace: self._items(namespace, pools) for namespace in sorted(namespaces)}
        scalers = {namespace: self._scalers(namespace) for namespace in found}
        sets = {namespace: self._sets(namespace, pools) for namespace in found}
        quotas = {namespace: self._quota(namespace) for namespace in found}
        seen, nodes = self._pods_and_nodes(namespaces)
        around = {
            namespace: Around(self.at, seen.pods.get(namespace, {}), sets[namespace], scalers[namespace])
            for namespace in found
        }
        targets = [target for namespace, items in found.items() for target in self._targets(items, around[namespace])]
        known = {pool for items in found.values() for pool in items}
        return ClusterView(
            at=self.at,
            targets=tuple(sorted(targets, key=lambda target: target.pool)),
            missing=tuple(sorted(known - {target.pool for target in targets} - self.unread)),
            nodes=nodes,
            quota_gpus_left=tuple((namespace, left) for namespace, left in quotas.items() if left is not None),
            forbidden=tuple(dict.fromkeys(self.forbidden)),
            calls=self.reading.calls,
        )

    def _items(self, namespace: str, pools: set[PoolRef]) -> dict[PoolRef, Json | None]:
        """Give the objects of a namespace's targets, None for those that are not there; none of a forbidden kind."""
        found: dict[PoolRef, Json | None] = {}
        for kind in sorted({pool.kind for pool in pools if pool.namespace == namespace}):
            wanted = {pool.name: pool for pool in pools if (pool.namespace, pool.kind) == (namespace, kind)}
            resource = self.kinds.target(kind)
            if resource is None:
                found |= dict.fromkeys(wanted.values())
                continue
            # Never from a cache: these are compared with what aiops itself wrote a moment ago.
            accept = {} if kind in KNOWN else {"accept": METADATA_ONLY}
            listed = self._listed(resource, namespace, cached=False, **accept)
            if listed is not None:
                items = {item["metadata"]["name"]: item for item in listed if item["metadata"]["name"] in wanted}
                found |= {pool: items.get(name) for name, pool in wanted.items()}
        return found

    def _targets(self, items: dict[PoolRef, Json | None], around: Around) -> Iterable[TargetView]:
        for pool, item in items.items():
            if item is None:
                continue
            if pool.kind in KNOWN:
                yield read_target(pool, item, around)
            elif (target := self._other_target(pool, item, around)) is not None:
                yield target

    def _other_target(self, pool: PoolRef, item: Json, around: Around) -> TargetView | None:
        resource = self.kinds.target(pool.kind)
        if resource is None:
            return None
        path = resource.path(pool.namespace, pool.name, "scale")
        try:
            scale = self.reading.one(path, resource.denied("get", pool.namespace, "scale"))
        except ForbiddenError as error:
            self.forbidden.append(str(error))
            self.unread.add(pool)
            return None
        except NotFoundError:
            return None
        return read_other_target(pool, item["metadata"], scale, resource.group, around)

    def _scalers(self, namespace: str) -> list[Scaler]:
        autoscalers = self._listed(AUTOSCALERS, namespace) or []
        scaled = (self._listed(SCALED_OBJECTS, namespace) or []) if self.kinds.has(SCALED_OBJECTS) else []
        return [*map(read_autoscaler, autoscalers), *map(read_scaled_object, scaled)]

    def _sets(self, namespace: str, pools: set[PoolRef]) -> dict[str, list[OwnedSet]]:
        kinds = {pool.kind for pool in pools if pool.namespace == namespace}
        wanted = {DEPLOYMENTS.kind: REPLICA_SETS, LEADER_WORKER_SETS.kind: STATEFUL_SETS}
        listed = [self._listed(wanted[kind], namespace, accept=METADATA_ONLY) for kind in sorted(kinds & set(wanted))]
        found: dict[str, list[OwnedSet]] = {}
        for owner, one in (read_owned_set(item) for items in listed for item in items or ()):
            found.setdefault(owner, []).append(one)
        return found

    def _quota(self, namespace: str) -> int | None:
        left = [quota_left(quota) for quota in self._listed(QUOTAS, namespace) or ()]
        return min((one for one in left if one is not None), default=None)

    def _pods_and_nodes(self, namespaces: set[str]) -> tuple[_Seen, tuple[NodeView, ...]]:
        """Read pods: of the whole cluster where there are nodes with GPUs to count, else of the targets' namespaces."""
        nodes = [node for node in self._listed(NODES, None) or () if gpu_capacity(node)]
        if nodes:
            seen = self._pods(None, namespaces)
            if seen is not None:
                return seen, tuple(read_node(node, seen.held_gpus) for node in nodes)
        parts = [self._pods(namespace, namespaces) for namespace in sorted(namespaces)]
        pods = {namespace: pods for part in parts if part for namespace, pods in part.pods.items()}
        return _Seen(pods), ()

    def _pods(self, namespace: str | None, namespaces: set[str]) -> _Seen | None:
        seen = _Seen()
        try:
            for pod in self.reading.items(PODS, namespace, fields=_UNFINISHED):
                seen.add(pod, namespaces)
        except ForbiddenError as error:
            self.forbidden.append(str(error))
            return None
        return seen

    def _listed(self, resource: Resource, namespace: str | None, **how: Any) -> list[Json] | None:  # noqa: ANN401
        """List a kind: nothing of a kind that is not there, None where the rights do not allow it."""
        try:
            return list(self.reading.items(resource, namespace, **how))
        except NotFoundError:
            return []
        except ForbiddenError as error:
            self.forbidden.append(str(error))
            return None
