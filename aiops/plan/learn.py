"""Take a snapshot into memory: demand into the forecasters, starts into the lead times, findings into the detectors."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from zlib import crc32

from aiops.detect import look
from aiops.forecast import SeriesState, empty_series, ensemble
from aiops.forecast.calendar import ordinary, with_events
from aiops.model.demand import DemandHistory, DemandSource, TokenDemand
from aiops.model.forecast import FAR, INPUT_TOKENS, NEAR, OUTPUT_TOKENS, REQUESTS, Window
from aiops.model.mark import Mark
from aiops.model.policy import PolicySet, ScalingPolicy
from aiops.model.profile import CapacityProfile
from aiops.model.refs import ModelRef, Role
from aiops.model.snapshot import ModelSnapshot, PoolSnapshot, Snapshot
from aiops.plan.fleet_limit import MOVES, removed_between, within_the_hour
from aiops.plan.growth import KEPT_S, Rate
from aiops.plan.lead_time import LeadTime, lead_time
from aiops.plan.state import ModelMemory, PoolMemory, SeriesMemory, State
from aiops.plan.work import work_of

BIN_S = 60.0
_SHOWN = (NEAR, FAR)
_COLD_STARTS_KEPT = 200
_BIN = timedelta(seconds=BIN_S)


def work_series(role: Role) -> str:
    """Name the series of a role's work."""
    return f"work_{role}"


def profiles_of(policy: ScalingPolicy, policies: PolicySet) -> dict[Role, CapacityProfile] | None:
    """Give the capacity profile of each role; None where a pool's variant names none."""
    found = {pool.role: policies.variants[pool.variant].profile for pool in policy.spec.pools}
    known = {role: profile for role, profile in found.items() if profile is not None}
    return known if len(known) == len(found) else None


def lead_time_of(policy: ScalingPolicy, policies: PolicySet, memory: ModelMemory) -> LeadTime:
    """Give the lead time of the model's slowest pool."""
    return max(
        (
            lead_time(
                policies.variants[pool.variant], memory.pool(policy.pool_ref(pool)).cold_starts_s, policy.spec.mode
            )
            for pool in policy.spec.pools
        ),
        key=lambda lead: lead.p90_s,
    )


def up_window(lead: LeadTime) -> Window:
    """The window in which a replica ordered now must be there: one bin long, from the lead time on."""
    start_s = _whole_bins(lead.p90_s)
    return Window(start_s, start_s + BIN_S)


def down_window(lead: LeadTime, policy: ScalingPolicy) -> Window:
    """The window that must do without a replica removed now: until another could be back and held."""
    return Window(0, _whole_bins(lead.p90_s + policy.spec.scale_down.stabilization.total_seconds()))


def _whole_bins(seconds: float) -> float:
    return BIN_S * max(1, round(seconds / BIN_S))


def begin(
    state: State, policies: PolicySet, histories: Sequence[DemandHistory], at: datetime, kept: State | None = None
) -> State:
    """Let the forecasters learn the past: anew, but of the models that are ``kept`` only what came after that.

    What is remembered of pools and findings stays; models without a history keep all they know.
    """
    models = {memory.ref: memory for memory in state.models}
    for history in histories:
        policy = policies.policy(history.ref)
        if policy is not None and history.ends_s:
            known = kept.model(history.ref) if kept is not None else ModelMemory(history.ref)
            models[history.ref] = _with_history(state.model(history.ref), known, policy, policies, history, at)
    return replace(state, models=tuple(models.values()))


def _with_history(
    memory: ModelMemory,
    known: ModelMemory,
    policy: ScalingPolicy,
    policies: PolicySet,
    history: DemandHistory,
    at: datetime,
) -> ModelMemory:
    windows = _windows(policy, policies, memory)
    values: dict[str, list[float | None]] = {name: [] for name in windows}
    for requests, inputs, outputs in zip(
        history.requests_per_s, history.input_tok_per_s, history.output_tok_per_s, strict=True
    ):
        demand = None if requests is None else _demand(requests, inputs, outputs)
        for name, value in _values(policy, policies, demand).items():
            values[name].append(value)
    states = {entry.name: entry.state for entry in known.series}
    if known.bin_start_s is not None and at.timestamp() >= known.bin_start_s + BIN_S:
        seen = tuple(entry for entry in known.series if entry.open_value is not None)
        states |= {entry.name: entry.state for entry in _closed(replace(known, series=seen), windows, policy, policies)}
    open_values = {entry.name: entry.open_value for entry in memory.series}
    series = []
    for name in windows:
        begun = states.get(name) or _empty_series(memory.ref, name)
        first = 0 if begun.end_s is None else bisect_right(history.ends_s, begun.end_s)
        ends_s = history.ends_s[first:]
        taught = ordinary(values[name][first:], ends_s, BIN_S, policy.spec.calendar)
        learned = ensemble(policies.prior, policies.forecasters).learn_history(begun, ends_s, taught, windows[name])
        series.append(SeriesMemory(name, learned, open_values.get(name)))
    return _predicted(replace(memory, series=tuple(series)), windows, at, policy, policies)


def _empty_series(ref: ModelRef, name: str) -> SeriesState:
    """Begin a series in a phase of its own, so that thousands do their dear work in different bins."""
    return empty_series(BIN_S, crc32(f"{ref.namespace}/{ref.model}/{name}".encode()))


def _closed(
    memory: ModelMemory, windows: dict[str, tuple[Window, ...]], policy: ScalingPolicy, policies: PolicySet
) -> tuple[SeriesMemory, ...]:
    """Close the open bin with the last value that was seen in it."""
    learn = ensemble(policies.prior, policies.forecasters).learn
    end_s = (memory.bin_start_s or 0.0) + BIN_S
    closed = []
    for entry in memory.series:
        if entry.name in windows:
            (value,) = ordinary((entry.open_value,), (end_s,), BIN_S, policy.spec.calendar)
            state = learn(entry.state, end_s, value, windows[entry.name], censored=memory.bin_censored)
            closed.append(SeriesMemory(entry.name, state))
    return tuple(closed)


