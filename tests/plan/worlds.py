"""Small worlds to plan in: a profile one can compute by hand, policies, snapshots."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from aiops.model.demand import DemandSource, TokenDemand
from aiops.model.policy import PolicySet, ScalingPolicy, Variant
from aiops.model.profile import CapacityProfile
from aiops.model.refs import ModelRef, PoolRef, Role
from aiops.model.snapshot import ModelSnapshot, PoolSnapshot, ReplicaSample, Snapshot

START = datetime(2026, 3, 2, tzinfo=UTC)
REF = ModelRef("llm", "m")

# A prompt takes 0.1 ms a token; a step 5 ms + 0.1 ms a sequence, whatever the context.
PROFILE = CapacityProfile.model_validate(
    {
        "model": "m",
        "accelerator": "x",
        "tensorParallel": 1,
        "source": {"kind": "made-up"},
        "kvTokens": 400_000,
        "limits": {"maxNumSeqs": 256, "maxNumBatchedTokens": 8192},
        "prefill": {"isl": [100, 10_000], "ttftMs": [10, 1000]},
        "decode": [{"context": 1000, "batch": [1, 101], "itlMs": [5.1, 15.1]}],
    }
)
VARIANT = Variant("v", "x", gpus=2, usd_per_hour=4.0, profile=PROFILE, cold_start_p50_s=60, cold_start_p90_s=90)


def policy(mode: str = "act", prefill_decode: bool = False, **spec: object) -> ScalingPolicy:
    roles = ("prefill", "decode") if prefill_decode else ("both",)
    pools = [
        {"name": role, "role": role, "target": {"name": role}, "variant": "v", "min": 1, "max": 20} for role in roles
    ]
    return ScalingPolicy.model_validate(
        {"metadata": {"name": "m", "namespace": "llm"}, "spec": {"model": "m", "mode": mode, "pools": pools, **spec}}
    )


def policies(*entries: ScalingPolicy, variant: Variant = VARIANT) -> PolicySet:
    return PolicySet(entries or (policy(),), {"v": variant})


def demand_of(
    requests_per_s: float,
    tokens_in: float = 1000,
    tokens_out: float = 100,
    cached: float | None = None,
    waiting: float = 0,
) -> TokenDemand:
    return TokenDemand(
        requests_per_s,
        tokens_in,
        tokens_out,
        timedelta(minutes=1),
        DemandSource.GATEWAY,
        cached_ratio=cached,
        backlog_requests=waiting,
        prefill_backlog_requests=waiting,
        decode_backlog_requests=0.0,
    )


def pool_ref(role: str) -> PoolRef:
    return PoolRef("llm", "Deployment", role)


def snapshot(at: datetime, replicas: Mapping[str, int | None], demand: TokenDemand | None, blind: str = "") -> Snapshot:
    pools = tuple(
        PoolSnapshot(
            pool_ref(role),
            Role(role),
            "v",
            count,
            replicas=tuple(
                ReplicaSample(f"{role}-{i}", age=timedelta(hours=1), running=4.0, waiting=0.0, kv_usage_ratio=0.3)
                for i in range(count or 0)
            ),
        )
        for role, count in replicas.items()
    )
    return Snapshot(at, (ModelSnapshot(REF, pools, demand, blind=blind),))
