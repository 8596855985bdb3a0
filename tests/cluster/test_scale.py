"""Replicas are set through the scale subresource of real targets, with the rights of deploy/act and no more."""

from collections.abc import Callable
from itertools import cycle
from threading import Event, Thread

import pytest
from kubernetes import watch
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic.exceptions import ResourceNotFoundError

from aiops.act.scale import ScaleActuator
from aiops.model.refs import PoolRef
from tests.act.granted import allow, decided, grant, settle, writes
from tests.cluster import manifests
from tests.cluster.manifests import Server
from tests.cluster.place import Place
from tests.parts import wait_for

pytestmark = [pytest.mark.real, pytest.mark.slow]

KINDS = [
    pytest.param("Deployment", "deployment", id="a Deployment"),
    pytest.param("StatefulSet", "stateful_set", id="a StatefulSet"),
]


def leads() -> bool:
    return True


def serve(place: Place, replicas: int = 2, kind: str = "deployment") -> None:
    place.add_nodes()
    place.apply(getattr(Server(name="decode", replicas=replicas), kind)())
    place.wait_for_ready(replicas)
    settle(place, "StatefulSet" if kind == "stateful_set" else "Deployment")


def asked_for(place: Place) -> int:
    scale = place.apps.read_namespaced_deployment_scale("decode", place.namespace)
    return int(scale.spec.replicas or 0)


def set_by_another(place: Place, replicas: int) -> None:
    place.apps.patch_namespaced_deployment_scale("decode", place.namespace, {"spec": {"replicas": replicas}})


def touch(place: Place) -> None:
    """Change the object, but not its replicas."""
    version = place.apps.read_namespaced_deployment("decode", place.namespace).metadata.resource_version
    body = {"metadata": {"annotations": {"touched": version}}}
    place.apps.patch_namespaced_deployment("decode", place.namespace, body)


def between_read_and_write(act: Callable[[], object]) -> Callable[[], bool]:
    """A fence that is open, and in which something happens after the read and before the write."""
    asked = cycle([lambda: None, act])

    def may_write() -> bool:
        next(asked)()
        return True

    return may_write


@pytest.mark.parametrize(("kind", "made_by"), KINDS)
def test_replicas_go_up_down_and_to_zero_and_the_pods_follow(place: Place, kind: str, made_by: str) -> None:
    serve(place, 1, made_by)
    pool = PoolRef(place.namespace, kind, "decode")
    actuator = ScaleActuator(grant(place, "act"), may_write=leads)

    outcomes = []
    for current, desired in ((1, 3), (3, 2), (2, 0), (0, 1)):
        outcomes.append(actuator.apply(decided(pool, current, desired)))
        place.wait_for_ready(desired)
        settle(place, kind)

    assert [(outcome.asked, outcome.applied, outcome.error) for outcome in outcomes] == [
        (3, True, ""),
        (2, True, ""),
        (0, True, ""),
        (1, True, ""),
    ]
    assert writes(place) == [("decode", 3, 200), ("decode", 2, 200), ("decode", 0, 200), ("decode", 1, 200)]


def test_what_is_there_already_is_not_written_again(place: Place) -> None:
    serve(place)
    pool = PoolRef(place.namespace, "Deployment", "decode")
    actuator = ScaleActuator(grant(place, "act"), may_write=leads)

    first = actuator.apply(decided(pool, 2, 3))
    again = actuator.apply(decided(pool, 2, 3))

    assert (first.applied, again.applied) == (True, True)
    assert writes(place) == [("decode", 3, 200)]


def test_managed_fields_tell_who_set_the_replicas(place: Place) -> None:
    serve(place)
    ScaleActuator(grant(place, "act"), may_write=leads).apply(
        decided(PoolRef(place.namespace, "Deployment", "decode"), 2, 3)
    )

    fields = place.apps.read_namespaced_deployment("decode", place.namespace).metadata.managed_fields

    assert [
        (entry.manager, entry.operation)
        for entry in fields
        if entry.subresource == "scale" and "f:replicas" in entry.fields_v1["f:spec"]
    ] == [("aiops", "Update")]


def test_somebody_elses_change_is_left_alone(place: Place) -> None:
    serve(place)
    set_by_another(place, 5)

    outcome = ScaleActuator(grant(place, "act"), may_write=leads).apply(
        decided(PoolRef(place.namespace, "Deployment", "decode"), 2, 3)
    )

    assert not outcome.applied
    assert "somebody set Deployment" in outcome.error
    assert "to 5 replicas since 2 were seen: the decision for 3 is dropped" in outcome.error
    assert (asked_for(place), writes(place)) == (5, [])


