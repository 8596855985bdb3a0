import os
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from aiops.act import forecast_file
from aiops.act.forecast_file import ForecastFileError, ForecastSaver, read_forecasts, write_forecasts
from aiops.model.policy import PolicySet
from aiops.plan import State, begin, learn_snapshot
from aiops.plan.state import ModelMemory
from tests.parts import wait_for
from tests.plan.worlds import REF, START, VARIANT, demand_of, policies, policy, snapshot

LONG = timedelta(days=14)
CYCLE = timedelta(seconds=15)


def turns(state: State, first: int, last: int) -> State:
    """Let the loop see demand that rises and falls, cycles ``first`` to ``last`` after START."""
    for number in range(first, last):
        demand = demand_of(20.0 + 10.0 * ((number // 40) % 3))
        state = learn_snapshot(state, snapshot(START + number * CYCLE, {"both": 3}, demand), policies())
    return state


def end(number: int) -> datetime:
    return START + number * CYCLE


def forecasts_of(state: State) -> ModelMemory:
    """What the file is about: the forecasters' part of the memory."""
    memory = state.model(REF)
    return replace(memory, pools=(), detections=(), detect=ModelMemory(REF).detect, rates=())


@pytest.fixture(scope="module")
def learned() -> State:
    return turns(State(), 0, 400)


@pytest.fixture
def saved(learned: State, tmp_path: Path) -> Path:
    path = tmp_path / "folder" / "journal.forecasts"
    write_forecasts(path, learned, policies())
    return path


def test_what_the_forecasters_remember_comes_back_as_it_was(learned: State, saved: Path) -> None:
    assert read_forecasts(saved, policies(), end(400), LONG).models == (forecasts_of(learned),)
    assert list(saved.parent.iterdir()) == [saved]


@pytest.mark.parametrize("stop", [pytest.param(401, id="in the middle of a bin"), pytest.param(404, id="as one ends")])
def test_a_restart_forecasts_as_if_it_had_not_been(learned: State, tmp_path: Path, stop: int) -> None:
    running = turns(learned, 400, stop)
    write_forecasts(tmp_path / "f", running, policies())
    restarted = read_forecasts(tmp_path / "f", policies(), end(stop), LONG)
    restarted = begin(restarted, policies(), (), end(stop), restarted)
    for number in range(stop, stop + 50):
        running, restarted = turns(running, number, number + 1), turns(restarted, number, number + 1)
        assert forecasts_of(restarted) == forecasts_of(running)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param(b"", "not such a file", id="an empty file"),
        pytest.param(b"SQLite format 3\0" + bytes(100), "not such a file", id="another program's file"),
        pytest.param(b"aiops forecast state\n", "cut short", id="a file without a header"),
        pytest.param(b"aiops forecast state\n{}\n" + bytes(10), "cut short", id="a file without a body"),
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(ForecastFileError, match=why):
        read_forecasts(tmp_path / "f", policies(), START, LONG)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(place=st.floats(0.0, 1.0, exclude_max=True), flip=st.integers(0, 255))
def test_a_file_that_is_cut_or_changed_anywhere_is_refused(saved: Path, place: float, flip: int) -> None:
    content = saved.read_bytes()
    i = int(place * len(content))
    changed = content[:i] if not flip else content[:i] + bytes([content[i] ^ flip]) + content[i + 1 :]
    damaged = saved.with_name("damaged")
    damaged.write_bytes(changed)
    with pytest.raises(ForecastFileError):
        read_forecasts(damaged, policies(), end(400), LONG)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("VERSION", 0, id="an older format"),
        pytest.param("__version__", "0.0.9", id="an older release"),
        pytest.param("MEMBERS", forecast_file.MEMBERS[:-1], id="other members"),
    ],
)
def test_a_file_of_another_version_is_refused(
    learned: State, tmp_path: Path, name: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(forecast_file, name, value)
        write_forecasts(tmp_path / "f", learned, policies())
    with pytest.raises(ForecastFileError, match="another version wrote it"):
        read_forecasts(tmp_path / "f", policies(), end(400), LONG)


@pytest.mark.parametrize(
    ("at", "why"),
    [
        pytest.param(START, "in the future", id="a clock that was set back"),
        pytest.param(START + timedelta(days=30), "older than all history", id="a month later"),
    ],
)
def test_a_file_of_another_time_is_refused(saved: Path, at: datetime, why: str) -> None:
    with pytest.raises(ForecastFileError, match=why):
        read_forecasts(saved, policies(), at, LONG)


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(policies(variant=replace(VARIANT, profile=None)), id="a profile that is not named any more"),
        pytest.param(policies(policy(objectives={"itl": {"p95": "90ms"}})), id="another objective"),
        pytest.param(PolicySet(), id="a policy that is gone"),
    ],
)
def test_a_model_whose_series_would_mean_something_else_is_left_out(saved: Path, changed: PolicySet) -> None:
    assert read_forecasts(saved, changed, end(400), LONG).models == ()


def test_a_write_that_fails_leaves_the_former_file(
    learned: State, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    before = saved.read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    saver = ForecastSaver(saved, CYCLE)
    with capture_logs() as logs:
        saver.close(turns(learned, 400, 440), policies())
        saver.close(turns(learned, 400, 440), policies())
    assert saved.read_bytes() == before
    assert [log["why"] for log in logs] == ["No space left on device"]


def test_it_is_saved_every_so_often_and_at_the_end(learned: State, tmp_path: Path) -> None:
    path = tmp_path / "f"
    saver = ForecastSaver(path, 4 * CYCLE)
    for number in range(4):
        saver.turned(learned, policies(), end(400 + number))
    assert not path.exists()
    saver.turned(learned, policies(), end(404))
    wait_for(path.exists, "it is saved")
    later = turns(learned, 400, 410)
    saver.close(later, policies())
    assert read_forecasts(path, policies(), end(410), LONG).models == (forecasts_of(later),)
