"""What serves models, as it was found: the objects that own the pods, and what their engines say of themselves."""

from dataclasses import dataclass, replace
from statistics import median

from aiops.model.refs import PoolRef, Role
from aiops.observe.identity import Pod

MODEL_LABEL = "llm-d.ai/model"
ROLE_LABEL = "llm-d.ai/role"
VARIANT_LABEL = "llm-d.ai/variant"
SERVING_LABEL = "llm-d.ai/inference-serving"
_ROLES = {"prefill": Role.PREFILL, "decode": Role.DECODE}


@dataclass(frozen=True, slots=True)
class EngineSeen:
    """One engine as Prometheus knows it; ``owner`` is its target, told by kube-state-metrics or by the pod's name."""

    pod: Pod
    model: str
    role: str = ""
    owner: PoolRef | None = None
    kv_tokens: float | None = None


@dataclass(frozen=True, slots=True)
class Workload:
    """One target that serves models.

    ``models`` are the names under which its engines answer; ``stated_model`` is what its labels and flags say.
    ``owned_by`` is the object that made it, whose controller may set its replicas. ``inferred`` names what was
    guessed, a phrase each, for want of a better source.
    """

    pool: PoolRef
    replicas: int
    role: Role = Role.BOTH
    variant: str = ""
    models: tuple[str, ...] = ()
    stated_model: str = ""
    gpus: int | None = None
    accelerator: str = ""
    kv_tokens: float | None = None
    scaled_by: str = ""
    owned_by: str = ""
    inferred: tuple[str, ...] = ()


def role_of(label: str) -> Role:
    """Read a role label; whatever is neither prefill nor decode alone does both."""
    return _ROLES.get(label, Role.BOTH)


def with_engines(workload: Workload, engines: list[EngineSeen]) -> Workload:
    """Add what its engines say: the names of the models, and the size of the KV cache."""
    sizes = [engine.kv_tokens for engine in engines if engine.kv_tokens is not None]
    return replace(
        workload,
        models=tuple(sorted({engine.model for engine in engines})),
        kv_tokens=median(sizes) if sizes else None,
    )
