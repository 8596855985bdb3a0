from itertools import pairwise
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from aiops.model.interpolate import interpolate
from aiops.model.profile import CapacityProfile

# The published form of a profile; these fields alone must stay enough.
TEXT = """
model: meta-llama/Llama-3.1-8B
accelerator: h100_sxm
tensorParallel: 1
source: {kind: silicon-estimate, tool: aiconfigurator-core 0.12.0, engine: vllm 0.24.0, confidence: low}
kvTokens: 432992
limits: {maxNumSeqs: 256, maxNumBatchedTokens: 8192}
prefill: {isl: [128, 1024, 3000, 8192, 32768], ttftMs: [7.6, 22.1, 65.3, 199.7, 1082]}
decode:
  - {context: 500,  batch: [1, 16, 64, 128, 256], itlMs: [6.3, 7.2, 9.1, 12.0, 17.5]}
  - {context: 3150, batch: [1, 16, 64, 128, 256], itlMs: [6.3, 9.2, 15.4, 23.8, 42.0]}
"""
PROFILE = CapacityProfile.model_validate(yaml.safe_load(TEXT))


def changed(**fields: Any) -> dict[str, Any]:
    plain: dict[str, Any] = yaml.safe_load(TEXT)
    return {**plain, **fields}


def test_the_published_form_is_read_and_keeps_what_its_source_says() -> None:
    assert PROFILE.kv_tokens == 432992
    assert PROFILE.limits.max_num_seqs == 256
    assert PROFILE.source.model_dump()["engine"] == "vllm 0.24.0"
    assert PROFILE.warnings() == ()


def test_a_field_of_a_later_version_is_ignored() -> None:
    assert CapacityProfile.model_validate(changed(speculation={"tokens": 3})) == PROFILE


@pytest.mark.parametrize(
    ("tokens", "milliseconds"),
    [
        pytest.param(1024, 22.1, id="a point of the table"),
        pytest.param(2012, (22.1 + 65.3) / 2, id="halfway between two"),
        pytest.param(32768 + 24576, 1082 + 882.3, id="beyond the last, along the last segment"),
        pytest.param(0, 0, id="no prompt takes no time"),
        pytest.param(-5, 0, id="nor does less than none"),
    ],
)
def test_prefill_time_follows_the_table(tokens: float, milliseconds: float) -> None:
    assert PROFILE.prefill_s(tokens) * 1000 == pytest.approx(milliseconds)


@pytest.mark.parametrize(
    ("batch", "context", "milliseconds"),
    [
        pytest.param(64, 500, 9.1, id="a point of the table"),
        pytest.param(64, 1825, (9.1 + 15.4) / 2, id="halfway between two contexts"),
        pytest.param(192, 3150, (23.8 + 42.0) / 2, id="halfway between two batches"),
        pytest.param(64, 5800, 15.4 + 6.3, id="beyond the last context"),
        pytest.param(512, 3150, 42.0 + 2 * 18.2, id="beyond the last batch"),
    ],
)
def test_step_time_follows_the_table(batch: float, context: float, milliseconds: float) -> None:
    assert PROFILE.step_s(batch, context) * 1000 == pytest.approx(milliseconds)


def test_rows_may_have_batches_of_their_own() -> None:
    rows = [{"context": 500, "batch": [1, 256], "itlMs": [6, 18]}, {"context": 1500, "batch": [2], "itlMs": [10]}]
    profile = CapacityProfile.model_validate(changed(decode=rows))

    assert profile.step_s(1, 1000) * 1000 == pytest.approx((6 + 10) / 2)


@given(st.floats(min_value=0.001, max_value=1e7), st.floats(min_value=0.001, max_value=1e7))
def test_no_time_is_ever_negative_or_zero(first: float, second: float) -> None:
    steep = CapacityProfile.model_validate(changed(prefill={"isl": [1000, 2000], "ttftMs": [1, 100]}))

    assert steep.prefill_s(first) > 0
    assert PROFILE.step_s(first, second) > 0


@pytest.mark.parametrize(
    ("changes", "batch", "context", "milliseconds"),
    [
        pytest.param(
            [{"context": 1000, "batch": [16], "itlMs": [1]}, {"context": 2000, "batch": [16], "itlMs": [9]}],
            16,
            500,
            0.0005 + 1 / 2,
            id="below the first context on a line to a thousandth, where the table's own would go below 0",
        ),
        pytest.param(
            [{"context": 1000, "batch": [16], "itlMs": [9]}, {"context": 2000, "batch": [16], "itlMs": [8]}],
            16,
            9000,
            8,
            id="beyond the last context no further down",
        ),
        pytest.param([{"context": 9, "batch": [8, 16], "itlMs": [7, 6]}], 99, 9, 6, id="nor beyond the last batch"),
        pytest.param(
            [{"context": 9, "batch": [8, 16], "itlMs": [1, 9]}], 1, 9, 0.001, id="below the first batch above 0"
        ),
    ],
)
def test_outside_the_table_a_step_stays_above_0_and_never_falls_with_more_work(
    changes: list[dict[str, Any]], batch: float, context: float, milliseconds: float
) -> None:
    profile = CapacityProfile.model_validate(changed(decode=changes))
    assert profile.step_s(batch, context) * 1000 == pytest.approx(milliseconds, rel=1e-3)


