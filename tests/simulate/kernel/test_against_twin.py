"""The compiled fleet against the plain one that takes every step: the same picoseconds, hits and preemptions."""

import random
from dataclasses import asdict

import numpy as np
import pytest

from aiops.model.refs import Role
from aiops.simulate.fleet import EngineSettings, LinkSettings, PoolSettings, RouterKind, RouterSettings, VirtualFleet
from aiops.simulate.kernel.layout import COMPLETED, PREFILLED, REFUSED
from aiops.simulate.requests import RequestBatch
from aiops.simulate.step_law import StepLaw
from tests.simulate.twin.fleet import PlainFleet, PlainPool, PlainRun
from tests.simulate.twin.scheduler import PlainSettings

CASES, GROUPS = 2400, 24
ROUTERS = ["least_loaded", "round_robin"]


@pytest.mark.parametrize("group", range(GROUPS))
def test_random_small_fleets_are_served_alike_to_the_picosecond(group: int) -> None:
    for seed in range(group * CASES // GROUPS, (group + 1) * CASES // GROUPS):
        case = draw_case(seed)
        plain = plain_run(*case)
        assert compiled_outcomes(*case, cuts=0) == plain_outcomes(plain), f"seed {seed}"


@pytest.mark.parametrize("seed", range(0, 300, 3))
def test_a_run_cut_at_any_time_ends_as_one_in_one_go(seed: int) -> None:
    case = draw_case(seed)
    assert compiled_outcomes(*case, cuts=40) == compiled_outcomes(*case, cuts=0)


def test_the_cases_meet_what_they_are_to_show() -> None:
    outcomes = [outcome for seed in range(200) for outcome in plain_run(*draw_case(seed)).outcomes]
    assert sum(outcome.preemptions for outcome in outcomes) > 300
    assert sum(outcome.cached_tokens > 0 for outcome in outcomes) > 300
    assert sum(outcome.status == "refused" for outcome in outcomes) > 5


def plain_run(pools: list[PlainPool], batch: RequestBatch, latency_ps: int, ps_per_token: int) -> PlainRun:
    return PlainFleet(pools, batch, latency_ps, ps_per_token).run()


def plain_outcomes(run: PlainRun) -> dict[int, tuple[object, ...]]:
    return {
        each.number: (
            each.status, each.engine, each.scheduled_ps, each.first_token_ps, each.finish_ps, each.cached_tokens,
            each.preemptions,
        )
        for each in run.outcomes
    }  # fmt: skip


def compiled_outcomes(
    pools: list[PlainPool], batch: RequestBatch, latency_ps: int, ps_per_token: int, *, cuts: int
) -> dict[int, tuple[object, ...]]:
    links = LinkSettings(transfer_latency_ps=latency_ps, transfer_ps_per_token=ps_per_token)
    # The batch comes in two parts, so that the seam between parts is met as well.
    half = len(batch) // 3
    parts = iter([(part(batch, 0, half), int(batch.arrival_ps[half])), (part(batch, half, len(batch)), 2**62)])
    fleet = VirtualFleet([settings(pool) for pool in pools], links, lambda: next(parts, None))
    for number, pool in enumerate(pools):
        for _ in range(pool.engines):
            fleet.open(fleet.add_engine(number))
    if cuts:
        for until in np.linspace(0, int(batch.arrival_ps[-1]) * 2, cuts):
            fleet.advance(int(until))
            fleet.settle()
    fleet.run_out()
    assert all(fleet.used_blocks(number) == 0 for number in range(sum(pool.engines for pool in pools)))
    told, preempted = {}, dict.fromkeys(range(len(batch)), 0)
    for row in np.concatenate(fleet.outcomes):
        number = int(row["number"])
        preempted[number] += int(row["preemptions"])
        if row["kind"] == PREFILLED:
            continue
        status = {COMPLETED: "completed", REFUSED: "refused"}[int(row["kind"])]
        told[number] = (
            status, int(row["engine"]), int(row["scheduled"]), int(row["first_token"]), int(row["finish"]),
            int(row["cached"]), preempted[number],
        )  # fmt: skip
    return told


def settings(pool: PlainPool) -> PoolSettings:
    plain = asdict(pool.settings)
    blocks, ends_by = plain.pop("usable_blocks"), plain.pop("ends_by")
    engines = EngineSettings(
        law=pool.law, kv_tokens=blocks * plain["block_size"], stop_tokens=ends_by == "stop", **plain
    )
    return PoolSettings(role=Role(pool.role), engines=engines, router=RouterSettings(kind=RouterKind(pool.router)))


def draw_case(seed: int) -> tuple[list[PlainPool], RequestBatch, int, int]:
    """Draw a small fleet and its requests: tight pools, small budgets, shared beginnings, sessions, pairs."""
    draw = random.Random(seed)  # noqa: S311  nothing is hidden here
    size, paired = draw.choice([1, 4, 8, 16]), draw.random() < 0.4
    longest = draw.choice([60, 150, 200])
    unit = draw.choice([1, 10**6])  # a step takes some 50 of them
    common = {
        "block_size": size,
        "max_model_len": draw.choice([longest + 40, 400]),
        "prefix_caching": draw.random() < 0.75,
        "async_scheduling": draw.random() < 0.6,
        "ends_by": draw.choice(["length", "stop"]),
        "reserve_full_isl": draw.random() < 0.8,
        "watermark": draw.choice([0.0, 0.0, 0.05]),
        "long_prefill_token_threshold": draw.choice([0, 0, 24]),
        "long_prefill_token_threshold_adaptive": draw.random() < 0.3,
    }
    pools = []
    for role in ["prefill", "decode"] if paired else ["both"]:
        plain = draw_settings(draw, common, size, longest)
        law = draw_law(draw, plain, unit)
        pools.append(PlainPool(role, draw.choice([1, 2, 3]), draw.choice(ROUTERS), plain, law))
    return pools, draw_batch(draw, longest, unit), unit * draw.choice([0, 300]), unit * draw.choice([0, 2, 20])


def draw_settings(draw: random.Random, common: dict[str, object], size: int, longest: int) -> PlainSettings:
    seats = draw.choice([2, 5, 16])
    blocks = -(-draw.choice([longest, 2 * longest, 8 * longest]) // size) + draw.choice([0, 3])
    return PlainSettings(
        usable_blocks=blocks,
        max_num_seqs=seats,
        max_num_batched_tokens=max(seats, draw.choice([16, 64, 300])),
        **common,
    )  # type: ignore[arg-type]  # the words are the fields'


def draw_law(draw: random.Random, plain: PlainSettings, unit: int) -> StepLaw:
    seats, batched = plain.max_num_seqs, plain.max_num_batched_tokens
    knots = draw.choice([[], [40], [30, 90]])
    return StepLaw(
        host=np.array([draw.randrange(3) * unit for _ in range(seats + 1)], np.int64),
        chunk=np.array([(50 + 3 * tokens) * unit for tokens in range(batched + 1)], np.int64),
        decode=np.array([[(40 + b + 5 * p) * unit for p in range(len(knots) + 1)] for b in range(seats + 1)], np.int64),
        context=np.array([[draw.randrange(2) for _ in range(len(knots) + 1)] for _ in range(seats + 1)], np.int64),
        knots=np.array(knots, np.int64),
        pair=draw.choice([0.0, 0.37]),
    )


def draw_batch(draw: random.Random, longest: int, unit: int) -> RequestBatch:
    count = draw.randrange(5, 40)
    gap = draw.choice([1, 30, 300, 3000]) * unit
    arrival = np.cumsum([draw.choice([0, 1, 2]) * draw.randrange(gap) for _ in range(count)]).astype(np.int64)
    pieces: list[tuple[int, int]] = []
    offsets, prompts, outputs, owns, public = [0], [], [], [], []
    segment, transcripts = draw.choice([8, 16, 30]), dict.fromkeys(range(3), 0)
    for number in range(count):
        shared = draw.choice([0, 0, 1, 2, 3])
        prompt = draw.randrange(1, longest) if draw.random() < 0.9 else draw.choice([16, 32, 64])
        output = draw.choice([1, 2, draw.randrange(1, 30), draw.randrange(1, 60)])
        session = draw.random() < 0.2
        if session:
            shared, own = 0, draw.randrange(3)
            prompt = max(prompt, min(longest, transcripts[own] + draw.randrange(1, 20)))
            transcripts[own] = prompt + output
        else:
            own = 100 + number
        shared = min(shared, prompt // segment)
        pieces += [(draw.randrange(2) + 10 * place, segment) for place in range(shared)]
        offsets.append(len(pieces))
        prompts.append(prompt)
        outputs.append(output)
        owns.append(own)
        public.append(session)
    return RequestBatch(
        arrival_ps=arrival,
        prompt_tokens=np.array(prompts, np.int64),
        output_tokens=np.array(outputs, np.int64),
        own_ids=np.array(owns, np.int64),
        own_public=np.array(public, np.bool_),
        piece_offsets=np.array(offsets, np.int64),
        piece_ids=np.array([piece for piece, _ in pieces], np.int64),
        piece_tokens=np.array([tokens for _, tokens in pieces], np.int64),
    )


def part(batch: RequestBatch, first: int, last: int) -> RequestBatch:
    low, high = batch.piece_offsets[first], batch.piece_offsets[last]
    return RequestBatch(
        arrival_ps=batch.arrival_ps[first:last],
        prompt_tokens=batch.prompt_tokens[first:last],
        output_tokens=batch.output_tokens[first:last],
        own_ids=batch.own_ids[first:last],
        own_public=batch.own_public[first:last],
        piece_offsets=batch.piece_offsets[first : last + 1] - low,
        piece_ids=batch.piece_ids[low:high],
        piece_tokens=batch.piece_tokens[low:high],
    )
