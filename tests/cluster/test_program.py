"""A program of the testbed says why it ends, and does not outlive who started it."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.program import Program
from tests.parts import wait_for


def test_a_program_that_cannot_start_is_told_with_its_last_words(tmp_path: Path) -> None:
    program = Program("broken", ["sh", "-c", "echo no such flag; exit 2"], tmp_path)
    program.start()

    with pytest.raises(AssertionError, match="broken ended before it is ready:\nno such flag"):
        program.wait_until(lambda: False, "it is ready")


def test_a_program_ends_with_a_test_run_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from tests.cluster.program import Program;"
        f"program = Program('sleeper', ['sleep', '600'], Path({str(tmp_path)!r})); program.start();"
        "print(program.pid, flush=True); sys.stdin.read()"
    )
    run = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert run.stdin is not None
    assert run.stdout is not None
    with run.stdin, run.stdout:
        process = Path("/proc", run.stdout.readline().strip())
        # Before that it has not yet asked to end with its parent.
        wait_for(lambda: (process / "comm").read_text() == "sleep\n", "the program runs")
        run.send_signal(signal.SIGKILL)
        run.wait()

    wait_for(lambda: not process.exists(), "the program has ended")
