import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.parts import wait_for

_STOP_S = 20.0


class Program:
    """A program of the testbed that can be stopped and started again with the same command.

    It ends with the thread that started it, however that ends, so nothing is left behind by a test run that is killed.
    """

    def __init__(self, name: str, command: list[str], folder: Path, env: dict[str, str] | None = None) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with_parent = shutil.which("setpriv")
        self._command = [with_parent, "--pdeathsig", "TERM", "--", *command] if with_parent else command
        self._env = env
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        if self._process is None or self._process.poll() is not None:
            return None
        return self._process.pid

    def start(self) -> None:
        assert self.pid is None, f"{self.name} runs already"
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(self._command, stdout=output, stderr=subprocess.STDOUT, env=self._env)

    def stop(self, with_signal: signal.Signals = signal.SIGTERM) -> None:
        """Ask it to stop and insist after some seconds; does nothing where it does not run."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(with_signal)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def wait_until(self, condition: Callable[[], object], what: str, timeout_s: float = 60.0) -> None:
        """Wait for a state of the program; its end before that is told with its last words."""

        def reached() -> object:
            if self.pid is None:
                raise AssertionError(f"{self.name} ended before {what}:\n{self.last_words()}")
            return condition()

        wait_for(reached, f"{self.name}: {what}", timeout_s)

    def last_words(self, characters: int = 3000) -> str:
        return self.log.read_text(errors="replace")[-characters:]
