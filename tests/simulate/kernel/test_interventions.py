"""What is done to a fleet while it runs: engines that die, slow down, come and go, clients that leave, flow control.

All engines here take 1000 picoseconds a step, so times can be told in the head.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from aiops.model.refs import Role
from aiops.simulate.fleet import (
    EngineSettings,
    LinkSettings,
    PoolSettings,
    RouterKind,
    RouterSettings,
    VirtualFleet,
    one_batch,
)
from aiops.simulate.kernel.layout import (
    COMPLETED,
    DELIVERED,
    FAILED,
    FETCHED,
    FETCHING,
    FREE,
    PREFILLED,
    QUEUED,
    REFUSED,
    RUNNING,
    TIMED_OUT,
    WAITING,
    Record,
)
from aiops.simulate.requests import plain_batch
from aiops.simulate.step_law import StepLaw

STEP = 1000
AT_ONCE = LinkSettings()
Asked = tuple[int, int, int]
"""When a request arrives, its prompt and its output tokens."""
AHEAD = pytest.mark.parametrize(
    "ahead", [pytest.param(False, id="one batch at a time"), pytest.param(True, id="a batch in advance")]
)


def pool(
    role: Role = Role.BOTH, seats: int = 4, *, ahead: bool = False, grows: int = 0, **router: object
) -> PoolSettings:
    law = StepLaw(
        host=np.zeros(seats + 1, np.int64),
        chunk=np.full(513, STEP, np.int64),
        decode=np.full((seats + 1, 1), STEP, np.int64),
        context=np.full((seats + 1, 1), grows, np.int64),
        knots=np.zeros(0, np.int64),
        pair=0.0,
    )
    engines = EngineSettings(
        law=law, kv_tokens=6400, max_num_seqs=seats, max_num_batched_tokens=512, max_model_len=4000,
        async_scheduling=ahead,
    )  # fmt: skip
    return PoolSettings(role=role, engines=engines, router=RouterSettings(**router))  # type: ignore[arg-type]


def fleet_of(
    pools: Sequence[PoolSettings], asked: Sequence[Asked], links: LinkSettings = AT_ONCE, *, opened: int = 9
) -> VirtualFleet:
    """Make a fleet with one engine a pool, of which so many take requests."""
    arrival, prompt, output = np.array(asked, np.int64).reshape(-1, 3).T.copy()
    fleet = VirtualFleet(pools, links, one_batch(plain_batch(arrival, prompt, output)))
    for number in range(len(pools)):
        assert fleet.add_engine(number) == number
        if number < opened:
            fleet.open(number)
    return fleet


def told(fleet: VirtualFleet) -> dict[int, Record]:
    """Run a fleet out and give what it tells of each request."""
    fleet.run_out()
    rows = np.concatenate(fleet.outcomes)
    return {int(row["number"]): row for row in rows[rows["kind"] != PREFILLED]}


@dataclass(frozen=True)
class Scene:
    """A request in a state at a time. A short one comes long after it, when all engines are open."""

    state: int
    at: int
    asked: tuple[Asked, ...]
    pools: tuple[PoolSettings, ...] = (pool(),)
    links: LinkSettings = AT_ONCE
    opened: int = 9

    @property
    def victim(self) -> int:
        return len(self.asked) - 1

    def fleet(self, timeout_ps: int | None = None) -> VirtualFleet:
        links = replace(self.links, timeout_ps=timeout_ps)
        return fleet_of(self.pools, [*self.asked, (90 * STEP, 1, 1)], links, opened=self.opened)

    def last_alone(self) -> int:
        return int(told(fleet_of(self.pools, [(90 * STEP, 1, 1)], self.links))[0]["finish"])


PAIR = (pool(Role.PREFILL), pool(Role.DECODE))
SLOW_LINK = LinkSettings(transfer_ps_per_token=100, transfer_latency_ps=5)
SCENES = [
    pytest.param(Scene(QUEUED, 5000, ((0, 40, 9),), opened=0), id="at the gateway"),
    pytest.param(
        Scene(DELIVERED, 5000, ((0, 40, 9),), links=LinkSettings(http_ps_per_token=300)), id="in the tokenizer"
    ),
    pytest.param(Scene(WAITING, 2510, ((0, 40, 50), (10, 40, 9)), pools=(pool(seats=1),)), id="in an engine's queue"),
    pytest.param(Scene(RUNNING, 2500, ((0, 40, 50),)), id="running"),
    pytest.param(Scene(RUNNING, 2500, ((0, 40, 50),), pools=(pool(ahead=True),)), id="running a step in advance"),
    pytest.param(Scene(RUNNING, 2500, ((0, 2000, 50),)), id="in the middle of its prompt"),
    pytest.param(Scene(RUNNING, 2500, ((0, 2000, 50),), pools=PAIR), id="in the middle of its prompt, of a pair"),
    pytest.param(
        Scene(QUEUED, 5000, ((0, 40, 9),), PAIR, SLOW_LINK, opened=1), id="at the gateway with its prompt done"
    ),
    pytest.param(
        Scene(WAITING, 5001, ((0, 8, 50), (1, 8, 9)), (PAIR[0], pool(Role.DECODE, seats=1)), SLOW_LINK),
        id="in a decode engine's queue",
    ),
    pytest.param(Scene(FETCHING, 5000, ((0, 64, 9),), PAIR, SLOW_LINK), id="on its way to the decode engine"),
    pytest.param(
        Scene(FETCHED, 4300, ((0, 16, 50), (1, 16, 9)), PAIR, SLOW_LINK), id="come to the decode engine, not admitted"
    ),
    pytest.param(Scene(RUNNING, 12500, ((0, 64, 50),), PAIR, SLOW_LINK), id="running in the decode engine"),
    pytest.param(
        Scene(RUNNING, 12500, ((0, 64, 50),), (PAIR[0], pool(Role.DECODE, ahead=True)), SLOW_LINK),
        id="running in the decode engine a step in advance",
    ),
]


@pytest.mark.parametrize("scene", SCENES)
def test_requests_fail_with_their_engine_wherever_they_are(scene: Scene) -> None:
    fleet = scene.fleet()
    fleet.advance(scene.at)
    number = the_engine(fleet, scene)
    fleet.fail_engine(number)
    fleet.settle()
    assert fleet.used_blocks(number) == 0
    ends_well(fleet, scene, COMPLETED if scene.state == QUEUED else FAILED)


@pytest.mark.parametrize("scene", SCENES)
def test_requests_fail_with_an_engine_that_is_taken_away_and_another_takes_its_number(scene: Scene) -> None:
    fleet = scene.fleet()
    fleet.advance(scene.at)
    number = the_engine(fleet, scene)
    role = fleet.engines[number]["pool"]
    fleet.remove_engine(number)
    fleet._spare.sort()
    assert fleet.add_engine(role) == number
    ends_well(fleet, scene, COMPLETED if scene.state == QUEUED else FAILED)


@pytest.mark.parametrize("scene", SCENES)
def test_a_client_that_leaves_takes_its_request_along_wherever_it_is(scene: Scene) -> None:
    fleet = scene.fleet(timeout_ps=scene.at - scene.asked[scene.victim][0])
    fleet.advance(scene.at - 1)
    the_engine(fleet, scene)
    ends_well(fleet, scene, TIMED_OUT)


def the_engine(fleet: VirtualFleet, scene: Scene) -> int:
    """Give the engine that has the victim, which must be in the scene's state; the first if none has it."""
    live = fleet.live_requests()
    [victim] = live[live["number"] == scene.victim]
    assert victim["state"] == scene.state
    return max(int(victim["engine"]), 0)


