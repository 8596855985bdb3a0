"""Requests from a file, or from a factory's own load, through it, and all results into a folder."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from aiops.model.profile import CapacityProfile
from aiops.simulate.faults.truth import Window
from aiops.simulate.load import Load
from aiops.simulate.picture import Picture
from aiops.simulate.replay_requests import EPOCH, replay_requests
from aiops.simulate.requests import PS, RequestBatch
from aiops.simulate.spec import FactorySpec
from aiops.simulate.tables.out_folder import OutFolder
from aiops.simulate.tables.outcome_csv import OutcomeBatch, OutcomeWriter
from aiops.simulate.tables.outcome_totals import OutcomeTotals
from aiops.simulate.tables.replica_csv import ReplicaRow, ReplicaWriter


class Requests(Protocol):
    """Where requests come from: a ``RequestFile``, or a load."""

    @property
    def has_prefixes(self) -> bool:
        """Whether prompts may begin alike."""
        ...

    def batches(self, segment_tokens: int, *, on_read: Callable[[float], None]) -> Iterator[RequestBatch]:
        """Give the requests by arrival, telling the share that is read."""
        ...


@dataclass(frozen=True, slots=True)
class DrawnRequests:
    """The requests that come to a factory by its own load within ``span_s``, from midnight on."""

    spec: FactorySpec
    seed: int
    span_s: float

    @property
    def has_prefixes(self) -> bool:
        """Whether prompts may begin alike."""
        return self.spec.workload is not None and self.spec.workload.shares

    def batches(self, segment_tokens: int, *, on_read: Callable[[float], None]) -> Iterator[RequestBatch]:
        """Draw them; the load has prefixes of its own, so ``segment_tokens`` mean nothing."""
        load = Load(self.spec.workload, self.seed, str(self.spec.ref), EPOCH)
        for batch in load.batches(round(self.span_s * PS)):
            yield batch
            on_read(float(batch.arrival_ps[-1]) / PS / self.span_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReplay:
    """What to simulate: requests and the factory that they meet, for ``span_s`` at least.

    A hit has its TTFT and its mean ITL within the bounds. The prefix cache is on where the requests have prefixes.
    """

    file: Requests
    spec: FactorySpec
    profiles: Mapping[str, CapacityProfile]
    segment_tokens: int
    ttft_bound_s: float
    itl_bound_s: float
    seed: int
    span_s: float = 0.0


def replay_file(
    what: FileReplay, out: Path, on_read: Callable[[float], None] = lambda _: None, picture: Picture | None = None
) -> dict[str, Any]:
    """Simulate, write ``requests.csv``, ``replicas.csv`` and ``summary.json`` into a folder, and give the summary.

    ``on_read`` is told the share of the requests that is read, ``picture`` all that it draws. Raises ValueError where
    the input is bad and OSError where the folder cannot be written; nothing is left in it then.
    """
    with OutFolder(out) as folder:
        summary = _simulated(what, folder, on_read, picture)
        text = json.dumps(summary, indent=2, sort_keys=True, allow_nan=False)
        folder.file("summary.json").write_text(text + "\n", encoding="utf-8")
    return summary


def _simulated(
    what: FileReplay, folder: OutFolder, on_read: Callable[[float], None], picture: Picture | None
) -> dict[str, Any]:
    totals = OutcomeTotals(what.ttft_bound_s, what.itl_bound_s)
    names: Sequence[str] = ()
    windows: list[Window] = []
    with OutcomeWriter(folder.file("requests.csv")) as rows, ReplicaWriter(folder.file("replicas.csv")) as pools:

        def ended(outcomes: OutcomeBatch, replicas: Sequence[str]) -> None:
            nonlocal names
            names = replicas
            totals.add(outcomes)
            rows.write(outcomes, replicas)
            if picture is not None:
                picture.add_outcomes(outcomes)

        def looked(row: ReplicaRow) -> None:
            pools.write(row)
            if picture is not None:
                picture.add_pools(row)

        paid = replay_requests(
            what.spec,
            what.profiles,
            what.file.batches(what.segment_tokens, on_read=on_read),
            prefixes=what.file.has_prefixes,
            seed=what.seed,
            until_s=what.span_s,
            on_ended=ended,
            on_pools=looked,
            on_truth=windows.extend,
        )
        rows.finish(names)
    if picture is not None:
        picture.add_truth(windows)
    per_pool = {
        pool.name: {
            "replica_hours": pool.replica_hours,
            "gpu_hours": pool.gpu_hours,
            "preemptions": pool.preemptions,
        }
        for pool in paid
    }
    paid_for = {
        key: sum(pool[key] for pool in per_pool.values()) for key in ("replica_hours", "gpu_hours", "preemptions")
    }
    told = {"faults": [asdict(window) for window in windows]}
    return {"seed": what.seed, **totals.summary(), **paid_for, "pools": per_pool, **told}
