"""The step law as its formula says it, taken without the simulator."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiops.model.profile import CapacityProfile
from aiops.simulate.requests import PS
from aiops.simulate.step_law import StepLaw, step_law
from tests.simulate.factories import shipped_profiles, small_profile

MADE_OF = {
    "tokens": [1, 64, 512],
    "ms": [10, 12, 40],
    "graphTokens": [1, 2, 4, 8, 16, 32, 64],
    "hostMsPerSequence": 0.02,
    "contextNs": 100,
    "pairNs": 2,
}
PROFILES = {"small": small_profile(), "made of": small_profile(step=MADE_OF), **shipped_profiles()}
LAWS = {
    name: step_law(profile, profile.limits.max_num_seqs, profile.limits.max_num_batched_tokens)
    for name, profile in PROFILES.items()
}
Chunks = list[tuple[int, int]]


def step_ps(law: StepLaw, contexts: list[int], chunks: Chunks) -> int:
    """The formula of StepLaw for decodes with these contexts and chunks of (prior, tokens)."""
    batch, context = len(contexts), sum(contexts)
    piece = sum(context >= knot * batch for knot in law.knots.tolist())
    seconds = int(law.host[batch + len(chunks)])
    if batch:
        seconds += int(law.decode[batch, piece]) + int(law.context[batch, piece]) * context
    if chunks:
        without = int(law.decode[batch, 0]) if batch else 0
        tokens = batch + sum(chunk for _, chunk in chunks)
        seconds += max(int(law.chunk[tokens]), without) - without
        seconds += int(law.pair * sum(chunk * (2 * prior + chunk) for prior, chunk in chunks) / 2)
    return max(1, seconds)


def prompt_ps(law: StepLaw, tokens: int, budget: int) -> int:
    """One prompt alone, in chunks."""
    return sum(step_ps(law, [], [(prior, min(budget, tokens - prior))]) for prior in range(0, tokens, budget))


@st.composite
def rising(draw: st.DrawFn, least: int, most: int) -> tuple[list[int], list[float]]:
    """A table that rises, or stays level."""
    xs = sorted(draw(st.sets(st.integers(least, most), min_size=1, max_size=5)))
    return xs, sorted(draw(st.lists(st.floats(0.5, 500), min_size=len(xs), max_size=len(xs))))


@st.composite
def profiles(draw: st.DrawFn) -> CapacityProfile:
    """A profile whose tables rise in tokens, batch and context, up to the batch of 16 that the laws here go to.

    Extrapolated, such tables need not rise: two rows may cross outside them.
    """
    isl, ttft_ms = draw(rising(1, 2000))
    contexts = sorted(draw(st.sets(st.integers(1, 3000), min_size=1, max_size=4)))
    batches = sorted({1, 16} | draw(st.sets(st.integers(1, 16), max_size=3)))
    table: list[list[float]] = []
    for _ in contexts:
        rises = draw(st.lists(st.floats(0, 20), min_size=len(batches), max_size=len(batches)))
        before = table[-1] if table else [draw(st.floats(0.5, 50))] * len(batches)
        row = [value + more for value, more in zip(before, rises, strict=True)]
        table.append([max(row[: i + 1]) for i in range(len(row))])
    rows = [{"context": c, "batch": batches, "itlMs": row} for c, row in zip(contexts, table, strict=True)]
    return small_profile(prefill={"isl": isl, "ttftMs": ttft_ms}, decode=rows)


@given(profiles(), st.data())
def test_decodes_alone_take_what_the_decode_table_says(profile: CapacityProfile, data: st.DataObject) -> None:
    law, batch = step_law(profile, 16, 512), data.draw(st.integers(1, 16))
    contexts = data.draw(st.lists(st.integers(1, 4000), min_size=batch, max_size=batch))

    expected = profile.step_s(batch, sum(contexts) / batch) * PS
    assert -sum(contexts) - 2 <= step_ps(law, contexts, []) - expected <= 2


@given(profiles(), st.integers(2, 512))
def test_one_prompt_within_the_budget_takes_what_the_prefill_table_says(profile: CapacityProfile, tokens: int) -> None:
    law = step_law(profile, 16, 512)
    assert prompt_ps(law, tokens, 512) == pytest.approx(profile.prefill_s(tokens) * PS, abs=1)


_DECODES = st.lists(st.integers(1, 3000), max_size=8)
_CHUNKS = st.lists(st.tuples(st.integers(0, 3000), st.integers(2, 60)), max_size=4)


@given(profiles() | st.sampled_from(sorted(PROFILES)).map(PROFILES.__getitem__), _DECODES, _CHUNKS, st.data())
def test_a_step_never_gets_shorter_by_another_token(
    profile: CapacityProfile, contexts: list[int], chunks: Chunks, data: st.DataObject
) -> None:
    law = step_law(profile, 16, 512)
    before = step_ps(law, contexts, chunks)
    tokens = len(contexts) + sum(chunk for _, chunk in chunks)
    # Of a chunk's time alone its attention is taken away at the square of its length, whatever else makes it up.
    rounding = 2 + sum(contexts) + int(law.pair * (tokens + 2) * 2)

    mean = sum(contexts) // len(contexts) + 1 if contexts else 1
    least, most = profile.decode[0].context, profile.decode[-1].context
    longer = data.draw(st.integers(mean, 3001), label="context of another decode")
    if sum(contexts) >= least * len(contexts) and sum(contexts) + longer <= most * (len(contexts) + 1):
        assert step_ps(law, [*contexts, longer], chunks) >= before - rounding - longer
    prior = data.draw(st.integers(0, 3000), label="tokens before another chunk")
    assert step_ps(law, contexts, [*chunks, (prior, 2)]) >= before - rounding
    if chunks:
        first, *others = chunks
        assert step_ps(law, contexts, [(first[0], first[1] + 1), *others]) >= before - rounding


@given(st.data())
def test_every_step_of_any_table_takes_time(data: st.DataObject) -> None:
    times = st.floats(1e-6, 1e4)
    isl = sorted(data.draw(st.sets(st.integers(1, 3000), min_size=1, max_size=5)))
    rows = [
        {
            "context": context,
            "batch": batch,
            "itlMs": data.draw(st.lists(times, min_size=len(batch), max_size=len(batch))),
        }
        for context in sorted(data.draw(st.sets(st.integers(1, 3000), min_size=1, max_size=4)))
        for batch in [sorted(data.draw(st.sets(st.integers(1, 40), min_size=1, max_size=4)))]
    ]
    ttft_ms = data.draw(st.lists(times, min_size=len(isl), max_size=len(isl)))
    law = step_law(small_profile(prefill={"isl": isl, "ttftMs": ttft_ms}, decode=rows), 16, 512)

    context = data.draw(st.integers(1, 9000))
    for batch in range(1, 17):
        piece = sum(context >= knot for knot in law.knots.tolist())
        assert law.decode[batch, piece] + law.context[batch, piece] * context * batch > -batch * context
    assert law.pair >= 0
    assert min(law.chunk[1:]) >= 0


@pytest.mark.parametrize(
    ("prefill", "pair_ns"),
    [
        pytest.param({"isl": [128, 512, 1024], "ttftMs": [20, 60, 146.2144]}, 100, id="from points beyond the budget"),
        pytest.param(
            {"isl": [100, 1100], "ttftMs": [15, 115]}, 0, id="none where two chunks cost more than the prompt"
        ),
        pytest.param(
            {"isl": [100, 200, 400], "ttftMs": [5 + 10 + 0.5, 5 + 20 + 2, 5 + 40 + 8]},
            100,
            id="else from the bend of the points within it",
        ),
        pytest.param({"isl": [100, 200, 400], "ttftMs": [10, 17, 20]}, 0, id="none from a bend the other way"),
        pytest.param({"isl": [100, 400], "ttftMs": [10, 17]}, 0, id="none from two points, which have no bend"),
        pytest.param({"isl": [100], "ttftMs": [10]}, 0, id="none from one"),
        pytest.param({"isl": [400, 512, 1024], "ttftMs": [50, 50, 9999]}, 9.788, id="never so much that a chunk falls"),
    ],
)
def test_what_a_pair_of_tokens_costs_comes_from_the_prefill_table(prefill: dict[str, Any], pair_ns: float) -> None:
    assert step_law(small_profile(prefill=prefill), 16, 512).pair / 1000 == pytest.approx(pair_ns, rel=1e-3)


@pytest.mark.parametrize("name", sorted(shipped_profiles()))
def test_a_shipped_profiles_longest_prompts_take_their_time_within_a_tenth(name: str) -> None:
    profile, law = PROFILES[name], LAWS[name]
    for tokens, milliseconds in zip(profile.prefill.isl, profile.prefill.ttft_ms, strict=True):
        found = prompt_ps(law, round(tokens), profile.limits.max_num_batched_tokens) / PS * 1000
        assert found == pytest.approx(milliseconds, rel=0.1)


@pytest.mark.parametrize(
    ("contexts", "chunks", "milliseconds"),
    [
        pytest.param([1000], [], 10.02 + 0.1, id="a decode"),
        pytest.param([1000] * 3, [], 10.06 + 2 * 3 / 63 + 0.3, id="three run as four"),
        pytest.param([], [(0, 64)], 12.02 + 0.004096, id="a prompt at a graph's size"),
        pytest.param([], [(100, 65)], 12.02 + 28 / 448 + 2e-6 * 65 * 132.5, id="a chunk beyond the graphs"),
        pytest.param([500, 500], [(0, 30)], 10.06 + 2 * 31 / 63 + 0.1 + 0.0009, id="a mixture"),
    ],
)
def test_a_profile_that_says_what_a_step_is_made_of_is_taken_at_its_word(
    contexts: list[int], chunks: Chunks, milliseconds: float
) -> None:
    assert step_ps(LAWS["made of"], contexts, chunks) / PS * 1000 == pytest.approx(milliseconds, rel=1e-9)


def test_a_chunk_hides_the_weights_of_the_decodes_but_not_their_attention() -> None:
    law = LAWS["small"]
    alone, decodes = step_ps(law, [], [(0, 508)]), step_ps(law, [1000] * 4, [])
    both = step_ps(law, [1000] * 4, [(0, 508)])

    assert max(alone, decodes) < both < alone + decodes
    attention = decodes - step_ps(law, [1] * 4, [])
    assert both - step_ps(law, [1] * 4, [(0, 508)]) == pytest.approx(attention, rel=1e-6)
