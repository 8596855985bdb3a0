from collections import Counter

import numpy as np
import pytest

from tests.simulate.load.loads import drawn, piece_sums, spec


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.8, 0.95])
@pytest.mark.parametrize(("mean", "spread"), [(400, 0.6), (7000, 1.0), (7000, 0.0)])
def test_a_share_of_the_prompt_tokens_is_shared(share: float, mean: float, spread: float) -> None:
    load = spec(50.0, prefixShare=share, inputTokens={"mean": mean, "spread": spread, "max": 16384})
    batch = drawn(load, 1200)
    assert piece_sums(batch).sum() / batch.prompt_tokens.sum() == pytest.approx(share, rel=0.01)
    assert (piece_sums(batch) < batch.prompt_tokens).all()


def test_long_prompts_share_as_large_a_part_as_short_ones() -> None:
    batch = drawn(spec(50.0, prefixShare=0.3, inputTokens={"mean": 2000, "spread": 0.8}), 1200)
    shared = piece_sums(batch)
    longer = batch.prompt_tokens > np.median(batch.prompt_tokens)
    for half in (longer, ~longer):
        assert shared[half].sum() / batch.prompt_tokens[half].sum() == pytest.approx(0.3, rel=0.02)


def test_equal_pieces_are_of_equal_length_and_most_are_met_again() -> None:
    batch = drawn(spec(50.0, prefixShare=0.3), 1200)
    lengths = dict(zip(batch.piece_ids.tolist(), batch.piece_tokens.tolist(), strict=True))
    assert [lengths[each] for each in batch.piece_ids.tolist()] == batch.piece_tokens.tolist()
    assert len(lengths) < len(batch.piece_ids) / 100


def test_named_prefixes_are_taken_by_popularity() -> None:
    batch = drawn(spec(100.0, prefixes={"count": 4, "tokens": 200, "share": 0.6, "zipf": 1.0}), 1200)
    taken = Counter(batch.piece_ids.tolist())
    harmonic = 1 + 1 / 2 + 1 / 3 + 1 / 4
    assert len(batch.piece_ids) == pytest.approx(0.6 * len(batch), rel=0.02)
    assert [taken[each] / len(batch.piece_ids) for each in range(4)] == pytest.approx(
        [1 / (rank * harmonic) for rank in (1, 2, 3, 4)], rel=0.03
    )
    assert set(batch.piece_tokens.tolist()) == {200}
    assert (batch.prompt_tokens[np.diff(batch.piece_offsets) > 0] > 200).all()


def test_without_zipf_all_are_equally_popular() -> None:
    batch = drawn(spec(100.0, prefixes={"count": 4, "tokens": 20, "zipf": 0}), 1200)
    assert [n / len(batch) for n in Counter(batch.piece_ids.tolist()).values()] == pytest.approx([0.25] * 4, rel=0.05)


def test_no_prefix_without_a_word_of_it() -> None:
    assert len(drawn(spec(), 60).piece_ids) == 0