def _demand(requests: float, inputs: float | None, outputs: float | None) -> TokenDemand:
    return TokenDemand(
        requests_per_s=requests,
        input_tokens_per_request=inputs / requests if inputs is not None and requests else None,
        output_tokens_per_request=outputs / requests if outputs is not None and requests else None,
        window=_BIN,
        source=DemandSource.ENGINES,
    )


def learn_snapshot(state: State, snapshot: Snapshot, policies: PolicySet) -> State:
    """Take one snapshot in.

    A model that was not seen keeps its memory unchanged but for the time that passes: its bins stay gaps. A model
    without a policy is forgotten.
    """
    models = tuple(
        _learn_model(state.model(policy.ref), snapshot.model(policy.ref), snapshot.at, policy, policies)
        for policy in policies.policies
    )
    now_s = snapshot.at.timestamp()
    moved = {policy.ref for policy in policies.policies if policy.spec.mode in MOVES}
    removed = sum(removed_between(state.model(model.ref), model) for model in models if model.ref in moved)
    removals = (*within_the_hour(state.removals, now_s), *((Mark(now_s, removed),) if removed else ()))
    since_s = now_s if state.counted_since_s is None else state.counted_since_s
    return State(cycles=state.cycles + 1, models=models, removals=removals, counted_since_s=since_s)


def _learn_model(
    memory: ModelMemory, model: ModelSnapshot, at: datetime, policy: ScalingPolicy, policies: PolicySet
) -> ModelMemory:
    detections, detect = look(model, at, memory.detect)
    memory = replace(memory, detections=detections, detect=detect)
    if not model.blind:
        memory = replace(memory, pools=tuple(_learn_pool(memory.pool(p.pool), p, at) for p in model.pools))
    return _learn_demand(memory, None if model.blind else model.demand, at, policy, policies)


def _learn_pool(memory: PoolMemory, pool: PoolSnapshot, at: datetime) -> PoolMemory:
    starts = (*memory.cold_starts_s, *pool.cold_starts_s)[-_COLD_STARTS_KEPT:]
    currents = memory.currents
    if pool.current is not None and pool.current != memory.current:
        currents = (*currents, Mark(at.timestamp(), pool.current))
    return replace(memory, cold_starts_s=starts, currents=currents, unplaced=len(pool.unplaced))


def _learn_demand(
    memory: ModelMemory, demand: TokenDemand | None, at: datetime, policy: ScalingPolicy, policies: PolicySet
) -> ModelMemory:
    """Close the bins that have ended, and put the newest value into the open one."""
    now_s = at.timestamp()
    bin_start_s = now_s - now_s % BIN_S
    windows = _windows(policy, policies, memory)
    series = {entry.name: entry for entry in memory.series}
    ordered = tuple(series.get(name, SeriesMemory(name, _empty_series(memory.ref, name))) for name in windows)
    if memory.bin_start_s is not None and bin_start_s > memory.bin_start_s:
        closed = _closed(replace(memory, series=ordered), windows, policy, policies)
        memory = _predicted(replace(memory, series=closed, bin_censored=False), windows, at, policy, policies)
        ordered = closed
    if demand is not None:
        values = _values(policy, policies, demand)
        ordered = tuple(replace(entry, open_value=values[entry.name]) for entry in ordered)
        rates = (*(rate for rate in memory.rates if now_s - rate.at_s < KEPT_S), Rate(now_s, demand.requests_per_s))
        memory = replace(memory, bin_censored=memory.bin_censored or demand.censored, rates=rates)
    return replace(memory, series=ordered, bin_start_s=bin_start_s)


def _predicted(
    memory: ModelMemory,
    windows: dict[str, tuple[Window, ...]],
    at: datetime,
    policy: ScalingPolicy,
    policies: PolicySet,
) -> ModelMemory:
    forecaster = ensemble(policies.prior, policies.forecasters)
    forecasts = tuple(
        with_events(forecast, policy.spec.calendar)
        for entry in memory.series
        for forecast in forecaster.predict(entry.state, entry.name, at, windows[entry.name])
    )
    known = tuple(skill for entry in memory.series for skill in forecaster.skills(entry.state, entry.name))
    return replace(memory, forecasts=forecasts, skills=known)


def _windows(policy: ScalingPolicy, policies: PolicySet, memory: ModelMemory) -> dict[str, tuple[Window, ...]]:
    lead = lead_time_of(policy, policies, memory)
    planned = (up_window(lead), down_window(lead, policy))
    roles = {work_series(pool.role): planned for pool in policy.spec.pools}
    return {REQUESTS: _SHOWN, INPUT_TOKENS: _SHOWN, OUTPUT_TOKENS: _SHOWN, **roles}


def _values(policy: ScalingPolicy, policies: PolicySet, demand: TokenDemand | None) -> dict[str, float | None]:
    """Give the value of each series; None is a gap."""
    work = None
    profiles = profiles_of(policy, policies)
    if demand is not None and profiles is not None:
        work = work_of(demand, profiles, policy.spec.objectives.itl.bound_s)
    return {
        REQUESTS: demand.requests_per_s if demand else None,
        INPUT_TOKENS: demand.input_tok_per_s if demand else None,
        OUTPUT_TOKENS: demand.output_tok_per_s if demand else None,
        **{work_series(pool.role): work.of(pool.role) if work else None for pool in policy.spec.pools},
    }
