"""aiops' own gauges: their names, labels and meaning, and how a cycle fills them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from prometheus_client.core import GaugeMetricFamily

from aiops.model.cycle import Cycle, ModelCycle, PoolSummary
from aiops.model.decision import Decision
from aiops.model.forecast import FAR, INPUT_TOKENS, NEAR, OUTPUT_TOKENS, REQUESTS, Window
from aiops.model.policy import Mode, PolicySet, PoolSpec, ScalingPolicy
from aiops.model.refs import ModelRef, PoolRef, Role
from aiops.model.snapshot import SignalState

MODEL = ("namespace", "model_name")
POOL = (*MODEL, "pool", "role", "variant")


class Family(NamedTuple):
    """A gauge's labels and its help text."""

    labels: tuple[str, ...]
    help: str


GAUGES: dict[str, Family] = {
    "aiops_build_info": Family(("version",), "Always 1; the label names the version of aiops."),
    "aiops_mode": Family((*MODEL, "mode"), "What aiops may do about a model: 1 for the mode of its policy, else 0."),
    "aiops_leader": Family((), "Whether this process leads and may write: 1 or 0."),
    "aiops_loop_last_success_timestamp_seconds": Family(
        (), "Unix time of the last cycle that saw the world. All other gauges stand still when this one does."
    ),
    "aiops_loop_interval_seconds": Family((), "Seconds from the start of one cycle to the next."),
    "aiops_loop_queries": Family((), "PromQL queries of the last cycle."),
    "aiops_policy_load_failed": Family(
        (), "1 while the policy files on disk are broken and the last good ones are used, else 0."
    ),
    "aiops_writes_off": Family((), "1 while the FleetPolicy switches all writing off, else 0."),
    "aiops_fleet_removed_replicas": Family(
        (), "Replicas that went within the last hour from all pools that aiops moves, whoever took them."
    ),
    "aiops_fleet_removable_replicas": Family(
        (), "How many more may go within this hour, by maxRemovedPerHour; absent where no bound is set."
    ),
    "aiops_recommended_replicas": Family(POOL, "Replicas that the plan asks for, in every mode."),
    "aiops_desired_replicas": Family(
        POOL, "Replicas asked of Kubernetes; absent in observe mode and from a process that does not lead."
    ),
    "aiops_current_replicas": Family(POOL, "Replicas that the pool's target is set to."),
    "aiops_ready_replicas": Family(POOL, "Replicas that serve."),
    "aiops_starting_replicas": Family(POOL, "Replicas that are ordered and do not serve yet."),
    "aiops_draining_replicas": Family(POOL, "Replicas that end what they have and take nothing new."),
    "aiops_gpus": Family(POOL, "GPUs of the replicas that are paid for: serving, starting, draining."),
    "aiops_unplaced_replicas": Family(POOL, "Replicas that were ordered and found no node yet."),
    "aiops_min_replicas": Family(POOL, "The policy's minimum."),
    "aiops_max_replicas": Family(POOL, "The policy's maximum."),
    "aiops_decision_limited": Family(
        (*POOL, "limit"), "1 while a rule keeps the plan from what demand asks for, 0 once it no longer does."
    ),
    "aiops_demand_tokens_per_second": Family((*MODEL, "kind"), "Tokens that arriving requests bring or ask for."),
    "aiops_demand_requests_per_second": Family(MODEL, "Requests that arrive."),
    "aiops_work_replicas": Family((*MODEL, "role"), "Demand as replica-seconds per second of a role."),
    "aiops_forecast_tokens_per_second": Family(
        (*MODEL, "kind", "quantile", "horizon"), "Token demand expected one horizon after now."
    ),
    "aiops_forecast_requests_per_second": Family(
        (*MODEL, "quantile", "horizon"), "Requests expected one horizon after now."
    ),
    "aiops_forecast_coverage_ratio": Family(
        (*MODEL, "kind", "horizon"),
        "Share of the recent actuals at or below their 0.9 quantile. The kind work_ROLE is what the plan stands on, at "
        "the horizons lead (a replica ordered now serves) and down (until one removed now could be back).",
    ),
    "aiops_forecast_wape_ratio": Family(
        (*MODEL, "kind", "horizon"), "Recent sum of absolute errors over the sum of actuals."
    ),
    "aiops_forecast_skill_ratio": Family(
        (*MODEL, "kind", "horizon"), "1 minus the error over that of repeating the last value; negative is worse."
    ),
    "aiops_demand_shift_ratio": Family(
        (*MODEL, "kind"),
        "Level after ÷ before the shift of demand that was noticed last, for a day: of requests (level), of tokens a "
        "request, of output against input tokens (mix).",
    ),
    "aiops_utilization_limit_ratio": Family(
        (*MODEL, "role"), "The highest utilization of a replica at which the objectives hold."
    ),
    "aiops_lead_time_seconds": Family(MODEL, "Seconds from a decision until its replicas serve, as planned for."),
    "aiops_detection_active": Family(
        (*MODEL, "pool", "replica", "kind", "severity"),
        "1 for each finding of the last cycle; pool and replica are empty where they do not apply.",
    ),
    "aiops_signal_state": Family(
        (*MODEL, "signal", "state"), "How far a metric can be believed: 1 for its state, else 0."
    ),
    "aiops_pd_ratio": Family((*MODEL, "kind"), "Decode replicas per prefill replica, and the band allowed for it."),
    "aiops_slo_target_seconds": Family((*MODEL, "slo"), "The policy's bound on a latency."),
    "aiops_slo_objective_ratio": Family((*MODEL, "slo"), "The share of requests that must stay within the bound."),
    "aiops_cost_usd_per_hour": Family(POOL, "Price of the replicas that are paid for: serving, starting, draining."),
}

