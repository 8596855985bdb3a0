"""Whether the profile by which a pool is sized fits the engines that run in it."""

import re
from collections.abc import Iterator
from statistics import median

from aiops.model.checkup import Finding, Topic, Verdict
from aiops.model.policy import PoolSpec, ScalingPolicy, Variant
from aiops.model.profile import CapacityProfile
from aiops.observe.checkup.facts import Facts
from aiops.observe.cluster_template import Template

_KV_TOLERANCE = 0.05
_ENGINE_VERSION = re.compile(r"(\d+)\.(\d+)")
_IMAGE_VERSION = re.compile(r":v?(\d+)\.(\d+)")


def judge_profiles(facts: Facts) -> Iterator[Finding]:
    """Say which pool has no profile, and which one has a profile that was made for other engines."""
    for policy in facts.policies.policies:
        for pool in policy.spec.pools:
            yield from _of_pool(facts, policy, pool)


def _of_pool(facts: Facts, policy: ScalingPolicy, pool: PoolSpec) -> Iterator[Finding]:
    variant, ref = facts.policies.variants[pool.variant], policy.pool_ref(pool)
    about = f"{policy.ref}, pool {pool.name}"
    if variant.profile is None:
        says = f"the variant {variant.name} names no profile: no need can be computed, and its replicas are held"
        way_out = f"name a profile of policies/profiles, or one of your own, under variants.{variant.name}.profile"
        yield Finding(Topic.PROFILE, Verdict.WRONG, about, says, way_out)
        return
    template = None if facts.cluster is None else facts.cluster.template(ref)
    target = None if facts.cluster is None else facts.cluster.target(ref)
    gpus = target.gpus_per_replica if target else 0
    misfits = [
        *_kv_cache(variant.profile, _kv_tokens(facts, policy, pool)),
        *(_flags(variant.profile, template) if template else ()),
        *_gpus(variant, gpus),
    ]
    for misfit in misfits:
        way_out = "take or make a profile of these engines: until then its times are those of others"
        yield Finding(Topic.PROFILE, Verdict.WARNING, about, misfit, way_out)
    if not misfits:
        says = f"nothing that is known of the engines speaks against the profile of {variant.profile.model}"
        yield Finding(Topic.PROFILE, Verdict.FINE, about, says)


def _kv_tokens(facts: Facts, policy: ScalingPolicy, pool: PoolSpec) -> float | None:
    model = facts.snapshot.model(policy.ref)
    replicas = [
        replica for one in model.pools if one.pool == policy.pool_ref(pool) for replica in one.replicas
    ]  # fmt: skip
    known = [replica.kv_tokens for replica in replicas if replica.kv_tokens is not None]
    return median(known) if known else None


def _kv_cache(profile: CapacityProfile, measured: float | None) -> Iterator[str]:
    if measured is not None and abs(measured / profile.kv_tokens - 1.0) > _KV_TOLERANCE:
        yield (
            f"its engines hold {measured:.0f} tokens in their KV cache (vllm:cache_config_info), and the profile says "
            f"{profile.kv_tokens}: other memory, other flags, or another version"
        )


def _flags(profile: CapacityProfile, template: Template) -> Iterator[str]:
    stated = {
        "max-num-seqs": ("limits.maxNumSeqs", profile.limits.max_num_seqs),
        "max-num-batched-tokens": ("limits.maxNumBatchedTokens", profile.limits.max_num_batched_tokens),
        "tensor-parallel-size": ("tensorParallel", profile.tensor_parallel),
    }
    for flag, (field, value) in stated.items():
        given = template.flags.get(flag, "")
        if given.isdigit() and int(given) != value:
            yield f"its engines run with --{flag} {given}, and the profile has {field}: {value}"
    yield from _version(profile, template)


def _version(profile: CapacityProfile, template: Template) -> Iterator[str]:
    made_with = str((profile.source.model_extra or {}).get("engine", ""))
    made = _ENGINE_VERSION.search(made_with)
    for image in template.images:
        runs = _IMAGE_VERSION.search(image) if "vllm" in image else None
        if made and runs and _numbers(runs) > _numbers(made):
            yield f"the image {image} is newer than the engine that the profile was made with ({made_with})"


def _numbers(version: re.Match[str]) -> tuple[int, int]:
    return int(version[1]), int(version[2])


def _gpus(variant: Variant, held: int) -> Iterator[str]:
    if held and held != variant.gpus:
        yield f"a replica holds {held} GPUs, and the variant {variant.name} says gpus: {variant.gpus}"
