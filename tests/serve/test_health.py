from dataclasses import replace

import pytest

from aiops.serve.health import Health, LoopState
from tests.act import evidence


class Watch:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def watch() -> Watch:
    return Watch()


def test_a_loop_that_just_began_is_starting_and_not_ready(watch: Watch) -> None:
    health = Health(15, clock=watch)
    assert (health.state, health.ready) == (LoopState.STARTING, False)


def test_a_first_cycle_that_never_ends_is_stuck(watch: Watch) -> None:
    health = Health(15, start_grace_s=60, clock=watch)
    watch.now_s += 61
    assert health.state is LoopState.STUCK


@pytest.mark.parametrize(
    ("interval_s", "silent_s", "state"),
    [
        pytest.param(15, 75, LoopState.TURNING, id="five intervals are patience"),
        pytest.param(15, 76, LoopState.STUCK, id="more than five are not"),
        pytest.param(0.25, 9, LoopState.TURNING, id="a fast demo may be slow once"),
        pytest.param(0.25, 11, LoopState.STUCK, id="but not for ever"),
    ],
)
def test_a_loop_is_stuck_when_no_cycle_ends(watch: Watch, interval_s: float, silent_s: float, state: LoopState) -> None:
    health = Health(interval_s, clock=watch)
    health.cycle_ended(evidence.cycle())
    watch.now_s += silent_s
    assert health.state is state


def test_a_stuck_loop_that_turns_again_is_alive(watch: Watch) -> None:
    health = Health(15, clock=watch)
    health.cycle_ended(evidence.cycle())
    watch.now_s += 1000
    health.cycle_ended(evidence.cycle())
    assert health.state is LoopState.TURNING


def test_blind_cycles_are_alive_but_never_ready(watch: Watch) -> None:
    health = Health(15, clock=watch)
    health.cycle_ended(evidence.blind_cycle(evidence.START, 1))
    assert (health.state, health.ready) == (LoopState.TURNING, False)


def test_readiness_outlasts_a_later_blindness(watch: Watch) -> None:
    health = Health(15, clock=watch)
    health.cycle_ended(evidence.cycle())
    health.cycle_ended(evidence.blind_cycle(evidence.START, 2))
    assert health.ready


def test_one_model_that_is_seen_is_enough_to_be_ready(watch: Watch) -> None:
    seen = evidence.cycle()
    health = Health(15, clock=watch)
    health.cycle_ended(replace(seen, models=(replace(seen.models[0], blind="stale"), seen.models[0])))
    assert health.ready
