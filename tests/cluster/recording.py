"""What happened to the targets of a namespace during a run: JSON lines, a line an event, and what they come to.

Times are seconds since the recording began. What was not measured is null, never 0.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, TypeVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, or that was seen."""

    kind: ClassVar[str]
    t_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicasSet(Event):
    """``spec.replicas`` of a target as a write left it; ``generation`` grows by one with every change of its spec."""

    kind = "replicas"
    pool: str
    replicas: int
    generation: int
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSeen(Event):
    """A pod that became something else: ordered, unplaced, ready, unready, leaving, gone.

    ``reason`` says why it is unplaced; ``deletion_cost`` and what was ``running`` on it are the last seen. Of one that
    leaves, ``fewest_elsewhere`` is the least that was running on another one of its pool that was ready.
    """

    kind = "pod"
    pool: str
    pod: str
    state: str
    reason: str = ""
    deletion_cost: int | None = None
    running: float | None = None
    fewest_elsewhere: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample(Event):
    """A pool at one moment: its pods as the API server tells them, its requests as Prometheus does.

    Of the pods that do not leave some are ready and the others starting, those that found no node among them.
    """

    kind = "sample"
    pool: str
    ready: int
    starting: int
    unplaced: int
    leaving: int
    running: float | None = None
    waiting: float | None = None
    kv_usage_ratio: float | None = None
    """Of the fullest replica."""

    @property
    def paid(self) -> int:
        """The replicas that cost: those that serve, start or leave."""
        return self.ready + self.starting - self.unplaced + self.leaving


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided(Event):
    """A decision of aiops that differs from the one before: its numbers and its reasons, the first one first.

    ``work`` is the present demand in replicas; ``error`` why it was not carried out.
    """

    kind = "decision"
    pool: str
    current: int | None
    needed: int | None
    desired: int | None
    reasons: tuple[str, ...]
    work: float | None = None
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served(Event):
    """The requests of a model that arrived within ``over_s`` from here on, and have ended.

    ``late`` are the answered ones whose first token came after its objective; ``waited`` is the most that waited at
    once in that time, at the gateway or in engines, whenever they arrived.
    """

    kind = "served"
    model: str
    over_s: float
    answered: int
    failed: int
    late: int
    waited: int
    ttft_p50_s: float | None
    ttft_p95_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark(Event):
    """What somebody did to the run, in words."""

    kind = "mark"
    text: str


KINDS: dict[str, type[Event]] = {one.kind: one for one in (ReplicasSet, PodSeen, Sample, Decided, Served, Mark)}
Kind = TypeVar("Kind", bound=Event)


def line_of(event: Event) -> str:
    """One line of the file, without its end."""
    return json.dumps({"kind": event.kind, **_rounded(asdict(event))}, separators=(",", ":"))


def _rounded(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in fields.items()}


def read_recording(path: Path) -> "Recording":
    """The recording of a file, in the order of time."""
    return Recording(_event(json.loads(line)) for line in path.read_text().splitlines())


def _event(fields: dict[str, Any]) -> Event:
    kind = KINDS[fields.pop("kind")]
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})


class Recording:
    """The events of a run, by time."""

    def __init__(self, events: Iterable[Event]) -> None:
        self.events = sorted(events, key=lambda event: event.t_s)

    @property
    def end_s(self) -> float:
        return max((event.t_s for event in self.events), default=0.0)

    @property
    def pools(self) -> list[str]:
        return list(dict.fromkeys(event.pool for event in self.of(ReplicasSet)))

    def of(self, kind: type[Kind], pool: str | None = None) -> list[Kind]:
        """The events of one kind, of one pool if it is named."""
        found = [event for event in self.events if isinstance(event, kind)]
        return [event for event in found if pool is None or getattr(event, "pool", None) == pool]

    def moves(self, pool: str) -> Iterator[tuple[ReplicasSet, ReplicasSet]]:
        """Each change of ``spec.replicas``: what it was before, and what it was then."""
        for before, after in pairwise(self.of(ReplicasSet, pool)):
            if before.replicas != after.replicas:
                yield before, after

    def unseen(self, pool: str) -> int:
        """How many changes of the target's spec were not seen; 0 where the timeline is whole."""
        versions = {event.generation for event in self.of(ReplicasSet, pool)}
        return max(versions, default=0) - min(versions, default=1) + 1 - len(versions)

    def greatest_waiting(self, pool: str) -> Sample | None:
        """The moment at which most requests waited; None where nobody counted them."""
        counted = [sample for sample in self.of(Sample, pool) if sample.waiting is not None]
        return max(counted, key=lambda sample: sample.waiting or 0.0, default=None)

    def replica_seconds(self, pool: str) -> float:
        """What the replicas cost: those that serve, start or leave, times the seconds that they did."""
        samples = self.of(Sample, pool)
        return sum(a.paid * (b.t_s - a.t_s) for a, b in pairwise(samples))

    def victims(self, pool: str) -> list[PodSeen]:
        """The pods that were asked to leave while they served, as they were then."""
        ready: set[str] = set()
        left = []
        for event in self.of(PodSeen, pool):
            if event.state == "ready":
                ready.add(event.pod)
            elif event.state == "leaving" and event.pod in ready:
                # Once: that its cost is taken away again is told as well.
                ready.remove(event.pod)
                left.append(event)
        return left

    def summary(self) -> dict[str, Any]:
        """What the run comes to, pool by pool and model by model."""
        models = dict.fromkeys(event.model for event in self.of(Served))
        return {
            "seconds": round(self.end_s, 1),
            "pools": {pool: self._pool(pool) for pool in self.pools},
            "models": {model: self._model(model) for model in models},
            "marks": {f"{mark.t_s:.0f}": mark.text for mark in self.of(Mark)},
        }

    def _pool(self, pool: str) -> dict[str, Any]:
        numbers = [event.replicas for event in self.of(ReplicasSet, pool)]
        moves = list(self.moves(pool))
        waited = self.greatest_waiting(pool)
        return {
            "replicas": {"first": numbers[0], "least": min(numbers), "most": max(numbers), "last": numbers[-1]},
            "moves": {
                "up": sum(after.replicas > before.replicas for before, after in moves),
                "down": sum(after.replicas < before.replicas for before, after in moves),
                "by": dict(Counter(after.by for _, after in moves)),
            },
            "changes_unseen": self.unseen(pool),
            "replica_seconds": round(self.replica_seconds(pool)),
            "greatest_waiting": waited and {"requests": waited.waiting, "t_s": round(waited.t_s, 1)},
            "decisions_by_first_reason": dict(Counter(one.reasons[0] for one in self.of(Decided, pool) if one.reasons)),
        }

    def _model(self, model: str) -> dict[str, Any]:
        served = [event for event in self.of(Served) if event.model == model]
        slowest = max(
            (event for event in served if event.ttft_p95_s), key=lambda one: one.ttft_p95_s or 0, default=None
        )
        return {
            "answered": sum(event.answered for event in served),
            "failed": sum(event.failed for event in served),
            "late": sum(event.late for event in served),
            "waited_at_once": max((event.waited for event in served), default=0),
            "greatest_ttft_p95_s": slowest and {"seconds": slowest.ttft_p95_s, "t_s": slowest.t_s},
        }