TOKEN_SERIES = {INPUT_TOKENS: "input", OUTPUT_TOKENS: "output"}
_KINDS = {**TOKEN_SERIES, REQUESTS: "requests"}
HORIZONS = {NEAR: "10m", FAR: "30m"}
QUANTILES = (0.1, 0.5, 0.9)


@dataclass(frozen=True, slots=True)
class Latest:
    """The newest cycle, the policies that label it, and whether this process leads.

    ``limits_seen`` are the limits that ever held a pool: they go to 0, not away, when they hold it no more.
    """

    cycle: Cycle
    policies: PolicySet
    leads: bool
    limits_seen: Mapping[PoolRef, frozenset[str]]
    specs: Mapping[PoolRef, PoolSpec]

    def labels(self, ref: ModelRef, pool: PoolRef, role: Role) -> tuple[str, ...]:
        """Give the values of the POOL labels; the variant is empty where no policy names the pool."""
        spec = self.specs.get(pool)
        return (ref.namespace, ref.model, str(pool), role.value, spec.variant if spec else "")


def pool_specs(policies: PolicySet) -> dict[PoolRef, PoolSpec]:
    """Find what the policies say of each pool."""
    return {policy.pool_ref(spec): spec for policy in policies.policies for spec in policy.spec.pools}


class Gauges:
    """The values of one exposition. A family holds one value per label set, so that no scrape is refused as double."""

    def __init__(self) -> None:
        self._values: dict[str, dict[tuple[str, ...], float]] = {name: {} for name in GAUGES}

    def set(self, name: str, labels: tuple[str, ...], value: float | None) -> None:
        """Set a value; None leaves the series out, since missing is not zero."""
        if value is not None:
            self._values[name][labels] = float(value)

    def families(self) -> Iterator[GaugeMetricFamily]:
        """Give every family, the empty ones too."""
        for name, (labels, text) in GAUGES.items():
            family = GaugeMetricFamily(name, text, labels=labels)
            for values, value in self._values[name].items():
                family.add_metric(values, value)
            yield family


def fill(gauges: Gauges, latest: Latest) -> None:
    """Set the gauges that a cycle fills; a model or pool that is not in it has no series."""
    policies = {policy.ref: policy for policy in latest.policies.policies}
    gauges.set("aiops_loop_queries", (), latest.cycle.queries)
    gauges.set("aiops_writes_off", (), latest.cycle.fleet.writes_off)
    gauges.set("aiops_fleet_removed_replicas", (), latest.cycle.fleet.removed)
    gauges.set("aiops_fleet_removable_replicas", (), latest.cycle.fleet.may_remove)
    for model in latest.cycle.models:
        policy = policies.get(model.ref)
        _model(gauges, model)
        _forecasts(gauges, model)
        _findings(gauges, model)
        if policy is not None:
            _objectives(gauges, policy)
        _ratio(gauges, model, policy)
        for decision in model.decisions:
            _decision(gauges, model, decision, latest)
        for summary in model.pools:
            _pool(gauges, model, summary, latest)


def _model(gauges: Gauges, model: ModelCycle) -> None:
    ref = (model.ref.namespace, model.ref.model)
    for mode in Mode:
        gauges.set("aiops_mode", (*ref, mode.value), mode is model.mode)
    gauges.set("aiops_lead_time_seconds", ref, model.lead_time_s)
    if model.demand is not None:
        gauges.set("aiops_demand_requests_per_second", ref, model.demand.requests_per_s)
        gauges.set("aiops_demand_tokens_per_second", (*ref, "input"), model.demand.input_tok_per_s)
        gauges.set("aiops_demand_tokens_per_second", (*ref, "output"), model.demand.output_tok_per_s)
    if model.work is not None:
        for role in Role:
            gauges.set("aiops_work_replicas", (*ref, role.value), model.work.of(role.value))
    for capacity in model.capacities:
        gauges.set("aiops_utilization_limit_ratio", (*ref, capacity.role.value), capacity.utilization_limit_ratio)


