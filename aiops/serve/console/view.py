"""What the page shows: the nouns of the newest cycle, and what stands beside them. The templates only lay it out."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from aiops.act.journal import Journal, RecordedDecision
from aiops.model.cycle import Cycle, ModelCycle, PoolSummary
from aiops.model.decision import Decision
from aiops.model.policy import Bound, Mode, PolicySet, PoolSpec, ScalingPolicy, Variant
from aiops.model.snapshot import SignalHealth
from aiops.serve.console.chart import Chart
from aiops.serve.console.model_charts import axis_of, demand_charts, pool_chart
from aiops.serve.console.words import number, quantity, span_text
from aiops.serve.health import Health, LoopState

SPANS = (timedelta(hours=1), timedelta(hours=6), timedelta(hours=24), timedelta(days=7))
_DEFAULT_SPAN = SPANS[1]
_DECISIONS = 25
_POINTS = 400


class Tone(StrEnum):
    """How a figure stands to its objective."""

    PLAIN = "plain"
    GOOD = "good"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure of the head row, with what puts it in proportion."""

    label: str
    value: str
    notes: tuple[str, ...] = ()
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True)
class PoolRow:
    """One pool now. ``summary`` is None where nothing of it was seen, ``spec`` where no policy names it."""

    decision: Decision
    summary: PoolSummary | None
    spec: PoolSpec | None


@dataclass(frozen=True, slots=True)
class ModelView:
    """The chosen model. ``asked`` is what the plan's number is called in its mode."""

    cycle: ModelCycle
    mode_sentence: str
    asked: str
    tiles: tuple[Tile, ...]
    demand_charts: tuple[Chart, ...]
    pool_charts: tuple[Chart, ...]
    pools: tuple[PoolRow, ...]
    decisions: tuple[RecordedDecision, ...]
    doubts: tuple[SignalHealth, ...]


@dataclass(frozen=True, slots=True)
class PageView:
    """The whole page; ``cycle`` is None before the first, ``notice`` says what was asked for and is not there."""

    title: str
    state: LoopState
    silent_s: float
    cycle: Cycle | None
    span: str
    spans: tuple[str, ...]
    model: ModelView | None
    notice: str


_MODE_SENTENCES = {
    Mode.OBSERVE: "plans and shows, changes nothing",
    Mode.EMIT: "publishes the number, another scaler applies it",
    Mode.ACT: "sets the replicas itself",
    Mode.ACT_UP: "adds replicas itself, never removes any",
}


def page_view(
    journal: Journal, health: Health, policies: PolicySet, title: str, wanted: str = "", span: str = ""
) -> PageView:
    """Build the page of the newest cycle.

    ``wanted`` is the chosen model as ``namespace/model`` (else the first), ``span`` one of the offered ones (else 6 h).
    """
    chosen_span = next((offered for offered in SPANS if span_text(offered) == span), _DEFAULT_SPAN)
    cycle = journal.latest()
    models = cycle.models if cycle else ()
    chosen = next((model for model in models if str(model.ref) == wanted), None)
    shown = chosen or next(iter(models), None)
    return PageView(
        title=title,
        state=health.state,
        silent_s=health.silent_s,
        cycle=cycle,
        span=span_text(chosen_span),
        spans=tuple(span_text(offered) for offered in SPANS),
        model=_model_view(journal, cycle, shown, policies, chosen_span) if cycle and shown else None,
        notice=f"There is no model {wanted}." if wanted and cycle and chosen is None else "",
    )


