"""The simulator beside public ones that simulate single requests: the same requests, each in its own environment.

python benchmarks/simulator.py [--environments DIR] [--scenarios plain,prefix,pair] [--peers mocker,…] [--repeats 2]
    [--scale 1.0] [--memory] [--days 14]

Prints JSON. Each program is held on one core. ``simulate`` is the simulated time alone, ``process`` the whole program,
imports and files included (only ours writes results). Where ours is compared, its engines do not schedule ahead, as
the peers' do not. ``--scale`` takes a part of the requests; ``--memory`` adds runs of 1 and 10 million, ``--days`` one
with the control loop (minutes both).
"""

import argparse
import json
import os
import platform
import tempfile
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from simulator_peers import ours
from simulator_peers.environments import Environment, Peer, environment
from simulator_peers.process import measure
from simulator_peers.scenarios import PEERS, SCENARIOS, Scenario
from simulator_peers.workload import write

Row = dict[str, Any]


def peer_rows(peer: Peer, made: Environment, scenario: Scenario, file: Path, repeats: int) -> list[Row]:
    """Measure a peer with each router that both it and the scenario have."""
    if reason := peer.unsupported.get(scenario.name):
        return [{"peer": peer.name, "unsupported": reason}]
    if made.python is None:
        return [{"peer": peer.name, "error": made.failed}]
    count = min(scenario.count, peer.limits.get(scenario.name, scenario.count))
    routers = [router for router in scenario.routers if router in peer.routers]
    return [
        {"peer": peer.name, "router": router}
        | measure([str(made.python), str(ours.HERE / peer.script), scenario.task(file, count, router).told()], repeats)
        for router in routers
    ]


def compared(row: Row, library: list[Row], commands: list[Row]) -> Row:
    """Say how many times as fast ours is, and how far apart the results are."""

    if "simulate_s" not in row:
        return row

    def of(rows: list[Row]) -> Row | None:
        same = (each for each in rows if "error" not in each and each["router"] == row["router"])
        return next((each for each in same if each["requests"] == row["requests"]), None)

    mine, whole = of(library), of(commands)
    if mine is None:
        return row
    ratios = {name: round(row[f"{name}_s"] / mine[f"{name}_s"], 1) for name in ("simulate", "simulate_cpu")}
    if whole is not None:
        ratios["process"] = round(row["process_s"] / whole["process_s"], 1)
    names = ("ttft_mean_s", "latency_mean_s", "tpot_mean_s", "cached_ratio", "steps")
    apart = {name: row[name] / mine[name] - 1 for name in names if row[name] and mine[name]}
    return row | {"ours_times_as_fast": ratios, "differs_by": {name: round(by, 6) for name, by in apart.items()}}


def scenario_rows(scenario: Scenario, peers: dict[Peer, Environment], folder: Path, repeats: int) -> Row:
    """Measure ours and the peers on the requests of a scenario."""
    file = folder / f"{scenario.name}.csv"
    write(scenario.load, scenario.count, file)
    rows = [row for peer, made in peers.items() for row in peer_rows(peer, made, scenario, file, repeats)]
    counts = sorted({scenario.count, *(row["requests"] for row in rows if "requests" in row)})
    library = [
        ours.by_library(scenario, file, count, router, repeats, ahead)
        for router in scenario.routers
        for count in counts
        for ahead in ((False, True) if count == scenario.count else (False,))
    ]
    shipped = [ours.by_profile(scenario, file, repeats)] if scenario.profile else []
    commands = [ours.by_command(scenario, file, router, folder, repeats) for router in scenario.routers]
    stepping = [row for row in library if not row["schedules_ahead"]]
    return {
        "scenario": asdict(scenario),
        "ours": library + shipped,
        "command": commands,
        "peers": [compared(row, stepping, commands) for row in rows],
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parser.add_argument("--environments", type=Path, default=cache / "aiops-benchmarks")
    parser.add_argument("--scenarios", default=",".join(scenario.name for scenario in SCENARIOS))
    parser.add_argument("--peers", default=",".join(peer.name for peer in PEERS))
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--days", type=float, default=0.0)
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    asked = arguments()
    scenarios = [each.scaled(asked.scale) for each in SCENARIOS if each.name in asked.scenarios.split(",")]
    peers = {peer: environment(peer, asked.environments) for peer in PEERS if peer.name in asked.peers.split(",")}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found: Row = {
            "benchmark": "simulator",
            "machine": {"cores": os.cpu_count(), "kind": platform.machine(), "python": platform.python_version()},
            "versions": {package: version(package) for package in ("aiops", "numba", "numpy", "pyarrow")},
            "environments": [
                {"peer": peer.name, "installed": made.installed, "failed": made.failed} for peer, made in peers.items()
            ],
            "scenarios": [scenario_rows(each, peers, folder, asked.repeats) for each in scenarios],
            "first_run": ours.first_run(SCENARIOS[0], folder),
            "threads": ours.threads(SCENARIOS[0], folder),
        }
        if asked.memory:
            found["memory"] = ours.memory(SCENARIOS[0], folder)
        if asked.days:
            found["days"] = ours.days(asked.days)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
