"""Prefill and decode over simulated time: ordered together, and kept together where a write is refused."""

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise

import pytest

from tests.control.fake_cluster import FakeCluster, run, steps
from tests.plan.worlds import START, policies, policy

PAIR = {"decodePerPrefill": {"min": 1, "max": 2}}


def pair_over_time(requests_per_s: Callable[[float], float], refused: str, minutes: float) -> FakeCluster:
    """A pair of which one role's writes are refused from a time on at which everything had settled."""
    cluster = FakeCluster(requests_per_s, {"prefill": 2, "decode": 2})
    policy_set = policies(policy(prefill_decode=True, ratio=PAIR))
    state = run(cluster, policy_set, 20)
    cluster.refuses, cluster.refused_roles = "409: somebody was faster", (refused,)
    run(cluster, policy_set, minutes, state)
    return cluster


def sizes(cluster: FakeCluster, after_minutes: float = 20) -> list[tuple[int, int]]:
    """Prefill and decode replicas, cycle by cycle."""
    found = [cycle.decisions for cycle in cluster.cycles if cycle.at - START > timedelta(minutes=after_minutes)]
    return [(prefill.current or 0, decode.current or 0) for prefill, decode in found]


def test_both_roles_of_a_pair_are_ordered_in_the_same_cycle() -> None:
    cluster = FakeCluster(steps(10, 10, 60), {"prefill": 2, "decode": 2})
    run(cluster, policies(policy(prefill_decode=True, ratio=PAIR)), 20)
    moved = [cycle for cycle in cluster.cycles if any(decision.change for decision in cycle.decisions)]
    growing = [cycle for cycle in moved if cycle.at - START >= timedelta(minutes=10)]

    assert all(decision.change > 0 for decision in growing[0].decisions)
    assert {outcome.at for outcome in cluster.outcomes} == {cycle.at for cycle in moved}


@pytest.mark.parametrize("refused", ["prefill", "decode"])
def test_a_role_does_not_shrink_out_of_its_pair_while_the_other_cannot(refused: str) -> None:
    cluster = pair_over_time(steps(25, 60, 5), refused, 120)
    seen = sizes(cluster)
    first, last = seen[0], seen[-1]
    other = 1 if refused == "prefill" else 0

    assert all(prefill <= decode <= 2 * prefill for prefill, decode in seen), seen
    assert {pair[1 - other] for pair in seen} == {first[1 - other]}, "whose writes are refused stays"
    assert last[other] <= first[other]
    moves = [later[other] - earlier[other] for earlier, later in pairwise(seen) if later != earlier]
    assert all(move < 0 for move in moves), "what can move goes down within the band, and never up again"


@pytest.mark.parametrize("refused", ["prefill", "decode"])
def test_a_role_grows_even_where_the_other_cannot(refused: str) -> None:
    cluster = pair_over_time(steps(25, 10, 60), refused, 20)
    other = "decode" if refused == "prefill" else "prefill"
    needed = max(cycle.decisions[other == "decode"].needed or 0 for cycle in cluster.cycles)

    assert cluster.replicas(other) >= min(needed, 20)
    assert cluster.replicas(refused) == 2


def test_one_conflict_on_the_way_down_is_made_up_for_in_the_next_cycle() -> None:
    cluster = FakeCluster(steps(20, 60, 5), {"prefill": 2, "decode": 2})
    policy_set = policies(policy(prefill_decode=True, ratio=PAIR))
    state = run(cluster, policy_set, 20)
    cluster.refused_roles = ("decode",)
    refused = 0
    for _ in range(400):
        cluster.refuses = "409: somebody was faster" if refused % 2 == 0 else ""
        before = len(cluster.outcomes)
        state = run(cluster, policy_set, 0.1, state)
        refused += any(outcome.pool.name == "decode" for outcome in cluster.outcomes[before:])
    seen = sizes(cluster)

    assert all(prefill <= decode <= 2 * prefill for prefill, decode in seen), seen
    assert seen[-1] == (1, 1)
