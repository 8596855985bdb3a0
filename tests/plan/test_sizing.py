import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiops.model.decision import Reason
from aiops.model.policy import Band, Budget
from aiops.plan.sizing import PoolNeed, size

WIDE = Band(min=0.1, max=10)


def need(
    needed: int, current: int = 1, least: int = 1, most: int = 20, gpus: int = 2, usd: float | None = 4.0
) -> PoolNeed:
    return PoolNeed(needed, current, least, most, gpus, usd)


@pytest.mark.parametrize(
    ("needs", "band", "budget", "replicas", "reasons"),
    [
        pytest.param([need(5)], WIDE, Budget(), (5,), [()], id="one pool gets what it needs"),
        pytest.param(
            [need(30)], WIDE, Budget(), (20,), [(Reason.ABOVE_MAX,)], id="a need above max gets max and says so"
        ),
        pytest.param(
            [need(0)], WIDE, Budget(), (1,), [(Reason.BELOW_MIN,)], id="a need below min gets min and says so"
        ),
        pytest.param([need(4), need(6)], WIDE, Budget(), (4, 6), [(), ()], id="a pair within the band gets its needs"),
        pytest.param(
            [need(1), need(8)],
            Band(min=1, max=4),
            Budget(),
            (2, 8),
            [(Reason.RATIO_BAND,), ()],
            id="too much decode per prefill adds the cheaper prefill",
        ),
        pytest.param(
            [need(6), need(2)],
            Band(min=1, max=4),
            Budget(),
            (6, 6),
            [(), (Reason.RATIO_BAND,)],
            id="too little decode per prefill adds decode",
        ),
        pytest.param(
            [need(1, most=1), need(8)],
            Band(min=1, max=4),
            Budget(),
            (1, 8),
            [(Reason.RATIO_RELAXED,), (Reason.RATIO_RELAXED,)],
            id="an impossible band gives way before the objectives do",
        ),
        pytest.param(
            [need(30, most=6), need(12)],
            Band(min=1, max=4),
            Budget(),
            (6, 12),
            [(Reason.ABOVE_MAX,), ()],
            id="a maxed-out role never blocks the other",
        ),
        pytest.param(
            [need(10)], WIDE, Budget(gpus=9), (4,), [(Reason.GPU_BUDGET,)], id="GPUs are bought within the budget"
        ),
        pytest.param(
            [need(8), need(4)],
            WIDE,
            Budget(gpus=12),
            (4, 2),
            [(Reason.GPU_BUDGET,), (Reason.GPU_BUDGET,)],
            id="a tight budget serves both roles in the same share",
        ),
        pytest.param(
            [need(10)], WIDE, Budget(usd_per_hour=20), (5,), [(Reason.USD_BUDGET,)], id="dollars bound as GPUs do"
        ),
        pytest.param(
            [need(5, least=3), need(5, least=3)],
            WIDE,
            Budget(gpus=2),
            (3, 3),
            [(Reason.GPU_BUDGET,), (Reason.GPU_BUDGET,)],
            id="a budget below the minimum answers the minimum, never zero",
        ),
        pytest.param(
            [need(0, least=0), need(0, least=0)], WIDE, Budget(), (0, 0), [(), ()], id="both roles reach zero together"
        ),
    ],
)
def test_size(
    needs: list[PoolNeed], band: Band, budget: Budget, replicas: tuple[int, ...], reasons: list[tuple[Reason, ...]]
) -> None:
    sizing = size(needs, band, budget)
    assert sizing.replicas == replicas
    assert list(sizing.reasons) == reasons


bounds = st.tuples(st.integers(0, 6), st.integers(1, 12)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(
    pools=st.lists(
        st.tuples(st.integers(0, 30), st.integers(0, 20), bounds, st.integers(1, 8)), min_size=2, max_size=2
    ),
    low=st.floats(0.1, 4),
    width=st.floats(1, 4),
    gpus=st.none() | st.integers(1, 200),
)
def test_a_pair_is_the_cheapest_of_all_that_meet_the_rules(
    pools: list[tuple[int, int, tuple[int, int], int]], low: float, width: float, gpus: int | None
) -> None:
    needs = [PoolNeed(n, c, b[0], b[1], g, None) for n, c, b, g in pools]
    band, budget = Band(min=low, max=low * width), Budget(gpus=gpus)
    chosen = size(needs, band, budget).replicas

    def cost(option: tuple[int, int]) -> int:
        return option[0] * needs[0].gpus + option[1] * needs[1].gpus

    everything = [(p, d) for p in range(needs[0].min, needs[0].max + 1) for d in range(needs[1].min, needs[1].max + 1)]
    affordable = [option for option in everything if gpus is None or cost(option) <= gpus]
    meeting = [o for o in affordable if o[0] >= needs[0].clipped and o[1] >= needs[1].clipped]
    in_band = [o for o in meeting if low * o[0] <= o[1] + 1e-9 and o[1] <= low * width * o[0] + 1e-9]
    assert all(need.min <= count <= need.max for need, count in zip(needs, chosen, strict=True))
    if in_band:
        assert chosen in in_band
        assert cost((chosen[0], chosen[1])) == min(cost(option) for option in in_band)
    elif meeting:
        assert chosen in meeting
    elif affordable:
        assert chosen in affordable
    else:
        assert chosen == (needs[0].min, needs[1].min)
