"""Small fleets that read like the sentence above the test."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from aiops.model.refs import ModelRef, PoolRef, Role
from aiops.model.snapshot import ModelSnapshot, PoolSnapshot, ReplicaSample

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
CHAT = ModelRef("llm", "chat")
POOL = PoolRef("llm", "Deployment", "chat")
BUSY = ReplicaSample(
    name="",
    age=timedelta(hours=3),
    running=40.0,
    waiting=0.0,
    kv_usage_ratio=0.5,
    preemptions_per_s=0.0,
    prefix_queries_tok_per_s=5000.0,
    prefix_hits_tok_per_s=3000.0,
)
IDLE = replace(BUSY, running=2.0, kv_usage_ratio=0.05, prefix_queries_tok_per_s=300.0, prefix_hits_tok_per_s=180.0)
FULL = replace(BUSY, running=64.0, waiting=30.0, kv_usage_ratio=0.97, preemptions_per_s=0.2)
YOUNG = replace(IDLE, age=timedelta(seconds=30), running=0.0, kv_usage_ratio=0.0)


def fleet(*replicas: ReplicaSample, role: Role = Role.BOTH, **of_model: object) -> ModelSnapshot:
    """One model with one pool; the replicas are named chat-0, chat-1, …"""
    named = tuple(replace(replica, name=f"chat-{i}") for i, replica in enumerate(replicas))
    pool = PoolSnapshot(POOL, role, "h100", current=len(named), replicas=named)
    return ModelSnapshot(CHAT, pools=(pool,), **of_model)  # type: ignore[arg-type]  # keywords of the dataclass
