"""This package's own figures: by library call, by its command, cold and warm, over threads, memory, and days."""

import json
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from simulator_peers.constants import write_factory
from simulator_peers.process import Ran, measure, run, with_rates
from simulator_peers.protocol import Task
from simulator_peers.scenarios import Scenario
from simulator_peers.workload import write

HERE = Path(__file__).parent
PROFILES = HERE.parents[1] / "policies" / "profiles"
LIMIT_S = 3600.0
MILLION = 1_000_000
OUTPUTS = ("requests.csv", "replicas.csv", "summary.json")

Row = dict[str, Any]


def by_library(scenario: Scenario, file: Path, count: int, router: str, repeats: int, ahead: bool) -> Row:
    """Measure the library; ``ahead``: engines schedule a step ahead, as they do by default."""
    told = scenario.task(file, count, router, asynchronous=ahead).told()
    row = measure([sys.executable, str(HERE / "run_aiops.py"), told], repeats)
    return {"router": router, "schedules_ahead": ahead, "profile": "constants"} | row


def by_profile(scenario: Scenario, file: Path, repeats: int) -> Row:
    """Measure the library on engines as they are by default, with the step times of a profile that ships."""
    told = scenario.task(file, scenario.count, "round_robin", asynchronous=True)
    told = replace(told, profile=str(PROFILES / f"{scenario.profile}.yaml"))
    row = measure([sys.executable, str(HERE / "run_aiops.py"), told.told()], repeats)
    return {"router": "round_robin", "schedules_ahead": True, "profile": scenario.profile} | row


def by_command(scenario: Scenario, file: Path, router: str, folder: Path, repeats: int) -> Row:
    """Measure ``aiops simulate`` from CSV to CSV, the engines as they are by default."""
    runs = [command(scenario.task(file, scenario.count, router, asynchronous=True), folder) for _ in range(repeats)]
    best = min(runs, key=lambda ran: ran.wall_s)
    return {"router": router, "requests": scenario.count} | whole(best, scenario.count)


def command(told: Task, folder: Path, changed: dict[str, str] | None = None, cores: int | None = 1) -> Ran:
    """Run ``aiops simulate`` on a task; its files go to ``out`` in the folder."""
    factory = write_factory(told, folder / "factory")
    program = str(Path(sys.executable).with_name("aiops"))
    files = ["--requests", told.requests, "--factory", str(factory), "--out", str(folder / "out")]
    return run([program, "simulate", *files], LIMIT_S, changed, cores)


def whole(ran: Ran, count: int) -> Row:
    """Give what is known of a program that did ``count`` requests."""
    if ran.error:
        return {"error": ran.error}
    row = {"process_s": ran.wall_s, "cpu_s": ran.cpu_s, "peak_memory_mib": ran.peak_memory_mib}
    return with_rates(row | {"requests": count})


def first_run(scenario: Scenario, folder: Path, count: int = 10_000) -> Row:
    """Run with nothing compiled, and then again."""
    file = folder / "first.csv"
    write(scenario.load, count, file)
    told, cache = (
        scenario.task(file, count, "round_robin", asynchronous=True),
        {"XDG_CACHE_HOME": str(folder / "cache")},
    )
    return {name: whole(command(told, folder, cache), count) for name in ("cold", "warm")}


def threads(scenario: Scenario, folder: Path, count: int = 100_000) -> Row:
    """Compare what comes out with one thread and with two: of the command, and of fleets at once in one process."""
    file = folder / "threads.csv"
    write(scenario.load, count, file)
    told = scenario.task(file, count, "round_robin", asynchronous=True)
    library, files, errors = list[str](), list[tuple[str, ...]](), list[str]()
    for number in ("1", "2"):
        script = run([sys.executable, str(HERE / "run_aiops.py"), told.told(), number], LIMIT_S, cores=None)
        ran = command(told, folder, {"NUMBA_NUM_THREADS": number}, cores=None)
        errors += [each.error for each in (script, ran) if each.error]
        if not errors:
            library += json.loads(script.out)
            files.append(tuple(sha256((folder / "out" / name).read_bytes()).hexdigest() for name in OUTPUTS))
    if errors:
        return {"error": errors}
    same = {"library": len(set(library)) == 1, "command": len(set(files)) == 1}
    return {"requests": count, "same_bytes": same, "sha256_library": library, "sha256_command": files}


def memory(scenario: Scenario, folder: Path) -> list[Row]:
    """Measure the peak memory of 1 and 10 million requests: of the command, and of the library fed from the file."""
    rows = list[Row]()
    for count in (MILLION, 10 * MILLION):
        file = folder / "many.csv"
        write(scenario.load, count, file)
        told = scenario.task(file, count, "round_robin", asynchronous=True)
        library = run([sys.executable, str(HERE / "run_aiops.py"), told.told(), "1"], LIMIT_S)
        rows.append(
            {"requests": count, "library": whole(library, count), "command": whole(command(told, folder), count)}
        )
    return rows


def days(count: float, seed: int = 1) -> Row:
    """Run some days of the demo's factory with the control loop."""
    ran = run([sys.executable, str(HERE / "run_days.py"), str(count), str(seed)], LIMIT_S)
    return {"error": ran.error} if ran.error else json.loads(ran.out) | {"peak_memory_mib": round(ran.peak_memory_mib)}
