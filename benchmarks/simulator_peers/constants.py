"""A task as documents of this package: a profile whose steps take constant times, and a factory of its replicas."""

import json
from pathlib import Path
from typing import Any

from simulator_peers.protocol import Task

KINDS = {"round_robin": "round_robin", "prefix": "scored"}


def profile(told: Task) -> dict[str, Any]:
    """Give a capacity profile: steps of more tokens than there are sequences have prompt tokens in them."""
    decode_ms = told.decode_step_s * 1e3
    prompt_ms = decode_ms + told.prompt_step_s * 1e3
    most, budget = told.max_num_seqs, told.max_num_batched_tokens
    return {
        "model": "constant",
        "accelerator": "none",
        "tensorParallel": 1,
        "source": {"kind": "constant"},
        "kvTokens": told.kv_blocks * told.block_tokens,
        "limits": {"maxNumSeqs": most, "maxNumBatchedTokens": budget},
        "prefill": {"isl": [1, budget], "ttftMs": [prompt_ms, prompt_ms]},
        "decode": [{"context": 1, "batch": [1, most], "itlMs": [decode_ms, decode_ms]}],
        "step": {"tokens": [1, most, most + 1, budget], "ms": [decode_ms, decode_ms, prompt_ms, prompt_ms]},
    }


def factory(told: Task) -> dict[str, Any]:
    """Give the smallest factory of the task's fleet."""
    prefill, decode = told.prefill_replicas, told.replicas - told.prefill_replicas
    sizes = {"prefill": prefill, "decode": decode} if prefill else {"both": decode}
    return {
        "pools": [
            {
                "name": role,
                "role": role,
                "replicas": count,
                "profile": "profile.yaml",
                "engine": {"asyncScheduling": told.asynchronous},
            }
            for role, count in sizes.items()
        ],
        "router": {"kind": KINDS[told.router]},
        "transfer": {"latency": "0s", "secondsPerToken": told.kv_bytes_per_token / told.transfer_bytes_per_s},
    }


def write_factory(told: Task, folder: Path) -> Path:
    """Write both into a folder; give the factory's path. JSON is YAML."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "profile.yaml").write_text(json.dumps(profile(told)))
    path = folder / "factory.yaml"
    path.write_text(json.dumps(factory(told)))
    return path
