from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiops.model.decision import Reason
from aiops.model.mark import Mark
from aiops.model.policy import ScaleDown, ScaleUp, Step
from aiops.plan.guards import cooling_down, in_force, limit_step, stabilize

NOW_S = 10_000.0
DOWN = ScaleDown(max_step=Step(share=0.25), per=timedelta(minutes=5), stabilization=timedelta(minutes=10))
UP = ScaleUp(max_step=Step(share=1.0), per=timedelta(minutes=1))


def marks(*entries: tuple[float, int]) -> list[Mark]:
    """Marks as (seconds before now, replicas)."""
    return [Mark(NOW_S - ago_s, replicas) for ago_s, replicas in entries]


@pytest.mark.parametrize(
    ("proposal", "current", "proposals", "desired", "reasons"),
    [
        pytest.param(8, 5, marks((900, 5)), 8, (), id="a scale-up is never stabilized"),
        pytest.param(
            3, 9, marks((900, 9), (300, 3)), 9, (Reason.SCALE_DOWN_STABILIZED,), id="a need within the window holds"
        ),
        pytest.param(3, 9, marks((1200, 9), (601, 3)), 3, (), id="a need older than the window lets go"),
        pytest.param(
            3, 9, marks((900, 3), (400, 6), (200, 3)), 6, (Reason.SCALE_DOWN_STABILIZED,),
            id="the largest need of the window is the floor",
        ),
        pytest.param(
            3, 9, [], 9, (Reason.SCALE_DOWN_STABILIZED,), id="a fresh start holds until it has watched a whole window"
        ),
        pytest.param(
            3, 9, marks((599, 3)), 9, (Reason.SCALE_DOWN_STABILIZED,), id="one second short of the window still holds"
        ),
        pytest.param(5, 5, [], 5, (), id="nothing to hold says nothing"),
    ],
)  # fmt: skip
def test_stabilize(
    proposal: int, current: int, proposals: list[Mark], desired: int, reasons: tuple[Reason, ...]
) -> None:
    assert stabilize(proposal, current, proposals, NOW_S, DOWN) == (desired, reasons)


@pytest.mark.parametrize(
    ("proposal", "currents", "desired", "reasons"),
    [
        pytest.param(4, marks((900, 2)), 4, (), id="doubling within a minute is allowed"),
        pytest.param(9, marks((900, 2)), 4, (Reason.SCALE_UP_STEP_LIMITED,), id="more than doubling is cut"),
        pytest.param(
            9, marks((900, 2), (30, 4)), 4, (Reason.SCALE_UP_STEP_LIMITED,), id="the step counts what was just added"
        ),
        pytest.param(8, marks((900, 2), (60, 4)), 8, (), id="a minute later the next doubling is allowed"),
        pytest.param(1, marks((900, 0)), 1, (), id="zero grows by at least one"),
        pytest.param(5, marks((900, 8)), 6, (Reason.SCALE_DOWN_STEP_LIMITED,), id="a quarter leaves at once"),
        pytest.param(
            5, marks((900, 8), (100, 6)), 6, (Reason.SCALE_DOWN_STEP_LIMITED,), id="the next quarter waits its turn"
        ),
        pytest.param(5, marks((900, 8), (300, 6)), 5, (), id="after five minutes the next may leave"),
        pytest.param(0, marks((900, 1)), 0, (), id="at least one replica may leave"),
        pytest.param(
            2, marks((900, 10), (60, 4)), 4, (Reason.SCALE_DOWN_STEP_LIMITED,),
            id="what somebody else removed counts too, and is not put back",
        ),
    ],
)  # fmt: skip
def test_limit_step(proposal: int, currents: list[Mark], desired: int, reasons: tuple[Reason, ...]) -> None:
    assert limit_step(proposal, currents, NOW_S, UP, DOWN) == (desired, reasons)


@given(
    proposal=st.integers(0, 50),
    history=st.lists(st.tuples(st.floats(0, 2000), st.integers(0, 50)), min_size=1, max_size=8),
)
def test_guards_never_turn_a_direction_round(proposal: int, history: list[tuple[float, int]]) -> None:
    currents = marks(*sorted(history, reverse=True))
    current = currents[-1].replicas
    stable, _ = stabilize(proposal, current, currents, NOW_S, DOWN)
    desired, _ = limit_step(stable, currents, NOW_S, UP, DOWN)
    assert min(proposal, current) <= desired <= max(proposal, current)


def test_a_mark_holds_until_the_next() -> None:
    assert in_force(marks((900, 7), (500, 3), (100, 5)), NOW_S - 600) == (7, 3, 5)


@pytest.mark.parametrize(
    ("refusals", "ago_s", "cooling"),
    [
        pytest.param(0, 0.0, False, id="nothing was refused"),
        pytest.param(1, 1.0, False, id="after the first refusal the next cycle asks again"),
        pytest.param(2, 29.0, True, id="after the second it waits"),
        pytest.param(2, 30.0, False, id="for half a minute"),
        pytest.param(3, 59.0, True, id="after the third"),
        pytest.param(3, 60.0, False, id="for a minute"),
        pytest.param(99, 60.0, False, id="and never longer"),
    ],
)
def test_cooling_down(refusals: int, ago_s: float, cooling: bool) -> None:
    assert cooling_down(refusals, NOW_S - ago_s, NOW_S) is cooling


@pytest.mark.parametrize(
    ("proposal", "unplaced", "proposals", "desired"),
    [
        pytest.param(3, 4, marks((900, 9), (70, 3)), 5, id="those without a node go after a minute"),
        pytest.param(3, 4, marks((900, 9), (50, 3)), 9, id="and not before"),
        pytest.param(3, 4, marks((900, 9), (70, 7), (30, 3)), 7, id="those that were asked for within it stay"),
        pytest.param(3, 0, marks((900, 9), (70, 3)), 9, id="those that serve wait the window out"),
        pytest.param(3, 9, marks((900, 9), (70, 3)), 3, id="no more go than nobody needs"),
    ],
)
def test_replicas_without_a_node_are_taken_back_soon(
    proposal: int, unplaced: int, proposals: list[Mark], desired: int
) -> None:
    stable, _ = stabilize(proposal, 9, proposals, NOW_S, DOWN, unplaced)

    assert stable == desired
    assert limit_step(stable, marks((900, 9)), NOW_S, UP, DOWN, unplaced)[0] == desired
