"""Timelines of the plain twin that were computed by hand, so that it can be trusted where nobody can."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from aiops.simulate.requests import RequestBatch
from tests.simulate.twin.fleet import PlainPool, PlainRun, run_fleet, run_plain
from tests.simulate.twin.scheduler import PlainSettings
from tests.simulate.twin.sequence import Entry, Sequence
from tests.simulate.twin.steps import StepTimes, even_law

LAW = even_law(64, 512)
"""1000 a step, 10 a token of a step with chunks, 100 a decode and 1 a token of its context."""
SYNC = PlainSettings(
    block_size=4,
    usable_blocks=100,
    max_num_seqs=8,
    max_num_batched_tokens=512,
    max_model_len=200,
    prefix_caching=False,
    async_scheduling=False,
)
ASYNC = replace(SYNC, async_scheduling=True)
Row = tuple[int, int, int]


def batch(*rows: Row, own: list[int] | None = None, pieces: list[list[tuple[int, int]]] | None = None) -> RequestBatch:
    """Requests of (arrival, prompt, output); their own contents' ids and their pieces of (id, tokens)."""
    each = pieces or [[] for _ in rows]
    flat = [piece for some in each for piece in some]
    arrival, prompt, output = (np.array([row[column] for row in rows], np.int64) for column in range(3))
    return RequestBatch(
        arrival_ps=arrival,
        prompt_tokens=prompt,
        output_tokens=output,
        own_ids=np.array(own or range(1000, 1000 + len(rows)), np.int64),
        own_public=np.full(len(rows), own is not None),
        piece_offsets=np.cumsum([0, *map(len, each)], dtype=np.int64),
        piece_ids=np.array([number for number, _ in flat], np.int64),
        piece_tokens=np.array([tokens for _, tokens in flat], np.int64),
    )


def both(settings: PlainSettings, engines: int = 1, router: str = "least_loaded") -> list[PlainPool]:
    return [PlainPool("both", engines, router, settings, LAW)]


def apart(prefill: PlainSettings, decode: PlainSettings, decoders: int = 1) -> list[PlainPool]:
    return [
        PlainPool("prefill", 1, "least_loaded", prefill, LAW),
        PlainPool("decode", decoders, "least_loaded", decode, LAW),
    ]


def times(run: PlainRun) -> list[tuple[int, int, int]]:
    return [(each.scheduled_ps, each.first_token_ps, each.finish_ps) for each in run.outcomes]


@pytest.mark.parametrize(
    ("settings", "rows", "expected"),
    [
        pytest.param(
            SYNC,
            [(500, 20, 3)],
            # The prompt's 20 tokens, then decodes with 21 and 22 tokens of context.
            [(500, 500 + 1200, 500 + 1200 + 1121 + 1122)],
            id="one alone takes its prompt's step and a step for each further token",
        ),
        pytest.param(
            ASYNC,
            [(500, 20, 3)],
            [(500, 500 + 1200, 500 + 1200 + 1121 + 1122)],
            id="one alone is as fast when the engine schedules ahead",
        ),
        pytest.param(
            ASYNC,
            [(0, 20, 1), (0, 30, 2)],
            [(0, 1500, 1500), (0, 1500, 1500 + 1131)],
            id="two at one instant share a step",
        ),
        pytest.param(
            SYNC,
            [(0, 20, 3), (700, 30, 1)],
            # The second step: 31 tokens take 310, more than the decode's 100; its context adds 21.
            [(0, 1200, 1200 + 1331 + 1122), (1200, 1200 + 1331, 1200 + 1331)],
            id="one that comes during a step begins with the next",
        ),
        pytest.param(
            ASYNC,
            [(0, 20, 3), (700, 30, 1)],
            # The step with the first decode was queued before the second request came.
            [(0, 1200, 1200 + 1121 + 1332), (1200, 1200 + 1121 + 1332, 1200 + 1121 + 1332)],
            id="one that comes during a step also waits out the queued one where the engine schedules ahead",
        ),
        pytest.param(
            replace(SYNC, max_num_batched_tokens=16),
            [(0, 20, 1)],
            [(0, 1160 + 1040, 1160 + 1040)],
            id="a prompt beyond the budget takes two chunks and gives its token after the last",
        ),
        pytest.param(
            replace(SYNC, max_num_batched_tokens=19),
            [(0, 20, 1)],
            # A chunk of one token is a decode to the clock: 1000 + 100 + 20 of context.
            [(0, 1190 + 1120, 1190 + 1120)],
            id="a chunk of a single token takes a decode's time",
        ),
        pytest.param(
            replace(SYNC, max_num_seqs=2),
            [(0, 20, 1), (0, 20, 3), (0, 20, 1)],
            # 40 tokens; then the third's 20 beside the second's decode at 21; then its decode at 22.
            [(0, 1400, 1400), (0, 1400, 1400 + 1231 + 1122), (1400, 1400 + 1231, 1400 + 1231)],
            id="a seat is free in the step after its holder's last",
        ),
        pytest.param(
            replace(ASYNC, max_num_seqs=2),
            [(0, 20, 1), (0, 20, 3), (0, 20, 1)],
            # The queued step holds the second's decode alone; the third comes in beside the one after it.
            [(0, 1400, 1400), (0, 1400, 1400 + 1121 + 1232), (1400, 1400 + 1121 + 1232, 1400 + 1121 + 1232)],
            id="a seat is free one step later where the engine schedules ahead",
        ),
        pytest.param(
            replace(ASYNC, ends_by="stop"),
            [(0, 20, 1), (1100, 20, 1)],
            # A decode that nobody needs was queued: 1000 + 100 + 21.
            [(0, 1200, 1200), (1200, 1200 + 1121 + 1200, 1200 + 1121 + 1200)],
            id="an end that is not foreseen costs one more decode where the engine schedules ahead",
        ),
        pytest.param(
            replace(SYNC, ends_by="stop"),
            [(0, 20, 1), (1100, 20, 1)],
            [(0, 1200, 1200), (1200, 2400, 2400)],
            id="an end that is not foreseen costs nothing where it does not",
        ),
    ],
)
def test_a_timeline_is_the_sum_of_its_steps(
    settings: PlainSettings, rows: list[Row], expected: list[tuple[int, int, int]]
) -> None:
    assert times(run_fleet(both(settings), batch(*rows))) == expected


