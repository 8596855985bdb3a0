"""How many replicas each role needs: the larger of what the present and what the forecast asks for."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from aiops.forecast.calendar import foreseen
from aiops.model.calendar import Event
from aiops.model.capacity import Capacity
from aiops.model.decision import Input, Provenance, Reason
from aiops.model.demand import TokenDemand
from aiops.model.forecast import Forecast, ForecastBasis, ForecastSkill, Window
from aiops.model.refs import Role
from aiops.plan.work import ReplicaRate

_DRAIN_S = 60.0  # what waits is cleared within a minute of the replicas being there
_YOUNG_GROWTH_RATIO = 2.0
"""How far above the present the tail of a forecast is believed that has not seen a whole day."""
_QUEUED_PER_REPLICA = 1.0  # a request or so waits at a healthy replica for the step under way: no backlog yet


@dataclass(frozen=True, slots=True)
class RoleNeed:
    """What one role needs, as work (replica-seconds per second) and as replicas.

    ``low`` is the fewest replicas that serve the present, its backlog and the forecast at the lead time, or relieve a
    pool that is full whatever its profile says; ``high`` the most that anything expected within the down window could
    use. Between them nothing has to move.
    """

    role: Role
    work_now: float
    work_backlog: float
    work_ahead: float | None
    work_growing: float | None
    work_down: float | None
    limit: float
    low: int
    high: int

    def propose(self, current: int) -> tuple[int, Reason]:
        """Give the raw proposal from the present number of replicas, and the rule that made it."""
        desired = min(max(current, self.low), max(self.high, self.low))
        if desired < current:
            return desired, Reason.DEMAND_FELL
        if desired == current:
            return desired, Reason.STEADY
        if self._replicas(self.work_now) >= desired:
            return desired, Reason.DEMAND_NOW
        if self._replicas(self.work_now + self.work_backlog) >= desired:
            return desired, Reason.BACKLOG
        if self._replicas(max(self.work_ahead or 0.0, self.work_growing or 0.0)) >= desired:
            return desired, Reason.FORECAST
        return desired, Reason.SATURATED

    def _replicas(self, work: float) -> int:
        return replicas_for(work, self.limit)


def replicas_for(work: float, limit_ratio: float) -> int:
    """Give the fewest replicas whose utilization stays at or below the limit."""
    return ceil(work / limit_ratio - 1e-9)


def backlog_work(demand: TokenDemand, role: Role, rate: ReplicaRate, ready: int) -> float:
    """Give the work of clearing what waits beyond a healthy queue within a minute; 0 where nobody counted it."""
    waiting = {
        Role.PREFILL: demand.prefill_backlog_requests,
        Role.DECODE: demand.decode_backlog_requests,
        Role.BOTH: demand.backlog_requests,
    }[role]
    excess = max(0.0, (waiting or 0.0) - _QUEUED_PER_REPLICA * ready)
    return excess / rate.requests_per_s / _DRAIN_S


def role_need(
    work_now: float,
    work_backlog: float,
    ahead: Forecast | None,
    down: Forecast | None,
    risk: float,
    capacity: Capacity,
    work_growing: float | None = None,
    young: bool = False,
) -> RoleNeed:
    """Join present and forecast of one role: ``plan = max(present, forecast)``, so the forecast can only add.

    ``young`` says that the forecast has not seen a whole day yet. Its errors are then those of one part of a day: what
    a morning's say of the evening is not to be paid for, so its tail counts up to twice the present, or to its median.
    """

    def told(forecast: Forecast | None, level: float) -> float | None:
        value = forecast.quantile(level) if forecast else None
        if forecast is None or value is None or not young:
            return value
        return min(value, max(_YOUNG_GROWTH_RATIO * work_now, forecast.quantile(0.5) or 0.0))

    # A forecaster that does not know its errors yet has a wide interval. It may keep replicas, but not order them:
    # its median may add, its tail may not.
    level = 0.5 if ahead and ahead.basis is ForecastBasis.COLD else 1 - risk
    work_ahead, work_down = told(ahead, level), told(down, 1 - risk)
    limit = capacity.utilization_limit_ratio
    low = replicas_for(max(work_now + work_backlog, work_ahead or 0.0, work_growing or 0.0), limit)
    high = max(low, replicas_for(work_down or 0.0, limit))
    return RoleNeed(capacity.role, work_now, work_backlog, work_ahead, work_growing, work_down, limit, low, high)


def find(forecasts: Sequence[Forecast], series: str, window: Window) -> Forecast | None:
    """Find the forecast of a series over a window; None where none stands on any point.

    The lead time may have been learned anew since the forecasts were made. Until the next ones are, that of the nearest
    window of the same kind counts: one that begins later than now, or one that begins now.
    """
    alike = (
        one
        for one in forecasts
        if one.series == series
        and bool(one.window.start_s) == bool(window.start_s)
        and one.basis is not ForecastBasis.NONE
    )
    return min(alike, key=lambda one: abs(one.window.end_s - window.end_s), default=None)


def inputs_of(need: RoleNeed, demand: TokenDemand, capacity: Capacity, lead_s: float, starts: int) -> tuple[Input, ...]:
    """List every number that the need stands on, and how it came to be known."""

    def seen(name: str, value: float | None, unit: str) -> Input:
        return Input(name, value, unit, Provenance.MISSING if value is None else Provenance.MEASURED)

    def inferred(name: str, value: float | None, unit: str) -> Input:
        return Input(name, value, unit, Provenance.MISSING if value is None else Provenance.INFERRED)

    return (
        seen("arrivals", demand.requests_per_s, "req/s"),
        seen("input tokens per request", demand.input_tokens_per_request, "tokens"),
        seen("output tokens per request", demand.output_tokens_per_request, "tokens"),
        seen("prefix cache share", demand.cached_ratio, "ratio"),
        seen("waiting requests", demand.backlog_requests, "requests"),
        inferred("work now", need.work_now, "replicas"),
        inferred("work of the backlog", need.work_backlog, "replicas"),
        inferred("work forecast at the lead time", need.work_ahead, "replicas"),
        *(
            [inferred("work at the lead time if growth goes on", need.work_growing, "replicas")]
            if need.work_growing
            else []
        ),
        inferred("work forecast until a removed replica could be back", need.work_down, "replicas"),
        inferred("utilization limit", capacity.utilization_limit_ratio, "ratio"),
        inferred("one replica serves", capacity.replica_tok_per_s, "tok/s"),
        Input("lead time", lead_s, "s", Provenance.MEASURED if starts else Provenance.INFERRED),
    )


def event_inputs(forecasts: Sequence[Forecast | None], events: Sequence[Event]) -> tuple[Input, ...]:
    """List the known events by which the forecasts that a need stands on were multiplied."""
    found = [foreseen(forecast, events) for forecast in forecasts if forecast is not None]
    named = {event.name: event for event in found if event is not None}
    return tuple(
        Input(f"known event: {name}", event.multiplier, "× demand", Provenance.INFERRED)
        for name, event in named.items()
    )


def skill_input(ahead: Forecast | None, skills: Sequence[ForecastSkill]) -> tuple[Input, ...]:
    """Say how much better than the last value the work at the lead time was forecast lately; nothing without one."""
    if ahead is None:
        return ()
    known = (s.skill_ratio for s in skills if (s.series, s.window) == (ahead.series, ahead.window))
    skill_ratio = next(known, None)
    if skill_ratio is None:
        return (Input("skill of the forecast at the lead time", None, "ratio", Provenance.MISSING),)
    name = "skill of the forecast at the lead time"
    if ahead.basis is ForecastBasis.LAST_VALUE:
        name += ": none, so it is the last value"
    elif skill_ratio < 0.0:
        name += ": none"
    return (Input(name, skill_ratio, "ratio", Provenance.MEASURED),)


def why_not(need: RoleNeed, demand: TokenDemand, capacity: Capacity, current: int) -> str:
    """Name the nearest demand that would change the number of replicas, in the role's own tokens."""
    if not need.work_now or capacity.replica_tok_per_s is None:
        return ""
    kind = "prompt" if need.role is Role.PREFILL else "output"
    per_s = demand.input_tok_per_s if need.role is Role.PREFILL else demand.output_tok_per_s
    if per_s is None:
        return ""
    tokens_per_work = per_s / need.work_now
    above = current * need.limit * tokens_per_work
    asked = max(need.work_now + need.work_backlog, need.work_ahead or 0.0, need.work_growing or 0.0) * tokens_per_work
    text = f"would add 1 above {_count(above)} {kind} tok/s (now {_count(per_s)}, planned for {_count(asked)})"
    if current > 1:
        text += f"; would remove 1 with less than {_count((current - 1) * need.limit * tokens_per_work)} expected"
    return text


def _count(value: float) -> str:
    return f"{value / 1000:.1f} k" if value >= 10_000 else f"{value:.0f}"
