"""Invented cycles that look like real ones: a disaggregated model over a working day, and its policies."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import ceil, cos, pi

import numpy as np

from aiops.model.capacity import Capacity, CapacityBasis, CapacityBound
from aiops.model.cycle import Cycle, ModelCycle, PoolSummary
from aiops.model.decision import Decision, Input, Provenance, Reason
from aiops.model.demand import DemandSource, TokenDemand, Work
from aiops.model.detection import Cause, Detection, DetectionKind, Diagnosis, Evidence, Severity
from aiops.model.forecast import Forecast, ForecastSkill, Window
from aiops.model.policy import Mode, PolicySet, ScalingPolicy, Variant
from aiops.model.refs import ModelRef, PoolRef, Role
from aiops.model.snapshot import Latency, SignalHealth, SignalState

START = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)
CHAT = ModelRef("llm", "meta-llama/Llama-3.3-70B-Instruct")
PREFILL = PoolRef("llm", "Deployment", "chat-70b-prefill")
DECODE = PoolRef("llm", "Deployment", "chat-70b-decode")
_LEVELS = (0.05, 0.1, 0.5, 0.9, 0.95)
_SPREAD = (0.82, 0.86, 1.0, 1.15, 1.21)


def policies(mode: Mode = Mode.ACT) -> PolicySet:
    policy = ScalingPolicy.model_validate(
        {
            "metadata": {"name": "chat-70b", "namespace": CHAT.namespace},
            "spec": {
                "model": CHAT.model,
                "mode": mode,
                "objectives": {"ttft": {"p95": "2.5s"}, "itl": {"p95": "50ms"}},
                "pools": [
                    _pool("prefill", PREFILL.name, 1, 12),
                    _pool("decode", DECODE.name, 2, 24),
                ],
                "ratio": {"decodePerPrefill": {"min": 1, "max": 4}},
            },
        }
    )
    return PolicySet((policy,), {"h100-tp4": Variant("h100-tp4", "nvidia-h100-sxm", 4, 14.0, 2800.0)})


def _pool(role: str, target: str, low: int, high: int) -> dict[str, object]:
    return {"name": role, "role": role, "target": {"name": target}, "variant": "h100-tp4", "min": low, "max": high}


def request_rate(at: datetime) -> float:
    """A working day in requests per second: quiet at night, two humps."""
    hour = (at - START.replace(hour=0)).total_seconds() / 3600
    return 3.0 + 5.5 * (1 - cos(2 * pi * (hour - 3) / 24)) + 2.2 * (1 - cos(2 * pi * hour / 6)) / 2


def day(hours: float = 8.0, every_s: float = 15.0, seed: int = 1, mode: Mode = Mode.ACT) -> Iterator[Cycle]:
    """Cycles of a loop that behaves: what it asks for is had in the next cycle and ready four minutes later."""
    rng = np.random.default_rng(seed)
    had, ready = {PREFILL: 2, DECODE: 4}, {PREFILL: 2, DECODE: 4}
    due: list[tuple[datetime, PoolRef, int]] = []
    for i in range(int(hours * 3600 / every_s)):
        at = START + timedelta(seconds=i * every_s)
        for order in [order for order in due if order[0] <= at]:
            due.remove(order)
            ready[order[1]] = min(ready[order[1]] + order[2], had[order[1]])
        rate = float(request_rate(at) * rng.normal(1.0, 0.05))
        cycle = _cycle(at, i + 1, rate, dict(had), dict(ready), mode)
        yield cycle
        for decision in cycle.decisions if mode is Mode.ACT else ():
            had[decision.pool] += decision.change
            ready[decision.pool] = min(ready[decision.pool], had[decision.pool])
            if decision.change > 0:
                due.append((at + timedelta(minutes=4), decision.pool, decision.change))


def cycle(at: datetime = START, number: int = 1, mode: Mode = Mode.ACT) -> Cycle:
    """One cycle, in which both pools grow."""
    return _cycle(at, number, 12.0, {PREFILL: 2, DECODE: 4}, {PREFILL: 2, DECODE: 4}, mode)


def blind_cycle(at: datetime, number: int, why: str = "Prometheus at http://127.0.0.1:9090 did not answer") -> Cycle:
    """A cycle that saw nothing, and holds."""
    seen = cycle(at, number)
    model = seen.models[0]
    held = tuple(
        replace(decision, desired=decision.current, needed=None, reasons=(Reason.STALE_METRICS,), inputs=(), why_not="")
        for decision in model.decisions
    )
    dark = replace(model, demand=None, work=None, latency=Latency(), pools=(), capacities=(), decisions=held, blind=why)
    return replace(seen, models=(dark,), blind=why)


def _cycle(
    at: datetime, number: int, rate: float, had: dict[PoolRef, int], ready: dict[PoolRef, int], mode: Mode
) -> Cycle:
    ahead = request_rate(at + timedelta(minutes=10))
    demand = TokenDemand(
        rate, 3150.0, 262.0, timedelta(seconds=60), DemandSource.GATEWAY, cached_ratio=0.38, backlog_requests=0.0
    )
    decisions = (
        _decision(PREFILL, Role.PREFILL, had[PREFILL], rate * 0.28, ahead * 0.28, demand),
        _decision(DECODE, Role.DECODE, had[DECODE], rate * 0.62, ahead * 0.62, demand),
    )
    load = rate * 0.62 / max(ready[DECODE], 1)
    model = ModelCycle(
        ref=CHAT,
        mode=mode,
        demand=demand,
        work=Work(prefill=rate * 0.28, decode=rate * 0.62),
        latency=Latency(0.35 + 1.6 * load**4, 0.018 + 0.028 * load, min(1.0, 1.02 - 0.05 * load), 0.97),
        pools=tuple(
            PoolSummary(pool, had[pool], False, ready[pool], had[pool] - ready[pool], 0, 0.0, min(0.97, 0.8 * load))
            for pool in (PREFILL, DECODE)
        ),
        capacities=(
            Capacity(Role.PREFILL, 0.7, CapacityBasis.INFERRED, CapacityBound.COMPUTE, 8200.0),
            Capacity(Role.DECODE, 0.8, CapacityBasis.INFERRED, CapacityBound.ITL, 1120.0),
        ),
        lead_time_s=255.0,
        forecasts=tuple(_forecasts(at)),
        skills=tuple(
            ForecastSkill(series, Window(600, 600), 0.081, 0.24, 0.91, 96)
            for series in ("input_tok_per_s", "output_tok_per_s")
        ),
        decisions=decisions,
        detections=(),
        diagnosis=Diagnosis(CHAT),
        signals=(SignalHealth("num_requests_running", SignalState.OK, "vllm:num_requests_running"),),
    )
    return Cycle(at, number, (model,), queries=14)


def troubled(seen: Cycle) -> Cycle:
    """The same cycle with a hotspot that the router makes, and a metric that cannot be used."""
    hot = Detection(
        DetectionKind.ROUTING_SKEW,
        CHAT,
        Severity.WARNING,
        seen.at - timedelta(minutes=4),
        (Evidence("KV cache of the fullest", 0.97, "ratio", 0.31), Evidence("waiting there", 22.0, "requests", 0.0)),
        "chat-70b-decode-7f9c-x2x8k waits with 22 requests while its peers idle",
        pool=DECODE,
    )
    cold = Detection(
        DetectionKind.COLD_CACHE,
        CHAT,
        Severity.INFO,
        seen.at - timedelta(seconds=75),
        (Evidence("prefix hits", 0.06, "ratio", 0.41),),
        "chat-70b-prefill-66d4-q8w2z is 75 s old",
        pool=PREFILL,
        replica="chat-70b-prefill-66d4-q8w2z",
    )
    cause = Cause(
        DetectionKind.ROUTING_SKEW,
        0.86,
        "One decode replica is full while five idle: it is the router, not the fleet.",
        "Look at the endpoint picker's prefix-affinity weight; more replicas would not help.",
    )
    doubt = SignalHealth("prefix_cache_hits", SignalState.ABSENT, None, "No engine exports vllm:prefix_cache_hits.")
    model = replace(
        seen.models[0],
        detections=(hot, cold),
        diagnosis=Diagnosis(CHAT, (cause,)),
        signals=(*seen.models[0].signals, doubt),
    )
    return replace(seen, models=(model,))


def _forecasts(at: datetime) -> Iterator[Forecast]:
    made = at.replace(second=0)
    for horizon_s in (600.0, 1800.0):
        rate = request_rate(made + timedelta(seconds=horizon_s))
        for series, size in (("req_per_s", 1.0), ("input_tok_per_s", 3150.0), ("output_tok_per_s", 262.0)):
            quantiles = tuple((level, rate * size * spread) for level, spread in zip(_LEVELS, _SPREAD, strict=True))
            yield Forecast(series, made, Window(horizon_s, horizon_s), quantiles, (("day_profile", 1.0),))


def _decision(pool: PoolRef, role: Role, current: int, work: float, work_ahead: float, demand: TokenDemand) -> Decision:
    now, later = ceil(work / 0.8), ceil(work_ahead * 1.1 / 0.8)
    needed = max(now, later)
    desired = min(needed, current * 2) if needed > current else current - 1 if needed < current - 1 else current
    if desired > current:
        reasons: tuple[Reason, ...] = (Reason.FORECAST if later > now else Reason.DEMAND_NOW,)
        reasons += (Reason.SCALE_UP_STEP_LIMITED,) if desired < needed else ()
    elif desired < current:
        reasons = (Reason.DEMAND_FELL, Reason.SCALE_DOWN_STEP_LIMITED)
    else:
        reasons = (Reason.SCALE_DOWN_STABILIZED,) if needed < current else (Reason.STEADY,)
    return Decision(
        CHAT,
        pool,
        role,
        current,
        desired,
        needed,
        reasons,
        (
            Input("arrivals", demand.requests_per_s, "req/s", Provenance.MEASURED),
            Input("input tokens per request", 3150.0, "tokens", Provenance.MEASURED),
            Input("prefix cache share", 0.38, "ratio", Provenance.MEASURED),
            Input("waiting requests", None, "requests", Provenance.MISSING),
            Input("work now", work, "replicas", Provenance.INFERRED),
            Input("work forecast at the lead time", work_ahead, "replicas", Provenance.INFERRED),
            Input("utilization limit", 0.8, "ratio", Provenance.INFERRED),
            Input("lead time", 255.0, "s", Provenance.INFERRED),
        ),
        f"would add 1 above {current * 8.2:.1f} k prompt tok/s; now {demand.requests_per_s * 3.15:.1f} k",
    )
