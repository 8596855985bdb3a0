from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiops.model.refs import PoolRef
from aiops.simulate.factory import Factory
from aiops.simulate.spec import FactorySpec
from tests.simulate.factories import START, aggregated, factory, pair, run, small_profile, workload

ROLES = {"aggregated": aggregated, "pair": pair}


def arrivals(made: Factory) -> int:
    return made.summary().requests.requests


def check(made: Factory) -> None:
    """What must hold at any time."""
    for model in made.models:
        model.settle()
        in_flight = model.fleet.live_requests()["number"].tolist()
        assert len(set(in_flight)) == len(in_flight) == model.fleet.in_flight
        assert model.fleet.arrived == model.ledger.ended + len(in_flight), "a request was lost or doubled"
    for pool, replica in made.live_replicas():
        settings = pool.fleet.pools[pool.number].engines
        assert 0 <= pool.fleet.used_blocks(replica.engine) <= settings.blocks
        assert pool.fleet.engines[replica.engine]["running"] <= settings.max_num_seqs
        assert pool.fleet.engines[replica.engine]["load"] >= 0, pool


MOVES = st.lists(st.tuples(st.floats(0.1, 30), st.integers(0, 1), st.integers(0, 5)), min_size=1, max_size=12)


@given(
    kind=st.sampled_from(sorted(ROLES)),
    router=st.sampled_from(["least_loaded", "round_robin", "random", "scored"]),
    requests_per_s=st.floats(0.5, 25),
    share=st.sampled_from([0.0, 0.4]),
    kv_tokens=st.sampled_from([4400, 20_000]),
    moves=MOVES,
    seed=st.integers(0, 5),
)
@settings(max_examples=60)
def test_no_request_is_lost_and_no_cache_overflows_whatever_is_scaled(
    kind: str,
    router: str,
    requests_per_s: float,
    share: float,
    kv_tokens: int,
    moves: list[tuple[float, int, int]],
    seed: int,
) -> None:
    spec = ROLES[kind](
        router={"kind": router},
        coldStart={"p50": "5s", "p90": "15s"},
        terminationGracePeriod="2h",  # nobody is cut off
        workload=workload(requests_per_s, prefixShare=share, warmupTokens=50_000),
    )
    made = factory(spec, seed=seed, profile=small_profile(kvTokens=kv_tokens))
    pools = made.models[0].pools
    for seconds, which, wanted in moves:
        run(made, seconds)
        made.scale(pools[which % len(pools)].ref, wanted)
        check(made)
    for pool in pools:
        made.scale(pool.ref, 5)
    made.run_out(timedelta(hours=2))
    check(made)
    total = made.summary().requests
    assert total.finished == total.requests
    for pool, replica in made.live_replicas():
        assert pool.fleet.idle(replica.engine)
        assert pool.fleet.used_blocks(replica.engine) == 0


@pytest.mark.parametrize("kind", sorted(ROLES))
def test_a_seed_makes_the_run_and_looking_at_it_changes_nothing(kind: str) -> None:
    def total(seed: int, step_s: float) -> object:
        made = factory(ROLES[kind](workload=workload(8)), seed=seed)
        while made.now_s < 300:
            run(made, step_s)
            if made.now_s == 150:
                made.scale(made.models[0].pools[0].ref, 4)
        return made.summary()

    assert total(1, 150) == total(1, 150)
    assert total(1, 150) == total(1, 2.5)
    assert total(1, 150) != total(2, 150)


def test_models_on_two_threads_do_what_they_do_on_one() -> None:
    def total(threads: int) -> object:
        specs = [
            FactorySpec.model_validate(ROLES[kind](model=kind, namespace=kind, workload=workload(8)))
            for kind in sorted(ROLES)
        ]
        made = Factory(specs, {"small": small_profile()}, 1, START, threads=threads)
        return run(made, 600).summary()

    assert total(2) == total(1)


def test_what_arrives_depends_on_no_decision_and_on_no_other_model() -> None:
    other = aggregated(1, model="other", workload=workload(3))
    small = run(factory(aggregated(1, workload=workload(8))), 600)
    large = factory(aggregated(5, workload=workload(8)), {**other, "pools": [{"name": "other", "profile": "small"}]})
    run(large, 300)
    large.scale(PoolRef("default", "Deployment", "pool"), 1)
    run(large, 300)
    assert small.models[0].fleet.arrived == large.models[0].fleet.arrived
    ended = [
        {(row[2], row[3]) for row in made.models[0].ledger.window(made.now_s, 300, 0)[2].tolist()}
        for made in (small, large)
    ]
    assert len(ended[0] & ended[1]) > 0.9 * min(map(len, ended))


