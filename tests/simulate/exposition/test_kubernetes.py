from datetime import timedelta

import pytest

from aiops.simulate.exposition.kubernetes import exposition
from aiops.simulate.factory import Factory
from tests.simulate.exposition.pages import labels_of, of
from tests.simulate.factories import START, aggregated, factory, pair, run, workload

COLD = {"p50": "100s", "p90": "100s", "scheduling": "2s", "imageShare": 0.5, "weightsShare": 0.3}
NEW = {"coldStart": COLD, "scale": [{"at": "10s", "replicas": 1}]}


def told(made: Factory, name: str, **labels: str) -> float:
    return of(exposition(made), f"kube_{name}", **labels)


@pytest.mark.parametrize(
    ("at_s", "phase", "waiting", "ready"),
    [
        pytest.param(11, "Pending", "", False, id="the scheduler has not looked yet"),
        pytest.param(40, "Pending", "ContainerCreating", False, id="its image is pulled"),
        pytest.param(80, "Running", "", False, id="its weights are loaded"),
        pytest.param(120, "Running", "", True, id="it serves"),
    ],
)
def test_a_new_pod_comes_up_step_by_step(at_s: float, phase: str, waiting: str, ready: bool) -> None:
    made = run(factory(aggregated(0, **NEW)), at_s)
    assert told(made, "pod_status_phase", phase=phase) == 1
    assert told(made, "pod_status_phase") == 1
    assert told(made, "pod_container_status_waiting_reason", reason=waiting or "none") == bool(waiting)
    assert told(made, "pod_status_ready", condition="true") == ready
    assert told(made, "pod_status_ready", condition="false") == (not ready)
    assert told(made, "deployment_spec_replicas") == told(made, "deployment_status_replicas") == 1
    assert told(made, "deployment_status_replicas_ready") == told(made, "deployment_status_replicas_available") == ready


def test_the_times_of_a_start_follow_each_other() -> None:
    made = run(factory(aggregated(0, **NEW)), 200)
    times = [told(made, name) for name in ("pod_created", "pod_status_scheduled_time", "pod_status_initialized_time",
                                           "pod_status_ready_time")]  # fmt: skip
    assert [time - START.timestamp() for time in times] == pytest.approx([10, 12, 12, 110])


def test_owners_lead_from_a_pod_to_its_deployment_as_aiops_joins_them() -> None:
    made = factory(pair(1, 1))
    text = exposition(made)
    for pool, replica in made.live_replicas():
        (owner,) = labels_of(text, "kube_pod_owner", pod=replica.name)
        assert owner["owner_kind"] == "ReplicaSet"
        (maker,) = labels_of(text, "kube_replicaset_owner", replicaset=owner["owner_name"])
        assert (maker["owner_kind"], maker["owner_name"]) == ("Deployment", pool.ref.name)
        (labels,) = labels_of(text, "kube_pod_labels", pod=replica.name)
        assert labels["label_llm_d_ai_role"] == pool.role
        (info,) = labels_of(text, "kube_pod_info", pod=replica.name)
        assert info["uid"] == labels["uid"]
        assert of(text, "kube_pod_container_resource_requests", pod=replica.name, resource="nvidia_com_gpu") == 2


def test_a_statefulset_has_its_own_names() -> None:
    pools = [{"name": "pool", "kind": "StatefulSet", "replicas": 2, "profile": "small"}]
    made = factory(aggregated(pools=pools))
    text = exposition(made)
    assert of(text, "kube_statefulset_replicas", statefulset="pool") == 2
    assert of(text, "kube_statefulset_status_replicas_ready", statefulset="pool") == 2
    assert "kube_deployment" not in text
    assert {(each["owner_kind"], each["owner_name"]) for each in labels_of(text, "kube_pod_owner")} == {
        ("StatefulSet", "pool")
    }


def test_a_pod_without_room_is_unschedulable_until_there_is_some() -> None:
    nodes = [{"name": "one", "gpus": 2}]
    made = run(factory(aggregated(2, nodes=nodes)), 10)
    assert told(made, "pod_status_unschedulable") == 1
    assert told(made, "deployment_status_replicas") == 2
    assert told(made, "deployment_status_replicas_ready") == 1
    assert told(made, "node_status_allocatable", node="one", resource="nvidia_com_gpu") == 2
    made.scale(made.models[0].pools[0].ref, 1)
    assert told(run(made, 10), "pod_status_unschedulable") == 0


def test_a_draining_pod_counts_for_its_deployment_no_more() -> None:
    made = run(factory(aggregated(2, workload=workload(8, output=300))), 30)
    made.scale(made.models[0].pools[0].ref, 1)
    text = exposition(made)
    assert of(text, "kube_deployment_status_replicas") == of(text, "kube_deployment_status_replicas_ready") == 1
    assert len(labels_of(text, "kube_pod_info")) == 2
    made.run_out(timedelta(minutes=5))
    assert len(labels_of(exposition(made), "kube_pod_info")) == 1


def test_a_container_that_dies_is_told_of() -> None:
    crash = {"kind": "crash_loop", "at": "30s", "duration": "60s", "lives": "5s"}
    cold = {"p50": "10s", "p90": "10s"}
    made = factory(aggregated(1, coldStart=cold, faults=[crash]))
    seen = set()
    for _ in range(60):
        text = exposition(run(made, 2))
        seen |= {each["reason"] for each in labels_of(text, "kube_pod_container_status_waiting_reason")}
        assert of(text, "kube_deployment_status_replicas") == 1
    assert seen == {"CrashLoopBackOff"}
    assert of(text, "kube_pod_container_status_restarts_total") >= 2
    assert of(text, "kube_pod_container_status_last_terminated_reason", reason="Error") == 1


def test_a_lost_node_is_not_ready() -> None:
    loss = {"kind": "node_loss", "at": "30s", "duration": "60s", "eviction": "30s"}
    made = run(factory(aggregated(2, nodes=[{"count": 3, "gpus": 2}], faults=[loss])), 40)
    text = exposition(made)
    assert of(text, "kube_node_status_condition", condition="Ready", status="unknown") == 1
    assert of(text, "kube_node_status_condition", condition="Ready", status="true") == 2
    assert of(text, "kube_pod_status_ready", condition="true") == 1
    assert told(run(made, 60), "node_status_condition", condition="Ready", status="true") == 3
