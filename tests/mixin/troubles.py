"""What happens in a simulated week, drawn from a seed: one trouble at a time, each with its label.

A troubled week goes through every kind in turn; a clean one has only what looks like trouble and is none.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from aiops.simulate.spec import FactorySpec

HERE = Path(__file__).parent
CHAT, RAG = "meta-llama/Llama-3.1-70B-Instruct", "meta-llama/Llama-3.3-70B-Instruct"
QUIET_S = 3600.0
"""Nothing happens at first: rates need a past, and so does the forecast."""
WEEK_SLOT_S, SHORT_SLOT_S = 9000.0, 4800.0
_MINUTE_S = 60.0
_AROUND_S = 600.0
Draws = np.random.Generator
Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Trouble:
    """One labelled time, in seconds since the start; ``model`` is None where aiops itself or the cluster is meant."""

    kind: str
    model: str | None
    begin_s: float
    end_s: float
    benign: bool = False


@dataclass(frozen=True, slots=True)
class Happening:
    """What a trouble does to the model's factory: ``faults`` and ``events`` as its YAML has them.

    Events begin ``around_s`` before the trouble, and end as long after it.
    """

    faults: tuple[Entry, ...] = ()
    events: tuple[Entry, ...] = ()
    around_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a kind of trouble is made; ``minutes`` bound how long it lasts."""

    minutes: tuple[float, float]
    make: Callable[[Draws], Happening] = lambda _: Happening()
    models: tuple[str | None, ...] = (CHAT, RAG)
    pools: tuple[str, ...] = ("rag-prefill", "rag-decode")
    """Which of the pair's pools it may hit; chat has but one."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The factory of a week with all that happens in it, and the labels in the order of time."""

    specs: tuple[FactorySpec, ...]
    troubles: tuple[Trouble, ...]


def _fault(kind: str, **ranges: tuple[float, float]) -> Callable[[Draws], Happening]:
    def make(draws: Draws) -> Happening:
        sizes = {name: round(float(draws.uniform(*bounds)), 2) for name, bounds in ranges.items()}
        return Happening(faults=({"kind": kind, **sizes},))

    return make


def _busier(fault: Callable[[Draws], Happening]) -> Callable[[Draws], Happening]:
    """A fault that would go unnoticed at night, when any one replica could serve nearly all."""
    return lambda draws: Happening(fault(draws).faults, (_crowd(draws, (1.6, 1.9), ramp_s=240),))


def _kept(fault: Entry) -> Callable[[Draws], Happening]:
    """A fault of a replica that a pool which shrinks takes away first, amid a crowd for which the pool must grow."""
    crowd = {"kind": "flash_crowd", "times": 1.5, "ramp": f"{_AROUND_S:g}s"}
    return lambda _: Happening((fault,), (crowd,), _AROUND_S)


def _rolled_out(fault: Entry) -> Callable[[Draws], Happening]:
    """A fault that only replicas feel that start, with a new revision that makes all of them start."""
    return lambda _: Happening(faults=(fault, {"kind": "rollout"}))


def _crowd(draws: Draws, times: tuple[float, float], ramp_s: float) -> Entry:
    return {"kind": "flash_crowd", "times": round(float(draws.uniform(*times)), 2), "ramp": f"{ramp_s:g}s"}


def _crowded(times: tuple[float, float], ramp_s: float) -> Callable[[Draws], Happening]:
    return lambda draws: Happening(events=(_crowd(draws, times, ramp_s),))


def _job(requests_per_s: float, input_tokens: float, output_tokens: float) -> Callable[[Draws], Happening]:
    job = {
        "kind": "batch_job",
        "requestsPerS": requests_per_s,
        "inputTokens": {"mean": input_tokens, "spread": 0.1, "max": round(1.2 * input_tokens)},
        "outputTokens": {"mean": output_tokens, "spread": 0.1, "max": round(1.2 * output_tokens)},
    }
    return lambda _: Happening(events=(job,))


