from itertools import groupby, pairwise

import numpy as np
import pytest

from aiops.simulate.load.sessions import session_shape
from aiops.simulate.requests import PS, RequestBatch
from tests.simulate.load.loads import check, drawn, piece_sums, rate, spec

PACE_S = 0.05
TALK = {"turns": 4, "thinkTime": {"mean": "30s", "spread": 0.8}, "pace": "50ms", "maxTokens": 8000}
LOAD = spec(20.0, sessions=TALK, prefixes={"count": 3, "tokens": 100, "share": 0.5})


@pytest.fixture(scope="module")
def hour() -> RequestBatch:
    return drawn(LOAD, 3600)


def conversations(batch: RequestBatch) -> list[list[int]]:
    """The places of each conversation's turns, in the order of arrival."""
    order = np.argsort(batch.own_ids, kind="stable")
    return [list(places) for _, places in groupby(order.tolist(), key=lambda place: int(batch.own_ids[place]))]


def test_a_later_prompt_begins_with_the_earlier_one_and_its_answer(hour: RequestBatch) -> None:
    check(hour)
    own = hour.prompt_tokens - piece_sums(hour)
    several = [turns for turns in conversations(hour) if len(turns) > 1]
    assert len(several) > 5000
    for turns in several:
        assert hour.own_public[turns].all()
        for earlier, later in pairwise(turns):
            # Equal pieces, then own content from its first token on: the earlier prompt, its answer, and new text.
            assert pieces(hour, later) == pieces(hour, earlier)
            assert own[later] > own[earlier] + hour.output_tokens[earlier]
            wait_s = (hour.arrival_ps[later] - hour.arrival_ps[earlier]) / PS
            assert wait_s > hour.output_tokens[earlier] * PACE_S


def pieces(batch: RequestBatch, place: int) -> list[tuple[int, int]]:
    some = slice(batch.piece_offsets[place], batch.piece_offsets[place + 1])
    return list(zip(batch.piece_ids[some].tolist(), batch.piece_tokens[some].tolist(), strict=True))


def test_users_think_as_long_as_said(hour: RequestBatch) -> None:
    thought = [
        (hour.arrival_ps[later] - hour.arrival_ps[earlier]) / PS - hour.output_tokens[earlier] * PACE_S
        for turns in conversations(hour)
        if hour.arrival_ps[turns[0]] < 3000 * PS  # time enough for nearly all turns
        for earlier, later in pairwise(turns)
    ]
    assert np.mean(thought) == pytest.approx(30, rel=0.03)
    assert np.log(thought).std() == pytest.approx(0.8, rel=0.03)


def test_requests_come_at_the_rate_from_the_first_minute_on(hour: RequestBatch) -> None:
    assert rate(hour, 0, 300) == pytest.approx(20, rel=0.1)
    assert rate(hour, 0, 3600) == pytest.approx(20, rel=0.03)


def test_the_number_of_turns_is_as_said() -> None:
    uncapped = spec(5.0, sessions=TALK | {"maxTokens": 10**9, "thinkTime": {"mean": "1s"}, "pace": "1ms"})
    batch = drawn(uncapped, 3600)
    counts = np.array([len(turns) for turns in conversations(batch)])
    assert counts.mean() == pytest.approx(4, rel=0.05)
    assert (counts == 1).mean() == pytest.approx(1 / 4, rel=0.1)
    assert (counts == 2).mean() == pytest.approx(3 / 16, rel=0.1)


@pytest.mark.parametrize("longest", [pytest.param(900, id="a small context"), pytest.param(8000, id="a larger one")])
def test_a_conversation_ends_at_the_context(longest: int) -> None:
    load = spec(20.0, sessions=TALK | {"maxTokens": longest, "turns": 20})
    batch = drawn(load, 1200)
    assert load.longest == longest
    assert 0.95 * longest < (batch.prompt_tokens + batch.output_tokens).max() <= longest
    assert rate(batch, 0, 1200) == pytest.approx(20, rel=0.06)


def test_what_is_too_long_even_alone_is_cut() -> None:
    batch = drawn(spec(20.0, sessions=TALK | {"maxTokens": 50}), 600)
    assert (batch.prompt_tokens + batch.output_tokens).max() <= 50
    assert rate(batch, 0, 600) == pytest.approx(20, rel=0.05)


def test_a_conversation_of_one_turn_is_nobody_elses(hour: RequestBatch) -> None:
    lone = [turns[0] for turns in conversations(hour) if len(turns) == 1 and hour.arrival_ps[turns[0]] > 600 * PS]
    over = [place for place in lone if hour.arrival_ps[place] < 2400 * PS]
    assert hour.own_public[over].mean() < 0.01  # but for those that the hour's end cut in two
    assert len(over) > 1000


def test_follow_ups_may_be_shorter() -> None:
    load = spec(
        20.0,
        sessions=TALK | {"followUpTokens": {"fixed": 7}},
        inputTokens={"fixed": 500},
        outputTokens={"fixed": 20},
    )
    batch = drawn(load, 600)
    assert set(((batch.prompt_tokens - 500) % 27).tolist()) == {0}


def test_the_sampled_shape_is_that_of_the_stream(hour: RequestBatch) -> None:
    assert LOAD.sessions is not None
    shape = session_shape(LOAD, LOAD.sessions)
    assert hour.prompt_tokens.mean() == pytest.approx(shape.prompt[0], rel=0.03)
    assert hour.prompt_tokens.std() / hour.prompt_tokens.mean() == pytest.approx(shape.prompt[1], rel=0.05)
    assert hour.output_tokens.mean() == pytest.approx(shape.output[0], rel=0.02)


def test_a_flash_crowd_begins_more_conversations() -> None:
    crowd = {"kind": "flash_crowd", "at": "10m", "duration": "10m", "times": 3}
    batch = drawn(spec(20.0, sessions=TALK, events=[crowd]), 2400)
    assert rate(batch, 0, 600) == pytest.approx(20, rel=0.1)
    assert rate(batch, 900, 1200) == pytest.approx(60, rel=0.1)
    assert rate(batch, 1800, 2400) == pytest.approx(20, rel=0.1)