def ends_well(fleet: VirtualFleet, scene: Scene, kind: int) -> None:
    """The victim ends as told, the last request as if nothing had been, and everything is given back."""
    fleet.advance(80 * STEP)
    for number in range(len(scene.pools)):
        fleet.open(number)
    rows = told(fleet)
    assert rows[scene.victim]["kind"] == kind
    assert (rows[scene.victim + 1]["kind"], rows[scene.victim + 1]["finish"]) == (COMPLETED, scene.last_alone())
    assert all(fleet.used_blocks(number) == 0 and fleet.idle(number) for number in range(len(scene.pools)))
    assert not fleet.engines["coming"].any()
    assert np.all(fleet.requests["state"] == FREE)


def test_a_prompt_is_forgotten_at_once_where_the_decode_engine_dies() -> None:
    fleet = fleet_of(PAIR, [(0, 64, 9)], SLOW_LINK)
    fleet.advance(5 * STEP)
    assert fleet.used_blocks(0) == 4
    fleet.fail_engine(1)
    fleet.advance(5 * STEP)
    assert (fleet.used_blocks(0), fleet.idle(0)) == (0, True)


def test_a_prompt_that_its_engine_lost_is_computed_where_it_is_needed() -> None:
    fleet = fleet_of((PAIR[0], pool(Role.DECODE, seats=1)), [(0, 8, 50), (1, 8, 9)], SLOW_LINK)
    fleet.advance(5 * STEP)
    fleet.fail_engine(0)
    assert told(fleet)[1]["kind"] == COMPLETED
    assert fleet.engines[1]["transfers"] == 1  # the first one's alone


