"""Whether the loop is alive, and whether what it shows can be used."""

import time
from collections.abc import Callable
from enum import StrEnum

from aiops.model.cycle import Cycle

_STUCK_INTERVALS = 5
_SHORTEST_PATIENCE_S = 10.0  # one slow cycle of a fast demo is no stuck loop


class LoopState(StrEnum):
    """What the loop does."""

    STARTING = "starting"
    """No cycle has ended yet, and there is still time for the first."""
    TURNING = "turning"
    STUCK = "stuck"
    """The last cycle ended, or the start began, too long ago."""


class Health:
    """The loop's pulse, fed by the loop and read by the server's threads.

    ``interval_s`` is how often a cycle should end, in seconds of ``clock``; ``start_grace_s`` is how long the first may
    take, since history is read at the start. ``clock`` gives seconds that only grow; tests pass their own.
    """

    def __init__(
        self, interval_s: float, *, start_grace_s: float = 600.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._patience_s = max(_STUCK_INTERVALS * interval_s, _SHORTEST_PATIENCE_S)
        self._start_grace_s = start_grace_s
        self._began_s = clock()
        self._ended_s: float | None = None
        self._seen = False

    def cycle_ended(self, cycle: Cycle) -> None:
        """Say that a cycle is over. A blind one proves the loop alive, but not that there is anything to show."""
        self._ended_s = self._clock()
        self._seen = self._seen or _sees(cycle)

    @property
    def state(self) -> LoopState:
        """What the loop does now."""
        if self._ended_s is None:
            return LoopState.STARTING if self.silent_s <= self._start_grace_s else LoopState.STUCK
        return LoopState.TURNING if self.silent_s <= self._patience_s else LoopState.STUCK

    @property
    def silent_s(self) -> float:
        """Seconds since the last cycle ended, or since the start."""
        return self._clock() - (self._began_s if self._ended_s is None else self._ended_s)

    @property
    def ready(self) -> bool:
        """Whether a first cycle that saw something is done."""
        return self._seen


def _sees(cycle: Cycle) -> bool:
    return not cycle.blind and (not cycle.models or any(not model.blind for model in cycle.models))