TROUBLES: Mapping[str, Recipe] = {
    "slow_replica": Recipe((35, 55), _fault("slow_replica", times=(3, 5))),
    "stuck_routing": Recipe((35, 50), _busier(_fault("stuck_routing", share=(0.7, 0.85))), (CHAT,)),
    "short_residency": Recipe((45, 60), _fault("short_residency"), (CHAT,)),
    "kv_thrash": Recipe((30, 45), _busier(_fault("kv_thrash", share=(0.75, 0.85))), pools=("rag-decode",)),
    "slow_start": Recipe((45, 55), _rolled_out({"kind": "slow_start", "times": 12.0})),
    "stuck_start": Recipe((45, 55), _rolled_out({"kind": "stuck_start"})),
    "slow_transfer": Recipe((35, 50), _fault("slow_transfer", times=(25, 50)), (RAG,)),
    "metric_gap": Recipe((15, 25), _fault("metric_gap")),
    "scrape_loss": Recipe((20, 30), _fault("scrape_loss")),
    "crash_loop": Recipe((40, 50), _kept({"kind": "crash_loop", "lives": "40s"})),
    "node_loss": Recipe((35, 50), _fault("node_loss")),
    "overload": Recipe((35, 45), _job(11, 7000, 1200)),
    # Outside the factory: see outside.py.
    "loop_stalled": Recipe((15, 25), models=(None,)),
    "process_gone": Recipe((15, 25), models=(None,)),
    "policy_broken": Recipe((20, 30), models=(None,)),
    "writes_refused": Recipe((30, 40), _crowded((1.7, 2.0), 240), models=(CHAT,)),
    "second_scaler": Recipe((30, 40), models=(CHAT, RAG)),
    "model_renamed": Recipe((30, 40), models=(CHAT, RAG)),
    "gpu_xid": Recipe((20, 30), models=(CHAT, RAG)),
    "gpu_memory": Recipe((20, 30), models=(CHAT, RAG)),
    "gpu_hot": Recipe((30, 40), models=(CHAT, RAG)),
}
OF_HALF_A_DAY = {
    "overload": CHAT, "stuck_routing": CHAT, "crash_loop": CHAT, "metric_gap": CHAT,
    "kv_thrash": RAG, "writes_refused": RAG, "slow_transfer": RAG, "slow_start": RAG,
}  # fmt: skip
HALF_A_DAY_HOURS = 12.0
LOOK_ALIKES: Mapping[str, Recipe] = {
    "rollout": Recipe((30, 30), _fault("rollout")),
    "busy_hour": Recipe((40, 60), _crowded((1.3, 1.6), 900)),
    "burst": Recipe((4, 6), _crowded((1.8, 2.2), 20)),
    "batch_job": Recipe((30, 50), _job(0.4, 2000, 200)),
    "full_cache": Recipe((30, 45), _job(0.12, 22000, 3000), (CHAT,)),
    "cache_flush": Recipe((3, 3), _fault("cache_flush"), (CHAT,)),
    "cold_new_replica": Recipe((5, 5), _fault("cold_new_replica"), (CHAT,)),
    "aiops_restart": Recipe((2, 2), models=(None,)),
}


@dataclass
class _Drawn:
    """What has been drawn so far."""

    troubles: list[Trouble] = field(default_factory=list)
    faults: dict[str, list[Entry]] = field(default_factory=lambda: {CHAT: [], RAG: []})
    events: dict[str, list[Entry]] = field(default_factory=lambda: {CHAT: [], RAG: []})


def draw_week(seed: int, hours: float, *, clean: bool) -> Plan:
    """Draw what happens in ``hours``: a trouble every two and a half hours, every kind once before any comes again.

    Troubles come one at a time, and what one brought about has the rest of its time to pass.
    """
    draws, recipes = np.random.default_rng([seed, int(clean)]), LOOK_ALIKES if clean else TROUBLES
    deck: list[tuple[str, str | None]] = []
    slots = int((hours * 3600 - QUIET_S) / WEEK_SLOT_S)
    while len(deck) < slots:
        once = [(kind, model) for kind, recipe in recipes.items() for model in recipe.models]
        deck += [once[number] for number in draws.permutation(len(once))]
    return _draw(deck[:slots], recipes, WEEK_SLOT_S, draws, benign=clean)


def draw_half_a_day(seed: int) -> Plan:
    """Draw half a day that has some kinds once, in closer order: those that make most panels show something."""
    draws, deck = np.random.default_rng(seed), list(OF_HALF_A_DAY.items())
    return _draw([deck[number] for number in draws.permutation(len(deck))], TROUBLES, SHORT_SLOT_S, draws, benign=False)


def _draw(
    deck: Sequence[tuple[str, str | None]], recipes: Mapping[str, Recipe], slot_s: float, draws: Draws, *, benign: bool
) -> Plan:
    drawn = _Drawn()
    for slot, (kind, model) in enumerate(deck):
        begin_s = QUIET_S + slot_s * slot + _MINUTE_S * int(draws.integers(0, 15))
        _add(drawn, recipes[kind], Trouble(kind, model, begin_s, begin_s, benign), draws)
    return Plan(tuple(_specs(drawn)), tuple(drawn.troubles))


def _add(drawn: _Drawn, recipe: Recipe, trouble: Trouble, draws: Draws) -> None:
    length_s = _MINUTE_S * round(float(draws.uniform(*recipe.minutes)))
    end_s = trouble.begin_s + length_s
    drawn.troubles.append(Trouble(trouble.kind, trouble.model, trouble.begin_s, end_s, trouble.benign))
    happening = recipe.make(draws)
    if trouble.model is None:
        return
    at = {"at": f"{trouble.begin_s:g}s"}
    pool = recipe.pools[int(draws.integers(len(recipe.pools)))] if trouble.model == RAG else None
    drawn.faults[trouble.model] += [
        {**fault, **at, "duration": f"{length_s:g}s", "pool": pool} for fault in happening.faults
    ]
    for event in happening.events:
        at = {"at": f"{trouble.begin_s - happening.around_s:g}s"}
        full_s = length_s + 2 * happening.around_s - 2 * float(event.get("ramp", "0s").removesuffix("s"))
        drawn.events[trouble.model].append({**event, **at, "duration": f"{full_s:g}s"})


def _specs(drawn: _Drawn) -> Iterable[FactorySpec]:
    for document in yaml.safe_load_all((HERE / "factory.yaml").read_text()):
        model = document["model"]
        workload = {**document["workload"], "events": drawn.events[model]}
        yield FactorySpec.model_validate({**document, "workload": workload, "faults": drawn.faults[model]})
