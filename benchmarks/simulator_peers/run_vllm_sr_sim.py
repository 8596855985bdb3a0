"""vllm-sr-sim on a task: its event simulation of a fleet, a slot and one completion event a request.

It takes no steps: a request's time is computed when it starts, from the requests that run at that moment.
"""

import statistics

from fleet_sim.core.fleet import Fleet, FleetConfig, PoolConfig
from fleet_sim.core.request import Request
from fleet_sim.gpu_profiles.manual import ManualProfile
from protocol import Moment, Result, read, task, tell

CONTEXT_TOKENS = 8192
BALANCERS = {"round_robin": "round_robin", "least_loaded": "least_loaded"}


def main() -> None:
    told = task()
    began = Moment()
    gpu = ManualProfile(
        name="constant",
        W=told.decode_step_s,
        H=0.0,
        chunk=told.max_num_batched_tokens,
        blk_size=told.block_tokens,
        total_kv_blks=told.kv_blocks,
        max_slots=told.max_num_seqs,
        cost_per_hr=0.0,
        calibration_ctx=CONTEXT_TOKENS,
    )
    arrivals = [
        (row.arrival_s, Request(number, row.arrival_s, row.input_tokens, row.output_tokens))
        for number, row in enumerate(read(told))
    ]
    pool = PoolConfig("pool", gpu, told.replicas, CONTEXT_TOKENS, lb_strategy=BALANCERS[told.router])
    fleet = Fleet(FleetConfig([pool], router_type="LeastLoadedRouter"))
    ready = Moment()
    run = fleet.run(arrivals)
    ended = Moment()
    tell(
        Result(
            package="vllm-sr-sim",
            requests=len(arrivals),
            completed=len(run.completed),
            set_up_s=ready.wall_s - began.wall_s,
            simulate_s=ended.wall_s - ready.wall_s,
            simulate_cpu_s=ended.cpu_s - ready.cpu_s,
            ttft_mean_s=statistics.fmean(r.ttft for r in run.completed),
            latency_mean_s=statistics.fmean(r.e2e_latency for r in run.completed),
            tpot_mean_s=statistics.fmean(r.tpot for r in run.completed if r.l_out > 1),
            notes=["a request is one event: no steps, no chunks, no blocks as they fill"],
        )
    )


if __name__ == "__main__":
    main()
