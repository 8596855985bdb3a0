"""What was changed and why is an Event on the target, in a real cluster."""

from collections.abc import Iterator

import pytest
from kubernetes import client

from aiops.act.events import EventRecorder
from aiops.act.scale import ScaleActuator
from aiops.model.decision import Reason
from aiops.model.refs import PoolRef
from tests.act.granted import allow, decided, grant
from tests.cluster.manifests import Server
from tests.cluster.place import Place
from tests.parts import wait_for

pytestmark = [pytest.mark.real, pytest.mark.slow]


def leads() -> bool:
    return True


def told(place: Place) -> list[client.EventsV1Event]:
    """The Events by aiops, the oldest first."""
    own = "reportingController=aiops.tokenfactory.dev/aiops"
    events = client.EventsV1Api(place.plane.admin).list_namespaced_event(place.namespace, field_selector=own).items
    return sorted(events, key=lambda event: event.event_time)


class Stage:
    """A Deployment, and an actuator whose changes are told."""

    def __init__(self, place: Place, api: client.ApiClient) -> None:
        self.place, self.now_s = place, 0.0
        self.pool = PoolRef(place.namespace, "Deployment", "decode")
        place.apply(Server(name="decode", replicas=2).deployment())
        self.recorder = EventRecorder(api, clock_s=lambda: self.now_s)
        self.actuator = ScaleActuator(api, may_write=leads, on_change=self.recorder.changed)

    def scale(self, current: int, desired: int, *reasons: Reason) -> None:
        decision = decided(self.pool, current, desired, reasons)
        # The controllers write to the target too while they follow; the loop would come again as well.
        wait_for(lambda: self.actuator.apply(decision).applied, f"{current} become {desired}")

    def back_and_forth(self, times: int) -> None:
        for _ in range(times):
            self.scale(2, 3, Reason.DEMAND_NOW)
            self.scale(3, 2, Reason.DEMAND_FELL)


@pytest.fixture
def stage(place: Place) -> Iterator[Stage]:
    return Stage(place, grant(place, "act"))


def test_a_change_is_told_on_its_target(stage: Stage) -> None:
    stage.scale(2, 5, Reason.FORECAST, Reason.SCALE_UP_STEP_LIMITED)

    (event,) = told(stage.place)
    target = stage.place.apps.read_namespaced_deployment("decode", stage.place.namespace)
    assert (event.reason, event.action, event.type) == ("Forecast", "ScaleUp", "Normal")
    assert event.note == f"{Reason.FORECAST.sentence} Replicas from 2 to 5."
    assert (event.regarding.api_version, event.regarding.kind) == ("apps/v1", "Deployment")
    # By its uid ``kubectl describe`` finds it.
    assert (event.regarding.name, event.regarding.uid) == ("decode", target.metadata.uid)


def test_what_changes_nothing_is_not_told(stage: Stage) -> None:
    stage.scale(2, 2, Reason.STEADY)
    stage.actuator.apply(decided(stage.pool, 4, 5))
    stage.actuator.apply(decided(stage.pool, 2, -1))

    assert told(stage.place) == []


def test_the_same_again_is_counted_and_written_once_a_minute(stage: Stage) -> None:
    for _ in range(6):
        stage.scale(2, 3, Reason.DEMAND_NOW)
        stage.place.apps.patch_namespaced_deployment_scale("decode", stage.place.namespace, {"spec": {"replicas": 2}})
        stage.now_s += 25.0

    (event,) = told(stage.place)
    calls = stage.place.plane.calls("aiops", stage.place.namespace)
    verbs = [call["verb"] for call in calls if call.get("objectRef", {}).get("resource") == "events"]
    # Made at 0 s, a series at 25 s, and written again at 100 s with those between.
    assert verbs == ["create", "patch", "patch"]
    assert event.series.count == 5


def test_many_events_on_one_target_are_held_back(stage: Stage) -> None:
    stage.back_and_forth(8)
    at_once = len(told(stage.place))
    stage.now_s += 90.0
    stage.back_and_forth(2)

    assert at_once == 10
    assert len(told(stage.place)) == 13


def test_an_event_that_the_server_forgot_is_made_anew(stage: Stage) -> None:
    stage.scale(2, 3, Reason.DEMAND_NOW)
    client.EventsV1Api(stage.place.plane.admin).delete_collection_namespaced_event(stage.place.namespace)
    stage.place.apps.patch_namespaced_deployment_scale("decode", stage.place.namespace, {"spec": {"replicas": 2}})
    stage.scale(2, 3, Reason.DEMAND_NOW)

    assert [event.series for event in told(stage.place)] == [None]


def test_without_the_right_to_tell_it_is_scaled_all_the_same(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    stage = Stage(place, allow(place, ("apps", "deployments/scale", "get,update")))

    stage.back_and_forth(2)

    said = capsys.readouterr().out
    assert said.count("an Event was not written") == 1
    assert f"a right is missing: events.k8s.io events create in namespace {place.namespace}" in said
