"""What is to be done about one pool, and why."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from aiops.model.refs import ModelRef, PoolRef, Role


class Reason(StrEnum):
    """A rule that moved or held a number. Closed: the console, the metrics' label and the runbooks use these alone."""

    STEADY = "steady"
    DEMAND_NOW = "demand_now"
    BACKLOG = "backlog"
    FORECAST = "forecast"
    SATURATED = "saturated"
    DEMAND_FELL = "demand_fell"
    RATIO_BAND = "ratio_band"
    RATIO_RELAXED = "ratio_relaxed"
    ROUTING_SKEW = "routing_skew"
    STALE_METRICS = "stale_metrics"
    NO_DEMAND_SIGNAL = "no_demand_signal"
    NO_PROFILE = "no_profile"
    UNKNOWN_REPLICAS = "unknown_replicas"
    SCALE_DOWN_STABILIZED = "scale_down_stabilized"
    SCALE_UP_STEP_LIMITED = "scale_up_step_limited"
    SCALE_DOWN_STEP_LIMITED = "scale_down_step_limited"
    BELOW_MIN = "below_min"
    ABOVE_MAX = "above_max"
    GPU_BUDGET = "gpu_budget"
    USD_BUDGET = "usd_budget"
    OWNED_BY_ANOTHER_SCALER = "owned_by_another_scaler"
    PAUSED = "paused"
    HELD = "held"
    CHANGED_BY_ANOTHER = "changed_by_another"
    ROLLOUT = "rollout"
    UNSCHEDULABLE = "unschedulable"
    WRITES_OFF = "writes_off"
    FLEET_LIMIT = "fleet_limit"
    COOLDOWN_AFTER_FAILURE = "cooldown_after_failure"

    @property
    def sentence(self) -> str:
        """What the rule did, for people."""
        return _SENTENCES[self]

    @property
    def limit(self) -> bool:
        """Whether the rule kept the plan from what demand asked for."""
        return self in _LIMITS


_SENTENCES = {
    Reason.STEADY: "The replicas match what demand and forecast need.",
    Reason.DEMAND_NOW: "The present demand needs more replicas.",
    Reason.BACKLOG: "Requests already wait, and clearing them needs more replicas.",
    Reason.FORECAST: "The forecast over the lead time needs more replicas than the present does.",
    Reason.SATURATED: "The whole pool is full although its profile says it should not be: one more replica, and no "
    "further one until that one could serve.",
    Reason.DEMAND_FELL: "Neither the present nor the forecast needs this many replicas.",
    Reason.RATIO_BAND: "The prefill-to-decode ratio band moved this role with the other.",
    Reason.RATIO_RELAXED: "The ratio band cannot be met within the limits, so it gives way before the objectives do.",
    Reason.ROUTING_SKEW: "Some replicas are full while others idle; more replicas would not help, so the queue is not "
    "counted as need.",
    Reason.STALE_METRICS: "The metrics are lost, stale or mismatched: replicas are held.",
    Reason.NO_DEMAND_SIGNAL: "Arrivals or token sizes were never seen, so no need can be computed: replicas are held.",
    Reason.NO_PROFILE: "The variant names no capacity profile, so no need can be computed: replicas are held.",
    Reason.UNKNOWN_REPLICAS: "The present number of replicas is not known: nothing is changed.",
    Reason.SCALE_DOWN_STABILIZED: "More was needed within the stabilization window, or it was not watched as a whole: "
    "waiting it out.",
    Reason.SCALE_UP_STEP_LIMITED: "The policy limits how many replicas may be added at once.",
    Reason.SCALE_DOWN_STEP_LIMITED: "The policy limits how many replicas may be removed at once.",
    Reason.BELOW_MIN: "The policy's minimum is higher than what is needed.",
    Reason.ABOVE_MAX: "The policy's maximum is lower than what is needed.",
    Reason.GPU_BUDGET: "The GPU budget is lower than what is needed.",
    Reason.USD_BUDGET: "The cost budget is lower than what is needed.",
    Reason.OWNED_BY_ANOTHER_SCALER: "Another scaler owns the replicas of this target: they are left to it.",
    Reason.PAUSED: "A person paused this target: its replicas stay as they are.",
    Reason.HELD: "A person holds this target at a number of replicas.",
    Reason.CHANGED_BY_ANOTHER: "Somebody else changed the replicas within the last hour: they stay as they are.",
    Reason.ROLLOUT: "A rollout is under way: nothing is removed before it has ended.",
    Reason.UNSCHEDULABLE: "Replicas that were ordered cannot be placed on any node.",
    Reason.WRITES_OFF: "Writing is switched off for the whole fleet: the replicas stay as they are.",
    Reason.COOLDOWN_AFTER_FAILURE: "Writes to this target were refused several times in a row: it is left alone for up "
    "to a minute.",
    Reason.FLEET_LIMIT: "The whole fleet may lose no more replicas within this hour.",
}
_LIMITS = frozenset(
    {
        Reason.RATIO_RELAXED,
        Reason.STALE_METRICS,
        Reason.NO_DEMAND_SIGNAL,
        Reason.NO_PROFILE,
        Reason.UNKNOWN_REPLICAS,
        Reason.SCALE_DOWN_STABILIZED,
        Reason.SCALE_UP_STEP_LIMITED,
        Reason.SCALE_DOWN_STEP_LIMITED,
        Reason.BELOW_MIN,
        Reason.ABOVE_MAX,
        Reason.GPU_BUDGET,
        Reason.USD_BUDGET,
        Reason.OWNED_BY_ANOTHER_SCALER,
        Reason.PAUSED,
        Reason.HELD,
        Reason.CHANGED_BY_ANOTHER,
        Reason.ROLLOUT,
        Reason.UNSCHEDULABLE,
        Reason.WRITES_OFF,
        Reason.FLEET_LIMIT,
        Reason.COOLDOWN_AFTER_FAILURE,
    }
)


