"""The costs of pods as the API server keeps them: written, seen, taken back, and never anybody else's."""

from collections.abc import Callable

import pytest

from aiops.act.deletion_cost import ANNOTATION, DeletionCosts, Marked, PodCost
from tests.act.granted import allow, grant, settle
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


def test_only_pods_whose_cost_differs_are_patched(place: Place) -> None:
    names = serve(place, 3)
    costs = DeletionCosts(grant(place, "deletion-cost"), may_write=leads)

    first = costs.mark(place.namespace, [PodCost(name, 5) for name in names])
    second = costs.mark(place.namespace, [PodCost(names[0], 5), PodCost(names[1], 7), PodCost("gone", 1)])

    assert (first, second) == (Marked(written=3), Marked(written=1))
    assert patched(place) == [*names, names[1]]
    assert shown(place) == {names[0]: "5", names[1]: "7", names[2]: "5"}


def test_pods_that_were_marked_before_and_are_not_now_lose_their_cost(place: Place) -> None:
    names = serve(place, 3)
    by_hand(place, names[2], "900")
    costs = DeletionCosts(grant(place, "deletion-cost"), may_write=leads)
    costs.mark(place.namespace, [PodCost(names[0], -1)])

    marked = costs.mark(place.namespace, [PodCost(names[1], -1)], [names[0], names[2], "gone"])

    assert marked == Marked(written=2)
    assert shown(place) == {names[0]: None, names[1]: "-1", names[2]: "900"}


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

    why = f"a right is missing: '' pods {missing} in namespace {place.namespace}"
    assert marked == Marked(problem=why, forbidden=True)


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
