from bisect import bisect_right

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiops.simulate.timing import StepTimes
from tests.simulate.factories import shipped_profiles, small_profile

PROFILES = {"small": small_profile(), **shipped_profiles()}
TIMES = {name: StepTimes(profile, 20_000) for name, profile in PROFILES.items()}


@given(st.sampled_from(sorted(PROFILES)), st.integers(1, 16), st.floats(1, 40_000))
def test_a_step_takes_what_the_profile_says(name: str, batch: int, context: float) -> None:
    times = TIMES[name]
    at_zero, slope = times.lines[batch][bisect_right(times.knots, context)]
    assert at_zero + slope * context == pytest.approx(PROFILES[name].step_s(batch, context), rel=1e-9)


@given(st.sampled_from(sorted(PROFILES)), st.integers(1, 20_000))
def test_a_prompt_takes_what_the_profile_says(name: str, tokens: int) -> None:
    assert TIMES[name].prefill_s[tokens] == PROFILES[name].prefill_s(tokens)


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_the_fixed_cost_of_a_step_is_what_the_prefill_table_leaves_for_no_token(name: str) -> None:
    fixed_s, one_s, two_s = TIMES[name].prefill_s[:3]
    assert 0 < fixed_s == pytest.approx(one_s - (two_s - one_s))
    assert fixed_s < PROFILES[name].prefill_s(128)
