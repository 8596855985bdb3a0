"""Those with the lowest deletion cost go first when the real ReplicaSet controller scales down."""

from collections.abc import Callable

import pytest

from aiops.act.deletion_cost import ANNOTATION, DeletionCosts, Marked, PodCost, VictimActuator
from aiops.act.scale import ScaleActuator
from aiops.model.refs import PoolRef
from tests.act.granted import allow, decided, grant, settle
from tests.cluster.manifests import Server
from tests.cluster.place import Place

pytestmark = [pytest.mark.real, pytest.mark.slow]


def leads() -> bool:
    return True


def serve(place: Place, replicas: int) -> list[str]:
    place.add_nodes(gpus=16)
    place.apply(Server(name="decode", replicas=replicas).deployment())
    names = sorted(pod.metadata.name for pod in place.wait_for_ready(replicas))
    settle(place)
    return names


def shown(place: Place) -> dict[str, str | None]:
    return {pod.metadata.name: (pod.metadata.annotations or {}).get(ANNOTATION) for pod in place.pods()}


def patched(place: Place) -> list[str]:
    return [
        call["objectRef"]["name"] for call in place.plane.calls("aiops", place.namespace) if call["verb"] == "patch"
    ]


def by_hand(place: Place, pod: str, cost: str) -> None:
    place.core.patch_namespaced_pod(pod, place.namespace, {"metadata": {"annotations": {ANNOTATION: cost}}})


def test_the_cheapest_go_first_and_no_cost_stays_behind(place: Place) -> None:
    names = serve(place, 6)
    api = grant(place, "act", "deletion-cost")
    costs = DeletionCosts(api, may_write=leads)
    pool = PoolRef(place.namespace, "Deployment", "decode")
    running: dict[str, int] = {}
    actuator = VictimActuator(
        ScaleActuator(api, may_write=leads).apply,
        costs,
        lambda _: [PodCost(name, running[name]) for name in names],
    )
    # Not in the order of their names or ages, and with one below nothing.
    running |= zip(names, (40, 3, 17, -1, 25, 8), strict=True)
    expected = sorted(names, key=lambda name: running[name])

    left = []
    for current, desired in ((6, 4), (4, 3)):
        outcome = actuator.apply(decided(pool, current, desired))
        assert outcome.applied, outcome.error
        place.wait_for_ready(desired)
        settle(place)
        left.append(sorted(shown(place)))
    cleared = costs.clear(place.namespace)

    assert left == [sorted(expected[2:]), sorted(expected[3:])]
    assert cleared == Marked(written=3)
    assert set(shown(place).values()) == {None}


def test_pods_are_not_marked_where_the_pool_grows(place: Place) -> None:
    names = serve(place, 2)
    api = grant(place, "act", "deletion-cost")
    actuator = VictimActuator(
        ScaleActuator(api, may_write=leads).apply, DeletionCosts(api, may_write=leads), lambda _: [PodCost(names[0], 1)]
    )

    outcome = actuator.apply(decided(PoolRef(place.namespace, "Deployment", "decode"), 2, 3))

    assert outcome.applied, outcome.error
    assert patched(place) == []


def test_a_pool_does_not_shrink_where_nobody_can_say_who_leaves(place: Place) -> None:
    names = serve(place, 2)
    api = grant(place, "act")
    actuator = VictimActuator(
        ScaleActuator(api, may_write=leads).apply, DeletionCosts(api, may_write=leads), lambda _: [PodCost(names[0], 1)]
    )

    outcome = actuator.apply(decided(PoolRef(place.namespace, "Deployment", "decode"), 2, 1))

    assert outcome.error == (
        f"which pods of {place.namespace}/decode shall leave could not be told: "
        f"a right is missing: '' pods list in namespace {place.namespace}"
    )
    assert sorted(shown(place)) == names


