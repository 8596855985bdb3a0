from dataclasses import dataclass, field
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiops.model.profile import CapacityProfile
from aiops.model.refs import Role
from aiops.simulate.counters import read_counters
from aiops.simulate.engine import Engine, EngineSettings
from aiops.simulate.request import Request
from aiops.simulate.timing import StepTimes
from tests.simulate.factories import small_profile

PROFILE = small_profile()
TIMES = StepTimes(PROFILE, 8000)


def make_engine(profile: CapacityProfile = PROFILE, *, times: StepTimes = TIMES, **changes: object) -> Engine:
    values: dict[str, object] = {
        "model": "small",
        "role": Role.BOTH,
        "times": times,
        "kv_tokens": profile.kv_tokens,
        "max_num_seqs": profile.limits.max_num_seqs,
        "max_num_batched_tokens": profile.limits.max_num_batched_tokens,
        "max_model_len": 8000,
    }
    return Engine(EngineSettings(**(values | changes)))  # type: ignore[arg-type]


def serve(engine: Engine, requests: list[Request]) -> dict[int, float]:
    """Let one engine answer requests that arrive in order; gives when each was finished."""
    finished: dict[int, float] = {}
    coming = list(requests)
    while coming or engine.ends_s < inf:
        if coming and coming[0].arrival_s < engine.ends_s:
            request = coming.pop(0)
            engine.submit(request, request.arrival_s)
            continue
        now_s = engine.ends_s
        finished |= {request.id: now_s for request in engine.end_step(now_s)}
        engine.begin_step(now_s)
        assert engine.kv_used_tokens(now_s) <= engine.reserved_tokens <= engine.settings.kv_tokens
        assert engine.running <= engine.settings.max_num_seqs
    return finished


@dataclass
class Twin:
    """The same rules, step by step, in as few words as possible: no runs of steps, no sums kept."""

    profile: CapacityProfile
    now_s: float = 0.0
    first_s: dict[int, float] = field(default_factory=dict)
    finish_s: dict[int, float] = field(default_factory=dict)

    def serve(self, requests: list[tuple[int, float, int, int]]) -> None:
        coming, waiting, batch = sorted(requests, key=lambda each: each[1]), [], []
        while coming or waiting or batch:
            if not waiting and not batch:
                self.now_s = max(self.now_s, coming[0][1])
            # An arrival at the very end of a step comes too late for the next one, as in the engine's event order.
            while coming and (coming[0][1] < self.now_s or not (waiting or batch)):
                waiting.append(coming.pop(0))
            self.step(waiting, batch)

    def step(self, waiting: list[tuple[int, float, int, int]], batch: list[dict[str, int]]) -> None:
        decoding = [each for each in batch if each["made"]]
        seconds, budget = 0.0, self.profile.limits.max_num_batched_tokens - len(decoding)
        chunks: list[tuple[dict[str, int], int]] = []
        begins = False
        while waiting and len(batch) < self.profile.limits.max_num_seqs:
            unfinished = sum(each["prompt"] - each["computed"] for each in batch)
            number, _, prompt, output = waiting[0]
            reserved = sum(each["prompt"] + each["output"] for each in batch)
            if unfinished >= budget or reserved + prompt + output > self.profile.kv_tokens:
                break
            waiting.pop(0)
            batch.append({"id": number, "prompt": prompt, "output": output, "computed": 0, "made": 0})
            begins = True
        for each in batch:
            chunk = min(each["prompt"] - each["computed"], budget)
            if chunk:
                chunks.append((each, chunk))
                seconds += self.prefill_s(each["computed"] + chunk) - self.prefill_s(each["computed"])
                budget -= chunk
        if decoding:
            context = sum(each["prompt"] + each["made"] for each in decoding) / len(decoding)
            seconds += self.profile.step_s(len(decoding), context)
        elif begins:
            seconds += self.prefill_s(0)
        self.now_s += seconds
        for each in decoding:
            each["made"] += 1
        for each, chunk in chunks:
            each["computed"] += chunk
            if each["computed"] == each["prompt"]:
                each["made"] = 1
                self.first_s[each["id"]] = self.now_s
        for each in [each for each in batch if each["made"] == each["output"]]:
            batch.remove(each)
            self.finish_s[each["id"]] = self.now_s

    def prefill_s(self, tokens: int) -> float:
        if tokens:
            return self.profile.prefill_s(tokens)
        return 2 * self.profile.prefill_s(1) - self.profile.prefill_s(2)


REQUESTS = st.lists(
    st.tuples(st.floats(0, 1.5), st.integers(1, 1500), st.integers(1, 120)), min_size=1, max_size=40
).map(lambda rows: [(i, *row) for i, row in enumerate(sorted(rows))])


