"""What a recording comes to, and its picture, on events that are written down here."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.cluster.recording import (
    Decided,
    Event,
    Mark,
    PodSeen,
    Recording,
    ReplicasSet,
    Sample,
    Served,
    line_of,
    read_recording,
)
from tests.cluster.run_picture import picture_beside, picture_of


def written(t_s: float, replicas: int, generation: int, by: str = "aiops") -> ReplicasSet:
    return ReplicasSet(t_s=t_s, pool="chat", replicas=replicas, generation=generation, by=by)


def sampled(t_s: float, ready: int, waiting: float | None, **counts: int) -> Sample:
    fields = {"starting": 0, "unplaced": 0, "leaving": 0, **counts}
    return Sample(t_s=t_s, pool="chat", ready=ready, waiting=waiting, running=1.0, kv_usage_ratio=0.5, **fields)


def pod(t_s: float, name: str, state: str, cost: int | None = None) -> PodSeen:
    return PodSeen(t_s=t_s, pool="chat", pod=name, state=state, deletion_cost=cost, running=3.0)


RUN: list[Event] = [
    written(0.0, 1, 1, "kubectl"),
    sampled(0.0, 1, None),
    pod(0.0, "a", "ready"),
    Decided(t_s=4.0, pool="chat", current=1, needed=3, desired=3, reasons=("forecast",), work=1.5),
    written(5.0, 3, 2),
    sampled(10.0, 1, 4.0, starting=2, unplaced=1),
    pod(12.0, "b", "ordered"),
    Served(t_s=15.0, model="m", over_s=15.0, answered=20, failed=1, late=2, waited=9, ttft_p50_s=0.2, ttft_p95_s=1.5),
    sampled(20.0, 3, 1.0),
    Mark(t_s=21.0, text="a leader is killed"),
    written(25.0, 2, 3),
    pod(26.0, "a", "leaving", -7),
    pod(26.2, "a", "leaving"),
    pod(26.5, "b", "leaving"),
    sampled(30.0, 2, 0.0, leaving=1),
]


def test_a_recording_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    file.write_text("".join(f"{line_of(event)}\n" for event in RUN))

    assert read_recording(file).events == RUN


def test_a_run_comes_to_its_numbers() -> None:
    summary = Recording(reversed(RUN)).summary()

    assert summary == {
        "seconds": 30.0,
        "pools": {
            "chat": {
                "replicas": {"first": 1, "least": 1, "most": 3, "last": 2},
                "moves": {"up": 1, "down": 1, "by": {"aiops": 2}},
                "changes_unseen": 0,
                # One that serves; then one more that starts; then three.
                "replica_seconds": 10 + 20 + 30,
                "greatest_waiting": {"requests": 4.0, "t_s": 10.0},
                "decisions_by_first_reason": {"forecast": 1},
            }
        },
        "models": {
            "m": {
                "answered": 20,
                "failed": 1,
                "late": 2,
                "waited_at_once": 9,
                "greatest_ttft_p95_s": {"seconds": 1.5, "t_s": 15.0},
            }
        },
        "marks": {"21": "a leader is killed"},
    }


@pytest.mark.parametrize(
    ("generations", "unseen"),
    [
        pytest.param([1, 2, 3], 0, id="every change was seen"),
        pytest.param([1, 4], 2, id="two changes were not"),
        pytest.param([3, 3], 0, id="the same change was told twice"),
        pytest.param([], 0, id="there is no such target"),
    ],
)
def test_a_change_that_was_not_seen_is_counted(generations: list[int], unseen: int) -> None:
    writes = [written(float(number), number, generation) for number, generation in enumerate(generations)]

    assert Recording(writes).unseen("chat") == unseen


def test_victims_are_those_that_served() -> None:
    (victim,) = Recording(RUN).victims("chat")

    assert (victim.pod, victim.deletion_cost, victim.running) == ("a", -7, 3.0)


@pytest.mark.parametrize(
    ("drawn", "words"),
    [
        pytest.param(
            lambda run: picture_of(run, "a run", needed={"chat": [(0.0, 1.0), (8.0, 2.0)]}),
            {"a run", "replicas of chat", "ordered", "ready", "needed", "a leader is killed"},
            id="one run",
        ),
        pytest.param(
            lambda run: picture_beside({"aiops": run, "others": run}, "two runs", needed=[(0.0, 1.0)]),
            {"two runs", "aiops", "others", "most requests waiting at once", "needed"},
            id="two runs",
        ),
    ],
)
def test_a_picture_is_an_svg_that_says_what_it_shows(drawn, words: set[str]) -> None:  # type: ignore[no-untyped-def]
    svg = ElementTree.fromstring(drawn(Recording(RUN)))  # noqa: S314  # our own

    assert words <= {element.text for element in svg.iter("{http://www.w3.org/2000/svg}text")}
