"""A real Prometheus that holds a recorded week: back-filled, with its recording rules and what became of its alerts."""

import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import parts
from tests.mixin.recording import LOOKBACK_S, SCRAPE_S, STARTS, Week, Writer, record
from tests.mixin.rules import Episode, Rule, fired, levels, write_rules

_BLOCKS = ("tsdb", "create-blocks-from")


@dataclass(frozen=True, slots=True)
class Asked:
    """A server to ask about ``hours`` from STARTS on."""

    url: str
    hours: float
    floats: bool
    """Whether bounds of buckets are stored as floats, as Prometheus 3 does."""

    @property
    def ends_s(self) -> float:
        return STARTS.timestamp() + self.hours * 3600 - SCRAPE_S

    def range(self, expr: str, step_s: float = SCRAPE_S, begins_s: float = 0.0) -> list[dict[str, Any]]:
        """The series of an expression from ``begins_s`` after the start on; one that is NaN throughout is left out."""
        query = {"query": expr, "start": STARTS.timestamp() + begins_s, "end": self.ends_s, "step": step_s}
        request = urllib.request.Request(  # noqa: S310  # loopback only
            f"{self.url}/api/v1/query_range", urllib.parse.urlencode(query).encode()
        )
        try:
            with urllib.request.urlopen(request, timeout=600) as answer:  # noqa: S310
                found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as refusal:
            raise AssertionError(f"{expr}: {json.load(refusal)['error']}") from refusal
        return [series for series in found if any(value != "NaN" for _, value in series["values"])]


@dataclass(frozen=True, slots=True)
class Store:
    """The data of one server; ``program`` is the Prometheus that reads it, the system's unless given."""

    folder: Path
    hours: float
    program: Path | None = None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def fill(self, files: Iterable[Path]) -> None:
        """Back-fill OpenMetrics files."""
        for file in files:
            _promtool(*_BLOCKS, "openmetrics", "--max-block-duration=24h", str(file), str(self.data))

    @contextmanager
    def running(self) -> Iterator[Asked]:
        """Run the server. It sees what was back-filled before."""
        with parts.prometheus(self.folder, [], program=self.program, lookback=f"{LOOKBACK_S:g}s") as url:
            yield Asked(url, self.hours, floats=self.program is not None)

    def evaluate(self, rules: Sequence[Rule]) -> list[Episode]:
        """Record what recording rules come to, then tell which alerts fired and keep that as ``ALERTS``."""
        for number, level in enumerate(levels(rules)):
            file = write_rules(level, self.folder / f"level-{number}.yaml")
            with self.running() as asked:
                _promtool(
                    *_BLOCKS, "rules", f"--start={STARTS.timestamp():.0f}", f"--end={asked.ends_s:.0f}",
                    f"--eval-interval={SCRAPE_S:g}s", f"--output-dir={self.data}", f"--url={asked.url}", str(file),
                )  # fmt: skip
        alerts = [rule for rule in rules if rule.alert]
        with self.running() as asked:
            episodes = [one for rule in alerts for one in fired(rule, asked.range(rule.expr), SCRAPE_S)]
        self.fill([_write_alerts(episodes, self.folder / "alerts.txt")] if episodes else [])
        return episodes


def stores(week: Week, hours: float, folder: Path, majors: Iterable[str]) -> dict[str, Store]:
    """Let a week pass once; give what a Prometheus of each of these major versions would hold of it."""
    found = {major: Store(folder / major, hours) for major in majors}
    writers = {store.folder: Writer(week.names, floats=major == "3") for major, store in found.items()}
    for path in writers:
        path.mkdir()
    for file in record(week, hours, writers):
        found[file.parent.name].fill([file])
        file.unlink()
    return found


def _promtool(*arguments: str) -> None:
    done = subprocess.run(
        [parts.require("promtool", "prometheus"), *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise AssertionError(f"promtool {' '.join(arguments)}: {done.stdout[-1000:]}{done.stderr[-3000:]}")


def _write_alerts(episodes: Iterable[Episode], path: Path) -> Path:
    with path.open("w") as file:
        for one in episodes:
            labels = ",".join(f'{name}="{value}"' for name, value in one.labels)
            at_s = one.begin_s
            while at_s < one.end_s:
                file.write(f'ALERTS{{alertname="{one.alert}",alertstate="firing",{labels}}} 1 {at_s:.0f}\n')
                at_s += SCRAPE_S
        file.write("# EOF\n")
    return path
