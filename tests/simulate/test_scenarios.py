"""The shipped scenarios: each runs, and shows what it is there for."""

import csv
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray

from aiops.simulate.faults.truth import truth
from aiops.simulate.picture import Picture
from aiops.simulate.scenarios import read_scenario, scenario_file, scenario_names
from aiops.simulate.tables.replay_file import DrawnRequests, FileReplay, replay_file
from tests.cli.factory import aiops
from tests.simulate.factories import shipped_profiles

ALL = [
    "blind", "cold-cache", "crash-loop", "flash-crowd", "kv-thrash", "length-shift", "look-alikes", "node-loss",
    "slow-replica", "slow-start", "slow-transfer", "stuck-routing",
]  # fmt: skip


@dataclass
class Seen:
    """A run's files. Times are minutes."""

    summary: dict[str, Any]
    requests: list[dict[str, str]]
    pools: list[dict[str, str]]

    def among(self, begin: float, end: float) -> list[dict[str, str]]:
        """The completed requests that arrived then."""
        return [
            row
            for row in self.requests
            if begin * 60 <= float(row["arrival_s"]) < end * 60 and row["status"] == "completed"
        ]

    def ttft_s(self, begin: float, end: float, level: float = 0.95) -> float:
        rows = self.among(begin, end)
        return float(np.quantile([float(row["first_token_s"]) - float(row["arrival_s"]) for row in rows], level))

    def itl_s(self, begin: float, end: float) -> float:
        rows = [row for row in self.among(begin, end) if int(row["output_tokens"]) > 1]
        times = [
            (float(row["finish_s"]) - float(row["first_token_s"])) / (int(row["output_tokens"]) - 1) for row in rows
        ]
        return float(np.quantile(times, 0.95))

    def hits(self, begin: float, end: float) -> float:
        rows = self.among(begin, end)
        return sum(int(row["cached_tokens"]) for row in rows) / sum(int(row["input_tokens"]) for row in rows)

    def busiest(self, begin: float, end: float) -> float:
        counts = Counter(row["replica"] for row in self.among(begin, end))
        return max(counts.values()) / counts.total()

    def failed_at(self) -> NDArray[np.float64]:
        return np.array([float(row["arrival_s"]) / 60 for row in self.requests if row["status"] == "failed"])

    def ready(self, begin: float, end: float) -> tuple[int, int]:
        """The fewest and the most ready replicas."""
        counts = [int(row["ready_replicas"]) for row in self.pools if begin * 60 <= float(row["t_s"]) < end * 60]
        return min(counts), max(counts)


def simulated(name: str, folder: Path) -> Seen:
    spec = read_scenario(name)
    span_s = spec.span.total_seconds()
    summary = replay_file(
        FileReplay(
            file=DrawnRequests(spec, 1, span_s), spec=spec, profiles=shipped_profiles(), segment_tokens=512,
            ttft_bound_s=2.5, itl_bound_s=0.05, seed=1, span_s=span_s,
        ),
        folder,
    )  # fmt: skip
    tables = []
    for file in ("requests.csv", "replicas.csv"):
        with (folder / file).open(newline="") as opened:
            tables.append(list(csv.DictReader(opened)))
    return Seen(summary, *tables)


def cold(seen: Seen) -> bool:
    return seen.hits(6, 9) < 0.8 * seen.hits(2, 3) < seen.hits(9.5, 11) and seen.ready(11, 14) == (4, 4)


def crashing(seen: Seen) -> bool:
    failed = seen.failed_at()
    return len(failed) > 20 and bool(((failed > 1.8) & (failed < 8)).all())


def crowded(seen: Seen) -> bool:
    return seen.ttft_s(4, 5) > 50 * seen.ttft_s(0, 2) > 25 * seen.ttft_s(7, 8) and seen.ready(7, 8) == (9, 9)


def lost(seen: Seen) -> bool:
    fewest = [seen.ready(*minutes)[0] for minutes in ((0, 3), (3.1, 7), (9, 15), (17, 20))]
    return len(seen.failed_at()) > 5 and fewest == [4, 2, 3, 4]


def calm(seen: Seen) -> bool:
    paid = {int(row["paid_replicas"]) for row in seen.pools if float(row["t_s"]) >= 11 * 60}
    return seen.summary["attainment_ratio"] > 0.99 and seen.ready(11, 20) == (4, 4) and paid >= {4, 5}


SHOWS: dict[str, Callable[[Seen], bool]] = {
    "blind": lambda seen: seen.ttft_s(2, 8) < 1.5 * seen.ttft_s(0, 2) and not len(seen.failed_at()),
    "cold-cache": cold,
    "crash-loop": crashing,
    "flash-crowd": crowded,
    "kv-thrash": lambda seen: seen.summary["preemptions"] > 100 and seen.ttft_s(9, 10) < 2 * seen.ttft_s(0, 3),
    "length-shift": lambda seen: seen.ttft_s(3.2, 4.2) > 20 * seen.ttft_s(0, 3),
    "look-alikes": calm,
    "node-loss": lost,
    "slow-replica": lambda seen: seen.itl_s(3, 8) > 3 * seen.itl_s(0, 3) and seen.itl_s(9, 10) < 1.5 * seen.itl_s(0, 3),
    "slow-start": lambda seen: seen.ready(2, 5) == (2, 2) and seen.ttft_s(5, 6) > 3 * seen.ttft_s(0, 3),
    "slow-transfer": lambda seen: seen.ttft_s(3, 7, 0.5) > 1.5 * seen.ttft_s(0, 3, 0.5) > seen.ttft_s(9, 10, 0.5),
    "stuck-routing": lambda seen: seen.busiest(3, 8) > 0.55 and seen.busiest(0, 3) < 0.3,
}


