"""sched-sim on a task: it simulates one GPU, so each replica is a simulator of its own with every n-th request."""

import statistics

from protocol import Moment, Result, Task, hashes, read, task, tell, tpot_mean_s
from sched_sim.core.event_engine import Simulator
from sched_sim.core.request import Request
from sched_sim.hardware.profile import HardwareProfile
from sched_sim.schedulers.factory import create_scheduler


def simulator(told: Task) -> Simulator:
    hardware = HardwareProfile()
    scheduler = create_scheduler(
        "cache_aware" if told.prefix_cache else "chunked",
        hardware,
        token_budget=told.max_num_batched_tokens,
        max_batch_size=told.max_num_seqs,
    )
    blocks, times = scheduler.block_manager, scheduler.latency_model
    blocks.total_gpu_blocks, blocks.free_gpu_blocks = told.kv_blocks, list(range(told.kv_blocks))
    with_prompt = told.decode_step_s + told.prompt_step_s
    times.compute_prefill_step_time = lambda *_: with_prompt
    times.compute_mixed_step_time = lambda *_: with_prompt
    times.compute_decode_step_time = lambda *_: told.decode_step_s
    return Simulator(hardware, scheduler, block_size=told.block_tokens)


def main() -> None:
    told = task()
    began = Moment()
    rows, size = read(told), told.segment_tokens
    requests = [
        Request(
            request_id=str(number),
            arrived_at=row.arrival_s,
            prompt_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
            prompt_token_ids=[name * size + place for name in names for place in range(size)][: row.input_tokens],
        )
        for number, (row, names) in enumerate(zip(rows, hashes(rows, size), strict=True))
    ]
    replicas = [simulator(told) for _ in range(told.replicas)]
    for first, replica in enumerate(replicas):
        replica.submit_workload(requests[first :: told.replicas])
    ready = Moment()
    for replica in replicas:
        replica.run()
    ended = Moment()
    done = [request for request in requests if request.completed_at]
    tell(
        Result(
            package="sched-sim",
            requests=len(requests),
            completed=len(done),
            set_up_s=ready.wall_s - began.wall_s,
            simulate_s=ended.wall_s - ready.wall_s,
            simulate_cpu_s=ended.cpu_s - ready.cpu_s,
            ttft_mean_s=statistics.fmean(r.first_token_at - r.arrived_at for r in done),
            latency_mean_s=statistics.fmean(r.completed_at - r.arrived_at for r in done),
            tpot_mean_s=tpot_mean_s([(r.completed_at - r.first_token_at, r.output_tokens) for r in done]),
            steps=sum(len(replica.iteration_records) for replica in replicas),
            cached_ratio=sum(r.cached_prefix_tokens for r in done) / sum(r.prompt_tokens for r in done),
            notes=["one GPU a simulator: replicas run one after another, requests dealt in turn"],
        )
    )


if __name__ == "__main__":
    main()
