"""Metrics on many loopback addresses, and a live factory behind them."""

import http.client
import socket
import threading
import urllib.error
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import pytest

from aiops.model.refs import ModelRef
from aiops.serve.live_factory import LiveFactory
from aiops.serve.pod_fleet import Address, PodFleet
from aiops.serve.pod_watch import seen_pod
from aiops.simulate.followed import FollowedFactory, SeenPod
from aiops.simulate.spec import FactorySpec
from tests.parts import free_port, http_text, wait_for
from tests.simulate.factories import aggregated, small_profile, workload

# A range that no testbed gives to pods.
ONE, TWO = "127.190.0.1", "127.190.0.2"


def metrics(address: str, port: int) -> str:
    return http_text(f"http://{address}:{port}/metrics")


def refuses(address: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) != 0


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def pages(port: int) -> dict[Address, str]:
    return {(ONE, port): "one 1\n", (TWO, port): "two 2\n"}


@pytest.fixture
def fleet(pages: dict[Address, str]) -> Iterator[PodFleet]:
    with PodFleet(pages.get) as started:
        started.listen_on(pages)
        wait_for(lambda: all(not refuses(*address) for address in pages), "all addresses answer")
        yield started


# The listeners


@pytest.mark.usefixtures("fleet")
def test_each_address_has_a_page_of_its_own(port: int) -> None:
    assert metrics(ONE, port) == "one 1\n"
    assert metrics(TWO, port) == "two 2\n"


@pytest.mark.usefixtures("fleet")
@pytest.mark.parametrize("address", ["127.0.0.1", "127.190.0.3"])
def test_an_address_that_is_no_pod_refuses(address: str, port: int) -> None:
    assert refuses(address, port)


def test_an_address_that_is_taken_away_refuses_and_another_answers_on(fleet: PodFleet, port: int) -> None:
    fleet.listen_on([(TWO, port)])
    wait_for(lambda: refuses(ONE, port), "the first refuses")

    assert metrics(TWO, port) == "two 2\n"

    fleet.listen_on([(ONE, port)])
    wait_for(lambda: not refuses(ONE, port), "the first answers again")
    wait_for(lambda: refuses(TWO, port), "the second refuses")


@pytest.mark.usefixtures("fleet")
def test_a_connection_that_outlives_its_pod_is_told_so_and_ends(pages: dict[Address, str], port: int) -> None:
    connection = http.client.HTTPConnection(ONE, port, timeout=5)
    connection.request("GET", "/metrics")
    assert connection.getresponse().read() == b"one 1\n"
    del pages[ONE, port]
    connection.request("GET", "/metrics")
    answer = connection.getresponse()

    assert answer.status == 404
    assert answer.getheader("Connection") == "close"


@pytest.mark.usefixtures("fleet")
def test_other_paths_are_not_there(port: int) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        http_text(f"http://{ONE}:{port}/v1/models")


