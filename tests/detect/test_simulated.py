"""The detectors on the simulated factory: what is wrong with it is known, so is what is not."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from aiops.detect import DetectMemory, look
from aiops.model.detection import DetectionKind
from aiops.model.profile import CapacityProfile
from aiops.observe.packaged import packaged
from aiops.simulate.factory import Factory
from aiops.simulate.observer import FactoryObserver
from aiops.simulate.spec import FactorySpec, RouterSpec, read_factory

PROFILE = "llama-8b-h100-tp1"
SKEW, SATURATION = DetectionKind.ROUTING_SKEW, DetectionKind.SATURATION


# Busy with three replicas, too much for one.
CHAT = f"""
model: chat
namespace: llm
pools: [{{name: chat, role: both, replicas: 3, profile: {PROFILE}, variant: h100-tp1}}]
coldStart: {{p50: 60s, p90: 150s}}
workload:
  requestsPerS: 24
  inputTokens: {{mean: 1500, spread: 0.8, max: 16384}}
  outputTokens: {{mean: 350, spread: 0.7, max: 4096}}
"""


def chat(**others: object) -> FactorySpec:
    (spec,) = read_factory(CHAT)
    return spec.model_copy(update=others)


def found(spec: FactorySpec, minutes: int, seed: int, scaled_to: Callable[[int], int]) -> set[DetectionKind]:
    """Every kind that was open at some time; ``scaled_to`` gives the replicas at each minute. It begins at the peak."""
    profile = CapacityProfile.model_validate(
        yaml.safe_load(packaged("policies", "profiles", f"{PROFILE}.yaml").read_text())
    )
    factory = Factory((spec,), {PROFILE: profile}, seed, datetime(2026, 3, 2, 10, tzinfo=UTC))
    observer, memory, kinds = FactoryObserver(factory), DetectMemory(), set()
    (pool,) = factory.models[0].pools
    for turn in range(1, 4 * minutes + 1):
        factory.scale(pool.ref, scaled_to(turn // 4))
        factory.advance(factory.start + timedelta(seconds=15 * turn))
        detections, memory = look(observer.observe().models[0], factory.now, memory)
        kinds |= {one.kind for one in detections}
    return kinds


@pytest.mark.parametrize("seed", [1, 2])
def test_a_busy_hour_is_no_trouble(seed):
    assert found(chat(), 60, seed, lambda minute: 3) == set()


@pytest.mark.parametrize("seed", [1, 2])
def test_a_sticky_router_is_told(seed):
    sticky = RouterSpec(affinity=0.8)
    kinds = found(chat(router=sticky), 20, seed, lambda minute: 3)
    assert SKEW in kinds
    assert SATURATION not in kinds


@pytest.mark.parametrize("seed", [2, 3])
def test_the_queue_that_a_short_overload_left_behind_is_no_skew_though_new_replicas_idle_beside_it(seed):
    kinds = found(chat(), 30, seed, lambda minute: 3 if minute < 5 else 1 if minute < 9 else 5)
    assert kinds == {SATURATION}
