"""A step law from a recorded run: the simulator in the loop of a least-squares fit."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from _fidelity_runs import Engine, Floats, Load, Times, simulate
from scipy.optimize import OptimizeResult, least_squares

from aiops.model.profile import CapacityProfile, StepCosts

# vLLM's CUDA graphs up to 256 tokens; the table has a point on either side of their end.
GRAPHS = (1, 2, 4, *range(8, 257, 8))
TOKENS = (1, 16, 64, 128, 256, 257, 1024, 2048, 4096, 8192)
# One guess for every model, in ms: what each point of the table adds to the one before. All of it is first made as much
# faster or slower as fits best; then each value goes its own way.
RISES_MS = (12.0, 2.0, 4.0, 5.0, 6.0, 5.0, 18.0, 25.0, 45.0, 90.0)
CONTEXT_NS, PAIR_NS, HOST_MS = 60.0, 1.0, 0.005
# A mixture of experts reads the weights of those experts alone that one of the step's tokens goes to: of a share of
# 8 in 128, as most now have, 1 - (1 - 8/128)^n. The reads of all of them are a parameter of their own; what is left of
# a step of one token is less.
EXPERT_SHARE, EXPERTS_MS, SHARED_MS = 8 / 128, 12.0, 5.0
EXPERT_TOKENS = (1, 2, 4, 8, 16, 32, 64)
SPEEDS = (1 / 8, 1 / 4, 1 / 2, 1 / 1.4, 1.0, 1.4, 2.0, 4.0)
# Several walks from the guess, each of some starts, and more starts from the end of the best.
WALKS, STARTS, LAST_STARTS = 3, 4, 8
# What a value away from the guess counts: the logarithm of its ratio times this. It holds the points that the seen
# requests hardly show.
PULL = 0.3


@dataclass(frozen=True, slots=True)
class Given:
    """What a fit does not look for."""

    model: str
    accelerator: str
    kv_tokens: int
    engine: Engine
    experts: bool = False


def profile(given: Given, costs: dict[str, Any], source: dict[str, Any], http_ms: float = 0.0) -> CapacityProfile:
    """A profile of a step's costs; its tables of prefill and decode are what those costs give."""
    made, engine = StepCosts.model_validate(costs), given.engine
    isl = [64, 256, 512, 1024, 2048, 4096, 8192]
    batches = sorted({1, 2, 4, 8, *(n for n in (16, 32, 64, 128, 256) if n < engine.max_num_seqs), engine.max_num_seqs})
    return CapacityProfile.model_validate(
        {
            "model": given.model,
            "accelerator": given.accelerator,
            "tensorParallel": 1,
            "source": source,
            "kvTokens": given.kv_tokens,
            "limits": {"maxNumSeqs": engine.max_num_seqs, "maxNumBatchedTokens": engine.max_num_batched_tokens},
            "prefill": {"isl": isl, "ttftMs": [_prompt_ms(made, tokens, engine) for tokens in isl]},
            "decode": [
                {"context": c, "batch": batches, "itlMs": [_decode_ms(made, b, c) for b in batches]}
                for c in (256, 1024, 4096)
            ],
            "step": costs,
            "tokenizer": {"fixedMs": http_ms},
        }
    )


def _prompt_ms(costs: StepCosts, tokens: int, engine: Engine) -> float:
    at_once = engine.max_num_batched_tokens
    chunks = [min(at_once, tokens - prior) for prior in range(0, tokens, at_once)]
    without = sum(costs.table_s(chunk) * 1e3 + costs.host_ms_per_sequence for chunk in chunks)
    return without + costs.pair_ns * tokens * tokens / 2 / 1e6


def _decode_ms(costs: StepCosts, batch: int, context: int) -> float:
    return costs.table_s(batch) * 1e3 + batch * (costs.host_ms_per_sequence + costs.context_ns * context / 1e6)


def without_step(made: CapacityProfile) -> CapacityProfile:
    """The same profile with its tables of prefill and decode alone."""
    return made.model_copy(update={"step": None})


