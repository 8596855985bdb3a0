"""The runs of LLMServingSim's validation: vLLM 0.19 on RTX PRO 6000, 300 ShareGPT requests at 10.3 a second."""

import csv
import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from _fidelity_fit import Given, fit, without_step
from _fidelity_runs import Chosen, Engine, Figures, Floats, Load, Times, beside, figures, mean_absolute_error, simulate

from aiops.model.profile import CapacityProfile

BINS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, float("inf"))


def read(folder: Path, arrival: str) -> tuple[Load, Times]:
    """A run on the engine's clock; ``arrival`` is ``queued`` or ``sent``, the client's clock set to the engine's.

    A request is queued when the engine next looks, between two steps: the client's time has the wait for that in it.
    """
    rows = [json.loads(line) for line in (folder / "vllm" / "requests.jsonl").read_text().splitlines()]

    def column(name: str) -> Floats:
        return np.array([row[name] for row in rows], np.float64)

    queued, sent = column("queued_ts"), column("arrival_time")
    began = queued.min()
    at = queued if arrival == "queued" else sent + (queued - sent).min()
    load = Load(
        np.maximum(at - began, 0.0),
        np.array([row["input_toks"] for row in rows], np.int64),
        np.array([row["output_toks"] for row in rows], np.int64),
    )
    return load, Times(column("first_token_ts") - began, column("last_token_ts") - began, np.zeros(len(rows), np.int64))


def engine_of(folder: Path) -> Engine:
    """One engine with the limits of all ranks: those of a mixture of experts step together.

    Each rank has a budget of its own, so no prompt gets more than that of one rank; and where one overflows, the others
    are on average half full, which leaves (ranks + 1) / 2 budgets to prompts that come together.
    """
    given = json.loads((folder / "vllm" / "meta.json").read_text())["engine_kwargs"]
    ranks, budget = given["data_parallel_size"], given["max_num_batched_tokens"]
    return Engine(
        max_num_seqs=ranks * given["max_num_seqs"],
        max_num_batched_tokens=(ranks + 1) * budget // 2,
        long_prefill_token_threshold=budget if ranks > 1 else 0,
    )


def is_mixture_of_experts(folder: Path) -> bool:
    """Whether the server spread experts over its ranks, or the model's name tells its active parameters (``A3B``)."""
    given = json.loads((folder / "vllm" / "meta.json").read_text())["engine_kwargs"]
    return bool(given.get("enable_expert_parallel") or re.search(r"-A\d+B|\d+x\d+B", given["model"]))


def kv_tokens(folder: Path, load: Load, real: Times, seats: int) -> int:
    """The KV cache's size, which no log tells: what requests held over the share of it that was in use.

    Where the log has that share as 0 throughout, as here, room for everything.
    """
    with (folder / "vllm" / "timeseries.csv").open() as lines:
        rows = [(float(row["t"]), float(row["kv_cache_pct"]) / 100) for row in csv.DictReader(lines)]
    used = [(t_s, share) for t_s, share in rows if share > 0.05]
    if not used:
        return int(seats * (load.prompt + load.output).max())
    sizes = []
    for t_s, share in used:
        done = np.clip((t_s - real.first_s) / (real.finish_s - real.first_s), 0, 1)
        held = (load.prompt + done * load.output)[(real.first_s <= t_s) & (real.finish_s > t_s)]
        sizes.append(float(held.sum()) / share)
    return max(1, int(np.median(sizes)))


def published(folder: Path) -> dict[str, dict[str, float]]:
    """LLMServingSim's own figures against the same run, in seconds."""
    found = {}
    for line in (folder / "validation" / "summary.txt").read_text().splitlines():
        row = re.match(r"(TTFT|TPOT|Latency) (Mean|Median|P95) +([\d.]+) +([\d.]+) +([-+][\d.]+)%", line)
        if row:
            name = f"{row[1].lower()}_{ {'Mean': 'mean', 'Median': 'p50', 'P95': 'p95'}[row[2]] }"
            found[name] = {
                "real": float(row[3]) / 1e3,
                "simulated": float(row[4]) / 1e3,
                "error_percent": float(row[5]),
            }
    return found


def seats_taken(load: Load, real: Times, seats: int) -> Floats:
    """The share of seats that others had when each request arrived; above 1 where some waited."""
    arrival, finish = load.arrival_s, real.finish_s
    return np.array([((arrival < at) & (finish > at)).sum() / seats for at in arrival], np.float64)


def run(folder: Path, arrival: str, seed: int) -> dict[str, Any]:
    load, real = read(folder, arrival)
    engine = engine_of(folder)
    kv, experts = kv_tokens(folder, load, real, engine.max_num_seqs), is_mixture_of_experts(folder)
    given = Given(folder.name, folder.parent.name, kv, engine, experts)
    half = len(load) // 2
    first = fit(given, load, real, slice(0, half), _source(folder, "the first half"), seed)
    whole = fit(given, load, real, slice(0, len(load)), _source(folder, "all"), seed)
    theirs = {"llmservingsim": published(folder)} if (folder / "validation" / "summary.txt").exists() else {}
    return {
        "requests": len(load),
        "engine": {name: getattr(given.engine, name) for name in Engine.__slots__},
        "fitted_on_the_first_half": _scores(load, real, first, given.engine, half),
        "fitted_on_the_first_half_tables_alone": _whole(load, real, without_step(first), given.engine),
        "fitted_on_all": _whole(load, real, whole, given.engine),
        **theirs,
        "step": first.step.model_dump(by_alias=True) if first.step else None,
    }


def _source(folder: Path, part: str) -> dict[str, str]:
    return {"kind": "fitted", "confidence": "medium", "on": f"{part} of the requests of {folder.name}"}


def _whole(load: Load, real: Times, profile: CapacityProfile, engine: Engine) -> dict[str, Any]:
    simulated, _ = simulate(load, profile, engine)
    rows = beside(figures(load, real), figures(load, simulated))
    return {"mean_absolute_error_percent": mean_absolute_error(rows), "all_requests": rows}


def _scores(load: Load, real: Times, profile: CapacityProfile, engine: Engine, half: int) -> dict[str, Any]:
    simulated, _ = simulate(load, profile, engine)
    second = slice(half, len(load))
    taken = seats_taken(load, real, engine.max_num_seqs)
    bins = {}
    for low, high in pairwise(BINS):
        chosen = np.flatnonzero((taken >= low) & (taken < high))
        chosen = chosen[chosen >= half]
        if len(chosen):
            rows = beside(_ttft(load, real, chosen), _ttft(load, simulated, chosen))
            bins[f"{low:g} to {high:g} of the seats taken"] = {"requests": len(chosen), **rows}
    return {
        **_whole(load, real, profile, engine),
        "second_half": beside(figures(load, real, second), figures(load, simulated, second)),
        "second_half_by_utilization": bins,
    }


def _ttft(load: Load, times: Times, chosen: Chosen) -> Figures:
    return {name: value for name, value in figures(load, times, chosen).items() if name.startswith("ttft")}
