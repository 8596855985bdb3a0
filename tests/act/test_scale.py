"""What the actuator makes of an API server that has too much to do, fails or says no."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from kubernetes.client import Configuration

from aiops.act.scale import ScaleActuator
from aiops.model.refs import PoolRef
from tests.act.fake_api_server import FakeApiServer, Refusal, fake_api_server
from tests.act.granted import NOW, decided

POOL = PoolRef("llm", "Deployment", "decode")


@pytest.fixture
def server() -> Iterator[FakeApiServer]:
    with fake_api_server() as started:
        yield started


class Stage:
    def __init__(self, server: FakeApiServer, timeout_s: float = 4.0) -> None:
        self.now_s = 0.0
        self.actuator = ScaleActuator(
            server.client(),
            may_write=lambda: True,
            timeout_s=timeout_s,
            now=lambda: NOW + timedelta(seconds=self.now_s),
            clock_s=lambda: self.now_s,
        )

    def scale(self) -> str:
        return self.actuator.apply(decided(POOL, 2, 3)).error


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        pytest.param(
            Refusal(429, "too many requests"),
            "the API server answered 429: too many requests; the next look shows whether it was written; "
            "left alone until 2026-03-02T09:00:01+00:00 (1 s)",
            id="too many requests",
        ),
        pytest.param(
            Refusal(429, headers={"Retry-After": "17"}), "09:00:17+00:00 (17 s)", id="too many, and for how long"
        ),
        pytest.param(Refusal(503, headers={"Retry-After": "0"}), "(1 s)", id="at once again is too soon"),
        pytest.param(Refusal(503, headers={"Retry-After": "86400"}), "(600 s)", id="a day is not believed"),
        pytest.param(
            Refusal(503, headers={"Retry-After": "Mon, 02 Mar 2026 09:00:00 GMT"}), "(1 s)", id="a date is not read"
        ),
        pytest.param(Refusal(500, "etcd"), "the API server answered 500: etcd", id="it fails"),
        pytest.param(Refusal(200, "Log in!"), "is a proxy in between?", id="something else answers"),
        pytest.param(Refusal(504), "the API server answered 504: no", id="it is too late"),
    ],
)
def test_a_busy_server_is_asked_once_and_left_alone(server: FakeApiServer, refusal: Refusal, error: str) -> None:
    server.refusals["PUT"] = refusal
    stage = Stage(server)

    first, again = stage.scale(), stage.scale()

    assert error in first
    assert "Deployment llm/decode is left alone until" in again
    assert server.written() == 1


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        pytest.param(
            Refusal(403, 'User "x" cannot update resource "deployments/scale" in API group "apps"'),
            "a right is missing: apps deployments/scale update in namespace llm",
            id="a right is missing",
        ),
        pytest.param(
            Refusal(403, "admission webhook says: frozen"),
            "the API server forbids it: admission webhook says: frozen",
            id="admission forbids it, and no right would help",
        ),
        pytest.param(Refusal(401, "Unauthorized"), "does not accept the token (401)", id="the token is not accepted"),
        pytest.param(Refusal(422, "replicas: too many"), "refused it (422): replicas: too many", id="it is invalid"),
        pytest.param(Refusal(404, "not found"), "Deployment llm/decode is gone: not found", id="it is gone"),
        pytest.param(Refusal(409, "conflict"), "and the decision is dropped", id="somebody was faster"),
    ],
)
def test_a_refusal_is_told_and_the_next_decision_is_tried(server: FakeApiServer, refusal: Refusal, error: str) -> None:
    server.refusals["PUT"] = refusal
    stage = Stage(server)

    errors = [stage.scale(), stage.scale()]

    assert error in errors[0]
    assert errors[0] == errors[1]
    assert server.written() == 2


def test_a_server_that_does_not_answer_is_asked_once_and_in_time(server: FakeApiServer) -> None:
    stage = Stage(server, timeout_s=0.3)
    assert stage.scale() == ""
    server.refusals["PUT"] = Refusal(200, late_s=2.0)

    error = stage.scale()

    assert "the API server could not be reached" in error
    assert "the next look shows whether it was written" in error
    assert server.written() == 2
    # The server is told as well how long anybody waits.
    assert {query["timeout"][0] for _, _, query in server.asked} == {"300ms"}


def test_one_good_answer_ends_the_waiting(server: FakeApiServer) -> None:
    server.refusals["PUT"] = Refusal(503)
    stage = Stage(server)
    waits = []
    for _ in range(3):
        waits.append(stage.scale().rpartition("(")[2])
        stage.now_s += 100.0
    del server.refusals["PUT"]
    assert stage.scale() == ""
    server.refusals["PUT"] = Refusal(503)

    assert [*waits, stage.scale().rpartition("(")[2]] == ["1 s)", "2 s)", "4 s)", "1 s)"]


def test_each_target_waits_for_itself(server: FakeApiServer) -> None:
    server.refusals["PUT"] = Refusal(503)
    stage = Stage(server)
    stage.scale()

    same = stage.scale()
    other = stage.actuator.apply(decided(PoolRef("llm", "Deployment", "prefill"), 2, 3)).error

    assert "is left alone until" in same
    assert "the API server answered 503" in other
    assert server.written() == 2


def test_a_token_that_rotates_is_read_anew(server: FakeApiServer) -> None:
    """As the configuration of a pod does it, before each request."""
    tokens = iter(f"Bearer {number}" for number in range(100))
    client = server.client()

    def renew(configuration: Configuration) -> None:
        configuration.api_key["BearerToken"] = next(tokens)

    client.configuration.api_key["BearerToken"] = "Bearer old"
    client.configuration.refresh_api_key_hook = renew

    error = ScaleActuator(client, may_write=lambda: True).apply(decided(POOL, 2, 3)).error

    assert error == ""
    assert server.tokens == [f"Bearer {number}" for number in range(len(server.asked))]


def test_a_time_in_which_nothing_can_be_answered_is_refused(server: FakeApiServer) -> None:
    with pytest.raises(ValueError, match="a timeout of 0 s leaves no time to answer"):
        ScaleActuator(server.client(), may_write=lambda: True, timeout_s=0.0)
