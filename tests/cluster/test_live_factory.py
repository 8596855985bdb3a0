"""A simulated factory on real pods: the real Prometheus scrapes it, and it follows what the cluster does."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from aiops.simulate.cluster import ReplicaState
from aiops.simulate.spec import FactorySpec
from tests.cluster.control_plane import BROKEN_POD
from tests.cluster.live import ACCOUNT, Live, Settings, factory_on_pods
from tests.cluster.manifests import PORT, Server
from tests.cluster.place import Place
from tests.cluster.scrape import PodPrometheus
from tests.parts import http_text, wait_for
from tests.simulate.factories import aggregated, small_profile, workload

pytestmark = [pytest.mark.real, pytest.mark.slow]

# A request takes five seconds, so that a replica has some at any time and finishes them while a test looks.
LOAD = {**workload(6, output=300), "prefixes": {"count": 4, "tokens": 200}}


@pytest.fixture
def live(place: Place) -> Iterator[Live]:
    """Two replicas that serve."""
    place.add_nodes(2)
    place.apply(Server(name="pool", replicas=2, cold_start_s=2, grace_s=3600).deployment())
    spec = FactorySpec.model_validate(aggregated(model="llama", namespace=place.namespace, workload=LOAD))
    with factory_on_pods(place, [spec], {"small": small_profile()}) as started:
        place.wait_for_ready(2)
        wait_for(lambda: in_state(started, ReplicaState.READY) == names(place), "both replicas serve")
        yield started


def names(place: Place) -> set[str]:
    return {pod.metadata.name for pod in place.ready_pods()}


def in_state(live: Live, *states: ReplicaState) -> set[str]:
    with live.serving.lock:
        return {replica.name for replica in live.followed.factory.models[0].pools[0].in_state(*states)}


def outcomes(live: Live) -> tuple[int, int]:
    """Requests that were answered, and requests that failed."""
    with live.serving.lock:
        ledger = live.followed.factory.models[0].ledger
        return ledger.finished, ledger.failed


def finished(live: Live) -> int:
    return outcomes(live)[0]


def failed(live: Live) -> int:
    return outcomes(live)[1]


def lost(live: Live) -> int:
    with live.serving.lock:
        model = live.followed.factory.models[0]
        return model.fleet.arrived - model.fleet.in_flight - model.ledger.ended


def scale(place: Place, replicas: int) -> None:
    place.apps.patch_namespaced_deployment_scale("pool", place.namespace, {"spec": {"replicas": replicas}})


def told(prometheus: PodPrometheus, place: Place, metric: str) -> dict[str, float]:
    """What Prometheus knows of a metric at present, by pod."""
    rows = prometheus.query(f'{metric}{{namespace="{place.namespace}"}}')
    return {row["metric"]["pod"]: float(row["value"][1]) for row in rows}


def all_told(prometheus: PodPrometheus, place: Place, metric: str) -> dict[str, float]:
    """The same, once it is known of every replica that serves."""
    found = told(prometheus, place, metric)
    return found if found.keys() == names(place) else {}


def test_prometheus_finds_every_replica_where_its_pod_is(place: Place, live: Live, prometheus: PodPrometheus) -> None:
    running = "vllm:num_requests_running"
    wait_for(lambda: all_told(prometheus, place, running), "both are scraped")
    series, *_ = wait_for(lambda: prometheus.query(f'{running}{{namespace="{place.namespace}"}} > 0'), "requests run")
    (pod,) = [pod for pod in place.pods() if pod.metadata.name == series["metric"]["pod"]]

    assert series["metric"] == {
        "__name__": running,
        "job": "vllm",
        "instance": f"{pod.status.pod_ip}:{PORT}",
        "namespace": place.namespace,
        "pod": pod.metadata.name,
        "container": "vllm",
        "endpoint": "http",
        "engine": "0",
        "model_name": "llama",
        "llm_d_ai_model": "llama",
        "llm_d_ai_role": "both",
    }
    assert failed(live) == 0


def test_a_replica_that_is_ordered_comes_cold_and_takes_requests(
    place: Place, live: Live, prometheus: PodPrometheus
) -> None:
    old, ordered_at = names(place), datetime.now(UTC).timestamp()
    scale(place, 3)
    wait_for(
        lambda: len(place.pods()) == 3 and all(pod.status.pod_ip for pod in place.pods()), "a third has an address"
    )
    (loading,) = [pod for pod in place.pods() if pod.metadata.name not in old]
    assert in_state(live, ReplicaState.READY) == old, "it loads"
    with pytest.raises(OSError, match="refused"):
        http_text(f"http://{loading.status.pod_ip}:{PORT}/metrics")

    place.wait_for_ready(3)
    new = loading.metadata.name
    wait_for(lambda: told(prometheus, place, "vllm:num_requests_running").get(new), "it has requests")

    # Prometheus takes some seconds to find a pod, and may find those that are older in the same moment.
    began = wait_for(lambda: all_told(prometheus, place, "process_start_time_seconds"), "all three are scraped")
    assert began[new] > ordered_at > max(began[name] for name in old)
    assert (failed(live), lost(live)) == (0, 0)


def test_replicas_that_are_sent_away_finish_their_requests_first(
    place: Place, live: Live, prometheus: PodPrometheus
) -> None:
    scale(place, 3)
    place.wait_for_ready(3)
    running = "vllm:num_requests_running"
    wait_for(lambda: len([each for each in told(prometheus, place, running).values() if each]) == 3, "all three work")

    scale(place, 1)
    wait_for(lambda: len(in_state(live, ReplicaState.DRAINING)) == 2, "two drain")
    leaving = in_state(live, ReplicaState.DRAINING)
    assert leaving <= {pod.metadata.name for pod in place.pods()}, "they stay as long as they have requests"
    place.wait_for_ready(1)

    assert in_state(live, ReplicaState.READY, ReplicaState.DRAINING) == names(place)
    last = {name: samples(prometheus, place, name)[-1] for name in leaving}
    most = {name: max(samples(prometheus, place, name)) for name in leaving}
    assert all(last[name] < most[name] for name in leaving), "their last scrapes have few requests left"
    wait_for(lambda: all_told(prometheus, place, running), "nobody is scraped who is gone")
    assert (failed(live), lost(live)) == (0, 0)


def samples(prometheus: PodPrometheus, place: Place, pod: str) -> list[float]:
    """A pod's running requests in the last minutes, as they were scraped."""
    (series,) = prometheus.query(f'vllm:num_requests_running{{namespace="{place.namespace}",pod="{pod}"}}[5m]')
    return [float(value) for _, value in series["values"]]


