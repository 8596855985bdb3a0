"""Which replica gets a request."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from aiops.simulate.engine import Engine
from aiops.simulate.spec import RouterKind, RouterSpec


class HasEngine(Protocol):
    """Anything with an engine to send requests to."""

    engine: Engine


R = TypeVar("R", bound=HasEngine)


class Router:
    """The router of one pool. It sees the present load of each replica; ties go round."""

    def __init__(self, spec: RouterSpec) -> None:
        self._kind = spec.kind
        self._affinity = spec.affinity if spec.kind is RouterKind.STICKY else 0.0
        self._turn = 0

    def pick(self, replicas: Sequence[R], key: float) -> R | None:
        """Choose among the ready replicas, oldest first; ``key`` is the request's own; None where there is none."""
        if not replicas:
            return None
        if key < self._affinity:
            return replicas[0]
        self._turn = turn = (self._turn + 1) % len(replicas)
        best = replicas[turn]
        if self._kind is RouterKind.ROUND_ROBIN:
            return best
        least = best.engine.load
        for replica in replicas:
            if replica.engine.load < least:
                best, least = replica, replica.engine.load
        return best
