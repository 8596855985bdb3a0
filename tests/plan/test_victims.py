"""Those leave with whom the least is lost."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiops.model.cluster import PodView, TargetView
from aiops.model.decision import Victim
from aiops.model.snapshot import PoolSnapshot, ReplicaSample
from aiops.plan import decide, learn_snapshot
from aiops.plan.victims import victims_of
from tests.plan.test_decide import only, settled
from tests.plan.worlds import START, demand_of, policies, pool_ref, snapshot

REF = pool_ref("both")


def pod(
    name: str, ready_minutes_ago: float | None = 60.0, *, leaving: bool = False, cost: int | None = None
) -> PodView:
    ready = None if ready_minutes_ago is None else START - timedelta(minutes=ready_minutes_ago)
    return PodView(
        name,
        "1",
        START - timedelta(hours=2),
        ready_at=ready,
        deleting_since=START if leaving else None,
        deletion_cost=cost,
    )


def engine(
    name: str, running: float | None, waiting: float | None = 0.0, hits_tok_per_s: float | None = None
) -> ReplicaSample:
    return ReplicaSample(name, running=running, waiting=waiting, prefix_hits_tok_per_s=hits_tok_per_s)


def pool(*pods: PodView, engines: tuple[ReplicaSample, ...] = (), honours: bool = True) -> PoolSnapshot:
    (model,) = snapshot(START, {"both": len(pods)}, None).models
    target = TargetView(REF, len(pods), "1", pods=pods, honours_deletion_cost=honours)
    return replace(model.pools[0], replicas=engines, target=target)


def names(victims: tuple[Victim, ...]) -> list[str]:
    return [victim.replica for victim in victims]


@pytest.mark.parametrize(
    ("seen", "desired", "leaving"),
    [
        pytest.param(
            pool(pod("a"), pod("b"), pod("c"), engines=(engine("a", 9), engine("b", 2), engine("c", 5))),
            1, ["b", "c"], id="those with the fewest requests",
        ),
        pytest.param(
            pool(pod("a"), pod("b"), engines=(engine("a", 1, 8), engine("b", 4))),
            1, ["b"], id="what waits at a replica is lost too",
        ),
        pytest.param(
            pool(pod("a"), pod("b", None), pod("c"), engines=(engine("a", 0), engine("c", 3))),
            2, ["b"], id="one that still loads before one that is idle",
        ),
        pytest.param(
            pool(
                pod("a"), pod("b"), pod("c"),
                engines=(
                    engine("a", 4, hits_tok_per_s=900), engine("b", 4, hits_tok_per_s=20), engine("c", 4)
                ),
            ),
            1, ["c", "b"], id="of equally busy ones that whose prefixes are hit least",
        ),
        pytest.param(
            pool(pod("a", 50), pod("b", 3), pod("c", 20), engines=tuple(engine(name, 4) for name in "abc")),
            1, ["b", "c"], id="of equals the youngest",
        ),
        pytest.param(
            pool(pod("a"), pod("b"), pod("c"), engines=(engine("a", 40), engine("b", None))),
            2, ["a"], id="one that was not measured counts as the dearest",
        ),
        pytest.param(
            pool(pod("a", cost=7), pod("b"), engines=(engine("a", 0), engine("b", 9))),
            1, ["b"], id="one that somebody gave a cost stays",
        ),
        pytest.param(
            pool(pod("a", leaving=True), pod("b"), pod("c"), engines=(engine("b", 2), engine("c", 1))),
            1, ["c"], id="one that leaves already is no victim",
        ),
        pytest.param(pool(pod("a"), pod("b")), 2, [], id="nobody where all stay"),
        pytest.param(pool(pod("a")), 2, [], id="nobody while pods are still missing"),
        pytest.param(pool(pod("a"), pod("b")), 0, [], id="nobody is told where all leave"),
        pytest.param(pool(pod("a"), pod("b"), honours=False), 1, [], id="nobody of a kind that does not ask"),
        pytest.param(replace(pool(), target=None), 1, [], id="nobody where no cluster is"),
    ],
)  # fmt: skip
def test_victims(seen: PoolSnapshot, desired: int, leaving: list[str]) -> None:
    assert names(victims_of(seen, desired, None)) == leaving


def test_a_victim_says_what_is_lost_with_it() -> None:
    engines = (engine("a", 3, 1, 500), engine("b", 9, 0, 0))
    seen = pool(pod("a"), pod("b"), pod("c", None), pod("d"), engines=engines)

    told = victims_of(seen, 1, 0.0001)

    assert told == (
        Victim("c", starting=True),
        # 500 tokens a second for a minute, at 0.1 ms each.
        Victim("a", starting=False, requests=4.0, prefix_s=pytest.approx(3.0)),
        Victim("b", starting=False, requests=9.0, prefix_s=0.0),
    )
    assert [victim.sentence for victim in (*told, Victim("d", starting=False))] == [
        "c does not serve yet",
        "a has 4 requests and 3 s of prefixes",
        "b has 9 requests",
        "d has an unknown number of requests",
    ]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=12), st.integers(0, 12))
def test_no_one_who_stays_is_cheaper_than_one_who_leaves(running: list[int], desired: int) -> None:
    pods = tuple(pod(f"p{i}") for i in range(len(running)))
    loads = {f"p{i}": load for i, load in enumerate(running)}
    seen = pool(*pods, engines=tuple(engine(name, load) for name, load in loads.items()))

    leaving = names(victims_of(seen, desired, None))
    staying = loads.keys() - set(leaving)

    assert len(leaving) == (max(0, len(running) - desired) if desired else 0)
    assert max((loads[name] for name in leaving), default=0) <= min((loads[name] for name in staying), default=99)


def test_a_decision_to_shrink_names_them_and_one_to_grow_does_not() -> None:
    policy_set = policies()
    state = settled(8, demand_of(10), policy_set)
    pods = tuple(pod(f"both-{i}") for i in range(8))
    seen = snapshot(START, {"both": 8}, demand_of(10))
    (model,) = seen.models
    engines = tuple(replace(one, running=float(place)) for place, one in enumerate(model.pools[0].replicas))
    target = TargetView(REF, 8, "1", pods=pods, honours_deletion_cost=True)
    pools = (replace(model.pools[0], replicas=engines, target=target),)
    seen = replace(seen, models=(replace(model, pools=pools),))
    busy = replace(seen, models=(replace(seen.models[0], demand=demand_of(120)),))

    shrinks, grows = (only(decide(one, learn_snapshot(state, one, policy_set), policy_set)) for one in (seen, busy))

    assert (shrinks.change, names(shrinks.victims)) == (-2, ["both-0", "both-1"])
    assert grows.change > 0
    assert grows.victims == ()
