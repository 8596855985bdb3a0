"""Where queueing theory knows the answer, the compiled fleet gives it; and more engines never make it worse.

An engine whose steps all take the same is a server with as many places as it has seats: a request of one prompt token
and n output tokens occupies a seat for n steps. With one seat that is exact; with more a request also waits for the
end of the step under way, half a step on average, so lengths are many steps there. Arrivals and lengths are drawn
twice from the same numbers, once from u and once from 1 - u, which evens much of the chance out.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from heapq import heapreplace
from math import factorial, prod, sqrt

import numpy as np
import pytest
from numpy.random import default_rng
from numpy.typing import NDArray
from scipy.special import ndtri

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
from aiops.simulate.kernel.layout import COMPLETED, Records
from aiops.simulate.requests import PS, RequestBatch, plain_batch
from aiops.simulate.step_law import StepLaw

Floats = NDArray[np.float64]
Lengths = Callable[[Floats], Floats]
"""Gives lengths in steps for numbers between 0 and 1."""

STEP_PS = PS // 1000
WITHIN = 0.03
PAIR = (Role.PREFILL, Role.DECODE)
REQUESTS = 50_000  # of one run


@pytest.mark.parametrize(
    ("seats", "utilization", "mean_steps", "pairs"),
    [
        pytest.param(1, 0.5, 100, 2, id="one seat half busy"),
        pytest.param(1, 0.75, 100, 4, id="one seat three quarters busy"),
        pytest.param(4, 0.6, 500, 4, id="four seats at 60 %"),
    ],
)
def test_seats_of_an_engine_are_servers_of_one_queue(
    seats: int, utilization: float, mean_steps: int, pairs: int
) -> None:
    """M/M/c: the wait is Erlang's C(c, a) / (c·mu - lambda)."""
    drawn = pairs_of(pairs, utilization * seats / mean_steps, geometric(mean_steps))
    runs = [serve([server(seats)], [1], batch) for batch in drawn]
    offered = seats * utilization
    known = erlang_c(seats, offered) * mean_steps / (seats - offered)
    assert mean(waits(rows) for rows in runs) == pytest.approx(known, rel=WITHIN)


@pytest.mark.parametrize(
    ("lengths", "utilization", "pairs"),
    [
        pytest.param(lambda u: np.full(len(u), 80.0), 0.8, 2, id="M/D/1, all answers equally long, 80 %"),
        pytest.param(lambda u: lognormal(u, 80, 1.0), 0.7, 4, id="M/G/1, lengths lognormal with CV 1, 70 %"),
        pytest.param(lambda u: lognormal(u, 80, 2.0), 0.5, 4, id="M/G/1, lengths lognormal with CV 2, 50 %"),
    ],
)
def test_one_seat_waits_as_pollaczek_and_khinchine_say(lengths: Lengths, utilization: float, pairs: int) -> None:
    """M/G/1: the wait is lambda·E[S²] / 2(1 - rho), with the moments of the lengths that were drawn."""
    rate = utilization / 80
    drawn = list(pairs_of(pairs, rate, lengths))
    steps = np.concatenate([batch.output_tokens for batch in drawn]).astype(float)
    known = rate * (steps**2).mean() / (2 * (1 - rate * steps.mean()))
    assert mean(waits(serve([server(1)], [1], batch)) for batch in drawn) == pytest.approx(known, rel=WITHIN)


@pytest.mark.parametrize("seats", [pytest.param(1, id="one seat"), pytest.param(8, id="eight seats")])
@pytest.mark.parametrize("utilization", [0.6, 0.95])
def test_every_request_waits_as_in_a_queue_followed_by_hand(seats: int, utilization: float) -> None:
    mean_steps = 1000
    batch = next(pairs_of(1, utilization * seats / mean_steps, geometric(mean_steps)))
    rows = serve([server(seats)], [1], batch)
    rows = rows[np.argsort(rows["number"])]
    known = followed(batch, seats)
    wait = rows["scheduled"] - rows["arrival"]
    if seats == 1:
        assert np.array_equal(wait, known)
    else:
        assert wait.mean() == pytest.approx(np.mean(known), abs=STEP_PS)


def test_a_random_router_makes_a_queue_of_each_engine() -> None:
    """Four M/M/1 at 70 %: a random share of Poisson arrivals is Poisson."""
    drawn = pairs_of(3, 4 * 0.7 / 100, geometric(100))
    runs = [serve([server(1, RouterKind.RANDOM)], [4], batch) for batch in drawn]
    assert mean(waits(rows) for rows in runs) == pytest.approx(0.7 / 0.3 * 100, rel=WITHIN)


