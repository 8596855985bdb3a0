import signal
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from aiops.act.journal import Journal
from aiops.model.decision import Outcome
from aiops.model.refs import ModelRef, Role
from tests.act import evidence
from tests.parts import wait_for

STEP = timedelta(seconds=15)
WRITER = """
import sys
from datetime import timedelta
from aiops.act.journal import Journal
from tests.act import evidence
journal = Journal(sys.argv[1])
number = 0
while True:
    number += 1
    journal.record(evidence.cycle(evidence.START + number * timedelta(seconds=15), number))
    print(number, flush=True)
"""


def filled(journal: Journal, hours: float = 1.0) -> Journal:
    for cycle in evidence.day(hours):
        journal.record(cycle)
    return journal


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.sqlite")


def test_a_cycle_comes_back_as_it_was(journal: Journal) -> None:
    cycle = evidence.troubled(evidence.cycle())
    journal.record(cycle)
    assert journal.latest() == cycle


def test_keeping_the_same_cycle_again_changes_nothing(journal: Journal) -> None:
    journal.record(evidence.cycle())
    journal.record(evidence.cycle())
    assert len(journal.cycles()) == 1
    assert len(journal.decisions()) == 2


def test_an_empty_journal_has_nothing_to_give(journal: Journal) -> None:
    assert journal.latest() is None
    assert journal.cycle_at(evidence.START) is None
    assert journal.decisions() == ()
    assert journal.series(evidence.CHAT, evidence.START).demand == ()


def test_cycles_are_found_by_time_and_by_number(journal: Journal) -> None:
    filled(journal, 0.1)
    at = evidence.START + 3 * STEP + timedelta(seconds=7)
    found = journal.cycle_at(at)
    assert found is not None
    assert found.number == 4
    assert journal.cycle_number(4) == found
    assert journal.cycle_at(evidence.START - STEP) is None
    assert [cycle.number for cycle in journal.cycles(evidence.START + STEP, at)] == [4, 3, 2]
    assert [cycle.number for cycle in journal.cycles(limit=2)] == [24, 23]


def test_decisions_are_newest_first_and_bounded(journal: Journal) -> None:
    filled(journal)
    found = journal.decisions(evidence.CHAT, limit=5)
    assert [told.number for told in found] == [240, 240, 239, 239, 238]
    assert found[0].decision == journal.latest().decisions[0]  # type: ignore[union-attr]  # it was filled
    assert journal.decisions(ModelRef("llm", "unheard-of")) == ()
    assert len(journal.decisions(since=evidence.START, until=evidence.START)) == 2


def test_a_change_that_nobody_carries_out_is_told_once(journal: Journal) -> None:
    for i in range(5):
        journal.record(evidence.cycle(evidence.START + i * STEP, i + 1))
    changes = journal.decisions(changed_only=True)
    assert [(told.number, told.decision.role) for told in changes] == [(1, Role.PREFILL), (1, Role.DECODE)]


def test_an_outcome_stays_with_its_decision_also_after_a_restart(tmp_path: Path) -> None:
    first = Journal(tmp_path / "j")
    first.record(evidence.cycle())
    first.close()
    second = Journal(tmp_path / "j")
    outcome = Outcome(evidence.DECODE, evidence.START, 8, applied=False, error="conflict")
    second.outcome(outcome)
    told = {told.decision.pool: told.outcome for told in second.decisions()}
    assert told == {evidence.DECODE: outcome, evidence.PREFILL: None}


def test_charts_get_demand_replicas_and_the_band_that_was_forecast_ten_minutes_before(journal: Journal) -> None:
    filled(journal)
    series = journal.series(evidence.CHAT, evidence.START)
    assert len(series.demand) == 240
    newest = journal.latest()
    assert newest is not None
    assert newest.models[0].demand is not None
    assert series.demand[-1].input_tok_per_s == pytest.approx(newest.models[0].demand.input_tok_per_s)
    assert {pool.pool for pool in series.pools} == {evidence.PREFILL, evidence.DECODE}
    at_s = (evidence.START + timedelta(minutes=30)).timestamp()
    low, middle, high = next(point.input_tok_per_s for point in series.band if point.at_s == at_s)
    assert low is not None
    assert high is not None
    assert middle == pytest.approx(evidence.request_rate(evidence.START + timedelta(minutes=30)) * 3150.0)
    assert low < middle < high
    assert series.band[-1].at_s > newest.at.timestamp()


def test_charts_are_thinned_out_to_the_points_that_fit(journal: Journal) -> None:
    filled(journal, 4)
    series = journal.series(evidence.CHAT, evidence.START, points=100)
    assert 90 <= len(series.demand) <= 101
    assert all(len(pool.points) <= 101 for pool in series.pools)
    assert series.pools[0].points[-1].at_s == evidence.START.timestamp() + 4 * 3600 - 15


