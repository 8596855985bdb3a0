"""ai-dynamo's mocker on a task: its offline replay in virtual time, without a report of each request."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from protocol import Moment, Request, Result, Task, hashes, read, task, tell

os.environ.setdefault("DYN_LOG", "error")  # read at import; a line for each request would be timed too

from dynamo._core import run_mocker_trace_replay

ROUTERS = {"round_robin": "round_robin", "prefix": "kv_router"}


def engine(told: Task, role: str) -> dict[str, Any]:
    # Its time of a mixed step is the sum of both; the steps of a prefill pool have no decodes to add.
    prompt_s = told.prompt_step_s + (told.decode_step_s if role == "prefill" else 0.0)
    return {
        "engine": {
            "backend": "vllm",
            "worker_type": role,
            "num_gpu_blocks": told.kv_blocks,
            "block_size": told.block_tokens,
            "max_num_seqs": told.max_num_seqs,
            "max_num_batched_tokens": told.max_num_batched_tokens,
            "enable_prefix_caching": told.prefix_cache,
            "kv_transfer_bytes_per_token": told.kv_bytes_per_token,
            "kv_transfer_bandwidth": told.transfer_bytes_per_s / 1e9,
            "kv_transfer_timing_mode": "destination_missing",
            "timing_model": {
                "type": "fixed",
                "prefill_ms": prompt_s * 1e3,
                "decode_ms": told.decode_step_s * 1e3,
            },
        }
    }


def write_trace(requests: list[Request], told: Task, path: Path) -> None:
    with path.open("w") as file:
        for request, names in zip(requests, hashes(requests, told.segment_tokens), strict=True):
            line = {
                "timestamp": request.arrival_s * 1e3,
                "input_length": request.input_tokens,
                "output_length": request.output_tokens,
                "hash_ids": names,
            }
            file.write(json.dumps(line) + "\n")


def main() -> None:
    told = task()
    pair = told.prefill_replicas > 0
    fleet: dict[str, Any] = (
        {
            "prefill_engine_args": engine(told, "prefill"),
            "decode_engine_args": engine(told, "decode"),
            "num_prefill_workers": told.prefill_replicas,
            "num_decode_workers": told.replicas - told.prefill_replicas,
        }
        if pair
        else {"extra_engine_args": engine(told, "aggregated"), "num_workers": told.replicas}
    )
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder, "trace.jsonl")
        write_trace(read(told), told, trace)
        began = Moment()
        run = run_mocker_trace_replay(
            [str(trace)], trace_block_size=told.segment_tokens, router_mode=ROUTERS[told.router], **fleet
        )
        ended = Moment()
    seen = run.summary
    # It times itself, without reading the file; the processor's time is shared out in the same proportion.
    wall_s, simulate_s = ended.wall_s - began.wall_s, seen["wall_time_ms"] / 1e3
    tell(
        Result(
            package="ai-dynamo-runtime",
            requests=seen["num_requests"],
            completed=seen["completed_requests"],
            set_up_s=wall_s - simulate_s,
            simulate_s=simulate_s,
            simulate_cpu_s=(ended.cpu_s - began.cpu_s) * simulate_s / wall_s,
            ttft_mean_s=seen["mean_ttft_ms"] / 1e3,
            latency_mean_s=seen["mean_e2e_latency_ms"] / 1e3,
            tpot_mean_s=seen["mean_tpot_ms"] / 1e3,
            cached_ratio=seen["prefix_cache_reused_ratio"] if told.prefix_cache else None,
            notes=[f"router {ROUTERS[told.router]}; with both roles, a step of prompts alone takes prompt_step_s"],
        )
    )


if __name__ == "__main__":
    main()
