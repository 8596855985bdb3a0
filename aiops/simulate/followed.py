"""A factory whose replicas follow the pods of a cluster: who serves is up to the cluster, how is simulated."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from aiops.model.policy import Objectives
from aiops.model.profile import CapacityProfile
from aiops.model.refs import ModelRef, Role
from aiops.simulate.cluster import Pool, Replica, ReplicaState
from aiops.simulate.exposition import exposition
from aiops.simulate.factory import Factory
from aiops.simulate.nodes import Node
from aiops.simulate.spec import FactorySpec

MODEL_LABEL = "llm-d.ai/model"
ROLE_LABEL = "llm-d.ai/role"
_ROLES = {**{str(role): role for role in Role}, "prefill-decode": Role.BOTH}
_MOVE_PODS = {"cold_new_replica", "slow_start", "stuck_start", "crash_loop", "node_loss", "rollout"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenPod:
    """A pod as the cluster tells it.

    ``owner`` is the name of its controller, ``ended`` says that its containers have (phase Failed or Succeeded),
    ``leaving`` that it was asked to go, with ``grace_s`` from then on.
    """

    uid: str
    namespace: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    owner: str = ""
    address: str = ""
    node: str = ""
    ready: bool = False
    ended: bool = False
    leaving: bool = False
    grace_s: float = 0.0


class FollowedPool(Pool):
    """A pool that orders and deletes nothing by itself: it is told of every replica that comes and goes."""

    def reconcile(self, now_s: float) -> None:
        """Do nothing: the cluster's controllers order and delete."""

    def join(self, name: str, node: str, now_s: float) -> Replica:
        """Put a replica there that is ready, with an empty cache and without requests."""
        replica = Replica(self, name, now_s, 0.0)
        replica.node, replica.bound_at_s = Node(node, self.gpus, 0), now_s
        self.replicas.append(replica)
        self._open(replica, now_s)
        self._cluster.changed(now_s)
        return replica

    def leave(self, replica: Replica, grace_s: float, now_s: float) -> None:
        """Send a replica no further requests; it is gone when those that it has are answered or its grace ends."""
        self._drain(replica, now_s, grace_s)

    def lose(self, replica: Replica, now_s: float) -> None:
        """Let a replica be gone, and all of its requests fail."""
        self._remove(replica, now_s)


@dataclass(slots=True)
class _Follower:
    """A pod of the cluster and what stands for it here: nothing before it is ready, then a replica."""

    pod: SeenPod
    pool: FollowedPool
    replica: Replica | None = None
    lost: bool = False

    @property
    def live(self) -> bool:
        return self.replica is not None and self.replica.live