@pytest.mark.parametrize("kind", sorted(ROLES))
def test_more_replicas_never_worsen_attainment_beyond_noise(kind: str) -> None:
    ratios = []
    for replicas in (1, 2, 3, 4, 6):
        made = run(factory(ROLES[kind](replicas, *[replicas] * (kind == "pair"), workload=workload(16))), 600)
        made.run_out(timedelta(minutes=30))
        ratio = made.summary().requests.attainment_ratio
        assert ratio is not None
        ratios.append(ratio)
    assert all(later >= earlier - 0.01 for earlier, later in pairwise(ratios)), ratios
    assert ratios[0] < 0.5
    assert ratios[-1] > 0.95, "the range spans overload and plenty"


def test_roles_hand_over_and_the_first_token_comes_after_the_transfer_and_a_decode_step() -> None:
    load = {"requestsPerS": 0.05, "inputTokens": {"mean": 400}, "outputTokens": {"mean": 11}}
    made = factory(pair(1, 1, transfer={"latency": "200ms", "secondsPerToken": 0.001}, workload=load))
    run(made, 600)
    profile = small_profile()
    _, _, ended = made.models[0].ledger.window(600, 300, 0)
    steps_s = [profile.step_s(1, 400 + token) for token in range(11)]
    assert len(ended) > 5
    assert ended[:, 0].min() == pytest.approx(profile.prefill_s(400) + 0.2 + 0.4 + steps_s[0])
    assert ended[:, 1].min() == pytest.approx(sum(steps_s[1:]) / 10)
    prefill, decode = (pool.fleet.engines[pool.replicas[0].engine] for pool in made.models[0].pools)
    finished = made.summary().requests.finished
    assert prefill["pulled"] == decode["computed"] == 0
    assert prefill["computed"] == decode["pulled"] == 400 * finished
    assert prefill["finished"] == decode["finished"] == finished


def test_prompts_stay_in_prefill_memory_until_they_are_pulled() -> None:
    made = factory(pair(1, 0, workload=workload(4, output=20)))
    run(made, 120)
    pool = made.models[0].pools[0]
    engine = pool.replicas[0].engine
    assert pool.fleet.used_blocks(engine) * 16 > 10_000
    assert pool.fleet.waiting(engine), "its cache is full of prompts that nobody pulls"
    check(made)


def test_requests_that_cling_make_one_replica_hot_while_others_idle() -> None:
    def busiest_share(**router: object) -> float:
        made = run(factory(aggregated(4, router=router, workload=workload(6))), 300)
        made.models[0].settle()
        finished = [int(made.models[0].fleet.engines[n.engine]["finished"]) for n in made.models[0].pools[0].replicas]
        return max(finished) / sum(finished)

    assert busiest_share(affinity=0.95) > 0.9
    assert busiest_share(kind="least_loaded") < 0.35
    assert busiest_share(kind="round_robin") == pytest.approx(0.25, abs=0.01)


def test_a_request_that_has_waited_too_long_is_a_miss_before_it_ends() -> None:
    made = run(factory(aggregated(0, workload=workload(5))), 60)
    requests = made.summary().requests
    assert requests.finished == 0
    assert 0.9 * requests.requests < requests.overdue < requests.requests, "those of the last 2.5 s may still make it"
    assert requests.attainment_ratio == 0.0


def test_an_idle_factory_has_no_attainment() -> None:
    assert run(factory(aggregated(1)), 60).summary().requests.attainment_ratio is None


def test_the_past_is_no_error() -> None:
    made = run(factory(aggregated(1, workload=workload(5))), 60)
    before = made.summary()
    made.advance(START)
    assert made.summary() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            {"profile": "none"}, "names profile 'none'; there are ['small']", id="a profile that is not there"
        ),
        pytest.param({"role": "prefill"}, "one prefill and one decode", id="a prefill pool alone"),
    ],
)
def test_what_cannot_be_built_is_told(change: dict[str, str], message: str) -> None:
    pools = [{"name": "pool", "profile": "small"} | change]
    with pytest.raises(ValueError, match=message.replace("[", r"\[")):
        factory({"pools": pools})


def test_scaling_a_pool_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(ValueError, match=r"no pool default/none; it has \['default/pool'\]"):
        factory(aggregated()).scale(PoolRef("default", "Deployment", "none"), 1)


def test_fewer_than_no_replicas_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot have -1 replicas"):
        factory(aggregated()).scale(PoolRef("default", "Deployment", "pool"), -1)


def test_two_models_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="same name"):
        factory(aggregated(), aggregated())
