"""What is allowed in a policy and still likely to disappoint."""

from collections.abc import Iterator, Mapping

from aiops.model.policy import Bound, PolicySet, ScalingPolicy, Variant

# The bucket bounds of vllm:time_to_first_token_seconds and vllm:inter_token_latency_seconds.
_TTFT_BOUNDS_S = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
_ITL_BOUNDS_S = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
)


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
    yield from _between(f"policy {policy.metadata.name}: TTFT", objectives.ttft, _TTFT_BOUNDS_S)
    yield from _between(f"policy {policy.metadata.name}: ITL", objectives.itl, _ITL_BOUNDS_S)


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