class FollowedFactory:
    """Models whose replicas are the pods that :meth:`follow` was told of last; ``factory`` is to be advanced and read.

    A pod that becomes ready arrives cold. One that is asked to go takes no requests any more, finishes those that it
    has within its grace period, and is then among :meth:`exited`. One that ends, is no longer ready or is there no
    more has lost its process, and the requests with it. What arrives depends on the specs' load alone.

    A pod belongs to the pool of its namespace that its labels ``llm-d.ai/model`` and ``llm-d.ai/role`` name, else to
    the one with the name of its owner (for a ReplicaSet, its Deployment); others are not followed. How many replicas
    the specs say is not looked at. Raises ValueError for specs that move replicas themselves.
    """

    def __init__(
        self,
        specs: Sequence[FactorySpec],
        profiles: Mapping[str, CapacityProfile],
        seed: int,
        start: datetime,
        objectives: Mapping[ModelRef, Objectives] | None = None,
    ) -> None:
        for spec in specs:
            _check(spec)
        empty = [
            spec.model_copy(update={"pools": tuple(pool.model_copy(update={"replicas": 0}) for pool in spec.pools)})
            for spec in specs
        ]
        self.factory = Factory(empty, profiles, seed, start, objectives, pool_kind=FollowedPool)
        self._followers: dict[str, _Follower] = {}
        self._by_address: dict[str, _Follower] = {}

    def follow(self, pods: Iterable[SeenPod]) -> None:
        """Make the replicas those of the pods that there are now, all of them, at the factory's present time."""
        now_s, present = self.factory.now_s, {pod.uid: pod for pod in pods}
        for pod in present.values():
            self._take_in(pod)
        # Who comes is there before others go, so that nobody is turned away at a change of replicas.
        for follower in self._followers.values():
            self._raise(follower, now_s)
        for uid, follower in list(self._followers.items()):
            if uid in present:
                self._lower(follower, now_s)
            else:
                self._lose(follower, now_s)
                del self._followers[uid]
        # An address is given anew once its pod is gone, so that of two the one that serves has it.
        self._by_address = {
            each.pod.address: each for each in self._followers.values() if each.pod.address and each.live
        }
        self._count_wanted()
        for model in self.factory.models:
            model.take_outcomes()

    def exited(self) -> list[SeenPod]:
        """Give the pods that were asked to go and have nothing left to do, as a process that exits has.

        A pod that lost its process with its node is none of them: nobody there can tell that it ended.
        """
        return [
            follower.pod
            for follower in self._followers.values()
            if follower.pod.leaving and not follower.live and (not follower.lost or follower.pod.ended)
        ]

    def addresses(self) -> set[str]:
        """Give the addresses at which a replica's metrics can be read."""
        return {address for address in self._by_address if self._at(address) is not None}

    def exposition(self, address: str) -> str | None:
        """Write what a scrape of an address answers; None where nobody does."""
        replica = self._at(address)
        return None if replica is None else exposition(self.factory, replica)

    def pool_of(self, pod: SeenPod) -> FollowedPool | None:
        """Find the pool that a pod belongs to; None where it is none of the factory's."""
        name, role = pod.labels.get(MODEL_LABEL), _ROLES.get(pod.labels.get(ROLE_LABEL, ""))
        here = [(model, pool) for model in self.factory.models for pool in model.pools]
        here = [(model, pool) for model, pool in here if pool.ref.namespace == pod.namespace]
        labelled = [pool for model, pool in here if name in (model.ref.model, label_value(model.ref.model))]
        by_role = [pool for pool in labelled if pool.role is role or (role is None and len(labelled) == 1)]
        by_owner = [pool for _, pool in here if pool.ref.name in (pod.owner, pod.owner.rpartition("-")[0])]
        found = next(iter(by_role + by_owner), None)
        return found if isinstance(found, FollowedPool) else None

    def _at(self, address: str) -> Replica | None:
        follower = self._by_address.get(address)
        if follower is None or follower.replica is None or not follower.replica.live:
            return None
        model = self.factory.model_of(follower.replica)
        return follower.replica if model.faults.answers(follower.replica) else None

    def _take_in(self, pod: SeenPod) -> None:
        known = self._followers.get(pod.uid)
        if known is not None:
            known.pod = pod
            return
        pool = self.pool_of(pod)
        if pool is not None:
            self._followers[pod.uid] = _Follower(pod, pool)

    def _raise(self, follower: _Follower, now_s: float) -> None:
        pod = follower.pod
        if pod.ready and not pod.ended and not pod.leaving and not follower.live:
            follower.replica, follower.lost = follower.pool.join(pod.name, pod.node, now_s), False

    def _lower(self, follower: _Follower, now_s: float) -> None:
        pod, replica = follower.pod, follower.replica
        if not pod.ready or pod.ended:
            self._lose(follower, now_s)
        elif pod.leaving and replica is not None and replica.state is ReplicaState.READY:
            follower.pool.leave(replica, pod.grace_s, now_s)

    def _lose(self, follower: _Follower, now_s: float) -> None:
        if follower.replica is not None and follower.replica.live:
            follower.lost = True
            follower.pool.lose(follower.replica, now_s)

    def _count_wanted(self) -> None:
        staying = Counter(
            id(follower.pool)
            for follower in self._followers.values()
            if not follower.pod.leaving and not follower.pod.ended
        )
        for model in self.factory.models:
            for pool in model.pools:
                pool.wanted = staying[id(pool)]


def label_value(model: str) -> str:
    """Make a label's value of a model's name: letters, digits, dashes, underscores and dots alone."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in model)


def _check(spec: FactorySpec) -> None:
    moved: list[str] = sorted({fault.kind for fault in spec.faults} & _MOVE_PODS)
    moved += ["scale"] if spec.scale else []
    if moved:
        raise ValueError(
            f"model {spec.ref}: {', '.join(moved)} would move replicas that follow a cluster's pods; "
            "take it out of the factory and do it to the cluster"
        )
