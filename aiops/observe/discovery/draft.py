"""Policies for what was found: one for each model, with everything that a person must look at."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from aiops.model.profile import CapacityProfile
from aiops.model.refs import ModelRef, Role
from aiops.observe.discovery.fitting_profile import fitting_profile
from aiops.observe.discovery.workloads import EngineSeen, Workload

_FAMILY = re.compile(r"(?<![a-z0-9])(gb\d{3}|mi\d{3}x?|[abhlv]\d{2,3}s?|t4)(?![0-9])")


@dataclass(frozen=True, slots=True)
class DraftVariant:
    """The hardware of a replica. ``missing`` names what was not found out, a sentence each."""

    name: str
    accelerator: str = ""
    gpus: int = 1
    profile: str | None = None
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DraftPool:
    """One pool, with bounds around the replicas that it has; ``notes`` are what a person should know."""

    name: str
    role: Role
    workload: Workload
    variant: str
    least: int
    most: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DraftPolicy:
    """The policy of one model."""

    name: str
    ref: ModelRef
    pools: tuple[DraftPool, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Draft:
    """Everything that is to be written; ``left_out`` names what serves and got no policy, and why."""

    policies: tuple[DraftPolicy, ...]
    variants: tuple[DraftVariant, ...]
    left_out: tuple[str, ...] = ()


def draft(
    workloads: Iterable[Workload], engines: Iterable[EngineSeen], profiles: Mapping[str, CapacityProfile]
) -> Draft:
    """Sort what was found by model, and give each a policy that only watches."""
    by_model: dict[ModelRef, list[Workload]] = defaultdict(list)
    left_out = []
    for workload in workloads:
        model = workload.models[0] if workload.models else workload.stated_model
        if model:
            by_model[ModelRef(workload.pool.namespace, model)].append(workload)
        else:
            left_out.append(f"{_told(workload)} names no model, and no engine of it is in Prometheus")
    variants = _Variants(profiles)
    names: set[tuple[str, str]] = set()
    policies = tuple(_policy(ref, found, variants, names) for ref, found in sorted(by_model.items()))
    left_out += _strangers(engines, {ref for ref, found in by_model.items() if any(one.models for one in found)})
    return Draft(policies, tuple(variants.named.values()), tuple(left_out))


def _strangers(engines: Iterable[EngineSeen], known: set[ModelRef]) -> list[str]:
    strangers = {ModelRef(one.pod.namespace, one.model): one.pod.name for one in engines}
    return [
        f"{ref} is served by {pod}, which no Deployment, StatefulSet or LeaderWorkerSet that could be read owns"
        for ref, pod in sorted(strangers.items())
        if ref not in known
    ]


def _policy(
    ref: ModelRef, workloads: Sequence[Workload], variants: "_Variants", names: set[tuple[str, str]]
) -> DraftPolicy:
    chosen = _chosen(workloads)
    notes = [
        f"{_told(one)} serves it too, and is left out: a policy has one pool a role"
        for one in workloads
        if one not in chosen.values()
    ]
    if not any(one.models for one in chosen.values()):
        notes.append("the model is what labels or flags say: no engine of it is in Prometheus")
    pools = tuple(_pool(role, workload, variants, ref.model) for role, workload in chosen.items())
    return DraftPolicy(
        _unused(slug(ref.model.rpartition("/")[2]) or "model", ref.namespace, names), ref, pools, tuple(notes)
    )


def _chosen(workloads: Sequence[Workload]) -> dict[Role, Workload]:
    """Choose one workload a role, the one with the most replicas: prefill with decode, or one that does both."""
    largest: dict[Role, Workload] = {}
    for one in sorted(workloads, key=lambda one: (-one.replicas, one.pool)):
        largest.setdefault(one.role, one)
    if Role.PREFILL in largest and Role.DECODE in largest:
        return {Role.PREFILL: largest[Role.PREFILL], Role.DECODE: largest[Role.DECODE]}
    # A role that is alone does both, whatever it is called.
    return {Role.BOTH: largest.get(Role.BOTH) or next(iter(largest.values()))}


def _pool(role: Role, workload: Workload, variants: "_Variants", model: str) -> DraftPool:
    notes = [f"inferred: {guess}" for guess in workload.inferred]
    if workload.scaled_by:
        notes.append(f"{workload.scaled_by} sets its replicas today: mode act would leave it alone")
    if workload.owned_by:
        notes.append(f"{workload.owned_by} made it, and its controller may set the replicas back")
    if len(workload.models) > 1:
        notes.append(f"its engines also answer to {', '.join(workload.models[1:])}")
    return DraftPool(
        name="all" if role is Role.BOTH else str(role),
        role=role,
        workload=workload,
        variant=variants.of(workload, model),
        least=0 if workload.replicas == 0 else ceil(workload.replicas / 3),
        most=max(2 * workload.replicas, 4),
        notes=tuple(notes),
    )


class _Variants:
    """The variants by name: the same hardware has one, and different hardware never shares one."""

    def __init__(self, profiles: Mapping[str, CapacityProfile]) -> None:
        self._profiles = profiles
        self.named: dict[str, DraftVariant] = {}

    def of(self, workload: Workload, model: str) -> str:
        profile, why = fitting_profile(
            self._profiles, model, workload.accelerator, workload.gpus, workload.kv_tokens
        )  # fmt: skip
        missing = [f"profile: {why}. Without one no need can be computed, and the replicas are held"] if why else []
        if workload.gpus is None:
            missing.append("gpus: how many a replica holds could not be read, so 1 is written")
        if not workload.accelerator:
            missing.append("accelerator: no label of its nodes could be read")
        wanted = _variant_name(workload)
        for name in (wanted, *(f"{wanted}-{number}" for number in range(2, len(self.named) + 3))):
            variant = DraftVariant(name, workload.accelerator, workload.gpus or 1, profile, tuple(missing))
            if self.named.setdefault(name, variant) == variant:
                return name
        raise AssertionError("one of more names than there are variants is free")


def _variant_name(workload: Workload) -> str:
    if stated := slug(workload.variant):
        return stated
    family = _FAMILY.search(workload.accelerator.lower())
    hardware = family[1] if family else slug(workload.accelerator)
    return f"{hardware or slug(workload.pool.name) or 'replica'}-tp{workload.gpus or 1}"


def _unused(name: str, namespace: str, names: set[tuple[str, str]]) -> str:
    found, number = name, 2
    while (namespace, found) in names:
        found, number = f"{name}-{number}", number + 1
    names.add((namespace, found))
    return found


def slug(text: str) -> str:
    """Give a name that Kubernetes would take; empty where the text has no letter of its alphabet.

    >>> slug("Llama-3.1 8B_Instruct")
    'llama-3-1-8b-instruct'
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _told(workload: Workload) -> str:
    return f"{workload.pool.kind} {workload.pool}"