def test_who_was_admitted_last_gives_way_and_computes_its_answer_again() -> None:
    # Both reach 8 tokens in 2 blocks each, all there are; the second gives its blocks up and returns with 9 tokens.
    run = run_fleet(both(replace(SYNC, usable_blocks=4)), batch((0, 4, 6), (0, 4, 6)))

    fifth = 1080 + 1210 + 1212 + 1214 + 1216
    assert times(run) == [(0, 1080, fifth + 1109), (0, 1080, fifth + 1109 + 1090)]
    assert [each.preemptions for each in run.outcomes] == [0, 1]
    totals = run.engines[0]
    assert (totals.steps, totals.preemptions, totals.generated_tokens, totals.prompt_tokens) == (7, 1, 12, 12)
    assert (totals.peak_used_blocks, totals.used_blocks) == (4, 0)


@pytest.mark.parametrize(
    ("row", "status"),
    [
        pytest.param((0, 150, 50), "completed", id="as long as the model is served"),
        pytest.param((0, 150, 51), "refused", id="longer than the model is refused"),
        pytest.param((0, 8, 1), "completed", id="all blocks but for the last token, whose content is never kept"),
        pytest.param((0, 9, 1), "refused", id="more blocks than there are is refused"),
    ],
)
def test_what_can_never_fit_is_refused_on_arrival(row: Row, status: str) -> None:
    usable = 2 if row[1] < 10 else 100
    outcome = run_plain(both(replace(SYNC, usable_blocks=usable)), batch(row))[0]

    assert (outcome.status, outcome.finish_ps >= 0) == (status, status == "completed")


def test_a_decoder_s_first_token_comes_a_transfer_and_a_decode_after_the_prefill() -> None:
    outcome = run_plain(apart(SYNC, SYNC), batch((0, 20, 3)), 50, 7)[0]

    fetched = 1200 + 20 * 7 + 50
    first = fetched + 1000 + 100 + 20
    assert (outcome.scheduled_ps, outcome.first_token_ps, outcome.finish_ps) == (0, first, first + 1121 + 1122)


def test_transfers_to_one_decoder_follow_each_other_and_their_latencies_overlap() -> None:
    rows = [(0, 20, 1), (0, 20, 1)]
    one, two = (run_plain(apart(SYNC, SYNC, decoders), batch(*rows), 50, 100) for decoders in (1, 2))

    # The second waits for the link, or for nothing; the decodes do not meet in one step.
    assert [each.first_token_ps for each in one] == [1400 + 2050 + 1120, 1400 + 4050 + 1120]
    assert [each.first_token_ps for each in two] == [1400 + 2050 + 1120] * 2


def test_a_prefill_engine_keeps_its_blocks_until_they_are_pulled() -> None:
    rows = [(0, 20, 1), (0, 20, 1)]
    run = run_fleet(apart(replace(SYNC, usable_blocks=5), SYNC), batch(*rows), 50, 7)

    assert [each.scheduled_ps for each in run.outcomes] == [0, 1200 + 140 + 50]
    assert run.engines[0].peak_used_blocks == 5


@pytest.mark.parametrize("settings", [pytest.param(SYNC, id="sync"), pytest.param(ASYNC, id="async")])
def test_the_next_turn_of_a_session_finds_the_answer_before_it(settings: PlainSettings) -> None:
    rows = batch((0, 8, 9), (100_000, 20, 1), own=[7, 7])
    run = run_fleet(both(replace(settings, prefix_caching=True)), rows)

    # 16 of the first turn's 17 tokens are kept, the last one never is.
    assert [each.cached_tokens for each in run.outcomes] == [0, 16]
    assert (run.engines[0].queries, run.engines[0].hits, run.engines[0].prompt_tokens) == (28, 16, 12)
    assert run.outcomes[1].first_token_ps == 100_000 + 1040


