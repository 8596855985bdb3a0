import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiops.model.capacity import CapacityBound
from aiops.model.demand import DemandSource, TokenDemand
from aiops.model.profile import CapacityProfile
from aiops.model.refs import Role
from aiops.plan.work import RequestShape, replica_rate, work_of
from tests.plan.worlds import PROFILE, demand_of

ITL_S = 0.05


def test_a_prefill_replica_serves_one_prompt_after_the_other() -> None:
    shape = RequestShape(2000, 2000, 200)
    rate = replica_rate(Role.PREFILL, PROFILE, shape, ITL_S)
    assert rate.requests_per_s == pytest.approx(1 / PROFILE.prefill_s(2000), rel=0.005)
    assert rate.bound is CapacityBound.COMPUTE


def test_a_decode_replica_is_filled_to_the_batch_whose_step_takes_the_bound() -> None:
    # The step takes 5 ms + 0.1 ms a sequence: 50 ms at 450 sequences, 256 of which the engine admits.
    short = replica_rate(Role.DECODE, PROFILE, RequestShape(100, 100, 100), ITL_S)
    assert short.bound is CapacityBound.MAX_NUM_SEQS
    assert short.requests_per_s == pytest.approx(256 / (100 * 0.0306), rel=0.01)
    tight = replica_rate(Role.DECODE, PROFILE, RequestShape(100, 100, 100), 0.015)
    assert tight.bound is CapacityBound.ITL
    assert tight.requests_per_s == pytest.approx(100 / (100 * 0.015), rel=0.01)


def test_long_contexts_run_out_of_kv_cache_first() -> None:
    rate = replica_rate(Role.DECODE, PROFILE, RequestShape(9000, 9000, 1000), ITL_S)
    assert rate.bound is CapacityBound.KV_CACHE


def test_prefill_beside_decode_costs_an_aggregated_replica_both() -> None:
    shape = RequestShape(2000, 2000, 200)
    decode = replica_rate(Role.DECODE, PROFILE, shape, ITL_S).requests_per_s
    prefill = replica_rate(Role.PREFILL, PROFILE, shape, ITL_S).requests_per_s
    both = replica_rate(Role.BOTH, PROFILE, shape, ITL_S).requests_per_s
    assert both < min(decode, prefill)
    assert both >= 0.5 / (1 / decode + 1 / prefill)


def test_cached_prompt_tokens_are_no_prefill_work() -> None:
    cold = work_of(demand_of(10, 4000, 100), {Role.PREFILL: PROFILE}, ITL_S)
    warm = work_of(demand_of(10, 4000, 100, cached=0.5), {Role.PREFILL: PROFILE}, ITL_S)
    assert cold is not None
    assert warm is not None
    assert warm.prefill == pytest.approx((cold.prefill or 0) / 2, rel=0.05)


def test_no_arrivals_are_no_work_even_where_sizes_were_never_seen() -> None:
    demand = TokenDemand(0.0, None, None, demand_of(1, 1, 1).window, DemandSource.ENGINES)
    work = work_of(demand, {Role.BOTH: PROFILE}, ITL_S)
    assert work is not None
    assert work.both == 0.0
    assert work.prefill is None


def test_arrivals_of_unknown_size_are_unknown_work() -> None:
    demand = TokenDemand(2.0, None, None, demand_of(1, 1, 1).window, DemandSource.ENGINES)
    assert work_of(demand, {Role.BOTH: PROFILE}, ITL_S) is None


@given(
    rate=st.floats(0.01, 500),
    tokens_in=st.floats(1, 20_000),
    tokens_out=st.floats(1, 4000),
    more=st.floats(1.0, 4.0),
    role=st.sampled_from(list(Role)),
)
def test_work_grows_with_arrivals_and_sizes(
    rate: float, tokens_in: float, tokens_out: float, more: float, role: Role
) -> None:
    def work(requests: float, size_in: float, size_out: float) -> float:
        found = work_of(demand_of(requests, size_in, size_out), {role: PROFILE}, ITL_S)
        assert found is not None
        value = found.of(role)
        assert value is not None
        return value

    base = work(rate, tokens_in, tokens_out)
    assert base > 0
    assert work(rate * more, tokens_in, tokens_out) == pytest.approx(base * more)
    slack = 0.99  # sizes are rounded to half a percent
    assert work(rate, tokens_in * more, tokens_out) >= base * slack
    assert work(rate, tokens_in, tokens_out * more) >= base * slack


def test_every_profile_that_ships_gives_a_rate_for_every_role(shipped_profiles: dict[str, CapacityProfile]) -> None:
    assert shipped_profiles
    for profile in shipped_profiles.values():
        for role in Role:
            assert replica_rate(role, profile, RequestShape(3000, 3000, 300), ITL_S).requests_per_s > 0.1