def test_there_is_a_dozen_and_each_says_what_it_is_for() -> None:
    assert list(scenario_names()) == sorted(ALL) == sorted(SHOWS)
    for name in scenario_names():
        about = read_scenario(name).about
        assert about.endswith(".")
        assert len(about) <= 120


@pytest.mark.parametrize("name", ALL)
def test_a_scenario_shows_what_it_is_for(name: str, tmp_path: Path) -> None:
    seen = simulated(name, tmp_path)
    assert SHOWS[name](seen)
    spec = read_scenario(name)
    ends = [seen.summary[end] for end in ("completed", "failed", "refused", "timed_out")]
    assert sum(ends) == seen.summary["requests"] == len(seen.requests)
    assert float(seen.pools[-1]["t_s"]) >= spec.span.total_seconds()
    labels = json.loads((tmp_path / "summary.json").read_text())["faults"]
    assert [(label["kind"], label["begin_s"], label["benign"]) for label in labels] == [
        (window.kind, window.begin_s, window.benign) for window in truth(spec)
    ]
    one = {"slow_replica", "stuck_routing", "scrape_loss", "crash_loop", "node_loss", "cold_new_replica"}
    assert all(len(label["hit"]) == 1 for label in labels if label["kind"] in one)


def test_replicas_are_told_at_each_change_and_every_15_seconds(tmp_path: Path) -> None:
    seen = simulated("flash-crowd", tmp_path)
    times = [float(row["t_s"]) for row in seen.pools]
    assert times == sorted(set(times)), "one row a time"
    assert {15.0 * k for k in range(56)} <= set(times)
    moved = [
        (float(after["t_s"]), int(after["ready_replicas"]) - int(before["ready_replicas"]))
        for before, after in zip(seen.pools, seen.pools[1:], strict=False)
        if before["ready_replicas"] != after["ready_replicas"]
    ]
    starts = [at_s for at_s, more in moved if more > 0]
    assert len(starts) == 6
    assert all(at_s % 15 for at_s in starts), "at the very time, not at the next look"
    paid = [(float(row["t_s"]), int(row["paid_replicas"])) for row in seen.pools]
    end_s = float(seen.summary["duration_s"])
    until = [*(at_s for at_s, _ in paid[1:]), end_s]
    hours = (
        sum(count * (min(end, end_s) - min(at_s, end_s)) for (at_s, count), end in zip(paid, until, strict=True)) / 3600
    )
    assert hours == pytest.approx(seen.summary["replica_hours"])


def test_an_unknown_scenario_names_those_there_are() -> None:
    with pytest.raises(ValueError, match="no scenario is called 'x'; there are blind, cold-cache"):
        scenario_file("x")


def test_a_picture_of_nothing_is_a_picture() -> None:
    ElementTree.fromstring(Picture("<nothing>", "a & b").svg())  # noqa: S314  # our own


# The command


def test_the_command_simulates_a_scenario_and_draws_it(tmp_path: Path) -> None:
    drawn = tmp_path / "crowd.svg"
    options = ["--scenario", "flash-crowd", "--for", "3m", "--out", str(tmp_path / "out"), "--picture", str(drawn)]
    done = aiops("simulate", *options, "--json", timeout_s=300)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["faults"][0]["kind"] == "flash_crowd"
    assert 150 < summary["duration_s"] < 400
    root = ElementTree.fromstring(drawn.read_text())  # noqa: S314  # our own
    texts = {text.text for text in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"flash-crowd", "replicas", "ready", "paid", "requests waiting", "p50", "p95", "flash crowd"} <= texts


def test_the_command_simulates_a_factorys_own_load(tmp_path: Path) -> None:
    (tmp_path / "factory.yaml").write_text(scenario_file("blind").read_text())
    options = ["--factory", str(tmp_path / "factory.yaml"), "--for", "1m", "--out", str(tmp_path / "out")]
    done = aiops("simulate", *options, "--json", timeout_s=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["requests"] == pytest.approx(1200, rel=0.15)


def test_the_command_lists_the_scenarios() -> None:
    done = aiops("simulate", "--list", "--json")
    assert done.returncode == 0, done.stderr
    assert list(json.loads(done.stdout)["scenarios"]) == sorted(ALL)


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        pytest.param(["--scenario", "flash"], 1, "no scenario is called", id="no such scenario"),
        pytest.param([], 2, "--factory", id="neither factory nor scenario"),
        pytest.param(["--scenario", "blind", "--factory", "x.yaml"], 2, "either", id="factory and scenario"),
        pytest.param(["--scenario", "blind", "--for", "0s"], 2, "no time at all", id="no time"),
        pytest.param(["--scenario", "blind", "--requests", "r.csv", "--for", "1m"], 2, "--for", id="a time of a file"),
    ],
)
def test_what_cannot_be_simulated_is_told(options: list[str], code: int, told: str, tmp_path: Path) -> None:
    done = aiops("simulate", *options, "--out", str(tmp_path / "out"))
    assert done.returncode == code, done.stderr
    assert told in done.stderr
    assert not (tmp_path / "out").exists()
