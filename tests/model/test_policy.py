from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from aiops.model.policy import Mode, PolicySet, ScalingPolicy, Step, json_schema
from aiops.model.refs import ModelRef, PoolRef

POOL: dict[str, Any] = {"name": "chat", "target": {"name": "chat-8b"}, "variant": "h100"}


def policy(pools: list[dict[str, Any]] | None = None, **spec: Any) -> ScalingPolicy:
    plain = {"metadata": {"name": "chat", "namespace": "llm"}, "spec": {"model": "m", "pools": pools or [POOL], **spec}}
    return ScalingPolicy.model_validate(plain)


def test_everything_but_the_model_and_the_pools_has_a_safe_default() -> None:
    least = policy().spec

    assert least.mode is Mode.OBSERVE
    assert least.objectives.ttft.bound_s == 2.5
    assert least.scale_down.stabilization == timedelta(minutes=10)
    assert (least.pools[0].min, least.pools[0].max) == (1, 10)
    assert (least.budget.gpus, least.budget.usd_per_hour) == (None, None)


def test_a_policy_names_its_model_and_its_targets() -> None:
    one = policy()

    assert one.ref == ModelRef("llm", "m")
    assert one.pool_ref(one.spec.pools[0]) == PoolRef("llm", "Deployment", "chat-8b")
    assert PolicySet((one,)).policy(ModelRef("llm", "m")) is one
    assert PolicySet((one,)).policy(ModelRef("other", "m")) is None


@pytest.mark.parametrize(
    ("mode", "read"),
    [
        pytest.param("act", Mode.ACT, id="a word"),
        pytest.param({"act": "up"}, Mode.ACT_UP, id="a mapping that narrows it"),
        pytest.param("act: up", Mode.ACT_UP, id="the same in quotes"),
    ],
)
def test_a_mode_is_read(mode: object, read: Mode) -> None:
    assert policy(mode=mode).spec.mode is read


@pytest.mark.parametrize(
    ("written", "current", "replicas"),
    [
        pytest.param("25%", 8, 2, id="a share"),
        pytest.param("25%", 9, 3, id="a share that does not come out even is rounded up"),
        pytest.param("25%", 1, 1, id="a share is at least one replica"),
        pytest.param("100%", 0, 1, id="even of none"),
        pytest.param("10%", 30, 3, id="ten percent of thirty is three, not four"),
        pytest.param(4, 1, 4, id="a number"),
    ],
)
def test_a_step_is_a_share_or_a_number(written: str | int, current: int, replicas: int) -> None:
    assert policy(scaleUp={"maxStep": written}).spec.scale_up.max_step.of(current) == replicas


@pytest.mark.parametrize(
    ("objectives", "given", "risk"),
    [
        pytest.param({}, None, 0.01, id="a fifth of what p95 allows to miss"),
        pytest.param({"ttft": {"p90": "1s"}, "itl": {"p99": "50ms"}}, None, 0.002, id="the stricter objective counts"),
        pytest.param({}, 0.3, 0.3, id="a given risk wins"),
    ],
)
def test_the_risk_follows_from_the_objectives(objectives: dict[str, Any], given: float | None, risk: float) -> None:
    assert policy(objectives=objectives, risk=given).risk == pytest.approx(risk)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"pools": []}, "at least 1 item", id="no pool"),
        pytest.param(
            {"pools": [{**POOL, "min": 5, "max": 3}]}, "max 3 is below min 5 for pool 'chat'", id="max below min"
        ),
        pytest.param({"pools": [POOL, POOL]}, "the same name", id="two pools of one name"),
        pytest.param({"pools": [POOL, {**POOL, "name": "b"}]}, "the same target", id="two pools of one target"),
        pytest.param(
            {"pools": [{**POOL, "role": "prefill"}]},
            "one of role both, or one prefill and one decode",
            id="half a pair",
        ),
        pytest.param({"scaleUp": {"maxStep": "0%"}}, "'0%' is not a step", id="a step of nothing"),
        pytest.param({"scaleUp": {"maxStep": True}}, "True is not a step", id="a step of true"),
        pytest.param({"scaleUp": {"per": "0s"}}, "above 0s", id="a step a moment"),
        pytest.param({"objectives": {"ttft": {"p100": "1s"}}}, "'p100' is no percentile", id="a percentile of all"),
        pytest.param({"objectives": {"ttft": {"95": "1s"}}}, "'95' is no percentile", id="a percentile without its p"),
        pytest.param({"objectives": {"ttft": "1s"}}, "'1s' is no objective", id="a bound without its percentile"),
        pytest.param(
            {"ratio": {"decodePerPrefill": {"min": 3, "max": 1}}}, "max 1 is below min 3", id="a crossed band"
        ),
        pytest.param({"risk": 1}, "less than 1", id="a forecast that is always exceeded"),
        pytest.param({"budget": {"usdPerHour": float("inf")}}, "finite", id="an endless budget"),
        pytest.param({"scaleup": {}}, "Extra inputs", id="an unknown key"),
    ],
)
def test_a_policy_that_makes_no_sense_says_why(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ScalingPolicy.model_validate(
            {"metadata": {"name": "chat"}, "spec": {"model": "m", "pools": [POOL], **change}},
        )


def test_what_is_written_reads_back_the_same() -> None:
    one = policy(mode={"act": "up"}, objectives={"itl": {"p99.9": "75ms"}}, scaleDown={"maxStep": 3, "per": "90s"})

    assert ScalingPolicy.model_validate_json(one.model_dump_json(by_alias=True)) == one


def test_a_step_shows_as_it_is_written() -> None:
    assert (str(Step(share=0.25)), str(Step(replicas=4))) == ("25%", "4")


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        pytest.param("PolicyFile", {"metadata", "spec", "variants"}, id="a policy"),
        pytest.param("FleetPolicy", {"kind", "spec"}, id="what holds for the fleet"),
    ],
)
def test_the_schema_knows_the_keys_as_people_write_them(kind: str, keys: set[str]) -> None:
    schema = json_schema()

    assert keys <= schema["$defs"][kind]["properties"].keys()
    assert schema["$defs"][kind]["additionalProperties"] is False
    assert "scaleDown" in schema["$defs"]["Spec"]["properties"]
    assert "maxRemovedPerHour" in schema["$defs"]["FleetSpec"]["properties"]
    assert schema["then"]["$ref"] == "#/$defs/FleetPolicy"
