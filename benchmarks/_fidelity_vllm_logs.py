"""An old vLLM on one 24 GB GPU at six load scales: the same 500 requests, sent up to ten times as fast.

The profile comes from the log of the slowest scale alone. vLLM then ran prompts in steps of their own and most of a
step was host time for each sequence, so it is the shape that counts: where waiting explodes, and that the GPU idles.
"""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
from _fidelity_fit import Given, profile
from _fidelity_runs import Engine, Floats, Load, Timeline, Times, simulate

from aiops.model.profile import CapacityProfile

SCALES = (100, 300, 500, 700, 900, 1000)
LEARNT_FROM = 100
# The seats are the most that ever ran at once, the budget that engine's default; a prompt of 476 tokens filled 0.14 %.
ENGINE = Engine(max_num_seqs=256, max_num_batched_tokens=2560, async_scheduling=False)
GIVEN = Given("unknown", "24 GB GPU", 330_000, ENGINE)
EXPLODED = 20
"""Waiting requests from which on a queue counts as exploded."""

Log = dict[str, Floats]


def _log(folder: Path, scale: int) -> Log:
    with (folder / "vllm_log" / f"vllm_log_scale{scale}_prompt500.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    log = {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
    gpu = json.loads((folder / "gpu_log" / f"gpu_log_scale{scale}_prompt500.json").read_text()).values()
    at = np.array([row["record_time"] for row in gpu])
    log["gpu_utilization"] = np.interp(log["timestamp"], at, [row["GPU_utilization"] / 100 for row in gpu])
    return log


def _requests(folder: Path, scale: int, began_s: float, characters_per_token: float) -> tuple[Load, Times]:
    """The requests: sent when their record was written less what they took; answers are told in characters."""
    path = folder / "detail_log" / f"detail_log_scale{scale}_prompt500.json"
    rows = list(json.loads(path.read_text()).values())
    took, first = (np.array([row[key] for row in rows]) for key in ("total_chunk_time", "first_chunk_time"))
    sent = np.array([row["record_time"] for row in rows]) - began_s - took
    began = sent.min()
    characters = np.array([row["out_len"] for row in rows])
    output = np.maximum(1, np.rint(characters / characters_per_token)).astype(np.int64)
    load = Load(sent - began, np.array([row["in_len"] for row in rows], np.int64), output)
    return load, Times(sent - began + first, sent - began + took, np.zeros(len(rows), np.int64))


def _characters_per_token(folder: Path, log: Log) -> float:
    path = folder / "detail_log" / f"detail_log_scale{LEARNT_FROM}_prompt500.json"
    characters = sum(row["out_len"] for row in json.loads(path.read_text()).values())
    seconds = np.diff(log["timestamp"], prepend=log["timestamp"][0])
    return float(characters / (log["generation_throughput"] * seconds).sum())


def learnt(log: Log, load: Load, real: Times) -> tuple[CapacityProfile, float]:
    """A profile, and the host's fixed part of a step in seconds, from one log.

    Steps of decodes alone: running over tokens a second, a straight line; the GPU's share of them by its utilization,
    another. A prompt's time: TTFT of those sent to an engine with few others, over their length.
    """
    running, alone = log["num_running"], log["prompt_throughput"] < 1
    steady = alone & (running > 0) & (log["generation_throughput"] > 50) & (log["gpu_utilization"] > 0.05)
    steady &= np.abs(np.diff(running, prepend=running[0])) <= 0.1 * running
    step_s = running[steady] / log["generation_throughput"][steady]
    per_seat, fixed = _line(running[steady], step_s, step_s)
    gpu_per_seat, gpu_fixed = _line(running[steady], step_s * log["gpu_utilization"][steady], step_s)
    others = np.array([((load.arrival_s < at) & (real.finish_s > at)).sum() for at in load.arrival_s])
    quiet = (others < 8) & (real.first_s - load.arrival_s < 0.2)
    ttft_s = (real.first_s - load.arrival_s)[quiet]
    per_token, _ = _line(load.prompt[quiet].astype(np.float64), ttft_s, ttft_s)
    tokens = [1, ENGINE.max_num_seqs, ENGINE.max_num_batched_tokens]
    at_seats = fixed + gpu_per_seat * (tokens[1] - 1)
    costs = {
        "tokens": tokens,
        "ms": [1e3 * fixed, 1e3 * at_seats, 1e3 * (at_seats + per_token * (tokens[2] - tokens[1]))],
        "hostMsPerSequence": 1e3 * max(0.0, per_seat - gpu_per_seat),
    }
    source = {"kind": "fitted", "confidence": "low", "on": f"the log at scale {LEARNT_FROM}"}
    return profile(GIVEN, costs, source), max(0.0, fixed - gpu_fixed)


def _line(x: Floats, y: Floats, weight: Floats) -> tuple[float, float]:
    """Slope and value at 0 with the least squares of errors, each as a share of its ``weight``."""
    columns = np.stack([x, np.ones_like(x)], axis=1) / weight[:, np.newaxis]
    slope, at_zero = np.linalg.lstsq(columns, y / weight, rcond=None)[0]
    return float(slope), float(at_zero)


def run(folder: Path) -> dict[str, Any]:
    log = _log(folder, LEARNT_FROM)
    characters_per_token = _characters_per_token(folder, log)
    load, real = _requests(folder, LEARNT_FROM, float(log["timestamp"][0]), characters_per_token)
    made, fixed_host_s = learnt(log, load, real)
    rows = {}
    for scale in SCALES:
        log = _log(folder, scale)
        load, real = _requests(folder, scale, float(log["timestamp"][0]), characters_per_token)
        times_s = log["timestamp"] - log["timestamp"][0]
        was = Timeline(times_s.tolist(), log["num_running"].tolist(), log["num_pending"].tolist())
        times, came = simulate(load, made, ENGINE, np.arange(0, real.finish_s.max() * 1.2, 0.5))
        utilization = [_gpu_share(made, count, fixed_host_s) for count in came.running]
        rows[str(scale)] = {
            "real": _shape(was, log["gpu_utilization"].tolist(), load, real),
            "simulated": _shape(came, utilization, load, times),
        }
    return {
        "learnt_from_scale": LEARNT_FROM,
        "characters_per_token": round(characters_per_token, 2),
        "step": made.step.model_dump(by_alias=True) if made.step else None,
        "scales": rows,
    }


def _gpu_share(made: CapacityProfile, running: float, fixed_host_s: float) -> float:
    if not running or made.step is None:
        return 0.0
    without_host_s = made.step.table_s(int(running))
    return (without_host_s - fixed_host_s) / (without_host_s + running * made.step.host_ms_per_sequence / 1e3)


def _shape(seen: Timeline, utilization: list[float], load: Load, times: Times) -> dict[str, float | None]:
    waiting, running, share = (np.array(values) for values in (seen.waiting, seen.running, utilization))
    exploded = np.flatnonzero(waiting >= EXPLODED)
    few, many = (running > 0) & (running <= 5), running >= 200
    return {
        "waiting_most": float(waiting.max()),
        "waiting_exploded_at_s": round(float(seen.t_s[exploded[0]]), 1) if len(exploded) else None,
        "running_most": float(running.max()),
        "ttft_mean_s": round(float((times.first_s - load.arrival_s).mean()), 2),
        "latency_mean_s": round(float((times.finish_s - load.arrival_s).mean()), 2),
        "ended_at_s": round(float(times.finish_s.max()), 1),
        "gpu_utilization_to_5_running": round(float(share[few].mean()), 3) if few.any() else None,
        "gpu_utilization_from_200_running": round(float(share[many].mean()), 3) if many.any() else None,
    }