@given(REQUESTS, st.sampled_from([2, 5, 16]), st.sampled_from([1700, 6000, 20_000]))
@settings(max_examples=150, deadline=None)
def test_runs_of_steps_end_when_single_steps_do(
    rows: list[tuple[int, float, int, int]], max_num_seqs: int, kv_tokens: int
) -> None:
    profile = small_profile(kvTokens=kv_tokens, limits={"maxNumSeqs": max_num_seqs, "maxNumBatchedTokens": 512})
    requests = [Request(*row) for row in rows]
    finished = serve(make_engine(profile, times=TIMES), requests)
    twin = Twin(profile)
    twin.serve(rows)
    assert finished == pytest.approx(twin.finish_s, rel=1e-9)
    assert {request.id: request.first_token_s for request in requests} == pytest.approx(twin.first_s, rel=1e-9)


@pytest.mark.parametrize(
    ("prompt", "output"),
    [
        pytest.param(300, 50, id="a prompt that fits into one step"),
        pytest.param(2000, 50, id="a prompt in four chunks takes what it takes in one"),
        pytest.param(900, 300, id="an answer that crosses a row of the decode table"),
        pytest.param(1, 1, id="one token in, one out"),
    ],
)
def test_a_lone_request_takes_what_the_profile_says(prompt: int, output: int) -> None:
    request = Request(1, 2.0, prompt, output)
    finished = serve(make_engine(), [request])
    assert request.first_token_s - 2.0 == pytest.approx(PROFILE.prefill_s(prompt))
    steps_s = [PROFILE.step_s(1, prompt + made) for made in range(1, output)]
    assert finished[1] - request.first_token_s == pytest.approx(sum(steps_s), abs=1e-9)


def test_a_full_kv_cache_lets_requests_wait_in_order() -> None:
    engine = make_engine(kv_tokens=1000)
    requests = [Request(1, 0.0, 500, 100), Request(2, 0.01, 500, 100), Request(3, 0.02, 10, 10)]
    finished = serve(engine, requests)
    assert requests[1].scheduled_s >= finished[1]
    assert requests[2].scheduled_s >= requests[1].scheduled_s, "nobody passes the head of the queue"


def test_a_decode_step_lengthens_by_the_chunk_computed_in_it() -> None:
    engine = make_engine()
    engine.submit(Request(1, 0.0, 200, 100), 0.0)
    first_s = engine.ends_s
    engine.end_step(first_s)
    engine.begin_step(first_s)
    engine.submit(Request(2, first_s, 300, 100), first_s)
    second_s = engine.ends_s
    assert second_s - first_s == pytest.approx(PROFILE.step_s(1, 201)), "the arrival waits out the step under way"
    engine.end_step(second_s)
    engine.begin_step(second_s)
    chunk_s = PROFILE.prefill_s(300) - TIMES.prefill_s[0]
    assert engine.ends_s - second_s == pytest.approx(PROFILE.step_s(1, 202) + chunk_s)


def test_a_cold_prefix_cache_warms_with_the_prompts_it_serves() -> None:
    cold = make_engine(prefix_share=0.5, warmup_tokens=4000)
    requests = [Request(number, 10.0 * number, 800, 2) for number in range(10)]
    serve(cold, requests)
    cached = [request.cached for request in requests]
    assert cached[0] == 0
    assert cached == sorted(cached)
    assert cached[-1] == 400
    assert cold.hit_tokens == cold.cached_tokens == sum(cached)
    warm = Engine(cold.settings, warm=True)
    warm.submit(request := Request(1, 0.0, 800, 2), 0.0)
    assert request.cached == 400
    assert warm.ends_s == pytest.approx(PROFILE.prefill_s(800) - PROFILE.prefill_s(400) + TIMES.prefill_s[0])


@pytest.mark.parametrize("rho", [0.3, 0.5])
def test_the_mean_wait_of_a_single_server_is_that_of_the_theory(rho: float) -> None:
    # M/D/1: one request at a time, all alike, Poisson arrivals; the mean wait is ρ/(2(1−ρ)) service times.
    profile = small_profile(limits={"maxNumSeqs": 1, "maxNumBatchedTokens": 512})
    service_s = profile.prefill_s(400)
    arrivals_s = np.cumsum(np.random.default_rng(7).exponential(service_s / rho, 60_000)).tolist()
    requests = [Request(number, arrival_s, 400, 1) for number, arrival_s in enumerate(arrivals_s)]
    serve(make_engine(profile), requests)
    waits_s = [request.scheduled_s - request.arrival_s for request in requests]
    assert np.mean(waits_s) == pytest.approx(rho / (2 * (1 - rho)) * service_s, rel=0.04)


@given(REQUESTS, st.floats(0, 3))
@settings(max_examples=50, deadline=None)
def test_reading_the_counters_in_the_middle_of_a_run_is_consistent_and_disturbs_nothing(
    rows: list[tuple[int, float, int, int]], look_s: float
) -> None:
    engine, undisturbed = make_engine(), make_engine()
    for row in rows:
        for each in (engine, undisturbed):
            each.submit(Request(row[0], 0.0, *row[2:]), 0.0)
    for _ in range(100):
        counters = read_counters(engine, min(look_s, engine.ends_s))
        assert counters.generated_tokens == counters.ttft_count + counters.itl_count
        for each in (engine, undisturbed):
            if each.ends_s < inf:
                now_s = each.ends_s
                each.end_step(now_s)
                each.begin_step(now_s)
    assert read_counters(engine, 1e9) == read_counters(undisturbed, 1e9)
