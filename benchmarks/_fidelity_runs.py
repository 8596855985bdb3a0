"""Recorded runs beside simulated ones: requests in, times out, figures of both."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aiops.model.profile import CapacityProfile
from aiops.model.refs import Role
from aiops.simulate.fleet import EngineSettings, LinkSettings, PoolSettings, VirtualFleet, one_batch
from aiops.simulate.kernel.layout import COMPLETED
from aiops.simulate.requests import PS, RequestBatch
from aiops.simulate.step_law import step_law

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Figures = dict[str, float]
Chosen = slice | Ints
ALL = slice(None)


@dataclass(frozen=True, slots=True)
class Load:
    """Requests in any order; those with a ``prefix`` of 0 or more begin with its ``prefix_tokens`` tokens."""

    arrival_s: Floats
    prompt: Ints
    output: Ints
    prefix: Ints | None = None
    prefix_tokens: int = 0

    def __len__(self) -> int:
        return len(self.arrival_s)


@dataclass(frozen=True, slots=True)
class Times:
    """When each request of a load got its first and its last token, and how much of its prompt was cached."""

    first_s: Floats
    finish_s: Floats
    cached: Ints

    def of(self, load: Load, chosen: Chosen = ALL) -> dict[str, Floats]:
        """TTFT, TPOT (of answers of two tokens or more) and latency, in seconds."""
        output = load.output[chosen]
        answer = (self.finish_s - self.first_s)[chosen][output > 1]
        return {
            "ttft": (self.first_s - load.arrival_s)[chosen],
            "tpot": answer / (output[output > 1] - 1),
            "latency": (self.finish_s - load.arrival_s)[chosen],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """One engine as the recorded one was set up."""

    max_num_seqs: int
    max_num_batched_tokens: int
    block_size: int = 16
    async_scheduling: bool = True
    prefix_caching: bool = False
    long_prefill_token_threshold: int = 0

    def settings(self, profile: CapacityProfile) -> EngineSettings:
        return EngineSettings(
            law=step_law(profile, self.max_num_seqs, self.max_num_batched_tokens),
            kv_tokens=profile.kv_tokens,
            max_num_seqs=self.max_num_seqs,
            max_num_batched_tokens=self.max_num_batched_tokens,
            max_model_len=131_072,
            block_size=self.block_size,
            prefix_caching=self.prefix_caching,
            async_scheduling=self.async_scheduling,
            long_prefill_token_threshold=self.long_prefill_token_threshold,
        )


@dataclass(slots=True)
class Timeline:
    """Running and waiting requests and the share of KV blocks used, at some times."""

    t_s: list[float] = field(default_factory=list)
    running: list[float] = field(default_factory=list)
    waiting: list[float] = field(default_factory=list)
    kv_usage: list[float] = field(default_factory=list)

    def add(self, t_s: float, running: float, waiting: float, kv_usage: float) -> None:
        self.t_s.append(t_s)
        self.running.append(running)
        self.waiting.append(waiting)
        self.kv_usage.append(kv_usage)


def simulate(
    load: Load, profile: CapacityProfile, engine: Engine, looks_s: Floats | None = None
) -> tuple[Times, Timeline]:
    """Answer a load with one engine; look at it at the times ``looks_s``."""
    order = np.argsort(load.arrival_s, kind="stable")
    settings = engine.settings(profile)
    links = LinkSettings(
        http_ps=round(profile.tokenizer.fixed_ms * PS / 1e3),
        http_ps_per_token=round(profile.tokenizer.per_token_us * PS / 1e6),
    )
    fleet = VirtualFleet([PoolSettings(role=Role.BOTH, engines=settings)], links, one_batch(_batch(load, order)))
    number = fleet.add_engine(0)
    fleet.open(number)
    seen = Timeline()
    for look_s in [] if looks_s is None else looks_s.tolist():
        fleet.advance(max(fleet.now_ps, round(look_s * PS)))
        fleet.settle()
        shown = fleet.shown(number)
        seen.add(look_s, float(shown.running), float(shown.waiting), shown.kv_usage_ratio)
    fleet.run_out()
    ended = np.concatenate(fleet.outcomes)
    ended = ended[np.argsort(ended["number"])]
    if not (ended["kind"] == COMPLETED).all():
        raise SystemExit(
            f"{(ended['kind'] != COMPLETED).sum()} requests of a recorded run do not complete when simulated"
        )
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    ended = ended[place]
    return Times(ended["first_token"] / PS, ended["finish"] / PS, ended["cached"]), seen


def _batch(load: Load, order: Ints) -> RequestBatch:
    count = len(load)
    shares = np.zeros(count, np.bool_) if load.prefix is None else load.prefix[order] >= 0
    ids = np.zeros(0, np.int64) if load.prefix is None else load.prefix[order][shares]
    return RequestBatch(
        arrival_ps=np.rint(load.arrival_s[order] * PS).astype(np.int64),
        prompt_tokens=load.prompt[order],
        output_tokens=load.output[order],
        own_ids=np.arange(count, dtype=np.int64),
        own_public=np.zeros(count, np.bool_),
        piece_offsets=np.concatenate([[0], np.cumsum(shares)]).astype(np.int64),
        piece_ids=ids.astype(np.int64),
        piece_tokens=np.full(len(ids), load.prefix_tokens, np.int64),
    )


def figures(load: Load, times: Times, chosen: Chosen = ALL) -> Figures:
    """Mean, p50 and p95 of each time in seconds, the makespan, and the tokens generated a second of it."""
    found: Figures = {}
    for name, values in times.of(load, chosen).items():
        found[f"{name}_mean"] = float(values.mean())
        found[f"{name}_p50"] = float(np.median(values))
        found[f"{name}_p95"] = float(np.percentile(values, 95))
    found["makespan"] = float(times.finish_s[chosen].max() - load.arrival_s[chosen].min())
    found["tokens_per_s"] = float(load.output[chosen].sum() / found["makespan"])
    return found


def beside(real: Figures, simulated: Figures) -> dict[str, dict[str, float]]:
    """Each figure of both, and the simulated one's error in percent."""
    return {
        name: {
            "real": round(value, 5),
            "simulated": round(simulated[name], 5),
            "error_percent": round(100 * (simulated[name] / value - 1), 2),
        }
        for name, value in real.items()
    }


def mean_absolute_error(rows: dict[str, dict[str, float]]) -> float:
    """Over TTFT, TPOT and latency (mean, p50, p95) and the makespan, in percent."""
    return round(float(np.mean([abs(row["error_percent"]) for name, row in rows.items() if name != "tokens_per_s"])), 2)
