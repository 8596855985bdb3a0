"""Arrivals from engines, over simulated time."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiops.model.demand import DemandSource
from aiops.model.refs import ModelRef, Role
from aiops.model.snapshot import ReplicaSample
from aiops.observe.demand import Member, RequestSizes, engine_arrivals, read_demand
from aiops.observe.engines import Engine, Timeline, Window
from aiops.observe.gateway import GatewayLoad
from aiops.observe.identity import Group, Pod

AT, LENGTH, PACE = 1000.0, 60.0, 15.0
WINDOW = Window(AT, LENGTH, PACE)
SIZES = RequestSizes(1000.0, 100.0)
STEADY = (4.0,) * 9


def member(
    counts: tuple[float, ...] = STEADY,
    finished: float | None = 0.0,
    role: Role = Role.BOTH,
    waiting: float | None = 0.0,
    refused: float = 0.0,
    until_s: float = AT,
    hole: range = range(0),
) -> Member:
    """An engine that was scraped every 15 s up to ``until_s``, with that many requests inside."""
    times = [until_s - PACE * (len(counts) - 1 - n) for n in range(len(counts))]
    kept = [(time_s, count) for n, (time_s, count) in enumerate(zip(times, counts, strict=True)) if n not in hole]
    line = Timeline(tuple(time_s for time_s, _ in kept), tuple(count for _, count in kept))
    sample = ReplicaSample("pod", waiting=waiting)
    return Engine(ModelRef("ns", "m"), Pod("ns", "pod"), Group("", ()), sample, line, finished, refused), role


@pytest.mark.parametrize(
    ("members", "requests"),
    [
        pytest.param([member()], 0, id="steady and nothing finished"),
        pytest.param([member(finished=30.0)], 30, id="steady: what finished was replaced"),
        pytest.param([member((*STEADY[:-1], 10.0), finished=30.0)], 36, id="the queue grew"),
        pytest.param([member((9.0,) * 8 + (2.0,), finished=30.0)], 23, id="the queue shrank"),
        pytest.param([member((9.0,) * 8 + (0.0,))], 0, id="a crash lost its requests: never below nothing"),
        pytest.param([member(finished=30.0), member((5.0, 7.0), finished=1.0)], 38, id="a newcomer counts from zero"),
        pytest.param([member(finished=30.0), member((7.0,), finished=None)], 37, id="a newcomer scraped once"),
        pytest.param([member(refused=6.0)], 6, id="the refused came too"),
        pytest.param(
            [member(finished=50.0, role=Role.PREFILL), member(finished=30.0, role=Role.DECODE)],
            30,
            id="prefill serves the same requests as decode",
        ),
        pytest.param(
            [member((*STEADY[:-1], 9.0), finished=1.0, role=Role.PREFILL), member(finished=30.0, role=Role.DECODE)],
            35,
            id="what waits at prefill has arrived",
        ),
    ],
)
def test_arrivals_are_what_finished_and_what_is_more_inside(members: list[Member], requests: float) -> None:
    found = engine_arrivals(members, WINDOW)
    assert found is not None
    assert found.per_s == pytest.approx(requests / LENGTH)
    assert found.length_s == LENGTH


@pytest.mark.parametrize(
    "members",
    [
        pytest.param([], id="no engine"),
        pytest.param([member((1.0, 2.0, 3.0))], id="too few scrapes since Prometheus began"),
        pytest.param([member((1.0,), finished=None)], id="one scrape"),
        pytest.param([member(finished=None)], id="what finished was not measured"),
        pytest.param([member(hole=range(4, 8))], id="a gap in the scrapes"),
        pytest.param([member(), (replace(member()[0], timeline=None), Role.BOTH)], id="one engine's load was NaN"),
    ],
)
def test_what_cannot_be_told_is_not_zero(members: list[Member]) -> None:
    assert engine_arrivals(members, WINDOW) is None
    assert read_demand(members, None, SIZES, WINDOW) is None


def test_a_window_that_is_only_partly_known_is_shorter() -> None:
    # Scrapes at 955, 970, 985 and 1000 with 8 more requests at the end, and 12 finished: 20 in 60 s of a 2 min window.
    found = engine_arrivals([member((0.0, 0.0, 0.0, 8.0), finished=12.0)], Window(AT, 120.0, PACE))
    assert found is not None
    assert (found.length_s, found.per_s) == (60.0, pytest.approx(20 / 60))


def test_roles_keep_their_own_backlog() -> None:
    members = [member(role=Role.PREFILL, waiting=5.0), member(role=Role.DECODE, waiting=2.0)]
    demand = read_demand(members, GatewayLoad(0.0, 7.0, 0.0, 0.0), SIZES, WINDOW)
    assert demand is not None
    assert (demand.prefill_backlog_requests, demand.decode_backlog_requests) == (12.0, 2.0)
    assert demand.backlog_requests == 14.0


@pytest.mark.parametrize(
    ("gateway", "source", "requests", "censored"),
    [
        pytest.param(None, DemandSource.ENGINES, 30, False, id="no router"),
        pytest.param(GatewayLoad(28, 4, 4, 0), DemandSource.GATEWAY, 32, False, id="routed and still held"),
        pytest.param(GatewayLoad(28, 0, 0, 9), DemandSource.GATEWAY, 37, True, id="refused ones teach nothing"),
        pytest.param(GatewayLoad(28, 0, 0, 0, True), DemandSource.GATEWAY, 28, True, id="refused, nobody knows whose"),
        pytest.param(GatewayLoad(2, 0, 0, 0), DemandSource.ENGINES, 30, False, id="most requests pass the router by"),
    ],
)
def test_the_router_is_asked_first(
    gateway: GatewayLoad | None, source: DemandSource, requests: float, censored: bool
) -> None:
    demand = read_demand([member(finished=30.0)], gateway, SIZES, WINDOW)
    assert demand is not None
    assert (demand.source, demand.censored) == (source, censored)
    assert demand.requests_per_s == pytest.approx(requests / LENGTH)
    assert demand.input_tok_per_s == pytest.approx(1000 * requests / LENGTH)


@given(
    per_s=st.floats(0.1, 20.0),
    service_s=st.floats(0.5, 120.0),
    slots=st.integers(1, 200),
    seed=st.integers(0, 10_000),
)
def test_arrivals_are_found_however_saturated_the_engine_is(
    per_s: float, service_s: float, slots: int, seed: int
) -> None:
    """A queue in simulated time: what finishes plateaus, what is counted as arriving does not."""
    arrivals = np.cumsum(np.random.default_rng(seed).exponential(1 / per_s, 6000))
    arrivals = arrivals[arrivals <= AT]
    free = np.zeros(slots)
    ends = np.empty_like(arrivals)
    for n, arrival in enumerate(arrivals):
        slot = int(free.argmin())
        ends[n] = free[slot] = max(free[slot], arrival) + service_s
    scrapes = [AT - PACE * n for n in reversed(range(9))]
    inside = tuple(float(np.sum(arrivals <= moment) - np.sum(ends <= moment)) for moment in scrapes)
    finished = float(np.sum((ends > AT - LENGTH) & (ends <= AT)))

    found = engine_arrivals([member(inside, finished=finished)], WINDOW)
    assert found is not None
    assert found.requests == pytest.approx(float(np.sum((arrivals > AT - LENGTH) & (arrivals <= AT))))
