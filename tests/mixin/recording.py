"""A simulated week as a Prometheus would have scraped it, as OpenMetrics for ``promtool tsdb create-blocks-from``.

What a scrape adds is added: the target's labels, a metric's own label of the same name turned into ``exported_…``
(unless the job honours labels), ``up``, and the cluster's name. What a scrape leaves behind when a target goes cannot
be written as text: OpenMetrics has no staleness marker. A server that is asked with a lookback of one and a half scrape
intervals (``LOOKBACK_S``) forgets what is gone as soon as one with markers does.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TextIO

from aiops.act.emit import Emitter
from aiops.backtest.replay import World
from aiops.control.lead import Alone
from aiops.control.loop import Loop
from aiops.model.cycle import Cycle
from aiops.model.decision import Outcome
from aiops.model.policy import PolicySet
from aiops.model.profile import CapacityProfile
from aiops.observe.policies import read_policies
from aiops.simulate.exposition.targets import Targets
from tests.mixin.outside import Outside, Refusing, SeenFromOutside
from tests.mixin.troubles import HERE, Plan

STARTS = datetime(2026, 3, 2, tzinfo=UTC)
"""A Monday."""
SCRAPE_S, LOOP_S = 60.0, 60.0
LOOKBACK_S = 1.5 * SCRAPE_S
CLUSTER = "simulated"
_FILE_S = 18 * 3600.0  # how long a block of Prometheus is that is no longer than a day; a file in two is read once more
_PROFILE = "llama-70b-h100-tp4"
_OWN = {"job": "aiops", "instance": "aiops:8080", "namespace": "aiops-system", "pod": "aiops-0"}
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_HONOURED = ("aiops", "kube-state-metrics")  # what deploy/ and the charts say of these jobs


@dataclass(frozen=True, slots=True)
class Page:
    """What one target answers to one scrape; None where it does not."""

    labels: Mapping[str, str]
    text: str | None


class Week:
    """The factory of a plan with the loop on it, in virtual time, scraped every SCRAPE_S.

    ``names`` are the series that matter; what else the engines could tell is not written at all.
    """

    def __init__(self, plan: Plan, seed: int, names: Collection[str]) -> None:
        policies = read_policies([HERE / "policies.yaml"])
        world = World(plan.specs, _profiles(policies), policies, seed, STARTS)
        self.plan, self.names, self.factory, self._policies = plan, names, world.factory(), policies
        self._targets = Targets(self.factory, wanted={family_of(name) for name in names}.__contains__)
        self._outside = Outside(self.factory, plan.troubles)
        self._state = world.state()
        self._start_aiops()

    def _start_aiops(self) -> None:
        self._emitter = Emitter("simulated", LOOP_S)
        self._loop = Loop(
            SeenFromOutside(self.factory, self._outside),
            Refusing(self.factory, self._outside),
            self,
            Alone(),
            lambda: self._policies,
            on_stage=self._emitter.stage,
        )

    def record(self, cycle: Cycle) -> None:
        """Fits ``Recorder``."""
        self._emitter.record(cycle, self._policies)

    def outcome(self, outcome: Outcome) -> None:
        """Fits ``Recorder``."""
        self._emitter.outcome(outcome)

    def scrapes(self, hours: float) -> Iterator[tuple[float, list[Page]]]:
        """Let it run; give the Unix time and the pages of each scrape."""
        for number in range(int(hours * 3600 / LOOP_S)):
            now_s = number * LOOP_S
            self.factory.advance(STARTS + timedelta(seconds=now_s))
            gone = self._outside.now("process_gone") or self._outside.now("aiops_restart")
            if gone is not None and gone.begin_s == now_s:
                self._start_aiops()  # its counters begin anew
            if gone is None and not self._outside.now("loop_stalled"):
                self._emitter.policy_load(failed=self._outside.now("policy_broken") is not None)
                self._state = self._loop.run_once(self._state).state
            if now_s % SCRAPE_S == 0:
                yield self.factory.now.timestamp(), [*self._factory_pages(), Page(_OWN, self._own(gone is None))]

    def _factory_pages(self) -> Iterator[Page]:
        for target in self._targets.all():
            yield Page(target.labels, self._outside.page(target, target.read()) if target.read else None)

    def _own(self, answers: bool) -> str | None:
        return self._emitter.expose().decode() if answers else None


def _profiles(policies: PolicySet) -> dict[str, CapacityProfile]:
    """The policies' profiles, as if one GPU did what four do: three of four GPUs would tell nothing new."""
    (variant,) = policies.variants.values()
    assert variant.profile is not None
    return {_PROFILE: variant.profile.model_copy(update={"tensor_parallel": 1})}


class Writer:
    """Writes scrapes to an OpenMetrics file, the series of these ``names`` alone.

    ``floats`` writes the bounds of buckets as Prometheus 3 stores them (``le="1.0"``), else they stay as exporters
    write them, as in Prometheus 2.
    """

    def __init__(self, names: Collection[str], *, floats: bool = False) -> None:
        self.samples = 0
        self._names, self._floats = frozenset(names), floats
        self._known: dict[str, dict[str, str]] = {}

    def scrape(self, at_s: float, pages: list[Page], file: TextIO) -> None:
        """Write one scrape."""
        known, self._known = self._known, {}
        stamp = f" {at_s:g}\n" if at_s % 1 else f" {int(at_s)}\n"
        for page in pages:
            target = ",".join(f'{name}="{value}"' for name, value in {**page.labels, "cluster": CLUSTER}.items())
            series = self._known[target] = known.get(target, {})
            lines = [f"up{{{target}}} {0 if page.text is None else 1}{stamp}"]
            for line in (page.text or "").splitlines():
                if line[0] == "#":
                    continue
                key, _, value = line.rpartition(" ")
                written = series.get(key)
                if written is None:
                    written = series[key] = self._series(key, page.labels)
                if written:
                    lines.append(f"{written}{value}{stamp}")
            file.writelines(lines)
            self.samples += len(lines)

    def _series(self, key: str, target: Mapping[str, str]) -> str:
        """A series as it is stored, with a blank after it; empty where it is not kept."""
        name, _, inside = key.partition("{")
        if name not in self._names:
            return ""
        honours = target["job"] in _HONOURED
        labels = {**target, "cluster": CLUSTER}
        for label, value in _LABEL.findall(inside):
            stored = f"{float(value)}" if self._floats and label == "le" and value != "+Inf" else value
            labels[label if honours or label not in labels else f"exported_{label}"] = stored
        text = ",".join(f'{label}="{value}"' for label, value in labels.items() if value)
        return f"{name}{{{text}}} "


def record(week: Week, hours: float, folders: Mapping[Path, Writer]) -> Iterator[Path]:
    """Write a week, a file for each 18 hours into each folder; give each file when it is whole."""
    opened: dict[Path, TextIO] = {}
    part = -1
    for at_s, pages in week.scrapes(hours):
        now = int((at_s - STARTS.timestamp()) // _FILE_S)
        if now != part:
            yield from _ended(opened)
            part, opened = now, {folder: (folder / f"part-{now}.txt").open("w") for folder in folders}
        for folder, writer in folders.items():
            writer.scrape(at_s, pages, opened[folder])
    yield from _ended(opened)


def _ended(opened: Mapping[Path, TextIO]) -> Iterator[Path]:
    for file in opened.values():
        with file:
            file.write("# EOF\n")
        yield Path(file.name)


def family_of(name: str) -> str:
    """The family of a series' name: without what its type appends."""
    return re.sub(r"_(bucket|sum|count|total)$", "", name)
