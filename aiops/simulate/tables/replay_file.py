"""Requests from a file through a factory, and all results into a folder."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiops.model.profile import CapacityProfile
from aiops.simulate.replay_requests import replay_requests
from aiops.simulate.spec import FactorySpec
from aiops.simulate.tables.out_folder import OutFolder
from aiops.simulate.tables.outcome_csv import OutcomeBatch, OutcomeWriter
from aiops.simulate.tables.outcome_totals import OutcomeTotals
from aiops.simulate.tables.replica_csv import ReplicaWriter
from aiops.simulate.tables.request_csv import RequestFile


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReplay:
    """What to simulate: a file's requests and the factory that they meet.

    A hit has its TTFT and its mean ITL within the bounds. The prefix cache is on where the file has prefixes.
    """

    file: RequestFile
    spec: FactorySpec
    profiles: Mapping[str, CapacityProfile]
    segment_tokens: int
    ttft_bound_s: float
    itl_bound_s: float
    seed: int


def replay_file(what: FileReplay, out: Path, on_read: Callable[[float], None] = lambda _: None) -> dict[str, Any]:
    """Simulate, write ``requests.csv``, ``replicas.csv`` and ``summary.json`` into a folder, and give the summary.

    ``on_read`` is told the share of the file that is read. Raises ValueError where the input is bad and OSError where
    the folder cannot be written; nothing is left in it then.
    """
    with OutFolder(out) as folder:
        summary = _simulated(what, folder, on_read)
        text = json.dumps(summary, indent=2, sort_keys=True, allow_nan=False)
        folder.file("summary.json").write_text(text + "\n", encoding="utf-8")
    return summary


def _simulated(what: FileReplay, folder: OutFolder, on_read: Callable[[float], None]) -> dict[str, Any]:
    totals = OutcomeTotals(what.ttft_bound_s, what.itl_bound_s)
    names: Sequence[str] = ()
    with OutcomeWriter(folder.file("requests.csv")) as rows, ReplicaWriter(folder.file("replicas.csv")) as pools:

        def ended(outcomes: OutcomeBatch, replicas: Sequence[str]) -> None:
            nonlocal names
            names = replicas
            totals.add(outcomes)
            rows.write(outcomes, replicas)

        paid = replay_requests(
            what.spec,
            what.profiles,
            what.file.batches(what.segment_tokens, on_read=on_read),
            prefixes=what.file.has_prefixes,
            seed=what.seed,
            on_ended=ended,
            on_pools=pools.write,
        )
        rows.finish(names)
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
    return {"seed": what.seed, **totals.summary(), **paid_for, "pools": per_pool}
