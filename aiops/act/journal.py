"""The journal of cycles: the evidence that the console, the API and ``explain`` show. No decision needs it.

A process that is started anew reads from its newest cycle what the fleet may still lose.
"""

import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import structlog

from aiops.act.journal_file import JournalFile
from aiops.act.series import Series, keep_point, pool_key, read_series
from aiops.model.codec import decode, encode
from aiops.model.cycle import Cycle, ModelCycle
from aiops.model.decision import Decision, Outcome
from aiops.model.refs import ModelRef

T = TypeVar("T")

_DROP_SHARE = 32  # over its bound, the journal drops the oldest 32nd of its cycles at a time


@dataclass(frozen=True, slots=True)
class RecordedDecision:
    """A decision as it was recorded.

    ``changed`` marks the first of a row that asks for the same new number of replicas; ``outcome`` is what came of it,
    None where nobody tried.
    """

    at: datetime
    number: int
    changed: bool
    decision: Decision
    outcome: Outcome | None = None


class _Asked(NamedTuple):
    """The last decision about a pool: its row, and what it asked for."""

    row: int
    direction: str
    desired: int | None


class Journal:
    """Cycles in SQLite, one process writing, any thread reading.

    The newest ones are kept: the oldest go when the file holds more than ``max_bytes`` (beside it lies a write-ahead
    log of a few MiB) or when they are older than the newest cycle by more than ``max_age``. Times are the cycles' own,
    so virtual time is as good as any. Raises OSError where the file cannot be made.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        max_bytes: int = 256 * 1024 * 1024,
        max_age: timedelta = timedelta(days=14),
    ) -> None:
        self._file = JournalFile(None if path == ":memory:" else Path(path))
        self._max_bytes, self._max_age = max_bytes, max_age
        self._asked = self._last_asked()

    @classmethod
    def memory(cls) -> "Journal":
        """Make a journal that ends with the process."""
        return cls(":memory:")

    @property
    def name(self) -> str:
        """The file, for messages."""
        return self._file.name

    def close(self) -> None:
        """Close the file; nothing may be read or written after."""
        self._file.close()

    def record(self, cycle: Cycle) -> None:
        """Keep a cycle; keeping the same one (``at`` and ``number``) again changes nothing.

        A file that turns out damaged is replaced. Raises sqlite3.Error where it cannot be written, such as a full disk.
        """
        try:
            self._write(cycle)
        except sqlite3.DatabaseError as error:
            if not self._file.replace_damaged(error):
                raise
            self._asked = {}
            self._write(cycle)

    def outcome(self, outcome: Outcome) -> None:
        """Keep what came of the last decision about its pool; one about an unknown pool is dropped."""
        last = self._asked.get(pool_key(outcome.pool))
        if last is not None:
            with self._file.writing() as connection:
                connection.execute("UPDATE decisions SET outcome = ? WHERE id = ?", (_packed(outcome), last.row))

    def _write(self, cycle: Cycle) -> None:
        at_s = cycle.at.timestamp()
        asked = dict(self._asked)
        with self._file.writing() as connection:
            inserted = connection.execute(
                "INSERT OR IGNORE INTO cycles (at_s, number, header) VALUES (?, ?, ?)",
                (at_s, cycle.number, _packed(replace(cycle, models=()))),
            )
            if not inserted.rowcount or inserted.lastrowid is None:
                return
            for model in cycle.models:
                connection.execute(
                    "INSERT INTO models (cycle, namespace, model, body) VALUES (?, ?, ?, ?)",
                    (inserted.lastrowid, model.ref.namespace, model.ref.model, _packed(model)),
                )
                keep_point(connection, inserted.lastrowid, at_s, model)
                for decision in model.decisions:
                    key = pool_key(decision.pool)
                    asked[key] = _keep_decision(connection, inserted.lastrowid, at_s, model, decision, asked.get(key))
            connection.execute("DELETE FROM cycles WHERE at_s < ?", (at_s - self._max_age.total_seconds(),))
        self._asked = asked
        self._bound()

    def _bound(self) -> None:
        if self._file.used_bytes() <= self._max_bytes:
            return
        while self._file.used_bytes() > self._max_bytes:
            with self._file.writing() as connection:
                (count,) = connection.execute("SELECT count(*) FROM cycles").fetchone()
                if count <= 1:
                    break
                connection.execute(
                    "DELETE FROM cycles WHERE id IN (SELECT id FROM cycles ORDER BY at_s LIMIT ?)",
                    (min(count - 1, count // _DROP_SHARE + 1),),
                )
        self._file.give_back()

    def _last_asked(self) -> dict[str, _Asked]:
        rows = self._read("SELECT pool, max(id), direction, desired FROM decisions GROUP BY pool", ())
        return {pool: _Asked(*rest) for pool, *rest in rows}

    def latest(self) -> Cycle | None:
        """Give the newest cycle; None before the first."""
        return next(iter(self._cycles("", (), 1)), None)

    def cycle_at(self, at: datetime) -> Cycle | None:
        """Give the last cycle at or before a time; None where none is that old."""
        return next(iter(self._cycles("WHERE at_s <= ?", (at.timestamp(),), 1)), None)

    def cycle_number(self, number: int) -> Cycle | None:
        """Give the newest cycle of that number; numbers start anew with each process."""
        return next(iter(self._cycles("WHERE number = ?", (number,), 1)), None)

    def cycles(
        self, since: datetime | None = None, until: datetime | None = None, limit: int | None = None
    ) -> tuple[Cycle, ...]:
        """Give the cycles between two times (both included), newest first."""
        where, values = _where(since=since, until=until)
        return tuple(self._cycles(where, values, limit))

    def decisions(
        self,
        ref: ModelRef | None = None,
        *,
        namespace: str | None = None,
        model: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        changed_only: bool = False,
        limit: int = 100,
    ) -> tuple[RecordedDecision, ...]:
        """Give decisions, newest first, of one model (``ref``, or its names alone) or of all."""
        if ref is not None:
            namespace, model = ref.namespace, ref.model
        where, values = _where("d.", since=since, until=until, namespace=namespace, model=model)
        if changed_only:
            where += " AND d.changed" if where else "WHERE d.changed"
        rows = self._read(
            "SELECT d.at_s, c.number, d.changed, d.pool, d.outcome, c.header, m.id, m.body FROM decisions d"  # noqa: S608
            " JOIN cycles c ON c.id = d.cycle"
            " JOIN models m ON m.cycle = d.cycle AND m.namespace = d.namespace AND m.model = d.model"
            f" {where} ORDER BY d.at_s DESC, d.id LIMIT ?",  # the clause is made of constants, its values are bound
            (*values, limit),
        )
        return tuple(_recorded_decisions(rows))

    def series(self, ref: ModelRef, since: datetime, until: datetime | None = None, *, points: int = 400) -> Series:
        """Give one model's demand, forecast band and replicas over time for charts; ``until`` is the newest cycle."""
        with self._file.reading() as connection:
            if until is None:
                (newest_s,) = connection.execute("SELECT max(at_s) FROM cycles").fetchone()
                until_s = newest_s if newest_s is not None else since.timestamp()
            else:
                until_s = until.timestamp()
            return read_series(connection, ref, since.timestamp(), until_s, points)

    def _cycles(self, where: str, values: Sequence[object], limit: int | None) -> Iterator[Cycle]:
        rows = self._read(
            f"SELECT id, header FROM cycles {where} ORDER BY at_s DESC, id DESC LIMIT ?",  # noqa: S608  # constants
            (*values, -1 if limit is None else limit),
        )
        for cycle_id, header in rows:
            bodies = self._read("SELECT body FROM models WHERE cycle = ? ORDER BY id", (cycle_id,))
            cycle = _unpacked(Cycle, header)
            models = (_unpacked(ModelCycle, body) for (body,) in bodies)
            if cycle is not None:
                yield replace(cycle, models=tuple(model for model in models if model is not None))

    def _read(self, query: str, values: Sequence[object]) -> list[Any]:
        with self._file.reading() as connection:
            return connection.execute(query, values).fetchall()


