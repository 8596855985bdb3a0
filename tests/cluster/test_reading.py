"""What aiops reads of targets, their pods, rollouts and other scalers is what the real control plane did."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from aiops.model.cluster import ClusterView, NodeView, Override, PodView
from aiops.model.refs import PoolRef
from aiops.observe.cluster_overrides import HOLD_AT, PAUSED
from tests.cluster.control_plane import BROKEN_NODE, ControlPlane
from tests.cluster.manifests import H100, Server
from tests.cluster.place import Place, own_place
from tests.cluster.reading import autoscaler, look, look_at, new_reader, quota, scale_target, scaled_object
from tests.parts import wait_for

pytestmark = [pytest.mark.real, pytest.mark.slow]


@pytest.fixture
def other_place(plane: ControlPlane) -> Iterator[Place]:
    """A namespace that no policy names."""
    with own_place(plane, "other") as made:
        yield made


def all_pods(view: ClusterView, is_so: Callable[[PodView], object], count: int) -> bool:
    pods = [pod for target in view.targets for pod in target.pods]
    return len(pods) == count and all(is_so(pod) for pod in pods)


def test_targets_are_read_with_their_pods_from_cold_to_ready(place: Place) -> None:
    (node,) = place.add_nodes()
    targets = [
        ("Deployment", "chat"),
        ("StatefulSet", "batch"),
        ("Deployment", "gone"),
        ("LeaderWorkerSet", "huge"),
        ("Rocket", "unknown"),
    ]
    begun = datetime.now(UTC).replace(microsecond=0)

    place.apply(Server(name="chat", replicas=2, cold_start_s=4, grace_s=7).deployment())
    place.apply(Server(name="batch", gpus=2, cold_start_s=4).stateful_set())
    wait_for(
        lambda: all_pods(look(place, *targets), lambda pod: pod.scheduled_at and not pod.ready_at, 3),
        "three pods are placed and still cold",
    )
    wait_for(lambda: all_pods(look(place, *targets), lambda pod: pod.ready_at, 3), "three pods are ready")
    view = look(place, *targets)
    chat, batch = view.targets

    assert [target.pool for target in view.targets] == [
        PoolRef(place.namespace, "Deployment", "chat"),
        PoolRef(place.namespace, "StatefulSet", "batch"),
    ]
    assert view.missing == (
        PoolRef(place.namespace, "Deployment", "gone"),
        PoolRef(place.namespace, "LeaderWorkerSet", "huge"),
        PoolRef(place.namespace, "Rocket", "unknown"),
    )
    assert (chat.replicas, chat.gpus_per_replica, chat.honours_deletion_cost) == (2, 1, True)
    assert (batch.replicas, batch.gpus_per_replica, batch.honours_deletion_cost) == (1, 2, False)
    assert (
        chat.resource_version
        == place.apps.read_namespaced_deployment("chat", place.namespace).metadata.resource_version
    )
    assert (chat.rollout, chat.scaled_by, chat.override, chat.override_problem) == ("", "", None, "")
    for pod in (*chat.pods, *batch.pods):
        assert pod.scheduled_at is not None
        assert pod.ready_at is not None
        assert begun <= pod.created_at <= pod.scheduled_at
        # Kubernetes tells whole seconds.
        assert pod.ready_at - pod.scheduled_at >= timedelta(seconds=3)
        assert (pod.node, pod.pending_reason, pod.restarts, pod.deleting_since) == (node, "", 0, None)
    assert [pod.grace_s for pod in chat.pods] == [7.0, 7.0]
    assert len({pod.revision for pod in chat.pods}) == 1
    assert [pod.name for pod in batch.pods] == ["batch-0"]
    assert batch.pods[0].revision.startswith("batch-")


def test_targets_of_one_name_in_two_namespaces_are_kept_apart(place: Place, other_place: Place) -> None:
    place.add_nodes()
    place.apply(Server(name="chat", replicas=2).deployment(), quota("gpus", **{"requests.nvidia.com/gpu": "7"}))
    other_place.apply(Server(name="chat", replicas=1).deployment(), autoscaler("one", "Deployment", "chat"))
    place.wait_for_ready(2)
    other_place.wait_for_ready(1)
    pools = [PoolRef(one.namespace, "Deployment", "chat") for one in (place, other_place)]

    view = new_reader(place.plane.admin_kubeconfig, *pools).read()

    told = {target.pool: (target.replicas, len(target.pods), bool(target.scaled_by)) for target in view.targets}
    assert told == {pools[0]: (2, 2, False), pools[1]: (1, 1, True)}
    assert [namespace for namespace, _ in view.quota_gpus_left] == [place.namespace]


def test_a_pod_that_finds_no_gpus_says_what_it_waits_for(place: Place) -> None:
    (node,) = place.add_nodes(gpus=4)
    place.apply(Server(name="chat", replicas=2, gpus=4).deployment())

    wait_for(lambda: any(pod.pending_reason for pod in look_at(place, "Deployment", "chat").pods), "one is left over")
    waiting, placed = sorted(look_at(place, "Deployment", "chat").pods, key=lambda pod: pod.node or "")

    assert waiting.pending_reason == "waiting for nvidia.com/gpu: 4"
    assert (waiting.scheduled_at, waiting.ready_at, waiting.node) == (None, None, None)
    assert (placed.pending_reason, placed.node) == ("", node)


def test_a_pod_that_leaves_is_seen_leaving_since_it_was_asked_to(place: Place) -> None:
    place.add_nodes()
    place.apply(Server(name="chat", replicas=1, grace_s=3600).deployment())
    (leaving,) = place.wait_for_ready(1)
    cost = {"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-7"}}}
    place.core.patch_namespaced_pod(leaving.metadata.name, place.namespace, cost)

    before = datetime.now(UTC).replace(microsecond=0)
    place.apps.patch_namespaced_deployment_scale("chat", place.namespace, {"spec": {"replicas": 0}})
    wait_for(lambda: look_at(place, "Deployment", "chat").pods[0].deleting_since, "the pod is asked to leave")
    target = look_at(place, "Deployment", "chat")

    assert target.replicas == 0
    (pod,) = target.pods
    assert pod.deletion_cost == -7
    assert pod.deleting_since is not None
    assert before <= pod.deleting_since <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("kind", "under_way"),
    [
        pytest.param("Deployment", "1 of 3 pods are of the new revision", id="a Deployment with two ReplicaSets"),
        pytest.param("StatefulSet", "1 of 2 pods are of the new revision", id="a StatefulSet with two revisions"),
    ],
)
def test_a_rollout_is_told_until_it_is_over(place: Place, kind: str, under_way: str) -> None:
    place.add_nodes()

    def applied(cold_start_s: float) -> None:
        server = Server(name="chat", replicas=2, cold_start_s=cold_start_s)
        place.apply(server.deployment() if kind == "Deployment" else server.stateful_set())

    applied(0)
    place.wait_for_ready(2)
    wait_for(lambda: look_at(place, kind, "chat").rollout == "", "it is of one revision")
    # A revision that does not get ready holds its rollout up.
    applied(3600)
    wait_for(lambda: look_at(place, kind, "chat").rollout == under_way, f"{under_way!r} is told")
    assert len({pod.revision for pod in look_at(place, kind, "chat").pods}) == 2
    if kind == "StatefulSet":
        # Its controller waits for the pod that it began with, and a person has to send that away.
        stuck = next(pod.name for pod in look_at(place, kind, "chat").pods if pod.ready_at is None)
        applied(0)
        place.core.delete_namespaced_pod(stuck, place.namespace, grace_period_seconds=0)
    applied(0)

    wait_for(lambda: look_at(place, kind, "chat").rollout == "", "it is of one revision again", timeout_s=60)
    assert len({pod.revision for pod in look_at(place, kind, "chat").pods if pod.deleting_since is None}) == 1


@pytest.mark.usefixtures("keda_definitions")
def test_other_scalers_are_told_with_the_target_that_they_own(place: Place) -> None:
    for name in ("by-hpa", "by-keda", "by-both", "free"):
        place.apply(Server(name=name).deployment())
    place.apply(Server(name="by-hpa").stateful_set())
    place.apply(autoscaler("one", "Deployment", "by-hpa"))
    place.apply(scaled_object("two", {"name": "by-keda"}, **{"autoscaling.keda.sh/paused": "true"}))
    place.apply(scaled_object("three", scale_target("Deployment", "by-both")))
    kind = place.dynamic.resources.get(api_version="keda.sh/v1alpha1", kind="ScaledObject")
    made_by = place.dynamic.get(kind, name="three", namespace=place.namespace)
    owner = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "three", "uid": made_by.metadata.uid}
    place.apply(autoscaler("keda-hpa-three", "Deployment", "by-both", ownerReferences=[owner]))
    place.apply(autoscaler("four", "Deployment", "by-both"))

    targets = [("Deployment", name) for name in ("by-hpa", "by-keda", "by-both", "free")]
    view = look(place, *targets, ("StatefulSet", "by-hpa"))

    assert {(target.pool.kind, target.pool.name): target.scaled_by for target in view.targets} == {
        ("Deployment", "by-hpa"): f"HorizontalPodAutoscaler {place.namespace}/one",
        ("Deployment", "by-keda"): f"ScaledObject {place.namespace}/two",
        ("Deployment", "by-both"): (
            f"HorizontalPodAutoscaler {place.namespace}/four and ScaledObject {place.namespace}/three"
        ),
        ("Deployment", "free"): "",
        ("StatefulSet", "by-hpa"): "",
    }


def test_a_person_who_scales_is_named(place: Place) -> None:
    place.apply(Server(name="chat", replicas=0).deployment(), Server(name="batch", replicas=0).stateful_set())
    assert look_at(place, "Deployment", "chat").replicas_manager == "aiops-tests"

    before = datetime.now(UTC).replace(microsecond=0)
    wanted = {"spec": {"replicas": 1}}
    place.apps.patch_namespaced_deployment_scale("chat", place.namespace, wanted, field_manager="kubectl-scale")
    place.apps.patch_namespaced_stateful_set("batch", place.namespace, wanted, field_manager="kubectl-edit")
    chat, batch = look(place, ("Deployment", "chat"), ("StatefulSet", "batch")).targets

    assert [(one.replicas, one.replicas_manager) for one in (chat, batch)] == [
        (1, "kubectl-scale"),
        (1, "kubectl-edit"),
    ]
    # Of whoever writes through scale, Kubernetes keeps no time.
    assert chat.replicas_written_at is None
    assert batch.replicas_written_at is not None
    assert before <= batch.replicas_written_at <= datetime.now(UTC)


def test_what_people_annotate_is_read_from_the_target(place: Place) -> None:
    until = (datetime.now(UTC) + timedelta(hours=1)).replace(microsecond=0)
    held = {HOLD_AT: f"3@{until.isoformat()}"}
    stated = {
        "held": held,
        "paused": {PAUSED: "true"},
        "wrong": {HOLD_AT: "many"},
        "over": {PAUSED: "2020-01-01T00:00:00Z"},
    }
    for name, annotations in stated.items():
        server = Server(name=name, replicas=0).deployment()
        server["metadata"]["annotations"] = annotations
        place.apply(server)

    view = look(place, *(("Deployment", name) for name in stated))
    overrides = {target.pool.name: target.override for target in view.targets}
    problems = {target.pool.name: target.override_problem for target in view.targets if target.override_problem}

    assert overrides == {"held": Override(3, until), "paused": Override(None, None), "wrong": None, "over": None}
    assert list(problems) == ["wrong"]
    assert "'many' is no number of replicas; write 4" in problems["wrong"]


def test_nodes_tell_their_free_gpus_whoever_holds_the_others(place: Place, other_place: Place) -> None:
    held, cordoned, broken = place.add_nodes(3)
    place.core.patch_node(cordoned, {"spec": {"unschedulable": True}})
    place.core.patch_node(broken, {"metadata": {"labels": BROKEN_NODE}})
    place.apply(Server(name="chat", gpus=2, labels={"of": "here"}).deployment())
    other = Server(name="other", gpus=4).deployment()
    other["spec"]["template"]["spec"]["nodeSelector"] = {"kubernetes.io/hostname": held}
    other_place.apply(other)
    place.wait_for_ready(1)
    other_place.wait_for_ready(1)

    def nodes() -> tuple[NodeView, ...]:
        return tuple(node for node in look(place, ("Deployment", "chat")).nodes if node.name in place.node_names)

    wait_for(lambda: [node.schedulable for node in nodes()] == [True, False, False], "one node is left")
    (chat,) = look_at(place, "Deployment", "chat").pods
    free = {held: 4, cordoned: 8, broken: 8}
    assert chat.node is not None
    free[chat.node] -= 2

    assert nodes() == tuple(NodeView(name, H100, 8, free[name], name == held) for name in (held, cordoned, broken))


def test_a_quota_tells_the_gpus_that_it_still_grants(place: Place) -> None:
    place.add_nodes()
    place.apply(quota("gpus", **{"requests.nvidia.com/gpu": "5"}), quota("pods", pods="100"))
    wait_for(lambda: look(place, ("Deployment", "none")).quota_gpus_left == ((place.namespace, 5),), "5 are granted")

    place.apply(Server(name="chat", replicas=2).deployment())

    wait_for(lambda: look(place, ("Deployment", "chat")).quota_gpus_left == ((place.namespace, 3),), "3 are left")


def test_another_kind_with_a_scale_tells_its_replicas(place: Place) -> None:
    wanted = Server(name="chat", replicas=3).deployment()
    wanted["kind"] = "ReplicaSet"
    wanted["metadata"]["annotations"] = {PAUSED: "true"}
    place.apply(wanted, autoscaler("one", "ReplicaSet", "chat"))

    target = look_at(place, "ReplicaSet", "chat")

    assert (target.replicas, target.replicas_manager, target.pods) == (3, "aiops-tests", ())
    assert target.override == Override(None, None)
    assert target.scaled_by == f"HorizontalPodAutoscaler {place.namespace}/one"