def _forecasts(gauges: Gauges, model: ModelCycle) -> None:
    ref = (model.ref.namespace, model.ref.model)
    for forecast in model.forecasts:
        horizon = HORIZONS.get(forecast.window)
        if horizon is None:
            continue
        for level in QUANTILES:
            value = forecast.quantile(level)
            if forecast.series == REQUESTS:
                gauges.set("aiops_forecast_requests_per_second", (*ref, f"{level:g}", horizon), value)
            elif kind := TOKEN_SERIES.get(forecast.series):
                gauges.set("aiops_forecast_tokens_per_second", (*ref, kind, f"{level:g}", horizon), value)
    for skill in model.skills:
        kind = _KINDS.get(skill.series, skill.series)
        labels = (*ref, kind, _horizon(skill.window))
        gauges.set("aiops_forecast_coverage_ratio", labels, skill.coverage_ratio)
        gauges.set("aiops_forecast_wape_ratio", labels, skill.wape_ratio)
        gauges.set("aiops_forecast_skill_ratio", labels, skill.skill_ratio)
    for shift in model.shifts:
        gauges.set("aiops_demand_shift_ratio", (*ref, shift.kind.value), shift.ratio)


def _horizon(window: Window) -> str:
    # The plan's windows move with the measured lead time; their names stay, so that a series goes on.
    return HORIZONS.get(window) or ("lead" if window.start_s else "down")


def _findings(gauges: Gauges, model: ModelCycle) -> None:
    ref = (model.ref.namespace, model.ref.model)
    for found in model.detections:
        subject = (str(found.pool) if found.pool else "", found.replica or "")
        gauges.set("aiops_detection_active", (*ref, *subject, found.kind.value, found.severity.value), 1)
    for health in model.signals:
        for state in SignalState:
            gauges.set("aiops_signal_state", (*ref, health.signal, state.value), state is health.state)


def _objectives(gauges: Gauges, policy: ScalingPolicy) -> None:
    ref = (policy.ref.namespace, policy.ref.model)
    for slo, bound in (("ttft", policy.spec.objectives.ttft), ("itl", policy.spec.objectives.itl)):
        gauges.set("aiops_slo_target_seconds", (*ref, slo), bound.bound_s)
        gauges.set("aiops_slo_objective_ratio", (*ref, slo), bound.attainment)


def _ratio(gauges: Gauges, model: ModelCycle, policy: ScalingPolicy | None) -> None:
    ref = (model.ref.namespace, model.ref.model)
    by_role = {decision.role: decision for decision in model.decisions}
    prefill, decode = by_role.get(Role.PREFILL), by_role.get(Role.DECODE)
    if prefill is None or decode is None:
        return
    gauges.set("aiops_pd_ratio", (*ref, "current"), _quotient(decode.current, prefill.current))
    gauges.set("aiops_pd_ratio", (*ref, "desired"), _quotient(decode.desired, prefill.desired))
    if policy is not None:
        band = policy.spec.ratio.decode_per_prefill
        gauges.set("aiops_pd_ratio", (*ref, "min"), band.min)
        gauges.set("aiops_pd_ratio", (*ref, "max"), band.max)


def _quotient(above: int | None, below: int | None) -> float | None:
    return above / below if above is not None and below else None


def _decision(gauges: Gauges, model: ModelCycle, decision: Decision, latest: Latest) -> None:
    labels = latest.labels(decision.ref, decision.pool, decision.role)
    gauges.set("aiops_recommended_replicas", labels, decision.desired)
    if latest.leads and model.mode is not Mode.OBSERVE:
        gauges.set("aiops_desired_replicas", labels, _asked(decision, model.mode))
    holding = {reason.value for reason in decision.reasons if reason.limit}
    for limit in sorted(latest.limits_seen.get(decision.pool, frozenset()) | holding):
        gauges.set("aiops_decision_limited", (*labels, limit), limit in holding)


def _asked(decision: Decision, mode: Mode) -> int | None:
    # "act: up" never asks for fewer replicas than there are, whatever the plan recommends.
    return decision.current if mode is Mode.ACT_UP and decision.change < 0 else decision.desired


def _pool(gauges: Gauges, model: ModelCycle, summary: PoolSummary, latest: Latest) -> None:
    spec = latest.specs.get(summary.pool)
    decided = next((decision.role for decision in model.decisions if decision.pool == summary.pool), None)
    role = decided or (spec.role if spec else Role.BOTH)
    labels = latest.labels(model.ref, summary.pool, role)
    gauges.set("aiops_current_replicas", labels, summary.current)
    gauges.set("aiops_ready_replicas", labels, summary.ready)
    gauges.set("aiops_unplaced_replicas", labels, summary.unplaced)
    gauges.set("aiops_starting_replicas", labels, summary.starting)
    gauges.set("aiops_draining_replicas", labels, summary.draining)
    if spec is None:
        return
    gauges.set("aiops_min_replicas", labels, spec.min)
    gauges.set("aiops_max_replicas", labels, spec.max)
    variant = latest.policies.variants.get(spec.variant)
    if variant is None:
        return
    paid = summary.ready + summary.starting + summary.draining
    gauges.set("aiops_gpus", labels, paid * variant.gpus)
    if variant.usd_per_hour is not None:
        gauges.set("aiops_cost_usd_per_hour", labels, paid * variant.usd_per_hour)
