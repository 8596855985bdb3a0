"""Replicas follow pods: they appear cold, drain, die, and no request is lost from sight."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiops.simulate.cluster import ReplicaState
from aiops.simulate.followed import FollowedFactory, SeenPod
from aiops.simulate.served_model import ServedModel
from aiops.simulate.spec import FactorySpec
from tests.simulate.factories import START, aggregated, factory, pair, small_profile, workload


def followed(*specs: dict[str, object], seed: int = 1) -> FollowedFactory:
    read = [FactorySpec.model_validate(spec) for spec in specs or (aggregated(workload=workload(8)),)]
    return FollowedFactory(read, {"small": small_profile()}, seed, START)


def pod(number: int, **changes: object) -> SeenPod:
    """A ready pod of the pool, by its owner."""
    stated: dict[str, object] = {
        "uid": f"uid-{number}",
        "namespace": "default",
        "name": f"pool-5d4f8-{number}",
        "owner": "pool-5d4f8",
        "address": f"127.64.0.{number}",
        "node": "node-0",
        "ready": True,
        "grace_s": 60.0,
    }
    return SeenPod(**(stated | changes))  # type: ignore[arg-type]


def run(made: FollowedFactory, seconds: float) -> FollowedFactory:
    made.factory.advance(made.factory.now + timedelta(seconds=seconds))
    return made


def model(made: FollowedFactory) -> ServedModel:
    return made.factory.models[0]


def serving(made: FollowedFactory, *states: ReplicaState) -> list[str]:
    chosen = states or (ReplicaState.READY,)
    return [replica.name for pool in model(made).pools for replica in pool.in_state(*chosen)]


def running(made: FollowedFactory, name: str) -> int:
    model(made).settle()
    (engine,) = [replica.engine for replica in model(made).replicas() if replica.name == name]
    return model(made).fleet.shown(engine).running


def value(text: str, name: str) -> float:
    (line,) = [line for line in text.splitlines() if line.startswith(name)]
    return float(line.rpartition(" ")[2])


def lost(made: FollowedFactory) -> int:
    """Requests that arrived and are neither in flight nor ended: there must be none."""
    return model(made).fleet.arrived - model(made).fleet.in_flight - model(made).ledger.ended


# Who comes


def test_replicas_are_the_ready_pods_whatever_the_document_says() -> None:
    made = followed(aggregated(5, workload=workload(8)))
    assert serving(made) == []

    made.follow([pod(1), pod(2, ready=False), pod(3, leaving=True), pod(4, ready=True, ended=True)])

    assert serving(made) == [pod(1).name]
    assert model(made).pools[0].wanted == 2, "the second is still loading"


def test_a_pod_that_becomes_ready_is_cold_and_takes_requests() -> None:
    sharing = workload(8, prefixes={"count": 2, "tokens": 300})
    made = followed(aggregated(workload=sharing))
    made.follow([pod(1), pod(2, ready=False)])
    run(made, 60)
    made.follow([pod(1), pod(2)])

    old, new = made.exposition("127.64.0.1"), made.exposition("127.64.0.2")
    assert old is not None
    assert new is not None
    assert value(old, "vllm:prefix_cache_hits_total") > 0
    for name in (
        "prefix_cache_queries_total",
        "prefix_cache_hits_total",
        "num_requests_running",
        "kv_cache_usage_perc",
    ):
        assert value(new, f"vllm:{name}") == 0, name
    assert value(new, "process_start_time_seconds") - value(old, "process_start_time_seconds") == 60

    run(made, 20)
    later = made.exposition("127.64.0.2")
    assert later is not None
    assert value(later, "vllm:prefix_cache_queries_total") > 0


def test_requests_wait_at_the_router_while_no_pod_is_ready() -> None:
    made = run(followed(), 10)
    assert model(made).pools[0].queued > 10

    made.follow([pod(1), pod(2)])
    run(made, 30)

    assert model(made).pools[0].queued == 0
    assert (model(made).ledger.failed, model(made).ledger.refused, lost(made)) == (0, 0, 0)


def test_what_arrives_does_not_depend_on_the_pods() -> None:
    alone, moved = run(followed(), 60), followed()
    for count in (3, 1, 0, 2, 5, 1):
        moved.follow([pod(number) for number in range(1, count + 1)])
        run(moved, 10)
    plain = factory(aggregated(2, workload=workload(8)))
    plain.advance(plain.now + timedelta(seconds=60))

    assert model(moved).fleet.arrived == model(alone).fleet.arrived == plain.models[0].fleet.arrived > 300


# Who goes


def test_a_pod_that_is_asked_to_go_finishes_its_streams_and_takes_no_others() -> None:
    made = followed(aggregated(workload=workload(16, output=150)))
    made.follow([pod(1), pod(2)])
    run(made, 20)
    leaving = [pod(1), pod(2, leaving=True)]
    made.follow(leaving)
    assert serving(made, ReplicaState.DRAINING) == [pod(2).name]
    assert model(made).pools[0].wanted == 1
    seen = [running(made, pod(2).name)]
    assert seen[0] > 3
    assert made.exited() == []

    while not made.exited():
        run(made, 0.5)
        made.follow(leaving)
        seen += [running(made, pod(2).name)] if pod(2).name in serving(made, ReplicaState.DRAINING) else []
    assert seen[-1] < seen[0]
    assert made.exited() == [leaving[1]]
    assert made.addresses() == {"127.64.0.1"}, "a process that has ended does not answer"
    assert made.exposition("127.64.0.2") is None

    made.follow(leaving[:1])
    assert made.exited() == []
    assert (model(made).ledger.failed, lost(made)) == (0, 0)


def test_what_is_left_at_the_end_of_the_grace_period_fails() -> None:
    made = followed(aggregated(workload=workload(4, output=300)))
    made.follow([pod(1), pod(2)])
    run(made, 20)
    left = [pod(1), pod(2, leaving=True, grace_s=1.0)]
    made.follow(left)
    run(made, 0.9)
    remaining = running(made, pod(2).name)
    assert remaining > 0

    run(made, 0.2)

    assert [each.name for each in made.exited()] == [pod(2).name]
    assert 0 < model(made).ledger.failed <= remaining
    assert lost(made) == 0


@pytest.mark.parametrize(
    ("after", "exits"),
    [
        pytest.param([pod(2, ready=False, ended=True)], [], id="a pod that fails"),
        pytest.param([pod(2, ready=False)], [], id="a pod whose node is lost"),
        pytest.param([], [], id="a pod that is deleted at once"),
        pytest.param([pod(2, uid="other", ready=False)], [], id="a pod that is replaced by one of its name"),
        pytest.param([pod(2, ready=False, leaving=True)], [], id="a pod of a lost node that is asked to go"),
        pytest.param(
            [pod(2, ready=False, ended=True, leaving=True)],
            [pod(2, ready=False, ended=True, leaving=True)],
            id="a pod that fails and is deleted",
        ),
    ],
)
def test_a_pod_that_dies_loses_its_requests(after: list[SeenPod], exits: list[SeenPod]) -> None:
    made = followed(aggregated(workload=workload(16, output=150)))
    made.follow([pod(1), pod(2)])
    run(made, 20)
    had = running(made, pod(2).name)

    made.follow([pod(1), *after])

    assert had > 3
    assert serving(made, ReplicaState.READY, ReplicaState.DRAINING) == [pod(1).name]
    assert model(made).ledger.failed >= had
    assert made.exited() == exits
    assert lost(made) == 0


def test_a_pod_that_is_asked_to_go_before_it_is_ready_goes_at_once() -> None:
    made = followed()
    made.follow([pod(1, ready=False)])
    made.follow([pod(1, ready=False, leaving=True)])

    assert made.exited() == [pod(1, ready=False, leaving=True)]


def test_a_pod_that_is_ready_again_has_another_process() -> None:
    made = followed()
    made.follow([pod(1)])
    run(made, 20)
    made.follow([pod(1, ready=False)])
    run(made, 5)
    made.follow([pod(1)])

    text = made.exposition("127.64.0.1")
    assert text is not None
    assert value(text, "process_start_time_seconds") == START.timestamp() + 25
    assert value(text, "vllm:generation_tokens_total") == 0


@pytest.mark.parametrize("name", ["pool-0", "other"])
def test_a_name_and_an_address_are_used_again(name: str) -> None:
    first, second = pod(1, name="pool-0"), pod(1, name=name, uid="second")
    made = followed()
    made.follow([first])
    run(made, 20)
    made.follow([replace(first, leaving=True)])
    run(made, 30)
    assert made.exited() == [replace(first, leaving=True)]
    made.follow([second])
    run(made, 10)

    text = made.exposition("127.64.0.1")
    assert text is not None
    assert value(text, "process_start_time_seconds") == START.timestamp() + 50
    assert value(text, "vllm:generation_tokens_total") > 0
    assert (serving(made), lost(made), model(made).ledger.failed) == ([name], 0, 0)


# Which pool


@pytest.mark.parametrize(
    ("seen", "pool"),
    [
        pytest.param(
            {"labels": {"llm-d.ai/model": "model", "llm-d.ai/role": "decode"}, "owner": "x"},
            "decode",
            id="by its labels",
        ),
        pytest.param(
            {"labels": {"llm-d.ai/model": "model", "llm-d.ai/role": "prefill"}, "owner": "decode-5d4f8"},
            "prefill",
            id="by its labels rather than by its owner",
        ),
        pytest.param({"owner": "decode-5d4f8"}, "decode", id="by its owner's Deployment"),
        pytest.param({"owner": "prefill"}, "prefill", id="by its owner, a StatefulSet"),
        pytest.param(
            {"labels": {"llm-d.ai/model": "model"}, "owner": "x"}, None, id="not by the model alone of a pair"
        ),
        pytest.param({"labels": {"llm-d.ai/role": "decode"}, "owner": "x"}, None, id="not by the role alone"),
        pytest.param({"owner": "decode-5d4f8", "namespace": "other"}, None, id="not in another namespace"),
        pytest.param({"owner": ""}, None, id="not without an owner"),
    ],
)
def test_a_pod_belongs_to_a_pool(seen: dict[str, object], pool: str | None) -> None:
    made = followed(pair(workload=workload(8)))
    found = made.pool_of(pod(1, **seen))
    assert (found.ref.name if found else None) == pool

    made.follow([pod(1, **seen)])
    assert len(model(made).replicas()) == (pool is not None)


@pytest.mark.parametrize("role", ["both", "prefill-decode", None])
def test_a_model_with_a_slash_is_found_by_its_label(role: str | None) -> None:
    labels = {"llm-d.ai/model": "meta-llama-Llama-3.1-8B"} | ({"llm-d.ai/role": role} if role else {})
    made = followed(aggregated(model="meta-llama/Llama-3.1-8B", workload=workload(8)))

    assert made.pool_of(pod(1, labels=labels, owner="x")) is model(made).pools[0]


@pytest.mark.parametrize(
    ("what", "named"),
    [
        pytest.param({"scale": [{"at": "1m", "replicas": 3}]}, "scale", id="a scaling"),
        pytest.param(
            {"faults": [{"kind": "crash_loop", "at": "1m", "duration": "1m"}]}, "crash_loop", id="a crash loop"
        ),
    ],
)
def test_a_document_that_moves_replicas_itself_is_refused(what: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=f"default/model: {named} would move replicas"):
        followed(aggregated(workload=workload(8), **what))


def test_faults_of_engines_still_happen() -> None:
    slow = {"kind": "slow_replica", "at": "10s", "duration": "60s", "times": 8}
    made = followed(aggregated(workload=workload(8), faults=[slow]))
    made.follow([pod(1)])
    run(made, 15)

    assert model(made).replicas()[0].slow_times == 8


# Conservation

_COMINGS = st.lists(
    st.tuples(
        st.floats(0.1, 8.0),
        st.dictionaries(st.integers(1, 5), st.sampled_from(["loads", "serves", "leaves", "fails"]), max_size=5),
    ),
    min_size=1,
    max_size=8,
)
_STATES = {
    "loads": {"ready": False},
    "serves": {},
    "leaves": {"leaving": True, "grace_s": 3.0},
    "fails": {"ready": False, "ended": True},
}


@settings(max_examples=40, deadline=None)
@given(_COMINGS, st.booleans())
def test_every_request_ends_once_whatever_the_pods_do(
    comings: list[tuple[float, dict[int, str]]], paired: bool
) -> None:
    load = workload(12, output=80)
    made = followed(pair(workload=load) if paired else aggregated(workload=load))
    owners = ("prefill", "decode") if paired else ("pool", "pool")
    for seconds, states in comings:
        made.follow([pod(number, owner=owners[number % 2], **_STATES[state]) for number, state in states.items()])
        run(made, seconds)
        assert lost(made) == 0
        serve = sum(state in ("serves", "leaves") for state in states.values())
        assert len(made.addresses()) <= serve
    made.follow([pod(8, owner=owners[0]), pod(9, owner=owners[1])])
    made.factory.run_out(timedelta(hours=1))

    assert model(made).fleet.in_flight == 0
    assert model(made).ledger.ended == model(made).fleet.arrived
