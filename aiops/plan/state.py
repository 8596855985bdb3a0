"""What one cycle hands to the next: a frozen value with a bounded memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from aiops.detect import DetectMemory
from aiops.forecast import SeriesState
from aiops.model.detection import Detection
from aiops.model.forecast import Forecast, ForecastSkill
from aiops.model.mark import Mark
from aiops.model.refs import ModelRef, PoolRef
from aiops.model.snapshot import Snapshot
from aiops.plan.growth import Rate


def holding_since(marks: Sequence[Mark], since_s: float) -> tuple[Mark, ...]:
    """Give the marks that held at some time since ``since_s``; each holds until the next."""
    older = [mark for mark in marks if mark.at_s <= since_s]
    return (*older[-1:], *(mark for mark in marks if mark.at_s > since_s))


@dataclass(frozen=True, slots=True)
class PoolMemory:
    """What is remembered of one pool.

    ``proposals`` are raw: what demand asked before any guard held it. A held number stored here would renew its own
    stabilization for ever. ``currents`` are the numbers seen, one mark a change. ``refusals`` counts the writes that
    were refused in a row, the last of them at ``refused_at_s``. ``unplaced`` replicas found no node when last seen.
    ``last_known`` is the number that the process before this one saw last, for as long as this one saw none.
    """

    pool: PoolRef
    proposals: tuple[Mark, ...] = ()
    currents: tuple[Mark, ...] = ()
    desired: int | None = None
    """What was last asked for."""
    cold_starts_s: tuple[float, ...] = ()
    refusals: int = 0
    refused_at_s: float = 0.0
    unplaced: int = 0
    last_known: int | None = None

    @property
    def current(self) -> int | None:
        """The last number seen; None before the first."""
        return self.currents[-1].replicas if self.currents else None


@dataclass(frozen=True, slots=True)
class SeriesMemory:
    """One forecast series: its forecaster's state, and the open bin's last value (None: no value yet)."""

    name: str
    state: SeriesState
    open_value: float | None = None


@dataclass(frozen=True, slots=True)
class ModelMemory:
    """What is remembered of one model.

    ``bin_start_s`` is when the open bin began (None before the first cycle). ``forecasts`` and ``skills`` are those of
    the last closed bin: the cycles in between reuse them. ``detections`` are the ones open now, ``rates`` those of the
    last minutes' cycles.
    """

    ref: ModelRef
    pools: tuple[PoolMemory, ...] = ()
    series: tuple[SeriesMemory, ...] = ()
    bin_start_s: float | None = None
    bin_censored: bool = False
    forecasts: tuple[Forecast, ...] = ()
    skills: tuple[ForecastSkill, ...] = ()
    detections: tuple[Detection, ...] = ()
    detect: DetectMemory = field(default_factory=DetectMemory)
    rates: tuple[Rate, ...] = ()

    def knows_of_s(self, series: str) -> float:
        """Give how many seconds of a series were measured so far."""
        state = next((entry.state for entry in self.series if entry.name == series), None)
        return state.points * state.bin_s if state else 0.0

    def pool(self, ref: PoolRef) -> PoolMemory:
        """Give the memory of a pool; an empty one where it is new."""
        return next((pool for pool in self.pools if pool.pool == ref), PoolMemory(ref))


@dataclass(frozen=True, slots=True)
class State:
    """The whole memory of the loop.

    ``cycles`` counts the turns taken. ``removals`` are the replicas that the fleet lost within the last hour, a mark
    for each look that missed some, and they are counted since ``counted_since_s`` (None: before the first look).
    """

    cycles: int = 0
    models: tuple[ModelMemory, ...] = ()
    removals: tuple[Mark, ...] = ()
    counted_since_s: float | None = None

    def model(self, ref: ModelRef) -> ModelMemory:
        """Give the memory of a model; an empty one where it is new."""
        return next((model for model in self.models if model.ref == ref), ModelMemory(ref))


@dataclass(frozen=True, slots=True)
class Recording:
    """One cycle's whole input: replayed with the same policies, it gives the same cycle, decision for decision."""

    snapshot: Snapshot
    state: State
    version: int = 1
