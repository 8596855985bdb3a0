"""A program run to its end: what it printed, how long it took, what it used."""

import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from simulator_peers.environments import last_words

PEER_LIMIT_S = 600.0
PROCESS = {"s": "process", "cpu_s": "cpu"}


@dataclass(frozen=True, slots=True)
class Ran:
    """``error``: the end of what it said, where it failed or did not end in time."""

    out: str
    error: str | None
    wall_s: float
    cpu_s: float
    peak_memory_mib: float


def run(command: Sequence[str], limit_s: float, changed: Mapping[str, str] | None = None, cores: int | None = 1) -> Ran:
    """Run a command on so many cores (None: all), with some variables of its environment changed."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as words:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=words, env=os.environ | dict(changed or {}))
        hold(process.pid, cores)
        late = threading.Timer(limit_s, process.kill)
        late.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - began
        timed_out = late.finished.is_set()
        late.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        for stream in (out, words):
            stream.seek(0)
        said, complaint = out.read(), words.read()
    error = None
    if timed_out:
        error = f"not ended after {limit_s:g} s; {last_words(complaint)}"
    elif process.returncode:
        error = last_words(complaint or said) or f"exit {process.returncode}"
    return Ran(said, error, wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def hold(process: int, cores: int | None) -> None:
    """Keep a process that has just begun on the last of this one's cores, as many as said."""
    if cores is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(process, sorted(os.sched_getaffinity(0))[-cores:])


def measure(command: Sequence[str], repeats: int) -> dict[str, Any]:
    """Run a peer's script some times, and give the quickest; what went wrong stands in ``error``."""
    rows = list[dict[str, Any]]()
    for _ in range(repeats):
        ran = run(command, PEER_LIMIT_S)
        if ran.error:
            return {"error": ran.error}
        used = {"process_s": ran.wall_s, "cpu_s": ran.cpu_s, "peak_memory_mib": ran.peak_memory_mib}
        rows.append(json.loads(ran.out.splitlines()[-1]) | used)
    best = min(rows, key=lambda row: float(row["simulate_s"]))
    return with_rates(best | {"simulate_s_of_runs": [round(row["simulate_s"], 4) for row in rows]})


def with_rates(row: dict[str, Any]) -> dict[str, Any]:
    """Add requests and steps per second, of what there is; round the rest."""
    rates = {f"process_requests_per_{kind}": row["requests"] / row[f"{name}_s"] for kind, name in PROCESS.items()}
    if "simulate_s" in row:
        rates["requests_per_s"] = row["requests"] / row["simulate_s"]
        rates["requests_per_cpu_s"] = row["requests"] / row["simulate_cpu_s"]
        if row["steps"]:
            rates["steps_per_s"] = row["steps"] / row["simulate_s"]
    rounded = {name: round(value, 6) if isinstance(value, float) else value for name, value in row.items()}
    return rounded | {name: round(value) for name, value in rates.items()}