def test_a_pod_that_fails_loses_its_requests(place: Place, live: Live) -> None:
    wait_for(lambda: finished(live) > 5, "requests are answered")
    before, name = names(place), min(names(place))
    assert failed(live) == 0

    place.core.patch_namespaced_pod(name, place.namespace, {"metadata": {"labels": BROKEN_POD}})
    wait_for(lambda: failed(live) > 0, "its requests fail")
    wait_for(lambda: len(in_state(live, ReplicaState.READY) - {name}) == 2, "another serves in its place")

    assert before - in_state(live, ReplicaState.READY) == {name}
    assert lost(live) == 0


def test_a_pod_of_a_lost_node_loses_its_requests(place: Place, live: Live) -> None:
    wait_for(lambda: finished(live) > 5, "requests are answered")
    before, name = names(place), min(names(place))
    # What the node controller writes a minute after the last sign of life of a node.
    unready = {"conditions": [{"type": "Ready", "status": "False", "reason": "NodeStatusUnknown"}]}

    place.core.patch_namespaced_pod_status(name, place.namespace, {"status": unready})
    wait_for(lambda: in_state(live, ReplicaState.READY) == before - {name}, "it is gone")

    assert failed(live) > 0
    assert name in {pod.metadata.name for pod in place.pods()}, "nobody but its node can say that it ended"
    assert lost(live) == 0


def test_the_load_goes_on_without_the_api_server(place: Place, live: Live) -> None:
    server, before, answered = place.plane.api_server, names(place), finished(live)
    server.stop()
    try:
        wait_for(lambda: finished(live) > answered + 30, "requests are answered, five seconds' worth")
        assert in_state(live, ReplicaState.READY) == before
        assert live.serving.runs
    finally:
        server.start()
        place.plane.wait_until_ready()
    scale(place, 3)
    place.wait_for_ready(3)

    wait_for(lambda: in_state(live, ReplicaState.READY) == names(place), "the third serves too")
    assert (failed(live), lost(live)) == (0, 0)


def test_the_factory_may_touch_nothing_but_pods_of_its_namespace(place: Place, live: Live) -> None:
    scale(place, 1)
    place.wait_for_ready(1)
    calls = place.plane.calls(ACCOUNT, place.namespace)

    assert live.serving.runs
    assert {(call["verb"], call["objectRef"]["resource"], call["responseStatus"]["code"]) for call in calls} == {
        ("list", "pods", 200),
        ("watch", "pods", 200),
        ("delete", "pods", 200),
    }


def test_the_day_of_the_live_cluster_rises_and_falls() -> None:
    windows = [(str(window["at"]), float(str(window["requestsPerS"]))) for window in Settings().windows()]
    rates = [rate for _, rate in windows]

    assert (rates[0], max(rates), rates[-1]) == (4.0, 45.0, 4.0)
    assert rates[: len(rates) // 2 + 1] == sorted(rates[: len(rates) // 2 + 1])
    assert Settings().spec.workload is not None
