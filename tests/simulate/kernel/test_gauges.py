"""What an engine's gauges show: the state after its last update, as vLLM's do, not that in the middle of a step."""

import pytest

from aiops.simulate.fleet import Shown, VirtualFleet
from aiops.simulate.kernel.layout import FOR_EVER
from tests.simulate.kernel.test_interventions import AHEAD, STEP, fleet_of, pool

BLOCK = 1 / 400  # 6400 tokens of KV in blocks of 16


def shown(fleet: VirtualFleet, at: int) -> Shown:
    fleet.advance(at)
    fleet.settle()
    return fleet.shown(0)


def test_a_request_is_shown_once_its_first_step_has_ended() -> None:
    fleet = fleet_of([pool()], [(0, 8, 3)])

    assert fleet.shown(0) == Shown(running=0, waiting=0, fetching=0, kv_usage_ratio=0.0)
    assert shown(fleet, STEP // 2).running == 0, "in its first step it runs, but nothing has told so"
    assert fleet.engines[0]["running"] == 1
    assert shown(fleet, STEP) == Shown(running=1, waiting=0, fetching=0, kv_usage_ratio=BLOCK)
    assert shown(fleet, 3 * STEP) == Shown(running=0, waiting=0, fetching=0, kv_usage_ratio=0.0)


@AHEAD
def test_who_came_in_the_middle_of_a_step_is_not_shown_to_wait(ahead: bool) -> None:
    fleet = fleet_of([pool(seats=1, ahead=ahead)], [(0, 8, 10), (STEP + 1, 8, 10), (STEP + 2, 8, 10)])

    assert shown(fleet, STEP + STEP // 2).waiting == 0
    assert fleet.waiting(0) == 2
    assert shown(fleet, 4 * STEP).waiting == 2


@AHEAD
@pytest.mark.parametrize("every", [STEP // 3, STEP, 7 * STEP])
def test_what_is_shown_at_last_does_not_depend_on_who_looked_before(ahead: bool, every: int) -> None:
    asked = [(i * 700, 20 + i, 5 + i % 7) for i in range(30)]
    looked, alone = fleet_of([pool(ahead=ahead)], asked), fleet_of([pool(ahead=ahead)], asked)
    for at in range(every, 40 * STEP, every):
        shown(looked, at)

    assert shown(looked, 40 * STEP).running == shown(alone, 40 * STEP).running
    assert shown(looked, 10**7) == shown(alone, 10**7) == Shown(running=0, waiting=0, fetching=0, kv_usage_ratio=0.0)


def test_a_fleet_that_ran_out_stands_at_the_last_that_happened_and_can_go_on() -> None:
    fleet = fleet_of([pool()], [(0, 8, 2), (5000, 8, 1)], opened=0)
    with pytest.raises(ValueError, match="2 requests can never be answered"):
        fleet.run_out()

    assert fleet.now_ps == 5000 < FOR_EVER
    fleet.open(fleet.add_engine(0))
    fleet.run_out()
    assert [ended["finish"].tolist() for ended in fleet.outcomes if len(ended)]
    assert fleet.in_flight == 0
