"""The labels of what goes wrong and of what only looks like it, to score detectors by."""

from collections.abc import Mapping
from dataclasses import dataclass

from aiops.simulate.load.events import AgenticBurst, BatchJob, Event, FlashCrowd, LengthShift, Ramp
from aiops.simulate.spec import FactorySpec

_BENIGN_EVENTS = (FlashCrowd, Ramp, BatchJob)


@dataclass(frozen=True, slots=True)
class Window:
    """One labelled time, in seconds since the factory's start; ``end_s`` is None where it never ends.

    ``pool`` is None where the load itself is meant, ``replica`` where it is no single one; ``hit`` names the replicas
    that a run chose.
    """

    kind: str
    pool: str | None
    replica: int | None
    begin_s: float
    end_s: float | None
    benign: bool
    hit: tuple[str, ...] = ()


def truth(spec: FactorySpec, hit: Mapping[int, tuple[str, ...]] | None = None) -> tuple[Window, ...]:
    """Label all faults of a factory and all events of its load, by the time of their beginning.

    ``hit`` names the replicas that a run chose for the n-th fault of the list.
    """
    names = hit or {}
    faults = [
        Window(
            kind=fault.kind,
            pool=spec.pool_named(fault.pool).name,
            replica=fault.replica,
            begin_s=fault.at_s,
            end_s=fault.end_s,
            benign=fault.benign,
            hit=names.get(number, ()),
        )
        for number, fault in enumerate(spec.faults)
    ]
    events = [_label(event) for event in (spec.workload.events if spec.workload else ())]
    return tuple(sorted(faults + events, key=lambda window: window.begin_s))


def _label(event: Event) -> Window:
    begin_s = event.at.total_seconds()
    return Window(event.kind, None, None, begin_s, _end_s(event, begin_s), isinstance(event, _BENIGN_EVENTS))


def _end_s(event: Event, begin_s: float) -> float | None:
    if isinstance(event, LengthShift):
        return None
    ramps_s = 2 * event.ramp.total_seconds() if isinstance(event, FlashCrowd | AgenticBurst) else 0.0
    return begin_s + ramps_s + event.duration.total_seconds()
