"""What is allowed in a policy and still likely to disappoint."""

from collections.abc import Iterator, Mapping

from aiops.model.policy import Bound, PolicySet, ScalingPolicy, Variant
from aiops.observe.catalogue import ITL, TTFT


def policy_warnings(policies: PolicySet) -> tuple[str, ...]:
    """Name what is missing, or blurs what can be measured, in policies that are valid; a sentence each."""
    used = {pool.variant for policy in policies.policies for pool in policy.spec.pools}
    found = [
        warning
        for policy in policies.policies
        for warning in (*_objectives(policy), *_unpriced(policy, policies.variants))
    ]
    for name in sorted(used):
        profile = policies.variants[name].profile
        if profile is None:
            found.append(f"variant {name}: no profile is named, so no need can be computed and its pools are held")
        else:
            found += [f"variant {name}: {warning}" for warning in profile.warnings()]
    return tuple(found)


def _objectives(policy: ScalingPolicy) -> Iterator[str]:
    objectives = policy.spec.objectives
    yield from _between(f"policy {policy.metadata.name}: TTFT", objectives.ttft, TTFT.buckets)
    yield from _between(f"policy {policy.metadata.name}: ITL", objectives.itl, ITL.buckets)


def _unpriced(policy: ScalingPolicy, variants: Mapping[str, Variant]) -> Iterator[str]:
    if policy.spec.budget.usd_per_hour is None:
        return
    for name in sorted({pool.variant for pool in policy.spec.pools}):
        if variants[name].usd_per_hour is None:
            yield f"policy {policy.metadata.name}: variant {name} has no usdPerHour, so budget.usdPerHour leaves it out"


def _between(what: str, objective: Bound, bounds_s: tuple[float, ...]) -> Iterator[str]:
    if objective.bound_s in bounds_s:
        return
    nearest = sorted(sorted(bounds_s, key=lambda bound_s: abs(bound_s - objective.bound_s))[:2])
    yield (
        f"{what} {objective.bound_s:g} s is no bucket bound of vLLM's histogram, so its attainment is only estimated; "
        f"the nearest are {nearest[0]:g} s and {nearest[1]:g} s"
    )