def _model_view(journal: Journal, cycle: Cycle, model: ModelCycle, policies: PolicySet, span: timedelta) -> ModelView:
    policy = policies.policy(model.ref)
    specs = {policy.pool_ref(spec): spec for spec in policy.spec.pools} if policy else {}
    summaries = {summary.pool: summary for summary in model.pools}
    newest_s = cycle.at.timestamp()
    series = journal.series(model.ref, cycle.at - span, points=_POINTS)
    axis = axis_of(series, newest_s, span)
    asked = "recommended" if model.mode is Mode.OBSERVE else "asked"
    pools = {pool.pool: pool for pool in series.pools}
    rows = tuple(
        PoolRow(decision, summaries.get(decision.pool), specs.get(decision.pool)) for decision in model.decisions
    )
    return ModelView(
        cycle=model,
        mode_sentence=_MODE_SENTENCES[model.mode],
        asked=asked,
        tiles=_tiles(model, policy, rows, policies.variants, asked),
        demand_charts=demand_charts(series, axis, newest_s, model.skills),
        pool_charts=tuple(
            pool_chart(pools[row.decision.pool], axis, newest_s, series.step_s, asked)
            for row in rows
            if row.decision.pool in pools
        ),
        pools=rows,
        decisions=journal.decisions(model.ref, changed_only=True, limit=_DECISIONS),
        doubts=tuple(signal for signal in model.signals if not signal.usable),
    )


def _tiles(
    model: ModelCycle,
    policy: ScalingPolicy | None,
    rows: tuple[PoolRow, ...],
    variants: dict[str, Variant],
    asked: str,
) -> tuple[Tile, ...]:
    demand, latency = model.demand, model.latency
    objectives = policy.spec.objectives if policy else None
    size = demand.input_tokens_per_request if demand else None
    length = demand.output_tokens_per_request if demand else None
    return (
        Tile(
            "Prompt tokens",
            quantity(demand.input_tok_per_s if demand else None, "tok/s"),
            (f"{number(demand.requests_per_s)} req/s", f"{number(size)} tokens each") if demand else (),
        ),
        Tile(
            "Output tokens",
            quantity(demand.output_tok_per_s if demand else None, "tok/s"),
            (f"{number(length)} tokens each", f"{number(demand.backlog_requests)} waiting") if demand else (),
        ),
        _latency_tile("TTFT", latency.ttft_s, latency.ttft_attainment_ratio, objectives.ttft if objectives else None),
        _latency_tile("ITL", latency.itl_s, latency.itl_attainment_ratio, objectives.itl if objectives else None),
        _replicas_tile(rows, asked),
        Tile(
            "Lead time",
            quantity(model.lead_time_s, "s"),
            ("order to serving, P90", *_cost(rows, variants)),
        ),
    )


def _latency_tile(name: str, value_s: float | None, attained: float | None, bound: Bound | None) -> Tile:
    if bound is None:
        return Tile(name, quantity(value_s, "s"))
    notes = [f"objective {quantity(bound.bound_s, 's')}"]
    if attained is not None:
        notes.append(f"{quantity(attained, 'ratio')} within")
    tone = Tone.PLAIN if value_s is None else Tone.GOOD if value_s <= bound.bound_s else Tone.BAD
    return Tile(f"{name} p{bound.attainment * 100:g}", quantity(value_s, "s"), tuple(notes), tone)


def _replicas_tile(rows: tuple[PoolRow, ...], asked: str) -> Tile:
    desired = [row.decision.desired for row in rows if row.decision.desired is not None]
    seen = [row.summary for row in rows if row.summary is not None]
    total = sum(desired) if len(desired) == len(rows) else None
    ready, starting = sum(summary.ready for summary in seen), sum(summary.starting for summary in seen)
    notes = (f"{ready} ready", *((f"{starting} starting",) if starting else ()), f"{number(total)} {asked}")
    known = [summary.current for summary in seen if summary.current is not None]
    return Tile("Replicas", number(sum(known) if len(known) == len(rows) else None), notes if seen else notes[-1:])


def _cost(rows: tuple[PoolRow, ...], variants: dict[str, Variant]) -> tuple[str, ...]:
    """Price what is paid for now; nothing where a price or a pool is not known."""
    total = 0.0
    for row in rows:
        variant = variants.get(row.spec.variant) if row.spec else None
        if row.summary is None or variant is None or variant.usd_per_hour is None:
            return ()
        total += (row.summary.ready + row.summary.starting + row.summary.draining) * variant.usd_per_hour
    return (f"{number(total)} USD/h paid",)
