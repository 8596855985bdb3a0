import io
import json
import logging
from datetime import timedelta
from pathlib import Path

import pytest
import structlog

from aiops.act.emit import Emitter
from aiops.act.journal import Journal
from aiops.act.log import CycleLog, set_up_log
from aiops.act.recorder import EvidenceRecorder
from aiops.control.protocols import Recorder
from aiops.model.decision import Outcome
from tests.act import evidence


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture(autouse=True)
def _quiet_afterwards() -> object:
    yield
    structlog.reset_defaults()
    logging.basicConfig(force=True)


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_cycle_is_one_line_and_each_change_another_with_its_reasons(stream: io.StringIO) -> None:
    CycleLog(set_up_log(json_lines=True, stream=stream)).cycle(evidence.cycle())
    cycle, prefill, decode = lines(stream)
    assert (cycle["event"], cycle["number"], cycle["changes"], cycle["level"]) == ("cycle", 1, 2, "info")
    assert (prefill["event"], prefill["current"], prefill["desired"]) == ("scale up", 2, 4)
    assert decode["reasons"] == ["demand_now", "scale_up_step_limited"]
    assert "present demand needs more replicas" in str(decode["why"])


def test_a_change_that_nobody_carries_out_is_logged_once(stream: io.StringIO) -> None:
    log = CycleLog(set_up_log(json_lines=True, stream=stream))
    for i in range(3):
        log.cycle(evidence.cycle(evidence.START + timedelta(seconds=15 * i), i + 1))
    assert [line["event"] for line in lines(stream)].count("scale up") == 2


def test_a_blind_cycle_is_a_warning_that_says_why(stream: io.StringIO) -> None:
    CycleLog(set_up_log(json_lines=True, stream=stream)).cycle(evidence.blind_cycle(evidence.START, 1, "no answer"))
    (line,) = lines(stream)
    assert line["level"] == "warning"
    assert line["blind"] == {"all": "no answer", str(evidence.CHAT): "no answer"}


def test_libraries_speak_in_the_same_form(stream: io.StringIO) -> None:
    set_up_log(json_lines=True, stream=stream)
    logging.getLogger("urllib3").warning("retrying %s", "it")
    logging.getLogger("urllib3").info("chatter")
    (line,) = lines(stream)
    assert (line["event"], line["level"]) == ("retrying it", "warning")


def test_lines_for_people_are_no_json(stream: io.StringIO) -> None:
    CycleLog(set_up_log(json_lines=False, stream=stream)).cycle(evidence.cycle())
    assert "scale up" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_an_unknown_level_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ValueError, match="'loud' is no log level; write debug, info"):
        set_up_log(json_lines=True, level="loud")


def test_the_recorder_keeps_the_evidence_in_all_three_places(stream: io.StringIO) -> None:
    journal, emitter = Journal.memory(), Emitter("1", 15)
    recorder: Recorder = EvidenceRecorder(
        journal, emitter, CycleLog(set_up_log(json_lines=True, stream=stream)), evidence.policies
    )
    cycle = evidence.cycle()
    recorder.record(cycle)
    recorder.outcome(Outcome(evidence.DECODE, cycle.at, 8, applied=False, error="conflict"))
    assert journal.latest() == cycle
    assert "aiops_desired_replicas{" in emitter.expose().decode()
    assert lines(stream)[-1]["error"] == "conflict"
    assert [told.outcome.error for told in journal.decisions() if told.outcome] == ["conflict"]


def test_a_journal_that_cannot_be_written_does_not_stop_the_loop(tmp_path: Path, stream: io.StringIO) -> None:
    journal, emitter = Journal(tmp_path / "j"), Emitter("1", 15)
    recorder = EvidenceRecorder(
        journal, emitter, CycleLog(set_up_log(json_lines=True, stream=stream)), evidence.policies
    )
    journal.close()
    recorder.record(evidence.cycle())
    assert 'aiops_loop_errors_total{stage="record"} 1.0' in emitter.expose().decode()
    assert lines(stream)[-1]["event"] == "the journal was not written"


def test_a_refusal_is_said_once_while_only_its_numbers_change(stream: io.StringIO) -> None:
    log = CycleLog(set_up_log(json_lines=True, stream=stream))
    for applied, error in (
        (False, "left alone until 10:00:01 (1 s)"),
        (False, "left alone until 10:00:17 (2 s)"),
        (False, "a right is missing"),
        (False, "a right is missing"),
        (True, ""),
        (False, "a right is missing"),
    ):
        log.outcome(Outcome(evidence.DECODE, evidence.START, 8, applied=applied, error=error))

    assert [line.get("error", "applied") for line in lines(stream)] == [
        "left alone until 10:00:01 (1 s)",
        "a right is missing",
        "applied",
        "a right is missing",
    ]