def test_round_robin_between_two_makes_arrivals_more_even() -> None:
    """Two E2/M/1 at 70 %: the wait is s / mu(1 - s), where s = (lambda / (lambda + mu(1 - s)))² (lambda of both)."""
    share, both = 0.5, 2 * 0.7
    for _ in range(200):
        share = (both / (both + 1 - share)) ** 2
    drawn = pairs_of(3, both / 100, geometric(100))
    runs = [serve([server(1, RouterKind.ROUND_ROBIN)], [2], batch) for batch in drawn]
    assert mean(waits(rows) for rows in runs) == pytest.approx(share / (1 - share) * 100, rel=WITHIN)


def test_an_engine_slower_with_its_batch_holds_as_many_as_births_and_deaths_say() -> None:
    """With n seats of 12 taken a step takes 1 + n/4: births at lambda, deaths at n / (1 + n/4) a mean length."""
    seats, mean_steps, rate = 12, 500, 2.4
    slower = STEP_PS + STEP_PS // 4 * np.arange(seats + 1)[:, np.newaxis]
    pool = server(seats)
    pool = replace(pool, engines=replace(pool.engines, law=replace(pool.engines.law, decode=slower)))
    runs = [serve([pool], [1], batch) for batch in pairs_of(2, rate / mean_steps, geometric(mean_steps))]
    deaths = [min(n, seats) / (1 + min(n, seats) / 4) for n in range(1, 400)]
    likely = np.array([prod(rate / death for death in deaths[:n]) for n in range(400)])
    known = float((likely / likely.sum()) @ np.arange(400)) / rate * mean_steps
    assert mean((rows["finish"] - rows["arrival"]).mean() / STEP_PS for rows in runs) == pytest.approx(
        known, rel=WITHIN
    )


def test_prefill_and_decode_are_a_tandem() -> None:
    """M/M/1 twice: what leaves the first is Poisson again (Burke), so each stage waits as if it were alone."""
    tokens, steps, rate = 300, 100, 0.7 / 100
    prefill, decode = server(1, role=Role.PREFILL), server(1, role=Role.DECODE)
    each = STEP_PS * steps // tokens  # so that both stages are equally busy
    law = replace(prefill.engines.law, chunk=each * np.arange(20_000), decode=np.full((2, 1), each))
    prefill = replace(prefill, engines=replace(prefill.engines, law=law, max_num_batched_tokens=19_999))
    runs = []
    for batch, prompts in zip(
        pairs_of(3, rate, geometric(steps)), pairs_of(3, rate, geometric(tokens), seed=100), strict=True
    ):
        runs.append(serve([prefill, decode], [1, 1], replace(batch, prompt_tokens=prompts.output_tokens)))
    first = mean((rows["scheduled"] - rows["arrival"]).mean() / STEP_PS for rows in runs)
    whole = mean((rows["finish"] - rows["arrival"]).mean() / STEP_PS for rows in runs)
    assert first == pytest.approx(0.7 / 0.3 * steps, rel=WITHIN)
    assert whole == pytest.approx(2 * steps / 0.3, rel=WITHIN)


LOADS = [
    pytest.param(8.0, id="8 requests/s"),
    pytest.param(20.0, id="20 requests/s"),
    pytest.param(40.0, id="40 requests/s"),
]