def test_equal_pieces_in_equal_places_are_shared_by_whole_blocks() -> None:
    pieces = [[(1, 6), (2, 6)], [(1, 6), (2, 6)], [(2, 6), (1, 6)], [(1, 6)]]
    rows = batch((0, 14, 1), (10_000, 16, 1), (20_000, 14, 1), (30_000, 14, 1), pieces=pieces)

    cached = [each.cached_tokens for each in run_plain(both(replace(ASYNC, prefix_caching=True)), rows)]
    assert cached == [0, 12, 0, 4]


@pytest.mark.parametrize(
    ("router", "rows", "engines"),
    [
        pytest.param("round_robin", [(0, 8, 1)] * 4, [0, 1, 2, 0], id="round robin takes them in turn"),
        pytest.param("least_loaded", [(0, 8, 1)] * 4, [0, 1, 2, 0], id="equal loads are taken in turn"),
        pytest.param(
            "least_loaded",
            [(0, 8, 1), (0, 8, 50), (0, 8, 50), (9_000, 8, 1), (9_000, 8, 1)],
            [0, 1, 2, 0, 1],
            id="the least loaded is taken, and among equals the first from the next place on",
        ),
        pytest.param(
            "least_loaded",
            [(0, 8, 1), (0, 8, 50), (0, 8, 1), (9_000, 8, 1), (9_000, 8, 1)],
            [0, 1, 2, 0, 2],
            id="one with a request is passed over for an idle one",
        ),
    ],
)
def test_a_router_picks_in_turn(router: str, rows: list[Row], engines: list[int]) -> None:
    outcomes = run_plain(both(SYNC, 3, router), batch(*rows))

    assert [each.engine for each in outcomes] == engines


def test_a_decoder_that_takes_its_only_runner_s_blocks_away_serves_who_has_been_fetched() -> None:
    # Blocks for one: the first must give way to the second, whose prompt was pulled while the first held the seat.
    decode = replace(SYNC, usable_blocks=5, max_num_seqs=1)
    outcomes = run_plain(apart(SYNC, decode), batch((0, 8, 10), (0, 8, 10)), 50, 7)

    assert [each.status for each in outcomes] == ["completed"] * 2
    assert sum(each.preemptions for each in outcomes) >= 1


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        pytest.param([(1, 9), (1, 29)], 1000 + 200 + 40, id="decodes below the knot: 10 and 30 tokens"),
        pytest.param([(1, 29), (1, 29)], 1000 + 2 * 70 + 2 * 60, id="decodes from the knot on are on the next piece"),
        pytest.param([(4, 0), (2, 10)], 1000 + 60 + 30, id="chunks cost their tokens and half of 16 + 44 pairs"),
        pytest.param([(1, 9), (4, 0)], 1000 + 100 + 10 + 8, id="a step costs its decodes where they cost more"),
        pytest.param([(1, 29), (20, 0)], 1000 + 210 - 100 + 70 + 60 + 200, id="a step costs its tokens otherwise"),
    ],
)
def test_a_step_takes_what_the_law_says(shares: list[tuple[int, int]], expected: int) -> None:
    law = even_law(8, 64, knots=(30,), pair=1.0)
    nobody = Sequence(0, [], 1, answer=int)
    entries = [Entry(nobody, tokens, before, True, 0) for tokens, before in shares]

    assert StepTimes(law).duration_ps(entries) == expected


ROWS = st.lists(st.tuples(st.integers(0, 20_000), st.integers(1, 60), st.integers(1, 40)), min_size=1, max_size=20).map(
    sorted
)


@given(
    ROWS,
    st.integers(10, 60),
    st.integers(1, 6),
    st.sampled_from(["length", "stop"]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
@hypothesis_settings(max_examples=60)
def test_whatever_comes_is_served_to_its_end_and_leaves_nothing_behind(
    rows: list[Row], usable: int, seats: int, ends_by: str, ahead: bool, reserve: bool, is_apart: bool
) -> None:
    settings = PlainSettings(
        4, usable, seats, 24, 200, reserve_full_isl=reserve, async_scheduling=ahead, ends_by=ends_by
    )
    pools = apart(settings, settings, 2) if is_apart else both(settings, 2)
    run = run_fleet(pools, batch(*rows), 300, 20)

    served = [(row, each) for row, each in zip(rows, run.outcomes, strict=True) if each.status == "completed"]
    for row, each in served:
        assert row[0] <= each.scheduled_ps < each.first_token_ps <= each.finish_ps
        assert (each.first_token_ps == each.finish_ps) == (row[2] == 1)
    assert all(-(-(row[1] + row[2] - 1) // 4) > usable for row in set(rows) - {row for row, _ in served})
    assert sum(each.generated_tokens for each in run.engines) == sum(row[2] + is_apart for row, _ in served)
    assert [each.used_blocks for each in run.engines] == [0] * len(run.engines)
    assert sum(each.preemptions for each in run.engines) == sum(each.preemptions for _, each in served)
