"""Vidur on a task: its Sarathi scheduler (chunked prefill beside decodes), metrics off.

Its own predictors of a step's time train on profiles that are downloaded; a constant stands in, which costs less.
"""

import os
import statistics
import tempfile
from typing import Any

from protocol import Moment, Result, Task, read, task, tell, tpot_mean_s
from vidur._native.entities import ExecutionTime
from vidur.config import SimulationConfig
from vidur.config.config import (
    CacheConfig,
    ClusterConfig,
    LinearRegressionExecutionTimePredictorConfig,
    LORGlobalSchedulerConfig,
    MetricsConfig,
    ReplicaConfig,
    RoundRobinGlobalSchedulerConfig,
    SarathiSchedulerConfig,
    TraceRequestGeneratorConfig,
)
from vidur.entities import Batch
from vidur.execution_time_predictor import ExecutionTimePredictorRegistry
from vidur.simulator import Simulator
from vidur.types import ExecutionTimePredictorType


class ConstantStep:
    """A predictor of two constants, in the terms of the peer: milliseconds of a layer."""

    told: Task

    def __init__(self, predictor_config: object, replica_config: ReplicaConfig, cache_config: object) -> None:
        layers = replica_config.num_layers_per_pipeline_stage
        decode, prompt = self.told.decode_step_s, self.told.decode_step_s + self.told.prompt_step_s
        self._decode = ExecutionTime(layers, 0, 0, decode * 1e3 / layers, *[0] * 11)
        self._prompt = ExecutionTime(layers, 0, 0, prompt * 1e3 / layers, *[0] * 11)

    def get_execution_time(self, batch: Batch, pipeline_stage: int) -> ExecutionTime:
        return self._prompt if batch.num_prefill_tokens else self._decode


def configuration(told: Task, trace: str) -> SimulationConfig:
    off: dict[str, Any] = {"write_json_trace": False, "enable_chrome_trace": False, "store_plots": False}
    off |= {f"store_{part}_metrics": False for part in ("request", "batch", "utilization")}
    return SimulationConfig(
        log_level="error",
        cluster_config=ClusterConfig(
            num_replicas=told.replicas,
            replica_config=ReplicaConfig(num_pipeline_stages=1, tensor_parallel_size=1),
            cache_config=CacheConfig(num_blocks=told.kv_blocks, block_size=told.block_tokens),
            global_scheduler_config=(
                RoundRobinGlobalSchedulerConfig() if told.router == "round_robin" else LORGlobalSchedulerConfig()
            ),
            replica_scheduler_config=SarathiSchedulerConfig(
                batch_size_cap=told.max_num_seqs, chunk_size=told.max_num_batched_tokens
            ),
        ),
        request_generator_config=TraceRequestGeneratorConfig(
            trace_file=trace,
            date="day",
            prefill_scale_factor=1,
            decode_scale_factor=1,
            time_scale_factor=1,
            max_tokens=65536,
        ),
        execution_time_predictor_config=LinearRegressionExecutionTimePredictorConfig(),
        metrics_config=MetricsConfig(write_metrics=False, **off),
    )


def main() -> None:
    told = task()
    began = Moment()
    ConstantStep.told = told
    ExecutionTimePredictorRegistry.unregister(ExecutionTimePredictorType.LINEAR_REGRESSION)
    ExecutionTimePredictorRegistry.register(ExecutionTimePredictorType.LINEAR_REGRESSION, ConstantStep)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # it writes its configuration into a folder below the current one
        with open("trace.csv", "w") as file:  # noqa: PTH123 - beside the peer's own files
            file.write("Date,Time,PromptTokenCount,CompletionTokenCount\n")
            file.writelines(f"day,{r.arrival_s!r},{r.input_tokens},{r.output_tokens}\n" for r in read(told))
        simulator = Simulator(configuration(told, "trace.csv"))
        requests = [event._request for _, event in simulator._event_queue]
        ready = Moment()
        simulator.run()
        ended = Moment()
        os.chdir("/")
    done = [request for request in requests if request.completed]
    tell(
        Result(
            package="vidur",
            requests=len(requests),
            completed=len(done),
            set_up_s=ready.wall_s - began.wall_s,
            simulate_s=ended.wall_s - ready.wall_s,
            simulate_cpu_s=ended.cpu_s - ready.cpu_s,
            ttft_mean_s=statistics.fmean(r.prefill_completed_at - r.arrived_at for r in done),
            latency_mean_s=statistics.fmean(r.completed_at - r.arrived_at for r in done),
            tpot_mean_s=tpot_mean_s([(r.completed_at - r.prefill_completed_at, r.num_decode_tokens) for r in done]),
            steps=Batch.generate_id(),
            notes=["sarathi scheduler, no metrics", "step time: a constant in place of its trained predictors"],
        )
    )


if __name__ == "__main__":
    main()