def test_the_file_stays_within_its_bound_and_keeps_the_newest(tmp_path: Path) -> None:
    path = tmp_path / "j"
    journal = Journal(path, max_bytes=400_000)
    filled(journal, 3)
    newest = journal.latest()
    journal.close()
    assert newest is not None
    assert newest.number == 720
    assert path.stat().st_size <= 400_000
    assert 50 < len(Journal(path).cycles()) < 720


def test_cycles_older_than_the_newest_by_more_than_the_age_go_whatever_the_wall_clock_says(tmp_path: Path) -> None:
    journal = filled(Journal(tmp_path / "j", max_age=timedelta(minutes=10)))
    kept = journal.cycles()
    assert len(kept) == 41
    assert kept[0].at - kept[-1].at == timedelta(minutes=10)
    assert len(journal.decisions(limit=1000)) == 2 * 41


def test_a_journal_in_memory_serves_other_threads() -> None:
    journal = filled(Journal.memory(), 0.1)
    seen: list[int] = []
    reader = threading.Thread(target=lambda: seen.append(len(journal.cycles())))
    reader.start()
    reader.join()
    assert seen == [24]


def test_readers_see_whole_cycles_while_one_thread_writes(journal: Journal) -> None:
    done = threading.Event()
    wrong: list[object] = []
    looks = []

    def read() -> None:
        while not done.is_set():
            newest = journal.latest()
            if newest is not None:
                looks.append(newest.number)
                if len(newest.models) != 1 or len(newest.decisions) != 2:
                    wrong.append(newest)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    filled(journal, 0.5)
    done.set()
    for reader in readers:
        reader.join()
    assert wrong == []
    assert looks


def test_a_killed_writer_leaves_a_whole_file_with_its_last_cycles(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        written = 0
        while written < 40:
            written = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        written = max([written, *(int(line) for line in writer.stdout.read().split("\n")[:-1])])
    journal = Journal(path)
    newest = journal.latest()
    assert newest is not None
    assert newest.number >= written
    assert [cycle.number for cycle in journal.cycles()] == list(range(newest.number, 0, -1))
    journal.record(evidence.cycle(newest.at + STEP, newest.number + 1))
    assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"this is no database, and it is long enough to be looked at" * 100, id="another kind of file"),
        pytest.param(b"SQLite format 3\x00" + b"\xff" * 5000, id="a header with nonsense behind it"),
    ],
)
def test_a_damaged_file_is_moved_aside_and_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "j"
    path.write_bytes(content)
    with capture_logs() as logs:
        journal = Journal(path)
    journal.record(evidence.cycle())
    assert journal.latest() == evidence.cycle()
    (aside,) = tmp_path.glob("j.damaged-*")
    assert aside.read_bytes() == content
    assert [entry["moved_to"] for entry in logs] == [str(aside)]


def test_a_file_whose_middle_is_overwritten_is_moved_aside(tmp_path: Path) -> None:
    path = tmp_path / "j"
    filled(Journal(path)).close()
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xaa" * 40_000)
    journal = Journal(path)
    assert journal.latest() is None
    assert len(list(tmp_path.glob("j.damaged-*"))) == 1


def test_a_file_of_another_schema_is_moved_aside(tmp_path: Path) -> None:
    path = tmp_path / "j"
    filled(Journal(path), 0.01).close()
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 99")
    other.close()
    assert Journal(path).latest() is None


def test_damage_while_running_begins_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "j"
    journal = filled(Journal(path))
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other.close()
    with path.open("r+b") as file:
        file.write(b"\xaa" * path.stat().st_size)
    later = evidence.cycle(evidence.START + timedelta(hours=2), 999)

    def written() -> bool:
        journal.record(later)
        return journal.latest() == later

    wait_for(written, "the journal begins anew")


def test_an_entry_of_another_shape_is_left_out_and_told(tmp_path: Path) -> None:
    path = tmp_path / "j"
    journal = filled(Journal(path), 0.02)
    with sqlite3.connect(path) as other:
        other.execute("UPDATE models SET body = x'00' WHERE cycle = (SELECT max(id) FROM cycles)")
    other.close()
    with capture_logs() as logs:
        newest = journal.latest()
    assert newest is not None
    assert newest.models == ()
    assert "left out" in logs[0]["event"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        Journal(tmp_path / "file" / "journal.sqlite")


def test_a_folder_in_the_place_of_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="name another file"):
        Journal(tmp_path)


def test_a_cycle_of_many_models_is_one_entry(journal: Journal) -> None:
    seen = evidence.cycle()
    models = tuple(
        replace(
            seen.models[0],
            ref=ModelRef("llm", f"model-{i}"),
            decisions=tuple(
                replace(each, ref=ModelRef("llm", f"model-{i}"), pool=replace(each.pool, name=f"{each.pool.name}-{i}"))
                for each in seen.decisions
            ),
        )
        for i in range(20)
    )
    cycle = replace(seen, models=models)
    journal.record(cycle)
    assert journal.latest() == cycle
    assert len(journal.decisions(namespace="llm", model="model-7")) == 2
