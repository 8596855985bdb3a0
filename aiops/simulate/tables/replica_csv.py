"""Pools over time, into a CSV file."""

import csv
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Self


@dataclass(frozen=True, slots=True)
class ReplicaRow:
    """A pool at a time.

    Starting are those that do not serve yet or not again, waiting for GPUs included; paid are replicas from binding to
    deletion. A KV usage of 1 is all blocks of all replicas that answer.
    """

    t_s: float
    pool: str
    ready_replicas: int
    paid_replicas: int
    starting: int
    draining: int
    running: int
    waiting: int
    kv_usage_ratio: float


class ReplicaWriter:
    """Writes ``replicas.csv``, row by row as they come."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._table = csv.writer(self._file, lineterminator="\n")
        self._table.writerow([field.name for field in fields(ReplicaRow)])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, row: ReplicaRow) -> None:
        """Write how a pool is from a time on."""
        self._table.writerow(f"{value:.15g}" if isinstance(value, float) else value for value in astuple(row))