def _keep_decision(
    connection: sqlite3.Connection,
    cycle_id: int,
    at_s: float,
    model: ModelCycle,
    decision: Decision,
    last: _Asked | None,
) -> _Asked:
    summary = next((summary for summary in model.pools if summary.pool == decision.pool), None)
    same = last is not None and (last.direction, last.desired) == (decision.direction, decision.desired)
    row = connection.execute(
        "INSERT INTO decisions (cycle, at_s, namespace, model, pool, role, current, desired, needed, ready, starting,"
        " direction, reasons, changed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            cycle_id,
            at_s,
            decision.ref.namespace,
            decision.ref.model,
            pool_key(decision.pool),
            decision.role.value,
            decision.current,
            decision.desired,
            decision.needed,
            summary.ready if summary else None,
            summary.starting if summary else None,
            decision.direction,
            " ".join(reason.value for reason in decision.reasons),
            decision.acts and not same,
        ),
    )
    return _Asked(row.lastrowid or 0, decision.direction, decision.desired)


def _recorded_decisions(rows: Sequence[tuple[Any, ...]]) -> Iterator[RecordedDecision]:
    models: dict[int, ModelCycle | None] = {}  # the pools of a model share a body
    for _, number, changed, pool, outcome, header, model_id, body in rows:
        if model_id not in models:
            models[model_id] = _unpacked(ModelCycle, body)
        model, cycle = models[model_id], _unpacked(Cycle, header)
        decision = next((found for found in model.decisions if pool_key(found.pool) == pool), None) if model else None
        if decision is not None and cycle is not None:
            told = _unpacked(Outcome, outcome) if outcome else None
            yield RecordedDecision(cycle.at, number, bool(changed), decision, told)


def _packed(value: object) -> bytes:
    return zlib.compress(encode(value))


def _unpacked(kind: type[T], blob: bytes) -> T | None:
    """Read a stored value; one that another version wrote in another shape is left out, and told."""
    try:
        return decode(kind, zlib.decompress(blob))
    except (ValueError, zlib.error) as error:
        structlog.get_logger().warning("a journal entry cannot be read and is left out", why=str(error))
        return None


def _where(
    prefix: str = "",
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    namespace: str | None = None,
    model: str | None = None,
) -> tuple[str, tuple[object, ...]]:
    clauses = {
        f"{prefix}at_s >= ?": since.timestamp() if since else None,
        f"{prefix}at_s <= ?": until.timestamp() if until else None,
        f"{prefix}namespace = ?": namespace,
        f"{prefix}model = ?": model,
    }
    used = {clause: value for clause, value in clauses.items() if value is not None}
    return ("WHERE " + " AND ".join(used) if used else "", tuple(used.values()))
