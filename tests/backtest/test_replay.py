from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aiops.backtest.baselines.static import smallest_static
from aiops.backtest.replay import World, alone, hold, hold_while, replay
from aiops.model.refs import PoolRef
from aiops.observe.policies import read_policies
from aiops.simulate.spec import FactorySpec

ROOT = Path(__file__).parents[2]
START = datetime(2026, 1, 5, 9, tzinfo=UTC)
TARGET = PoolRef("llm", "Deployment", "chat-8b")


def world(seed: int = 3, history: timedelta = timedelta(0), requests_per_s: float = 9.0) -> World:
    policies = read_policies([ROOT / "policies" / "demo.yaml"])
    spec = FactorySpec.model_validate(
        {
            "model": "meta-llama/Llama-3.1-8B-Instruct",
            "namespace": "llm",
            "pools": [{"name": "chat-8b", "replicas": 2, "profile": "llama-8b-h100-tp1", "variant": "h100-tp1"}],
            "coldStart": {"p50": "60s", "p90": "120s"},
            "workload": {
                "requestsPerS": requests_per_s,
                "inputTokens": {"mean": 1500, "spread": 0.6},
                "outputTokens": {"mean": 300, "spread": 0.6},
            },
        }
    )
    profile = policies.variants["h100-tp1"].profile
    assert profile is not None
    return World((spec,), {"llama-8b-h100-tp1": profile}, policies, seed, START, history)


def test_the_same_world_gives_the_same_result() -> None:
    first = replay(world(history=timedelta(hours=6)), timedelta(minutes=30))
    again = replay(world(history=timedelta(hours=6)), timedelta(minutes=30))
    assert (first.cost, first.fate) == (again.cost, again.fate)
    assert first.tally.reasons == again.tally.reasons


def test_what_arrives_does_not_depend_on_who_scales() -> None:
    scaled = replay(world(), timedelta(minutes=30))
    held = hold(world(), timedelta(minutes=30), {TARGET: 5})
    other = replay(world(seed=4), timedelta(minutes=30))
    assert scaled.fate.requests.requests == held.fate.requests.requests
    assert scaled.fate.requests.requests != other.fate.requests.requests
    assert held.cost.replica_hours == pytest.approx(2.5)


def test_a_model_alone_has_the_load_it_has_among_others() -> None:
    both = world()
    other = both.specs[0].model_copy(update={"model": "other"})
    crowd = World((both.specs[0], other), both.profiles, both.policies, both.seed, both.start)
    together = hold(crowd, timedelta(minutes=20), {}).fate.models[0].requests
    assert hold(alone(crowd, crowd.specs[0]), timedelta(minutes=20), {}).fate.models[0].requests == together


def test_the_static_fleet_is_the_smallest_that_reaches_the_goal() -> None:
    busy = world(requests_per_s=60.0)
    found = smallest_static(busy, busy.specs[0], timedelta(minutes=5), 0.99)
    count = found.replicas[TARGET]
    assert count >= 2

    def attainment(replicas: int) -> float:
        ratio = hold(busy, timedelta(minutes=5), {TARGET: replicas}).fate.requests.attainment_ratio
        assert ratio is not None
        return ratio

    assert attainment(count) >= 0.99 > attainment(count - 1)


def test_a_run_is_given_up_once_too_many_requests_miss() -> None:
    busy, span = world(requests_per_s=60.0), timedelta(minutes=40)
    whole = hold(busy, span, {TARGET: 1})
    misses = whole.fate.requests.requests - whole.fate.requests.hits
    borne = hold_while(busy, span, {TARGET: 1}, misses)

    assert misses > 1000
    assert borne is not None
    assert borne.fate == whole.fate
    assert hold_while(busy, span, {TARGET: 1}, misses // 1000) is None


def test_an_impossible_goal_is_told() -> None:
    flooded = world(requests_per_s=2000.0)
    with pytest.raises(ValueError, match="32 replicas a pool of llm/meta-llama"):
        smallest_static(flooded, flooded.specs[0], timedelta(seconds=20), 0.999)


def test_the_past_that_is_known_makes_the_first_decision_a_calibrated_one() -> None:
    bases = []
    replay(
        world(history=timedelta(days=1)),
        timedelta(minutes=2),
        on_turn=lambda turn: bases.append(
            {str(f.basis) for f in turn.cycle.models[0].forecasts if f.window.end_s <= 1800}
        ),
    )
    assert bases[-1] == {"history"}
