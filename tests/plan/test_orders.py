"""Prefill and decode are written in an order that leaves a pair that works, whichever write is refused."""

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiops.model.cycle import ModelCycle
from aiops.model.decision import Decision, Reason
from aiops.model.detection import Diagnosis
from aiops.model.policy import Band, Mode
from aiops.model.refs import Role
from aiops.model.snapshot import Latency
from aiops.plan.orders import Orders, orders_of
from aiops.plan.sizing import out_of_band
from aiops.plan.state import ModelMemory, PoolMemory
from tests.plan.worlds import REF, pool_ref

ROLES = ("prefill", "decode")
BAND = Band(min=1, max=2)
Moves = Mapping[str, tuple[int, int]]


def orders(moves: Moves, *, mode: Mode = Mode.ACT, refusals: Mapping[str, int] | None = None) -> Orders:
    """Orders for pools by role, each with its present and its desired replicas."""
    decisions = tuple(
        Decision(REF, pool_ref(role), Role(role), current, desired, desired, (Reason.STEADY,))
        for role, (current, desired) in moves.items()
    )
    model = ModelCycle(
        REF, mode, None, None, Latency(), (), (), 90.0, (), (), decisions, (), Diagnosis(REF), (),
    )  # fmt: skip
    pools = tuple(PoolMemory(pool_ref(role), refusals=count) for role, count in (refusals or {}).items())
    return orders_of(model, ModelMemory(REF, pools), BAND)


def carried_out(left: Orders, refused: Sequence[str] = ()) -> tuple[list[str], dict[str, int], list[str]]:
    """Which roles were tried in turn, the replicas in the end, and who was left out."""
    tried = []
    for grow in (True, False):
        while (decision := left.next(grow=grow)) is not None:
            tried.append(decision.role.value)
            left = left.after(decision, applied=decision.role not in refused)
    return tried, {role.value: count for role, count in left.had.items()}, [one.role.value for one in left.pending]


@pytest.mark.parametrize(
    ("moves", "refused", "tried", "left_out"),
    [
        pytest.param({"prefill": (2, 4), "decode": (4, 8)}, [], ["prefill", "decode"], [], id="both grow"),
        pytest.param(
            {"prefill": (2, 4), "decode": (2, 4)}, [], ["decode", "prefill"], [],
            id="first grows who is in the band alone, too",
        ),
        pytest.param(
            {"prefill": (2, 4), "decode": (4, 8)}, ["prefill"], ["prefill", "decode"], [],
            id="the other grows even so, since it is needed",
        ),
        pytest.param({"prefill": (4, 2), "decode": (8, 4)}, [], ["decode", "prefill"], [], id="both shrink"),
        pytest.param(
            {"prefill": (4, 2), "decode": (8, 4)}, ["decode"], ["decode"], ["prefill"],
            id="nothing is taken from one where the other's write was refused",
        ),
        pytest.param(
            {"prefill": (4, 3), "decode": (6, 4)}, ["decode"], ["prefill", "decode"], [],
            id="unless the pair is within its band so, too",
        ),
        pytest.param(
            {"prefill": (4, 2), "decode": (8, 4)}, ["prefill"], ["decode", "prefill"], [],
            id="what the first took was within the band",
        ),
        pytest.param(
            {"prefill": (2, 4), "decode": (4, 3)}, ["prefill"], ["prefill", "decode"], [],
            id="one grows in vain and the other may shrink within the band",
        ),
        pytest.param(
            {"prefill": (2, 4), "decode": (8, 4)}, ["prefill"], ["prefill", "decode"], [],
            id="shrinking brings the pair nearer to its band",
        ),
        pytest.param(
            {"prefill": (6, 3), "decode": (12, 12)}, [], ["prefill"], [],
            id="a band that cannot be kept keeps nobody from shrinking",
        ),
        pytest.param({"both": (4, 2)}, ["both"], ["both"], [], id="a pool alone"),
        pytest.param({"prefill": (3, 3), "decode": (4, 4)}, [], [], [], id="nothing moves"),
    ],
)  # fmt: skip
def test_orders(moves: Moves, refused: list[str], tried: list[str], left_out: list[str]) -> None:
    found = carried_out(orders(moves), refused)

    assert (found[0], found[2]) == (tried, left_out)


def test_where_neither_order_is_within_the_band_the_one_that_was_refused_before_goes_first() -> None:
    moves = {"prefill": (4, 3), "decode": (4, 3)}
    tight = Band(min=1, max=1)

    for role, other in (ROLES, ROLES[::-1]):
        left = orders(moves, refusals={role: 2})
        left = Orders(left.pending, left.had, left.meant, tight, left.refusals)
        assert carried_out(left, [role]) == ([role], {"prefill": 4, "decode": 4}, [other])


@pytest.mark.parametrize(
    ("mode", "tried"),
    [
        pytest.param(Mode.OBSERVE, [], id="observe"),
        pytest.param(Mode.EMIT, [], id="emit"),
        pytest.param(Mode.ACT_UP, ["prefill"], id="act: up"),
        pytest.param(Mode.ACT, ["prefill", "decode"], id="act"),
    ],
)
def test_the_mode_says_what_may_be_carried_out(mode: Mode, tried: list[str]) -> None:
    assert carried_out(orders({"prefill": (2, 3), "decode": (4, 3)}, mode=mode))[0] == tried


counts = st.integers(0, 12)


@given(st.fixed_dictionaries({role: st.tuples(counts, counts) for role in ROLES}), st.sets(st.sampled_from(ROLES)))
def test_a_refusal_never_leaves_a_pair_further_from_its_band_by_taking_away(moves: Moves, refused: set[str]) -> None:
    left = orders(moves)

    _, had, _ = carried_out(left, sorted(refused))

    before, meant = (out_of_band((moves["prefill"][i], moves["decode"][i]), BAND) for i in (0, 1))
    grown = any(had[role] > moves[role][0] for role in ROLES)
    lone = len({role for role in ROLES if had[role] < moves[role][0]}) == 1
    both_wanted = all(moves[role][1] < moves[role][0] for role in ROLES)
    if lone and not grown and not both_wanted:
        assert out_of_band((had["prefill"], had["decode"]), BAND) <= max(before, meant)
    for role in ROLES:
        asked = moves[role][1]
        assert had[role] in (moves[role][0], asked)
        assert role not in refused or had[role] == moves[role][0]
        assert asked <= moves[role][0] or role in refused or had[role] == asked, "growing is never withheld"
