"""All that one turn of the loop saw and concluded."""

from dataclasses import dataclass
from datetime import datetime

from aiops.model.capacity import Capacity
from aiops.model.decision import Decision
from aiops.model.demand import TokenDemand, Work
from aiops.model.detection import Detection, Diagnosis
from aiops.model.forecast import DemandShift, Forecast, ForecastSkill
from aiops.model.mark import Mark
from aiops.model.policy import Mode
from aiops.model.refs import ModelRef, PoolRef
from aiops.model.snapshot import Latency, SignalHealth


@dataclass(frozen=True, slots=True)
class PoolSummary:
    """A pool as the cycle saw it: replicas wanted by the world, serving, starting and leaving."""

    pool: PoolRef
    current: int | None
    current_inferred: bool
    ready: int
    starting: int
    draining: int
    waiting: float | None
    kv_usage_ratio: float | None
    """Of the fullest replica."""
    unplaced: int = 0
    """How many of those that start found no node yet."""
    unplaced_reason: str = ""
    """What the first of them waits for: ``waiting for nvidia.com/gpu: 4``."""


@dataclass(frozen=True, slots=True)
class ModelCycle:
    """One model's part of a cycle. ``lead_time_s`` is what the plan waited for at its P90."""

    ref: ModelRef
    mode: Mode
    demand: TokenDemand | None
    work: Work | None
    latency: Latency
    pools: tuple[PoolSummary, ...]
    capacities: tuple[Capacity, ...]
    lead_time_s: float
    forecasts: tuple[Forecast, ...]
    skills: tuple[ForecastSkill, ...]
    decisions: tuple[Decision, ...]
    detections: tuple[Detection, ...]
    diagnosis: Diagnosis
    signals: tuple[SignalHealth, ...]
    blind: str = ""
    shifts: tuple[DemandShift, ...] = ()
    """Of the last day."""


@dataclass(frozen=True, slots=True)
class FleetSummary:
    """What holds for all models together.

    ``removed`` replicas went within the last hour, ``may_remove`` more may (None: no bound is set). What went
    are the ``removals``, counted since ``counted_since_s``: with these a process goes on that is started anew.
    """

    writes_off: bool = False
    removed: int = 0
    may_remove: int | None = None
    removals: tuple[Mark, ...] = ()
    counted_since_s: float | None = None


@dataclass(frozen=True, slots=True)
class Cycle:
    """One turn of the loop; ``number`` counts from 1 at the start of the process."""

    at: datetime
    number: int
    models: tuple[ModelCycle, ...] = ()
    unmanaged: tuple[ModelRef, ...] = ()
    blind: str = ""
    queries: int = 0
    fleet: FleetSummary = FleetSummary()

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """The decisions of all models."""
        return tuple(decision for model in self.models for decision in model.decisions)

    @property
    def detections(self) -> tuple[Detection, ...]:
        """The findings of all models."""
        return tuple(detection for model in self.models for detection in model.detections)