def test_only_loopback_addresses_are_listened_on(
    fleet: PodFleet, port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.listen_on([("0.0.0.0", port), (ONE, port)])  # noqa: S104
    wait_for(lambda: refuses(TWO, port), "the change has happened")

    assert metrics(ONE, port) == "one 1\n"
    assert refuses("127.190.0.3", port)
    assert "0.0.0.0 is no loopback address" in capsys.readouterr().out


def test_an_address_in_use_is_taken_when_it_is_free(fleet: PodFleet, pages: dict[Address, str], port: int) -> None:
    three = ("127.190.0.3", port)
    pages[three] = "three 3\n"
    with socket.create_server(three):
        fleet.listen_on([three])
        wait_for(lambda: refuses(ONE, port), "the change has happened")

    def taken() -> bool:
        fleet.listen_on([three])
        return not refuses(*three)

    wait_for(taken, "the address is taken")
    assert metrics(*three) == "three 3\n"


def test_a_thousand_addresses_answer_and_nothing_is_left_of_them(port: int) -> None:
    addresses = [(f"127.190.{number // 250}.{number % 250 + 1}", port) for number in range(1000)]
    with PodFleet(lambda address: f"{address[0]}\n") as fleet:
        fleet.listen_on(addresses)
        wait_for(lambda: not any(refuses(*address) for address in addresses), "all listen")
        answers = [metrics(*address) for address in addresses]

    assert answers == [f"{address}\n" for address, _ in addresses]
    assert all(refuses(*address) for address in addresses)


# What is behind them


class Listed:
    """Pods that a test says there are."""

    def __init__(self) -> None:
        self.version = 0
        self._pods: list[SeenPod] = []
        self.sent_away = set[str]()
        self._lock = threading.Lock()

    def pods(self) -> list[SeenPod]:
        with self._lock:
            return list(self._pods)

    def say(self, *pods: SeenPod) -> None:
        with self._lock:
            self._pods = list(pods)
            self.version += 1

    def send_away(self, pods: Iterable[SeenPod]) -> None:
        self.sent_away |= {pod.name for pod in pods}


def pod(name: str, address: str, **changes: object) -> SeenPod:
    stated: dict[str, object] = {"uid": name, "namespace": "default", "owner": "pool", "ready": True, "grace_s": 60.0}
    return SeenPod(name=name, address=address, **(stated | changes))  # type: ignore[arg-type]


def followed() -> FollowedFactory:
    spec = FactorySpec.model_validate(aggregated(workload=workload(20)))
    return FollowedFactory([spec], {"small": small_profile()}, 1, datetime.now(UTC))


def test_a_live_factory_answers_for_its_pods_and_its_router(port: int) -> None:
    listed, router = Listed(), ("127.190.1.1", port)
    made = followed()
    live = LiveFactory(made, listed, {ModelRef("default", "model"): router}, port=port)
    with live:
        wait_for(lambda: "llm_d_epp_ready_endpoints" in http_text(f"http://{router[0]}:{router[1]}/metrics"), "router")
        assert refuses(ONE, port)

        listed.say(pod("a", ONE), pod("b", TWO))
        wait_for(lambda: "vllm:request_success_total" in metrics(ONE, port), "the first pod answers")
        wait_for(lambda: 'llm_d_epp_ready_endpoints{name="model"} 2.0' in metrics(*router), "the router knows two")
        assert live.runs

        listed.say(pod("a", ONE), pod("b", TWO, leaving=True))
        wait_for(lambda: listed.sent_away == {"b"}, "the pod that has nothing left to do is sent away")
        wait_for(lambda: refuses(TWO, port), "its process has ended")

        listed.say(pod("a", ONE, ready=False))
        wait_for(lambda: refuses(ONE, port), "a pod that is not ready does not answer")
        with live.lock:
            assert made.factory.models[0].ledger.failed > 0

    assert not live.runs
    assert refuses(*router)


def test_a_router_of_no_model_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no model \['default/other'\]; there are \['default/model'\]"):
        LiveFactory(followed(), Listed(), {ModelRef("default", "other"): (ONE, 1)})


# What a pod is


def api_pod(**changes: object) -> dict[str, object]:
    return {"metadata": {"uid": "u", "namespace": "n", "name": "p"}, "spec": {}, "status": {}} | changes


@pytest.mark.parametrize(
    ("item", "seen"),
    [
        pytest.param(api_pod(), {}, id="a pod that was just made"),
        pytest.param(
            api_pod(
                spec={"nodeName": "node-0"},
                status={
                    "podIP": ONE,
                    "phase": "Running",
                    "conditions": [{"type": "Initialized", "status": "True"}, {"type": "Ready", "status": "True"}],
                },
            ),
            {"node": "node-0", "address": ONE, "ready": True},
            id="a pod that serves",
        ),
        pytest.param(
            api_pod(status={"phase": "Failed", "conditions": [{"type": "Ready", "status": "Unknown"}]}),
            {"ended": True},
            id="a pod that failed",
        ),
        pytest.param(
            api_pod(
                metadata={
                    "uid": "u",
                    "namespace": "n",
                    "name": "p",
                    "labels": {"llm-d.ai/role": "decode"},
                    "ownerReferences": [{"name": "other"}, {"name": "pool-5d4f8", "controller": True}],
                    "deletionTimestamp": "2026-03-02T00:00:00Z",
                    "deletionGracePeriodSeconds": 130,
                }
            ),
            {"labels": {"llm-d.ai/role": "decode"}, "owner": "pool-5d4f8", "leaving": True, "grace_s": 130.0},
            id="a pod that was asked to go",
        ),
    ],
)
def test_a_pod_is_read_from_the_api(item: dict[str, object], seen: dict[str, object]) -> None:
    assert seen_pod(item) == SeenPod(uid="u", namespace="n", name="p", **seen)  # type: ignore[arg-type]
