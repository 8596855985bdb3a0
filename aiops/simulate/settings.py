"""A factory's document as the inner loop is set up: profiles become step laws, seconds picoseconds."""

from collections.abc import Mapping

from aiops.model.profile import CapacityProfile
from aiops.simulate.fleet import EngineSettings, LinkSettings, PoolSettings, RouterSettings
from aiops.simulate.requests import PS
from aiops.simulate.spec import FactorySpec, PoolSpec
from aiops.simulate.step_law import step_law


def profile_of(pool: PoolSpec, profiles: Mapping[str, CapacityProfile]) -> CapacityProfile:
    """Give a pool's profile; ValueError where there is none of that name."""
    profile = profiles.get(pool.profile)
    if profile is None:
        raise ValueError(f"pool {pool.name!r} names profile {pool.profile!r}; there are {sorted(profiles)}")
    return profile


def pool_settings(spec: FactorySpec, pool: PoolSpec, profile: CapacityProfile, *, shared: bool) -> PoolSettings:
    """Set a pool up; ``shared`` tells whether its load shares content. ValueError where a request cannot fit."""
    flags, router = pool.engine, spec.router
    seqs = flags.max_num_seqs or profile.limits.max_num_seqs
    batched = flags.max_num_batched_tokens or profile.limits.max_num_batched_tokens
    kv_tokens = flags.kv_tokens or profile.kv_tokens
    longest = spec.workload.longest if spec.workload else None
    if longest is not None and longest > kv_tokens:
        raise ValueError(
            f"the longest request, {longest} tokens, does not fit into the {kv_tokens} KV tokens of "
            f"profile {pool.profile!r}: lower the max of inputTokens or outputTokens"
        )
    if batched < seqs:
        raise ValueError(f"pool {pool.name!r}: maxNumBatchedTokens {batched} is below maxNumSeqs {seqs}")
    engines = EngineSettings(
        law=step_law(profile, seqs, batched),
        kv_tokens=kv_tokens,
        max_num_seqs=seqs,
        max_num_batched_tokens=batched,
        max_model_len=spec.max_model_len,
        block_size=flags.block_size,
        prefix_caching=shared if flags.prefix_caching is None else flags.prefix_caching,
        async_scheduling=flags.async_scheduling,
        long_prefill_token_threshold=flags.long_prefill_token_threshold,
        long_prefill_token_threshold_adaptive=flags.long_prefill_token_threshold_adaptive,
        watermark=flags.watermark,
        reserve_full_isl=flags.scheduler_reserve_full_isl,
        stop_tokens=flags.stop_tokens,
    )
    return PoolSettings(
        role=pool.role,
        engines=engines,
        router=RouterSettings(
            kind=router.kind,
            prefix_weight=router.prefix_weight,
            queue_weight=router.queue_weight,
            kv_weight=router.kv_weight,
            hold_waiting=router.max_waiting,
            max_queued=router.max_queued,
        ),
    )


def link_settings(spec: FactorySpec, entry: CapacityProfile) -> LinkSettings:
    """Set up what lies around the engines; ``entry`` is the profile of the pool that requests come to."""
    return LinkSettings(
        transfer_latency_ps=round(spec.transfer.latency.total_seconds() * PS),
        transfer_ps_per_token=round(spec.transfer.seconds_per_token * PS),
        http_ps=round(entry.tokenizer.fixed_ms * 1e-3 * PS),
        http_ps_per_token=round(entry.tokenizer.per_token_us * 1e-6 * PS),
        timeout_ps=None if spec.timeout is None else round(spec.timeout.total_seconds() * PS),
    )