def test_a_prompt_to_compute_anew_begins_in_less_room_than_one_to_pull_needs() -> None:
    eager = replace(PAIR[1], engines=replace(PAIR[1].engines, reserve_full_isl=False))
    fleet = fleet_of((PAIR[0], eager), [(0, 3900, 90), (1, 3000, 9)])
    fleet.advance(20 * STEP)
    fleet.fail_engine(0)
    assert told(fleet)[1]["joined"] == 21 * STEP  # the first one's answer goes on for 80 steps


def test_a_prompt_that_is_lost_on_its_way_has_been_copied_already() -> None:
    calm, struck = (fleet_of(PAIR, [(0, 64, 9)], SLOW_LINK) for _ in range(2))
    struck.advance(5 * STEP)
    struck.remove_engine(0)
    assert told(struck)[0]["finish"] == told(calm)[0]["finish"]


def test_the_link_of_an_engine_that_comes_back_is_free() -> None:
    fleet = fleet_of(PAIR, [(0, 500, 9), (5 * STEP, 10, 1)], SLOW_LINK)
    fleet.advance(4 * STEP)
    fleet.fail_engine(1)
    assert told(fleet)[1]["finish"] == 6 * STEP + 10 * 100 + 5 + STEP


@pytest.mark.parametrize("looks", [pytest.param(False, id="looks skipped"), pytest.param(True, id="looks taken")])
def test_a_client_leaves_before_the_token_that_comes_at_the_same_instant(looks: bool) -> None:
    fleet = fleet_of([pool()], [(0, 1, 100)], LinkSettings(timeout_ps=50 * STEP))
    if looks:
        fleet.advance(50 * STEP - 1)
        fleet.set_speed(0, 1.0)
    assert told(fleet)[0]["kind"] == TIMED_OUT
    assert fleet.engines[0]["generated"] == 49


@AHEAD
@pytest.mark.parametrize("times_slower", [0.5, 2.0, 3.25])
def test_a_slower_engine_takes_that_many_times_longer_for_a_step(times_slower: float, ahead: bool) -> None:
    lasting = []
    for speed in (1.0, times_slower):
        fleet = fleet_of([pool(ahead=ahead, grows=8)], [(0, 90, 20 + 7 * i) for i in range(20)])
        fleet.set_speed(0, speed)
        fleet.run_out()
        lasting.append(fleet.engines[0]["busy"] / fleet.engines[0]["steps"])
    assert lasting[1] / lasting[0] == pytest.approx(times_slower, rel=1e-3)


@AHEAD
@pytest.mark.parametrize(
    ("changed", "finish"),
    [
        pytest.param([(-1, 2.0)], 20 * STEP, id="before the first step"),
        pytest.param([(2500, 2.0)], (3 + 7 * 2) * STEP, id="in the middle of the third step"),
        pytest.param([(3000, 2.0)], (4 + 6 * 2) * STEP, id="when the fourth step has just begun"),
        pytest.param([(2500, 2.0), (2700, 1.0)], 10 * STEP, id="there and back within a step"),
        pytest.param([(-1, 2.0), (500, 4.0), (2500, 1.0)], (2 + 4 + 8) * STEP, id="several times"),
        pytest.param([(9500, 2.0)], 10 * STEP, id="in the last step"),
    ],
)
def test_a_change_of_speed_counts_from_the_next_step_on(
    changed: list[tuple[int, float]], finish: int, ahead: bool
) -> None:
    fleet = fleet_of([pool(ahead=ahead)], [(0, 1, 10)])
    for when, speed in changed:
        if when >= 0:
            fleet.advance(when)
        fleet.set_speed(0, speed)
    assert told(fleet)[0]["finish"] == finish