class Provenance(StrEnum):
    """How a decision's input came to be known."""

    MEASURED = "measured"
    INFERRED = "inferred"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Input:
    """One number that a decision stands on; a missing one has no value."""

    name: str
    value: float | None
    unit: str
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class Victim:
    """A replica that leaves first, and what is lost with it.

    ``requests`` run or wait at it, ``prefix_s`` is the prefill time that its cache saved others within the last minute;
    None where that was not measured.
    """

    replica: str
    starting: bool
    requests: float | None = None
    prefix_s: float | None = None

    @property
    def sentence(self) -> str:
        """What is lost with it, for people."""
        if self.starting:
            return f"{self.replica} does not serve yet"
        lost = "an unknown number of requests" if self.requests is None else f"{self.requests:g} requests"
        return f"{self.replica} has {lost}" + (f" and {self.prefix_s:.2g} s of prefixes" if self.prefix_s else "")


@dataclass(frozen=True, slots=True)
class Decision:
    """What one pool shall have, and why.

    ``current`` and ``desired`` are replicas; None where the present number is not known, and then nothing is asked.
    ``reasons`` stand in the order in which the rules applied. ``why_not`` is the nearest thing that would change it.
    ``victims`` are the replicas that cost least to lose, the cheapest first, where fewer are wanted and Kubernetes lets
    itself be told which.
    """

    ref: ModelRef
    pool: PoolRef
    role: Role
    current: int | None
    desired: int | None
    needed: int | None
    reasons: tuple[Reason, ...]
    inputs: tuple[Input, ...] = ()
    why_not: str = ""
    victims: tuple[Victim, ...] = ()

    @property
    def change(self) -> int:
        """Replicas to add (positive) or remove (negative)."""
        return 0 if self.current is None or self.desired is None else self.desired - self.current

    @property
    def acts(self) -> bool:
        """Whether there is something to carry out: a change, on numbers that may be believed."""
        return self.change != 0 and Reason.STALE_METRICS not in self.reasons

    @property
    def direction(self) -> str:
        """``up``, ``down`` or ``hold``."""
        return "up" if self.change > 0 else "down" if self.change < 0 else "hold"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of carrying a decision out; ``error`` is empty where it was applied."""

    pool: PoolRef
    at: datetime
    asked: int
    applied: bool
    error: str = ""