@pytest.mark.parametrize(
    ("happens", "stays"),
    [
        pytest.param(lambda place: set_by_another(place, 7), 7, id="another sets the replicas"),
        pytest.param(touch, 2, id="another changes anything of it"),
    ],
)
def test_a_change_between_read_and_write_drops_the_decision(
    place: Place, happens: Callable[[Place], None], stays: int
) -> None:
    serve(place)
    actuator = ScaleActuator(grant(place, "act"), may_write=between_read_and_write(lambda: happens(place)))

    outcome = actuator.apply(decided(PoolRef(place.namespace, "Deployment", "decode"), 2, 3))

    assert not outcome.applied
    assert "was changed by somebody else in between and the decision is dropped" in outcome.error
    assert (asked_for(place), writes(place)) == (stays, [("decode", 3, 409)])


def test_in_a_storm_of_other_writers_no_replica_is_moved_wrongly(place: Place) -> None:
    serve(place, 3)
    pool = PoolRef(place.namespace, "Deployment", "decode")
    actuator = ScaleActuator(grant(place, "act"), may_write=leads)
    over = Event()

    def storm() -> None:
        for replicas in cycle((3, 5)):
            if over.is_set():
                return
            set_by_another(place, replicas)
            touch(place)

    start = place.apps.list_namespaced_deployment(place.namespace).metadata.resource_version
    writers = [Thread(target=storm, daemon=True) for _ in range(2)]
    for writer in writers:
        writer.start()
    outcomes = [actuator.apply(decided(pool, 3, 4)) for _ in range(80)]
    over.set()
    for writer in writers:
        writer.join()

    timeline = seen_replicas(place, start)
    moved = [(was, now) for was, now in zip([3, *timeline], timeline, strict=False) if was != now]
    answers = [code for _, _, code in writes(place)]
    assert {was for was, now in moved if now == 4} <= {3}
    assert {asked for _, asked, _ in writes(place)} <= {4}
    assert answers.count(200) == sum(was == 3 and now == 4 for was, now in moved)
    # The storm was one: some decisions met a conflict or another number.
    assert sum(not outcome.applied for outcome in outcomes) > 10
    assert answers.count(409) > 0


def seen_replicas(place: Place, start: str) -> list[int]:
    """Every value that spec.replicas had since a resourceVersion, in order."""
    end = place.apps.read_namespaced_deployment("decode", place.namespace).metadata.resource_version
    seen: list[int] = []
    stream = watch.Watch().stream(
        place.apps.list_namespaced_deployment, place.namespace, resource_version=start, timeout_seconds=30
    )
    for event in stream:
        seen.append(int(event["object"].spec.replicas))
        if int(event["object"].metadata.resource_version) >= int(end):
            return seen
    raise AssertionError(f"the watch ended before version {end}")


@pytest.mark.parametrize(
    ("rules", "error"),
    [
        pytest.param([], "apps deployments/scale get in namespace {ns}", id="nothing is granted"),
        pytest.param(
            [("apps", "deployments/scale", "update")], "apps deployments/scale get in namespace {ns}", id="no get"
        ),
        pytest.param(
            [("apps", "deployments/scale", "get")], "apps deployments/scale update in namespace {ns}", id="no update"
        ),
        pytest.param(
            [("apps", "deployments", "get,update"), ("apps", "statefulsets/scale", "get,update")],
            "apps deployments/scale get in namespace {ns}",
            id="the rights on what is beside it",
        ),
    ],
)
def test_a_missing_right_is_named_as_a_role_writes_it(
    place: Place, rules: list[tuple[str, str, str]], error: str
) -> None:
    serve(place)
    actuator = ScaleActuator(allow(place, *rules), may_write=leads)

    outcome = actuator.apply(decided(PoolRef(place.namespace, "Deployment", "decode"), 2, 3))

    assert outcome.error == f"a right is missing: {error.format(ns=place.namespace)}"
    assert asked_for(place) == 2


@pytest.mark.parametrize(
    ("kind", "name", "error"),
    [
        pytest.param("Deployment", "gone", "is gone: ", id="no such target"),
        pytest.param("Sandcastle", "decode", "the cluster has no kind Sandcastle", id="no such kind"),
        pytest.param("ConfigMap", "decode", "ConfigMap has no scale subresource", id="a kind without replicas"),
    ],
)
def test_a_target_that_is_not_there_is_told(place: Place, kind: str, name: str, error: str) -> None:
    actuator = ScaleActuator(grant(place, "act"), may_write=leads)

    outcome = actuator.apply(decided(PoolRef(place.namespace, kind, name), 2, 3))

    assert not outcome.applied
    assert error in outcome.error