def test_what_a_step_is_made_of_may_be_told_too() -> None:
    plain = changed(
        step={
            "tokens": [1, 512, 2048],
            "ms": [10, 20, 80],
            "graphTokens": [1, 256, 512],
            "hostMsPerSequence": 0.01,
            "contextNs": 90,
            "pairNs": 1.5,
        },
        tokenizer={"fixedMs": 3, "perTokenUs": 0.5},
    )
    profile = CapacityProfile.model_validate(plain)

    assert profile.step is not None
    assert (profile.step.host_ms_per_sequence, profile.step.context_ns, profile.step.pair_ns) == (0.01, 90, 1.5)
    assert (profile.tokenizer.fixed_ms, profile.tokenizer.per_token_us) == (3, 0.5)
    assert PROFILE.step is None
    assert (PROFILE.tokenizer.fixed_ms, PROFILE.tokenizer.per_token_us) == (0, 0)


@pytest.mark.parametrize(
    ("tokens", "milliseconds"),
    [
        pytest.param(1, 10, id="a graph of its own size"),
        pytest.param(2, 10 + 10 * 255 / 511, id="padded to the next graph"),
        pytest.param(512, 20, id="the largest graph"),
        pytest.param(513, 20 + 60 / 1536, id="beyond it as it is"),
        pytest.param(4096, 160, id="beyond the table along its last segment"),
    ],
)
def test_a_step_is_padded_to_the_engines_graphs(tokens: int, milliseconds: float) -> None:
    step = {"tokens": [1, 512, 2048], "ms": [10, 20, 80], "graphTokens": [1, 256, 512]}
    profile = CapacityProfile.model_validate(changed(step=step))

    assert profile.step is not None
    assert profile.step.table_s(tokens) * 1000 == pytest.approx(milliseconds)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param(
            {"step": {"tokens": [1, 2], "ms": [1]}},
            "step.tokens has 2 values and step.ms has 1; they are pairs",
            id="a step's columns of different length",
        ),
        pytest.param(
            {"step": {"tokens": [1], "ms": [1], "graphTokens": [8, 4]}},
            "step.graphTokens must ascend strictly",
            id="graphs out of order",
        ),
        pytest.param(
            {"step": {"tokens": [1], "ms": [1], "pairNs": -1}}, "greater than or equal to 0", id="less than 0"
        ),
        pytest.param(
            {"prefill": {"isl": [1, 2], "ttftMs": [1]}},
            "prefill.isl has 2 values and prefill.ttftMs has 1; they are pairs",
            id="columns of different length",
        ),
        pytest.param(
            {"prefill": {"isl": [2, 1], "ttftMs": [1, 2]}},
            "prefill.isl must ascend strictly",
            id="lengths out of order",
        ),
        pytest.param(
            {"decode": [{"context": 5, "batch": [1, 1], "itlMs": [1, 2]}]},
            "decode.batch must ascend strictly",
            id="a batch twice",
        ),
        pytest.param(
            {"decode": [{"context": c, "batch": [1], "itlMs": [1]} for c in (9, 5)]},
            "ascending order of context, not \\[9.0, 5.0\\]",
            id="contexts out of order",
        ),
        pytest.param({"decode": []}, "at least 1 item", id="no decode rows"),
        pytest.param({"kvTokens": 0}, "greater than 0", id="no KV cache"),
        pytest.param({"prefill": {"isl": [1], "ttftMs": [-1]}}, "greater than 0", id="a negative time"),
        pytest.param({"prefill": {"isl": [1], "ttftMs": ["inf"]}}, "finite number", id="an endless time"),
        pytest.param({"prefill": {"isl": [1], "ttftMs": [float("nan")]}}, "finite number", id="NaN"),
    ],
)
def test_a_table_that_cannot_be_read_says_why(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CapacityProfile.model_validate(changed(**fields))


def test_a_table_that_is_not_monotone_is_a_warning() -> None:
    rows = [{"context": 500, "batch": [1, 2, 3], "itlMs": [6, 8, 7]}]
    step = {"tokens": [1, 2], "ms": [5, 4]}
    profile = CapacityProfile.model_validate(changed(prefill={"isl": [1, 2], "ttftMs": [9, 8]}, decode=rows, step=step))

    assert profile.warnings() == (
        "prefill.ttftMs does not ascend: [9.0, 8.0]",
        "step.ms does not ascend: [5.0, 4.0]",
        "decode.itlMs at context 500 does not ascend: [6.0, 8.0, 7.0]",
    )


def test_the_shipped_profiles_are_monotone(shipped_profiles: dict[str, CapacityProfile]) -> None:
    assert shipped_profiles
    for profile in shipped_profiles.values():
        assert profile.warnings() == ()


_POINTS = st.lists(st.integers(-1000, 1000), min_size=1, max_size=6, unique=True).map(sorted)


@given(xs=_POINTS, data=st.data())
def test_interpolation_goes_through_its_points_and_stays_between_neighbours(xs: list[int], data: st.DataObject) -> None:
    ys = data.draw(st.lists(st.integers(-1000, 1000), min_size=len(xs), max_size=len(xs)))

    for x, y in zip(xs, ys, strict=True):
        assert interpolate(x, xs, ys) == pytest.approx(y)
    for (x0, y0), (x1, y1) in pairwise(zip(xs, ys, strict=True)):
        assert min(y0, y1) - 1e-9 <= interpolate((x0 + x1) / 2, xs, ys) <= max(y0, y1) + 1e-9