@pytest.mark.parametrize("requests_per_s", LOADS)
@pytest.mark.parametrize("router", RouterKind)
@pytest.mark.parametrize("roles", [pytest.param((Role.BOTH,), id="whole engines"), pytest.param(PAIR, id="pairs")])
def test_more_engines_never_worsen_attainment(
    roles: tuple[Role, ...], router: RouterKind, requests_per_s: float
) -> None:
    """From far too few engines to enough; a hundredth is noise."""
    batch, last = chats(2000, requests_per_s), 0.0
    for engines in range(1, 7):
        rows = serve([chat_pool(role, RouterSettings(kind=router)) for role in roles], [engines] * len(roles), batch)
        attained = np.mean(rows["first_token"] - rows["arrival"] <= PS // 2)
        assert attained >= last - 0.01
        last = max(last, attained)
    assert last > 0.5


def test_affinity_strong_enough_makes_one_engine_hot_while_others_idle() -> None:
    """One system prompt for all, and load that two of four engines bear with ease."""
    batch = chats(2000, 15.0, prefixes=1)
    share, attained = {}, {}
    for prefix_weight in (100.0, 3.0, 0.0):
        pool = chat_pool(Role.BOTH, RouterSettings(kind=RouterKind.SCORED, prefix_weight=prefix_weight))
        rows = serve([pool], [4], batch)
        share[prefix_weight] = np.bincount(rows["engine"], minlength=4).max() / len(rows)
        attained[prefix_weight] = np.mean(rows["first_token"] - rows["arrival"] <= PS // 2)
    assert (share[100.0] > 0.6, attained[100.0] < 0.5) == (True, True)
    assert max(share[3.0], share[0.0]) < 0.3
    assert min(attained[3.0], attained[0.0]) > 0.95


def chat_pool(role: Role, router: RouterSettings) -> PoolSettings:
    """Make a pool whose engines bear some eight chats a second each."""
    sizes, tokens = np.arange(17), np.arange(513)
    law = StepLaw(
        host=np.zeros(17, np.int64),
        chunk=10 * STEP_PS + STEP_PS * tokens // 20,
        decode=(10 * STEP_PS + STEP_PS * sizes // 4)[:, np.newaxis],
        context=np.full((17, 1), STEP_PS // 2000),
        knots=np.zeros(0, np.int64),
        pair=0.0,
    )
    engines = EngineSettings(law=law, kv_tokens=12_000, max_num_seqs=16, max_num_batched_tokens=512, max_model_len=4096)
    return PoolSettings(role=role, engines=engines, router=router)


def chats(count: int, per_s: float, prefixes: int = 8) -> RequestBatch:
    """Draw requests that begin with one of a few system prompts, if they are longer."""
    draw = default_rng(1)
    arrival = (np.cumsum(draw.exponential(1 / per_s, count)) * PS).astype(np.int64)
    prompts = 1 + np.minimum(2000, np.exp(draw.normal(6.0, 0.7, count))).astype(np.int64)
    shares = prompts > 256
    offsets = np.concatenate([[0], np.cumsum(shares)]).astype(np.int64)
    return replace(
        plain_batch(arrival, prompts, np.minimum(800, draw.geometric(0.01, count)).astype(np.int64), prefixes),
        piece_offsets=offsets,
        piece_ids=draw.integers(0, prefixes, offsets[-1]),
        piece_tokens=np.full(offsets[-1], 256),
    )


def server(seats: int, router: RouterKind = RouterKind.LEAST_LOADED, role: Role = Role.BOTH) -> PoolSettings:
    """Make a pool of engines that take a thousandth of a second a step."""
    law = StepLaw(
        host=np.zeros(seats + 1, np.int64),
        chunk=np.full(seats + 1, STEP_PS, np.int64),
        decode=np.full((seats + 1, 1), STEP_PS, np.int64),
        context=np.zeros((seats + 1, 1), np.int64),
        knots=np.zeros(0, np.int64),
        pair=0.0,
    )
    engines = EngineSettings(
        law=law,
        kv_tokens=10**9,
        max_num_seqs=seats,
        max_num_batched_tokens=seats,
        max_model_len=10**6,
        prefix_caching=False,
        async_scheduling=False,
    )
    return PoolSettings(role=role, engines=engines, router=RouterSettings(kind=router))


def serve(pools: list[PoolSettings], engines: list[int], batch: RequestBatch) -> Records:
    fleet = VirtualFleet(pools, LinkSettings(), one_batch(batch))
    for pool, count in enumerate(engines):
        for _ in range(count):
            fleet.open(fleet.add_engine(pool))
    fleet.run_out()
    rows = np.concatenate(fleet.outcomes)
    return rows[rows["kind"] == COMPLETED]


def pairs_of(count: int, per_step: float, lengths: Lengths, seed: int = 0) -> Iterator[RequestBatch]:
    """Draw so many pairs of batches: Poisson arrivals at a rate per step, prompts of one token."""
    for number in range(seed, seed + count):
        drawn = default_rng(number).random((2, REQUESTS))
        for gaps, sizes in (drawn, 1 - drawn):
            arrival = np.cumsum(-np.log(np.maximum(gaps, 1e-300)) / per_step * STEP_PS).astype(np.int64)
            steps = np.maximum(1, lengths(np.clip(sizes, 1e-12, 1 - 1e-12))).astype(np.int64)
            yield plain_batch(arrival, np.ones(REQUESTS, np.int64), steps)


def geometric(mean_steps: int) -> Lengths:
    return lambda u: np.ceil(np.log(u) / np.log(1 - 1 / mean_steps))


def lognormal(u: Floats, mean_steps: float, variation: float) -> Floats:
    spread = sqrt(np.log(1 + variation**2))
    return np.rint(np.exp(np.log(mean_steps) - spread**2 / 2 + spread * ndtri(u)))


def followed(batch: RequestBatch, servers: int) -> list[int]:
    """Follow one queue with several servers, request by request: how long each waits."""
    free, waited = [0] * servers, []
    for arrival, steps in zip(batch.arrival_ps.tolist(), batch.output_tokens.tolist(), strict=True):
        start = max(arrival, free[0])
        heapreplace(free, start + steps * STEP_PS)
        waited.append(start - arrival)
    return waited


def waits(rows: Records) -> float:
    return float((rows["scheduled"] - rows["arrival"]).mean()) / STEP_PS


def mean(values: Iterator[float]) -> float:
    return float(np.mean(list(values)))


def erlang_c(servers: int, offered: float) -> float:
    """Give the share of requests that wait."""
    full = offered**servers / factorial(servers) * servers / (servers - offered)
    return full / (sum(offered**k / factorial(k) for k in range(servers)) + full)