@pytest.mark.parametrize(
    ("current", "desired", "error"),
    [
        pytest.param(2, -1, "-1 replicas", id="less than nothing"),
        pytest.param(2, None, "has no number of replicas", id="nothing is asked for"),
        pytest.param(None, 3, "has no number of replicas", id="the present is not known"),
        pytest.param(2, 2**31, "2147483648 replicas", id="more than the API holds"),
    ],
)
def test_nonsense_never_reaches_the_cluster(place: Place, current: int | None, desired: int | None, error: str) -> None:
    actuator = ScaleActuator(grant(place, "act"), may_write=leads)

    outcome = actuator.apply(decided(PoolRef(place.namespace, "Deployment", "decode"), current, desired))

    assert not outcome.applied
    assert error in outcome.error
    # The reviews are those by which the test waited for the rights.
    calls = place.plane.calls("aiops", place.namespace)
    assert {call["requestURI"] for call in calls} <= {"/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"}


def test_the_global_switch_stops_a_write_even_after_the_read(place: Place) -> None:
    serve(place)
    said = iter(["", "the fleet is frozen for the audit", "the fleet is frozen for the audit"])
    actuator = ScaleActuator(grant(place, "act"), may_write=leads, writes_off=lambda: next(said))
    decision = decided(PoolRef(place.namespace, "Deployment", "decode"), 2, 3)

    outcomes = [actuator.apply(decision) for _ in range(2)]

    assert [outcome.error for outcome in outcomes] == ["writing is switched off: the fleet is frozen for the audit"] * 2
    assert (asked_for(place), writes(place)) == (2, [])


def test_without_an_api_server_a_target_is_left_alone_for_longer_and_longer_and_then_served(place: Place) -> None:
    serve(place)
    now_s = [0.0]
    actuator = ScaleActuator(grant(place, "act"), may_write=leads, clock_s=lambda: now_s[0])
    decision = decided(PoolRef(place.namespace, "Deployment", "decode"), 2, 3)
    server = place.plane.api_server

    server.stop()
    waits = []
    try:
        for _ in range(8):
            first, again = actuator.apply(decision), actuator.apply(decision)
            assert "the API server could not be reached" in first.error
            assert "is left alone until" in again.error
            waits.append(first.error.rpartition("(")[2])
            now_s[0] += float(waits[-1].split()[0])
    finally:
        server.start()
        place.plane.wait_until_ready()
    outcome = actuator.apply(decision)

    assert waits == ["1 s)", "2 s)", "4 s)", "8 s)", "16 s)", "32 s)", "60 s)", "60 s)"]
    assert outcome.applied, outcome.error
    place.wait_for_ready(3)


def test_a_custom_kind_is_scaled_too(place: Place) -> None:
    """The shape of a LeaderWorkerSet's definition: its own group, and a scale subresource."""
    group = f"{place.namespace}.example.com"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    subresources = {"scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}}
    place.apply(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"cohorts.{group}"},
            "spec": {
                "group": group,
                "scope": "Namespaced",
                "names": {"plural": "cohorts", "singular": "cohort", "kind": "Cohort"},
                "versions": [
                    {
                        "name": "v1",
                        "served": True,
                        "storage": True,
                        "schema": {"openAPIV3Schema": schema},
                        "subresources": subresources,
                    }
                ],
            },
        }
    )
    made = {"apiVersion": f"{group}/v1", "kind": "Cohort", "metadata": {"name": "decode"}, "spec": {"replicas": 2}}
    wait_for(lambda: taken(place, made), "the kind is served")
    actuator = ScaleActuator(allow(place, (group, "cohorts/scale", "get,update")), may_write=leads)

    outcome = actuator.apply(decided(PoolRef(place.namespace, "Cohort", "decode"), 2, 3))

    kind = place.dynamic.resources.get(api_version=f"{group}/v1", kind="Cohort")
    assert outcome.applied, outcome.error
    assert kind.get(name="decode", namespace=place.namespace).spec.replicas == 3


def taken(place: Place, manifest: manifests.Manifest) -> bool:
    try:
        place.apply(manifest)
    except ResourceNotFoundError:
        return False
    except ApiException as error:
        if error.status != 404:
            raise
        return False
    return True
