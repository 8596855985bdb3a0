"""What Kubernetes says of the targets of pools, their pods and the nodes."""

from dataclasses import dataclass
from datetime import datetime

from aiops.model.refs import PoolRef


@dataclass(frozen=True, slots=True)
class PodView:
    """One pod of a target; of a LeaderWorkerSet, one group, told by its leader.

    ``pending_reason`` says why the scheduler could not place it (empty where it is placed, or nothing was said yet);
    ``revision`` is the hash of its template; ``grace_s`` its termination grace period.
    """

    name: str
    revision: str
    created_at: datetime
    scheduled_at: datetime | None = None
    ready_at: datetime | None = None
    """Since when it is ready; None while it is not."""
    deleting_since: datetime | None = None
    pending_reason: str = ""
    restarts: int = 0
    grace_s: float = 30.0
    deletion_cost: int | None = None
    node: str | None = None


@dataclass(frozen=True, slots=True)
class Override:
    """A person's word on a target, an annotation: held at ``replicas`` (None: paused where it is) until ``until``."""

    replicas: int | None
    until: datetime | None
    """None: until the annotation is removed."""


@dataclass(frozen=True, slots=True)
class TargetView:
    """One target with a ``scale`` subresource.

    ``replicas`` is what is asked for (``spec.replicas``), ``resource_version`` that of the object that was read.
    """

    pool: PoolRef
    replicas: int
    resource_version: str
    pods: tuple[PodView, ...] = ()
    rollout: str = ""
    """Why it is not of one revision (``2 of 5 pods are of the new revision``); empty when it is."""
    scaled_by: str = ""
    """The other scaler that owns its replicas (``HorizontalPodAutoscaler llm/chat``); empty where none does."""
    replicas_manager: str = ""
    """Who last wrote ``spec.replicas``, as managedFields have it; empty where nobody is named."""
    replicas_written_at: datetime | None = None
    override: Override | None = None
    override_problem: str = ""
    """An annotation that cannot be read, with its value and the way out."""
    gpus_per_replica: int = 0
    honours_deletion_cost: bool = False
    """Only a ReplicaSet looks at pod-deletion-cost."""


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node with accelerators. ``free_gpus`` are those that no pod on it has requested."""

    name: str
    accelerator: str
    gpus: int
    free_gpus: int
    schedulable: bool = True


@dataclass(frozen=True, slots=True)
class ClusterView:
    """One look at the cluster.

    ``missing`` are targets that a policy names and that do not exist; ``problem`` says why nothing could be read (an
    empty view then is no empty cluster), ``forbidden`` which reads the rights do not allow, each with the missing rule.
    """

    at: datetime
    targets: tuple[TargetView, ...] = ()
    missing: tuple[PoolRef, ...] = ()
    nodes: tuple[NodeView, ...] = ()
    quota_gpus_left: tuple[tuple[str, int], ...] = ()
    """GPUs that a ResourceQuota still grants, by namespace, where one limits them."""
    forbidden: tuple[str, ...] = ()
    problem: str = ""
    calls: int = 0

    def target(self, pool: PoolRef) -> TargetView | None:
        """Find a pool's target."""
        return next((target for target in self.targets if target.pool == pool), None)
