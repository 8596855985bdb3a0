"""Real vLLM 0.32 servers on a CPU, from the calibrations alone: step costs, then every run."""

import gzip
import json
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from _fidelity_fit import Given, profile
from _fidelity_runs import Engine, Figures, Floats, Load, Timeline, Times, beside, figures, simulate
from scipy.optimize import least_squares

from aiops.model.profile import CapacityProfile, StepCosts

RUNS = ("light", "medium", "busy", "overload", "long_prompts")
ENGINE = Engine(max_num_seqs=16, max_num_batched_tokens=512, block_size=32, async_scheduling=False, prefix_caching=True)
# One of the 320 blocks is vLLM's placeholder.
GIVEN = Given("random", "cpu", 319 * 32, ENGINE)
PREFIX_TOKENS = 320
TOKENS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
GUESS_MS = (13.0, 0.5, 0.5, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0, 170.0)
HTTP_MS, CONTEXT_NS, PAIR_NS = 3.0, 2500.0, 300.0

Rows = dict[str, list[list[float]]]


def read(folder: Path, name: str) -> tuple[Load, Times, Timeline, float]:
    """A run, its scrapes, and the share of prompt tokens that its server counted as hits."""
    rows = _lines(folder / f"{name}_requests.jsonl.gz")
    load = Load(
        np.array([row["arrival_s"] for row in rows]),
        np.array([row["input_tokens"] for row in rows], np.int64),
        np.array([row["output_tokens"] for row in rows], np.int64),
        np.array([-1 if row["shared_prefix"] is None else row["shared_prefix"] for row in rows], np.int64),
        PREFIX_TOKENS,
    )
    first, finish = (np.array([row[key] for row in rows]) for key in ("first_token_s", "finish_s"))
    scrapes, seen = _lines(folder / f"{name}_metrics.jsonl.gz"), Timeline()
    for scrape in scrapes:
        gauges = ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc")
        seen.add(scrape["t_s"], *(scrape["m"][f"vllm:{gauge}"] for gauge in gauges))
    hits, queries = (
        scrapes[-1]["m"][key] - scrapes[0]["m"][key]
        for key in ("vllm:prefix_cache_hits_total", "vllm:prefix_cache_queries_total")
    )
    return load, Times(first, finish, np.zeros(len(rows), np.int64)), seen, hits / queries


def _lines(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt") as lines:
        return [json.loads(line) for line in lines]


def calibrated(calibrations: list[Rows], name: str) -> CapacityProfile:
    """A profile from prompts timed alone and steps timed by context and batch; nothing of any run.

    Relative errors of medians by length and of each mean step, of all calibrations alike. A prompt is timed at the
    client, so a time that does not depend on it (``tokenizer.fixedMs``) is found as well.
    """
    prompts = [(length, float(np.median(seconds))) for rows in calibrations for length, seconds in _by_length(rows)]
    steps = [row for rows in calibrations for row in rows["decode"]]
    guess = np.array([*GUESS_MS, HTTP_MS, CONTEXT_NS, PAIR_NS])

    def made(logs: Floats) -> CapacityProfile:
        values = guess * np.exp(logs)
        costs = {
            "tokens": list(TOKENS),
            "ms": np.cumsum(values[:-3]).tolist(),
            "contextNs": float(values[-2]),
            "pairNs": float(values[-1]),
        }
        source = {"kind": "fitted", "confidence": "low", "on": name}
        return profile(GIVEN, costs, source, http_ms=float(values[-3]))

    def misses(logs: Floats) -> Floats:
        costs, http_ms = made(logs).step, guess[-3] * np.exp(logs[-3])
        assert costs is not None
        found = [_prompt_s(costs, length) + http_ms / 1e3 for length, _ in prompts]
        found += [costs.table_s(int(row[1])) + costs.context_ns * row[0] * row[1] / 1e9 for row in steps]
        wanted = np.array([seconds for _, seconds in prompts] + [row[2] for row in steps])
        return np.concatenate([np.log(np.array(found) / wanted), 0.03 * logs])

    return made(least_squares(misses, np.zeros(len(guess)), loss="soft_l1", f_scale=0.1).x)


def _by_length(rows: Rows) -> list[tuple[int, list[float]]]:
    ordered = sorted(rows["prefill"])
    return [(int(length), [row[1] for row in group]) for length, group in groupby(ordered, key=lambda row: row[0])]


def _prompt_s(costs: StepCosts, tokens: int) -> float:
    chunks = [min(512, tokens - prior) for prior in range(0, tokens, 512)]
    return sum(costs.table_s(chunk) for chunk in chunks) + costs.pair_ns * tokens * tokens / 2 / 1e9


def run(folder: Path) -> tuple[dict[str, Any], dict[str, tuple[Timeline, Timeline]]]:
    """The scores, and for each run what was seen and what is simulated at the times of its scrapes."""
    calibrations: list[Rows] = [json.loads((folder / f"calibration_{n}.json").read_text()) for n in (1, 2)]
    made = calibrated(calibrations, "both calibrations")
    ends = [calibrated([rows], f"calibration {n}") for n, rows in enumerate(calibrations, 1)]
    scores: dict[str, Any] = {
        "step": made.step.model_dump(by_alias=True) if made.step else None,
        "http_ms": round(made.tokenizer.fixed_ms, 2),
        "runs": {},
    }
    seen: dict[str, tuple[Timeline, Timeline]] = {}
    names = {path.name.removesuffix("_requests.jsonl.gz") for path in folder.glob("*_requests.jsonl.gz")}
    for name in [*(name for name in RUNS if name in names), *sorted(names - set(RUNS))]:
        load, real, scraped, hit_share = read(folder, name)
        simulated, looked = simulate(load, made, ENGINE, np.array(scraped.t_s))
        spread = [simulate(load, end, ENGINE)[0] for end in ends]
        seen[name] = (scraped, looked)
        scores["runs"][name] = _score(load, real, simulated, spread, hit_share)
    return scores, seen


def _score(load: Load, real: Times, simulated: Times, spread: list[Times], hit_share: float) -> dict[str, Any]:
    rows = beside(figures(load, real), figures(load, simulated))
    low, high = (figures(load, times) for times in spread)
    floor: Figures = {name: 200 * abs(high[name] / low[name] - 1) for name in rows}
    for name, row in rows.items():
        bar = 5.0 if name.startswith("tpot") else 10.0
        row["noise_floor_percent"] = round(floor[name], 1)
        row["within"] = abs(row["error_percent"]) <= max(bar, floor[name])
    tokens = load.prompt.sum()
    return {
        "requests": len(load),
        "figures": rows,
        "prefix_hits_percent": {
            "real": round(100 * hit_share, 2),
            "simulated": round(100 * simulated.cached.sum() / tokens, 2),
            "noise_floor_points": round(200 * abs(np.diff([times.cached.sum() for times in spread])[0]) / tokens, 2),
        },
    }
