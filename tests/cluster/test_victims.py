"""The plan's victims leave first when the real ReplicaSet controller scales down, and no cost stays behind."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from kubernetes.client import ApiClient
from structlog.testing import capture_logs

from aiops.act.deletion_cost import DeletionCosts, PodCost
from aiops.act.scale import ScaleActuator
from aiops.act.victims import VictimActuator
from aiops.model.cluster import ClusterView
from aiops.model.decision import Decision, Outcome, Victim
from aiops.model.refs import PoolRef, Role
from aiops.model.snapshot import PoolSnapshot, ReplicaSample
from aiops.plan.victims import victims_of
from tests.act.granted import decided, grant, settle, writes
from tests.cluster.manifests import Server
from tests.cluster.place import Place
from tests.cluster.reading import new_reader
from tests.cluster.test_deletion_cost import by_hand, leads, patched, serve, shown
from tests.parts import wait_for

pytestmark = [pytest.mark.real, pytest.mark.slow]


def pool_of(place: Place) -> PoolRef:
    return PoolRef(place.namespace, "Deployment", "decode")


def shrinking(place: Place, current: int, desired: int, victims: Sequence[str]) -> Decision:
    decision = decided(pool_of(place), current, desired)
    return replace(decision, victims=tuple(Victim(name, starting=False, requests=1.0) for name in victims))


@dataclass
class Acting:
    """An actuator that leads until it is told not to, and looks at the cluster as the loop does."""

    place: Place
    api: ApiClient
    scale: Callable[[Decision], Outcome] | None = None
    leads: bool = True
    victims: VictimActuator = field(init=False)

    def __post_init__(self) -> None:
        def may_write() -> bool:
            return self.leads

        scale = self.scale or ScaleActuator(self.api, may_write=may_write).apply
        self.victims = VictimActuator(scale, DeletionCosts(self.api, may_write=may_write), may_write)

    def look(self) -> ClusterView:
        return new_reader(self.place.plane.admin_kubeconfig, pool_of(self.place)).read()

    def settle(self, view: ClusterView | None = None) -> None:
        self.victims.settle(view or self.look(), [self.place.namespace])


def test_the_victims_leave_and_no_cost_stays_behind(place: Place) -> None:
    names = serve(place, 6)
    acting = Acting(place, grant(place, "observe", "act", "deletion-cost"))
    # Neither in the order of their names nor of their ages.
    order = [names[place_] for place_ in (3, 1, 4, 2, 5, 0)]

    left = []
    for current, desired in ((6, 4), (4, 3)):
        outcome = acting.victims.apply(shrinking(place, current, desired, order[: current - desired]))
        assert outcome.applied, outcome.error
        place.wait_for_ready(desired)
        settle(place)
        acting.settle()
        order = order[current - desired :]
        left.append(sorted(shown(place)) == sorted(order))

    assert left == [True, True]
    assert set(shown(place).values()) == {None}
    assert len(patched(place)) == 3, "only those that leave are written to"


def test_pods_are_not_marked_where_the_pool_grows(place: Place) -> None:
    names = serve(place, 2)
    acting = Acting(place, grant(place, "act", "deletion-cost"))

    outcome = acting.victims.apply(shrinking(place, 2, 3, names[:1]))

    assert outcome.applied, outcome.error
    assert patched(place) == []


def test_without_the_right_kubernetes_chooses_and_that_is_told_once(place: Place) -> None:
    names = serve(place, 3)
    acting = Acting(place, grant(place, "act"))

    with capture_logs() as log:
        outcomes = []
        for current, desired in ((3, 2), (2, 1)):
            settle(place)
            outcomes.append(acting.victims.apply(shrinking(place, current, desired, names[:1])))
            place.wait_for_ready(desired)
            acting.settle()

    assert [outcome.applied for outcome in outcomes] == [True, True], outcomes
    assert [(line["event"], line["problem"]) for line in log] == [
        (
            "which pods leave first cannot be told, so Kubernetes chooses",
            f"a right is missing: '' pods list in namespace {place.namespace}",
        )
    ]


def test_a_pool_does_not_shrink_while_the_api_server_does_not_say_whom_it_would_take(place: Place) -> None:
    names = serve(place, 2)
    api = grant(place, "act", "deletion-cost")
    scale = ScaleActuator(api, may_write=leads).apply
    costs = DeletionCosts(api, may_write=leads, writes_off=lambda: "audit")
    actuator = VictimActuator(scale, costs, leads)

    outcome = actuator.apply(shrinking(place, 2, 1, names[:1]))

    assert outcome.error == (
        f"which pods of {place.namespace}/decode shall leave could not be told: writing is switched off: audit"
    )
    assert (writes(place), sorted(shown(place))) == ([], names)


def test_a_refused_scale_down_leaves_no_cost_and_the_next_one_takes_its_own_victims(place: Place) -> None:
    names = serve(place, 4)
    refusing = True
    api = grant(place, "observe", "act", "deletion-cost")
    real = ScaleActuator(api, may_write=leads).apply

    def scale(decision: Decision) -> Outcome:
        return replace(real(replace(decision, desired=4)), applied=False) if refusing else real(decision)

    acting = Acting(place, api, scale)

    acting.victims.apply(shrinking(place, 4, 3, names[:1]))
    marked = shown(place)
    acting.victims.apply(shrinking(place, 4, 3, names[1:2]))
    remarked = shown(place)
    acting.settle()
    settled = shown(place)
    refusing = False
    outcome = acting.victims.apply(shrinking(place, 4, 3, names[2:3]))
    place.wait_for_ready(3)

    assert outcome.applied, outcome.error
    assert marked == {names[0]: "-1", names[1]: None, names[2]: None, names[3]: None}
    assert remarked == {names[0]: None, names[1]: "-1", names[2]: None, names[3]: None}
    assert set(settled.values()) == {None}
    assert sorted(shown(place)) == [names[0], names[1], names[3]]


def test_a_cost_stays_until_the_controller_has_chosen(place: Place) -> None:
    names = serve(place, 3)
    acting = Acting(place, grant(place, "observe", "act", "deletion-cost"))
    before = acting.look()
    place.plane.controller_manager.stop()
    try:
        outcome = acting.victims.apply(shrinking(place, 3, 2, names[1:2]))
        acting.settle(before)
        acting.settle()
        waiting = shown(place)
    finally:
        place.plane.controller_manager.start()
    place.wait_for_ready(2)
    acting.settle()

    assert outcome.applied, outcome.error
    assert waiting == {names[0]: None, names[1]: "-1", names[2]: None}
    assert shown(place) == {names[0]: None, names[2]: None}


@pytest.mark.parametrize("first", ["settle", "apply"])
def test_what_a_crash_left_is_cleared_before_anything_else(place: Place, first: str) -> None:
    names = serve(place, 3)
    by_hand(place, names[2], "900")
    api = grant(place, "observe", "act", "deletion-cost")
    DeletionCosts(api, may_write=leads).mark(place.namespace, [PodCost(names[0], -1)])
    acting = Acting(place, api)

    if first == "settle":
        acting.settle()
    else:
        acting.victims.apply(shrinking(place, 3, 2, names[1:2]))
        place.wait_for_ready(2)

    assert shown(place)[names[0]] is None
    assert shown(place)[names[2]] == "900"
    assert (names[1] in shown(place)) is (first == "settle")


def test_who_does_not_lead_takes_nothing_back_and_sweeps_anew_when_it_leads(place: Place) -> None:
    names = serve(place, 2)
    api = grant(place, "observe", "deletion-cost")
    acting = Acting(place, api)
    acting.settle()
    acting.leads = False
    DeletionCosts(api, may_write=leads).mark(place.namespace, [PodCost(names[0], -1)])

    acting.settle()
    left_alone = shown(place)[names[0]]
    acting.leads = True
    acting.settle()

    assert (left_alone, shown(place)[names[0]]) == ("-1", None)


def test_a_look_that_saw_nothing_takes_nothing_back(place: Place) -> None:
    names = serve(place, 2)
    api = grant(place, "observe", "act", "deletion-cost")
    acting = Acting(place, api, lambda decision: Outcome(decision.pool, datetime.now(UTC), 1, applied=False))
    acting.victims.apply(shrinking(place, 2, 1, names[:1]))
    later = datetime.now(UTC) + timedelta(minutes=1)

    acting.settle(ClusterView(later, problem="the API server does not answer"))

    assert shown(place) == {names[0]: "-1", names[1]: None}


def test_an_order_that_does_not_serve_yet_is_taken_back_before_an_idle_replica(place: Place) -> None:
    place.add_nodes(gpus=2)
    place.apply(Server(name="decode", replicas=2).deployment())
    names = {pod.metadata.name for pod in place.wait_for_ready(2)}
    acting = Acting(place, grant(place, "observe", "act", "deletion-cost"))
    place.apps.patch_namespaced_deployment_scale("decode", place.namespace, {"spec": {"replicas": 3}})
    wait_for(lambda: any(pod.pending_reason for target in acting.look().targets for pod in target.pods), "one waits")
    (target,) = acting.look().targets
    engines = tuple(ReplicaSample(name, running=0.0, waiting=0.0) for name in names)
    seen = PoolSnapshot(pool_of(place), Role.BOTH, "h100", 3, replicas=engines, target=target)

    victims = victims_of(seen, 2, None)
    outcome = acting.victims.apply(replace(decided(pool_of(place), 3, 2), victims=victims))
    wait_for(lambda: len(place.pods()) == 2, "one leaves")

    assert outcome.applied, outcome.error
    assert [victim.starting for victim in victims] == [True]
    assert {pod.metadata.name for pod in place.pods()} == names