def test_only_pods_whose_cost_differs_are_patched(place: Place) -> None:
    names = serve(place, 3)
    costs = DeletionCosts(grant(place, "deletion-cost"), may_write=leads)

    first = costs.mark(place.namespace, [PodCost(name, 5) for name in names])
    second = costs.mark(place.namespace, [PodCost(names[0], 5), PodCost(names[1], 7), PodCost("gone", 1)])

    assert (first, second) == (Marked(written=3), Marked(written=1))
    assert patched(place) == [*names, names[1]]
    assert shown(place) == {names[0]: "5", names[1]: "7", names[2]: "5"}


def test_a_cost_that_somebody_else_wrote_is_left_alone(place: Place) -> None:
    names = serve(place, 3)
    by_hand(place, names[0], "900")
    costs = DeletionCosts(grant(place, "deletion-cost"), may_write=leads)

    marked = costs.mark(place.namespace, [PodCost(name, 5) for name in names])
    cleared = costs.clear(place.namespace)

    assert (marked, cleared) == (Marked(written=2, left=(names[0],)), Marked(written=2))
    assert shown(place) == {names[0]: "900", names[1]: None, names[2]: None}


def test_what_a_crash_left_is_found_and_cleared(place: Place) -> None:
    names = serve(place, 3)
    by_hand(place, names[2], "900")
    api = grant(place, "deletion-cost")
    DeletionCosts(api, may_write=leads).mark(place.namespace, [PodCost(name, 5) for name in names[:2]])

    cleared = DeletionCosts(api, may_write=leads).clear(place.namespace)

    assert cleared == Marked(written=2)
    assert shown(place) == {names[0]: None, names[1]: None, names[2]: "900"}


def test_only_the_named_pods_are_cleared(place: Place) -> None:
    names = serve(place, 3)
    costs = DeletionCosts(grant(place, "deletion-cost"), may_write=leads)
    costs.mark(place.namespace, [PodCost(name, 5) for name in names])

    assert costs.clear(place.namespace, [names[1], "gone"]) == Marked(written=1)
    assert shown(place) == {names[0]: "5", names[1]: None, names[2]: "5"}


@pytest.mark.parametrize(
    ("verbs", "missing"), [pytest.param("patch", "list", id="list"), pytest.param("list", "patch", id="patch")]
)
def test_a_missing_right_is_named(place: Place, verbs: str, missing: str) -> None:
    names = serve(place, 1)
    costs = DeletionCosts(allow(place, ("", "pods", verbs)), may_write=leads)

    marked = costs.mark(place.namespace, [PodCost(names[0], 5)])

    assert marked == Marked(problem=f"a right is missing: '' pods {missing} in namespace {place.namespace}")


@pytest.mark.parametrize(
    ("may_write", "off", "problem"),
    [
        pytest.param(lambda: False, "", "does not hold the Lease", id="a follower"),
        pytest.param(leads, "audit", "writing is switched off: audit", id="switched off"),
    ],
)
def test_nothing_is_marked_where_nothing_may_be_written(
    place: Place, may_write: Callable[[], bool], off: str, problem: str
) -> None:
    names = serve(place, 1)
    costs = DeletionCosts(grant(place, "deletion-cost"), may_write=may_write, writes_off=lambda: off)

    marked = costs.mark(place.namespace, [PodCost(names[0], 5)])

    assert problem in marked.problem
    assert (patched(place), shown(place)) == ([], {names[0]: None})


@pytest.mark.parametrize("cost", [pytest.param(2**31, id="too much"), pytest.param(-(2**31) - 1, id="too little")])
def test_a_cost_that_kubernetes_cannot_read_is_not_sent(place: Place, cost: int) -> None:
    names = serve(place, 1)
    costs = DeletionCosts(grant(place, "deletion-cost"), may_write=leads)

    assert costs.mark(place.namespace, [PodCost(names[0], cost)]) == Marked(
        problem=f"deletion cost {cost} of pod {names[0]} is no 32-bit number"
    )
    assert patched(place) == []
