"""The SQLite file behind the journal: how it is opened, shared between threads, bounded, and replaced when damaged."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import structlog

SCHEMA_VERSION = 1
_BUSY_TIMEOUT_S = 5.0
_WAL_BYTES = 4 * 1024 * 1024
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

# A cycle is kept as its header and one compressed body per model, so that a page about one model reads that model
# alone. `points` and `decisions` repeat the few numbers that charts and lists need, so that those decode nothing.
_SCHEMA = f"""
BEGIN;
CREATE TABLE cycles (id INTEGER PRIMARY KEY, at_s REAL NOT NULL, number INTEGER NOT NULL, header BLOB NOT NULL,
  UNIQUE (at_s, number));
CREATE TABLE models (id INTEGER PRIMARY KEY, cycle INTEGER NOT NULL REFERENCES cycles ON DELETE CASCADE,
  namespace TEXT NOT NULL, model TEXT NOT NULL, body BLOB NOT NULL, UNIQUE (cycle, namespace, model));
CREATE TABLE points (cycle INTEGER NOT NULL REFERENCES cycles ON DELETE CASCADE,
  namespace TEXT NOT NULL, model TEXT NOT NULL, at_s REAL NOT NULL,
  requests_per_s REAL, input_tok_per_s REAL, output_tok_per_s REAL,
  prefill_work REAL, decode_work REAL, both_work REAL, target_s REAL,
  input_p10 REAL, input_p50 REAL, input_p90 REAL, output_p10 REAL, output_p50 REAL, output_p90 REAL);
CREATE INDEX points_of_cycle ON points (cycle);
CREATE INDEX points_of_model ON points (namespace, model, at_s);
CREATE TABLE decisions (id INTEGER PRIMARY KEY, cycle INTEGER NOT NULL REFERENCES cycles ON DELETE CASCADE,
  at_s REAL NOT NULL, namespace TEXT NOT NULL, model TEXT NOT NULL, pool TEXT NOT NULL, role TEXT NOT NULL,
  current INTEGER, desired INTEGER, needed INTEGER, ready INTEGER, starting INTEGER,
  direction TEXT NOT NULL, reasons TEXT NOT NULL, changed INTEGER NOT NULL, outcome BLOB);
CREATE INDEX decisions_of_cycle ON decisions (cycle);
CREATE INDEX decisions_by_time ON decisions (at_s);
CREATE INDEX decisions_of_model ON decisions (namespace, model, at_s);
CREATE INDEX changes ON decisions (at_s) WHERE changed;
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""


class JournalFile:
    """One database: one writing connection, and as many reading ones as threads read at the same time.

    ``path`` None keeps everything in memory. A file that is damaged, or of another schema, is moved aside and a new one
    begun: it holds evidence, and no decision needs it. Raises OSError where the file cannot be made at all.

    A write survives the death of the process at any moment (WAL); a power cut may lose the last ones, since
    ``synchronous=NORMAL`` does not wait for the disk at each commit.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._write_lock = threading.RLock()
        self._idle_lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._generation = 0
        self._writer = self._open_or_replace()

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return str(self._path) if self._path else "the journal in memory"

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Give the writing connection inside one transaction: all of it is kept, or none."""
        with self._write_lock, self._writer as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give a connection for reading; a writer in another thread or process does not block it."""
        if self._path is None:
            with self._write_lock:
                yield self._writer
            return
        generation = self._generation
        with self._idle_lock:
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = self._connect()
            connection.execute("PRAGMA query_only = ON")
        try:
            yield connection
        finally:
            with self._idle_lock:
                if generation == self._generation:
                    self._idle.append(connection)
                else:  # the file was closed or replaced meanwhile
                    connection.close()

    def used_bytes(self) -> int:
        """The bytes that hold something: what the file shrinks to once its free pages are given back."""
        with self._write_lock:
            pages, free, size = (
                self._writer.execute(f"PRAGMA {what}").fetchone()[0]
                for what in ("page_count", "freelist_count", "page_size")
            )
        return int((pages - free) * size)

    def give_back(self) -> None:
        """Return free pages to the file system."""
        with self._write_lock:
            # The pragma frees one page a step, so it must be read to its end.
            self._writer.execute("PRAGMA incremental_vacuum").fetchall()
            self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def replace_damaged(self, error: sqlite3.DatabaseError) -> bool:
        """Move the file aside and begin a new one if the error says that it is damaged; tells whether it did."""
        if self._path is None or not _damaged(error):
            return False
        with self._write_lock:
            self._close_all()
            self._move_aside(str(error))
            self._writer = self._open()
        return True

    def close(self) -> None:
        """Close every connection; the last one folds the WAL into the file."""
        with self._write_lock:
            self._close_all()

    def _close_all(self) -> None:
        with self._idle_lock:
            self._generation += 1
            for connection in (*self._idle, self._writer):
                connection.close()
            self._idle.clear()

    def _open_or_replace(self) -> sqlite3.Connection:
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return self._open()
        except sqlite3.DatabaseError as error:
            if self._path is None or not _damaged(error):
                raise OSError(f"the journal {self.name} cannot be opened: {error}; name another file") from error
            self._move_aside(str(error))
            return self._open()

    def _open(self) -> sqlite3.Connection:
        connection = self._connect()
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            empty = not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if empty:
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(_SCHEMA)
            elif version != SCHEMA_VERSION:
                raise _NotOurs(f"its schema is version {version}, and this aiops writes {SCHEMA_VERSION}")
            elif (found := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                raise _NotOurs(found)
        except sqlite3.DatabaseError:
            connection.close()
            raise
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
        return connection

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(
            self._path or ":memory:", timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )

    def _move_aside(self, why: str) -> None:
        assert self._path is not None  # noqa: S101  # memory is never damaged
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
        aside = self._path.with_name(f"{self._path.name}.damaged-{stamp}")
        self._path.rename(aside)
        for suffix in ("-wal", "-shm"):
            beside = self._path.with_name(self._path.name + suffix)
            if beside.exists():
                beside.rename(aside.with_name(aside.name + suffix))
        structlog.get_logger().warning(
            "the journal cannot be read: it was moved aside and a new one begun; no decision needs it",
            journal=str(self._path),
            moved_to=str(aside),
            why=why,
        )


class _NotOurs(sqlite3.DatabaseError):
    """The file can be opened, but holds something else than a whole journal of this version."""


def _damaged(error: sqlite3.DatabaseError) -> bool:
    return isinstance(error, _NotOurs) or (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _DAMAGE