def fit(given: Given, load: Load, real: Times, seen: slice, source: dict[str, Any], seed: int = 0) -> CapacityProfile:
    """Find the step costs with which all of a load is simulated and the requests ``seen`` come out as they were.

    Compared are means of ten requests in a row, as one request's wait depends on the phase of the steps; the quantiles
    of TTFT and TPOT; and when the first, the last and some between had ended. Several seeded starts, as the error has
    many local minima; it is of the seen requests alone, so the best start is chosen without the others.
    """
    tokens = [n for n in TOKENS if n <= given.engine.max_num_batched_tokens]
    points = sorted({*tokens, *(EXPERT_TOKENS if given.experts else ())})
    touched = 1 - (1 - EXPERT_SHARE) ** np.array(points, np.float64)
    first_ms, experts_ms = (SHARED_MS, EXPERTS_MS) if given.experts else (RISES_MS[0], 0.0)
    guess = np.array([first_ms, *RISES_MS[1 : len(tokens)], experts_ms, CONTEXT_NS, PAIR_NS, HOST_MS])

    def made(values: Floats) -> CapacityProfile:
        rises, (experts_ms, context_ns, pair_ns, host_ms) = values[:-4], values[-4:]
        costs = {
            "tokens": points,
            "ms": (np.interp(points, tokens, np.cumsum(rises)) + experts_ms * touched).tolist(),
            "graphTokens": list(GRAPHS),
            "hostMsPerSequence": float(host_ms),
            "contextNs": float(context_ns),
            "pairNs": float(pair_ns),
        }
        return profile(given, costs, source)

    def misses_of(values: Floats) -> Floats:
        simulated, _ = simulate(load, made(values), given.engine)
        return _misses(load, real, simulated, seen)

    guess = guess * min(SPEEDS, key=lambda speed: float(np.abs(misses_of(guess * speed)).sum()))
    logs = _lowest(lambda at: np.concatenate([misses_of(guess * np.exp(at)), PULL * at]), len(guess), seed)
    return made(guess * np.exp(logs))


def _lowest(misses: Callable[[Floats], Floats], count: int, seed: int) -> Floats:
    draws = np.random.default_rng(seed)

    def walk(best: OptimizeResult | None, starts: int) -> OptimizeResult:
        for _ in range(starts):
            at = draws.normal(0, 0.15, count) + (np.zeros(count) if best is None else best.x)
            for stride in (0.05, 0.02):
                found = least_squares(misses, at, diff_step=stride, max_nfev=15, loss="soft_l1", f_scale=0.1)
                at = found.x
                best = found if best is None or found.cost < best.cost else best
        assert best is not None, "a walk has at least one start"
        return best

    walks = [walk(None, STARTS) for _ in range(WALKS)]
    lowest: Floats = walk(min(walks, key=lambda found: float(found.cost)), LAST_STARTS).x
    return lowest


def _misses(load: Load, real: Times, simulated: Times, seen: slice) -> Floats:
    was, came = real.of(load, seen), simulated.of(load, seen)
    levels, ends = [5, 25, 50, 75, 95], [0, 10, 25, 50, 75, 90, 100]
    # Waits in overload follow from when others end, so that weighs most; a short TTFT is mostly the phase of the steps.
    rows = [
        0.4 * (_tens(came["ttft"]) - _tens(was["ttft"])) / np.maximum(_tens(was["ttft"]), 0.15),
        np.percentile(came["ttft"], levels) / np.percentile(was["ttft"], levels) - 1,
        3 * (_tens(came["latency"]) / _tens(was["latency"]) - 1),
        3 * (_tens(came["tpot"]) / _tens(was["tpot"]) - 1),
        3 * (np.percentile(came["tpot"], levels) / np.percentile(was["tpot"], levels) - 1),
        4 * (np.percentile(simulated.finish_s[seen], ends) / np.percentile(real.finish_s[seen], ends) - 1),
    ]
    return np.concatenate(rows)


def _tens(values: Floats) -> Floats:
    whole = len(values) // 10 * 10
    means: Floats = values[:whole].reshape(-1, 10).mean(axis=1)
    return means
