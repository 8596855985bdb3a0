"""What a loop would have emitted over two hours: its own metrics, as Prometheus would have scraped them.

Demand is a smooth wave, and the P50 forecast is exactly right, so that a chart of the one against the other can be
checked.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from math import pi, sin
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from aiops.act.emit import Emitter
from aiops.act.families import HORIZONS
from aiops.model.capacity import Capacity, CapacityBasis
from aiops.model.cycle import Cycle, FleetSummary, ModelCycle, PoolSummary
from aiops.model.decision import Decision, Outcome, Reason
from aiops.model.demand import DemandSource, TokenDemand, Work
from aiops.model.detection import Detection, DetectionKind, Diagnosis, Severity
from aiops.model.forecast import DemandShift, Forecast, ForecastSkill, ShiftKind, Window
from aiops.model.policy import Mode, PolicySet, ScalingPolicy, Variant
from aiops.model.refs import ModelRef, PoolRef, Role
from aiops.model.snapshot import Latency, SignalHealth, SignalState

CHAT = ModelRef("llm", "meta-llama/Llama-3.3-70B-Instruct")
PREFILL, DECODE = PoolRef("llm", "Deployment", "chat-prefill"), PoolRef("llm", "Deployment", "chat-decode")
STEP_S = 30
_TOKENS = {"req_per_s": 1.0, "input_tok_per_s": 1500.0, "output_tok_per_s": 300.0}


def policies() -> PolicySet:
    pools = [
        {"name": pool.name, "role": role, "target": {"name": pool.name}, "variant": "h100-tp4", "min": 1, "max": 12}
        for pool, role in ((PREFILL, "prefill"), (DECODE, "decode"))
    ]
    document = {
        "metadata": {"name": "chat", "namespace": CHAT.namespace},
        "spec": {"model": CHAT.model, "mode": "act", "pools": pools},
    }
    variant = Variant("h100-tp4", accelerator="nvidia-h100-sxm", gpus=4, usd_per_hour=14.0)
    return PolicySet((ScalingPolicy.model_validate(document),), {"h100-tp4": variant})


def requests_per_s(at: datetime) -> float:
    """A wave of 40 minutes between 2 and 10 requests a second."""
    return 6 + 4 * sin(2 * pi * at.timestamp() / 2400)


def cycle(number: int, at: datetime) -> Cycle:
    demand = TokenDemand(requests_per_s(at), 1500.0, 300.0, timedelta(minutes=1), DemandSource.ENGINES, 0.4)
    wanted = max(1, round(requests_per_s(at)))
    had = max(1, round(requests_per_s(at - timedelta(minutes=2))))
    minute = int(at.timestamp()) // 60
    model = ModelCycle(
        ref=CHAT,
        mode=Mode.ACT,
        demand=demand,
        work=Work(prefill=wanted / 2, decode=wanted * 0.8),
        latency=Latency(),
        pools=tuple(
            PoolSummary(pool, had, False, had, max(0, wanted - had), 0, 0.0, 0.5) for pool in (PREFILL, DECODE)
        ),
        capacities=(Capacity(Role.DECODE, 0.7, CapacityBasis.INFERRED),),
        lead_time_s=180.0,
        forecasts=tuple(_forecasts(at)),
        skills=(
            *(ForecastSkill(series, window, 0.12, 0.3, 0.91, 40) for series in _TOKENS for window in HORIZONS),
            *(ForecastSkill("work_decode", window, 0.1, 0.2, 0.9, 40) for window in (Window(180, 480), Window(0, 900))),
        ),
        decisions=tuple(
            _decision(pool, role, had, wanted) for pool, role in ((PREFILL, "prefill"), (DECODE, "decode"))
        ),
        detections=_found(at) if minute % 30 < 8 else (),
        diagnosis=Diagnosis(CHAT),
        signals=(
            SignalHealth("running", SignalState.OK),
            SignalHealth("waiting", SignalState.STALE if minute % 30 < 5 else SignalState.ZERO),
        ),
        shifts=(DemandShift(ShiftKind.LEVEL, 1.4, at - timedelta(hours=3), at - timedelta(hours=1)),),
    )
    return Cycle(at, number, (model,), queries=17, fleet=FleetSummary(removed=3, may_remove=5))


def emitter_after(ends: datetime, cycles: int) -> tuple[Emitter, list[tuple[float, str]]]:
    """Emit ``cycles`` cycles, the last at ``ends``: the emitter, and its exposition after each (Unix seconds, text)."""
    emitter, scrapes, asked = Emitter("0.0", STEP_S), [], 0
    for number in range(1, cycles + 1):
        at = ends - timedelta(seconds=STEP_S * (cycles - number))
        now = cycle(number, at)
        emitter.stage("observe")
        emitter.stage("decide")
        emitter.stage("record")
        emitter.record(now, policies())
        emitter.stage("act")
        for decision in now.decisions:
            if decision.change:
                asked += 1
                refusal = "refused" if asked % 20 == 0 else ""
                emitter.outcome(Outcome(decision.pool, at, decision.desired or 0, not refusal, refusal))
        emitter.stage("")
        scrapes.append((at.timestamp(), emitter.expose().decode()))
    return emitter, scrapes


def exposed() -> dict[str, set[str]]:
    """Each metric that aiops exposes, histograms by their series, and every label it was seen with."""
    emitter, _ = emitter_after(datetime(2026, 3, 2, 12, tzinfo=UTC), 90)
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(emitter.expose().decode()):
        total = family.name + ("_total" if family.type == "counter" else "")
        labels.setdefault(total, set())
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    return labels


def write_history(scrapes: Iterable[tuple[float, str]], path: Path) -> Path:
    """Write scrapes as one OpenMetrics file, each family's samples together and each series in the order of time."""
    types: dict[str, str] = {}
    series: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for at_s, text in scrapes:
        for family in text_string_to_metric_families(text):
            types[family.name] = family.type
            for sample in family.samples:
                labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
                key = f"{sample.name}{{{labels}}}"
                series[family.name][key].append(f"{key} {sample.value} {at_s}\n")
    with path.open("w") as file:
        for name, kind in types.items():
            file.write(f"# TYPE {name} {kind}\n")
            file.writelines(line for lines in series[name].values() for line in lines)
        file.write("# EOF\n")
    return path


def _forecasts(at: datetime) -> Iterable[Forecast]:
    for name, tokens in _TOKENS.items():
        for window in HORIZONS:
            right = tokens * requests_per_s(at + timedelta(seconds=window.end_s))
            yield Forecast(name, at, window, ((0.1, 0.8 * right), (0.5, right), (0.9, 1.3 * right)))


def _decision(pool: PoolRef, role: str, had: int, wanted: int) -> Decision:
    reasons = {
        "up": (Reason.FORECAST, Reason.SCALE_UP_STEP_LIMITED),
        "down": (Reason.DEMAND_FELL,),
        "hold": (Reason.SCALE_DOWN_STABILIZED,),
    }
    direction = "up" if wanted > had else "down" if wanted < had else "hold"
    return Decision(CHAT, pool, Role(role), had, wanted, wanted, reasons[direction])


def _found(at: datetime) -> tuple[Detection, ...]:
    of = {"since": at, "evidence": (), "note": "", "pool": DECODE}
    return (
        Detection(DetectionKind.HOTSPOT, CHAT, Severity.WARNING, replica="chat-decode-1", **of),
        Detection(DetectionKind.ROUTING_SKEW, CHAT, Severity.WARNING, **of),
    )
