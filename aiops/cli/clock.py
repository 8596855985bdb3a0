"""The wall clock, and how a signal breaks a wait off."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import FrameType


class WallClock:
    """Real time; fits ``control.protocols.Clock``. A stop ends the wait under way, never the work under way."""

    def __init__(self) -> None:
        self._stop = threading.Event()

    def now(self) -> datetime:
        """Give the present, in UTC."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> bool:
        """Wait; False when a stop was asked for."""
        return not self._stop.wait(max(0.0, seconds))

    def stop(self) -> None:
        """Ask for the end."""
        self._stop.set()

    @property
    def stopped(self) -> bool:
        """Whether the end was asked for."""
        return self._stop.is_set()

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Let SIGTERM and SIGINT stop the clock inside the block; a second one ends the process at once."""

        def handle(number: int, _frame: FrameType | None) -> None:
            if self.stopped:
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)
            self.stop()

        before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
