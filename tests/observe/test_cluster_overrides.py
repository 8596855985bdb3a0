"""What people annotate on a target: which words are read, until when they hold, and what is said of the others."""

from datetime import UTC, datetime, timedelta

import pytest

from aiops.model.cluster import Override
from aiops.observe.cluster_overrides import HOLD_AT, PAUSED, read_override

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = datetime(2026, 3, 1, 18, tzinfo=UTC)


@pytest.mark.parametrize(
    ("annotations", "wanted"),
    [
        pytest.param({}, None, id="nothing is said"),
        pytest.param({"kubectl.kubernetes.io/restartedAt": "x"}, None, id="nothing is said to aiops"),
        pytest.param({PAUSED: "true"}, Override(None, None), id="paused until the annotation goes"),
        pytest.param({PAUSED: " True "}, Override(None, None), id="paused, as YAML people may write it"),
        pytest.param({PAUSED: "false"}, None, id="not paused"),
        pytest.param({PAUSED: "2026-03-01T18:00:00Z"}, Override(None, LATER), id="paused until a time"),
        pytest.param({PAUSED: "2026-03-01T19:00:00+01:00"}, Override(None, LATER), id="paused until a time elsewhere"),
        pytest.param({PAUSED: "2026-03-01T12:00:00Z"}, None, id="paused until now, which is over"),
        pytest.param({HOLD_AT: "4"}, Override(4, None), id="held until the annotation goes"),
        pytest.param({HOLD_AT: "0"}, Override(0, None), id="held at nothing"),
        pytest.param({HOLD_AT: "4@2026-03-01T18:00:00Z"}, Override(4, LATER), id="held until a time"),
        pytest.param({HOLD_AT: "4@2026-03-01T11:59:59Z"}, None, id="held until a time that is over"),
        pytest.param({HOLD_AT: "4", PAUSED: "true"}, Override(None, None), id="paused and held is paused"),
        pytest.param({HOLD_AT: "4", PAUSED: "2020-01-01T00:00:00Z"}, Override(4, None), id="held after a pause"),
    ],
)
def test_what_people_say_holds(annotations: dict[str, str], wanted: Override | None) -> None:
    override, problem = read_override(annotations, NOW)

    assert override == wanted
    assert problem == ""
    assert override is None or override.until in (None, NOW + timedelta(hours=6))


@pytest.mark.parametrize(
    ("annotations", "said"),
    [
        pytest.param({PAUSED: "yes"}, "'yes' is neither true nor a time; write true", id="a pause that is no word"),
        pytest.param({PAUSED: "2026-03-01"}, "'2026-03-01' names no time zone", id="a pause until a day"),
        pytest.param({HOLD_AT: "-1"}, "'-1' is no number of replicas; write 4", id="a number below zero"),
        pytest.param({HOLD_AT: "4.5"}, "'4.5' is no number of replicas", id="half a replica"),
        pytest.param({HOLD_AT: ""}, "'' is no number of replicas", id="no number"),
        pytest.param({HOLD_AT: "4@"}, "'4@' names no time after the @", id="an @ without a time"),
        pytest.param({HOLD_AT: "4@six"}, "'4@six' names no time after the @", id="a time that is none"),
        pytest.param({HOLD_AT: "4@2026-03-01T18:00:00"}, "names no time zone", id="a time without a zone"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_value_and_the_way_out(annotations: dict[str, str], said: str) -> None:
    override, problem = read_override(annotations, NOW)

    assert override is None
    assert problem.startswith(f"annotation {next(iter(annotations))}: ")
    assert said in problem


def test_one_word_that_cannot_be_read_does_not_hide_the_other() -> None:
    override, problem = read_override({HOLD_AT: "4", PAUSED: "yes"}, NOW)

    assert override == Override(4, None)
    assert "'yes'" in problem