def test_the_gateway_sends_on_as_soon_as_fewer_wait_not_only_when_one_ends() -> None:
    rows = told(fleet_of([pool(hold_waiting=1)], [(0, 1, 100)] * 4))
    assert max(row["scheduled"] for row in rows.values()) <= 3 * STEP


def test_decode_engines_get_from_their_gateway_too() -> None:
    rows = told(fleet_of((PAIR[0], pool(Role.DECODE, seats=1, hold_waiting=1)), [(i, 8, 20) for i in range(6)]))
    assert [row["kind"] for row in rows.values()] == [COMPLETED] * 6


def test_nobody_overtakes_at_the_gateway() -> None:
    """The two before it have left by 10510; the one that comes at 10600 does not take their place."""
    asked = [(0, 1, 100), (10, 1, 1), (5000, 1, 1), (10600, 1, 1)]
    rows = told(fleet_of([pool(seats=1, hold_waiting=1)], asked, LinkSettings(timeout_ps=10500)))
    assert [rows[number]["kind"] for number in range(4)] == [TIMED_OUT, TIMED_OUT, COMPLETED, COMPLETED]
    assert [rows[number]["scheduled"] for number in (2, 3)] == [11 * STEP, 12 * STEP]


def test_a_gateway_that_keeps_nobody_refuses_only_whom_no_engine_takes() -> None:
    rows = told(fleet_of([pool(seats=1, hold_waiting=1, max_queued=0)], [(0, 1, 5), (1500, 1, 5), (1600, 1, 5)]))
    assert [rows[number]["kind"] for number in range(3)] == [COMPLETED, COMPLETED, REFUSED]


def test_flow_control_counts_those_in_the_tokenizer() -> None:
    fleet = fleet_of([pool(hold_waiting=2)], [(0, 1, 5)] * 10, LinkSettings(http_ps=5 * STEP))
    fleet.advance(STEP)
    assert (fleet.queued(0), fleet.engines[0]["coming"]) == (8, 2)
    assert len(told(fleet)) == 10


def test_a_dead_engine_that_still_takes_requests_gets_those_at_the_gateway() -> None:
    fleet = fleet_of([pool(seats=1, hold_waiting=1)], [(0, 1, 100)] * 5)
    fleet.advance(STEP)
    assert fleet.queued(0) == 3
    fleet.fail_engine(0)
    kinds = [row["kind"] for row in told(fleet).values()]
    assert sorted(kinds) == [COMPLETED] * 3 + [FAILED] * 2


def test_a_crowd_at_the_gateway_goes_to_the_first_engine_that_opens() -> None:
    fleet = fleet_of([pool()], [(i, 1, 2) for i in range(5000)], LinkSettings(http_ps=3), opened=0)
    fleet.advance(6000)
    assert fleet.queued(0) == 5000
    fleet.open(0)
    assert len(told(fleet)) == 5000


def test_an_engine_opened_twice_has_one_turn() -> None:
    fleet = fleet_of([pool(kind=RouterKind.ROUND_ROBIN)], [(i * STEP, 1, 1) for i in range(20)])
    fleet.open(0)
    fleet.open(fleet.add_engine(0))
    assert sum(row["engine"] == 0 for row in told(fleet).values()) == 10


def test_a_scored_router_sees_the_blocks_of_this_moment() -> None:
    """Two answers have grown past a long prompt while nobody looked, so the long prompt's engine has more room."""
    asked = [(0, 16, 3000), (0, 16, 3000), (10, 800, 3000), (1500 * STEP, 16, 1)]
    fleet = fleet_of([pool(kind=RouterKind.SCORED)], asked)
    fleet.advance(5)
    fleet.open(fleet.add_engine(0))
    assert told(fleet)[3]["engine"] == 1
