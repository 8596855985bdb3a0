"""One of several processes leads, by a real Lease: never two, and soon another where the first is gone."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from aiops.act.lease import LeaseElector
from aiops.act.scale import ScaleActuator
from aiops.model.refs import PoolRef
from tests.act.granted import allow, decided, grant, writes
from tests.cluster.manifests import Server
from tests.cluster.place import Place
from tests.cluster.program import Program
from tests.parts import wait_for

pytestmark = [pytest.mark.real, pytest.mark.slow]

LEASE_S = 3
MARGIN_S = 1.0
RETRY_S = 0.5


def new_elector(place: Place, identity: str, account: str = "aiops", **settings: object) -> LeaseElector:
    stated = {"lease_s": LEASE_S, "margin_s": MARGIN_S, "retry_s": RETRY_S, "timeout_s": 1.0, **settings}
    return LeaseElector(place.plane.client_of(account, place.namespace), place.namespace, "aiops", identity, **stated)


def lease_of(place: Place) -> client.V1LeaseSpec | None:
    try:
        return client.CoordinationV1Api(place.plane.admin).read_namespaced_lease("aiops", place.namespace).spec
    except ApiException as error:
        if error.status != 404:
            raise
        return None


@pytest.fixture
def allowed(place: Place) -> Place:
    """A place in which aiops may elect its leader, as deploy/controller has it."""
    grant(place, "controller/leader-election.yaml")
    return place


# Processes that are killed, stopped and cut off


@dataclass
class Contender:
    process: subprocess.Popen[str]
    said: list[tuple[float, bool]]

    @property
    def leads(self) -> bool:
        return bool(self.said) and self.said[-1][1]


@contextmanager
def contending(place: Place) -> Iterator[Contender]:
    kubeconfig = place.plane.kubeconfig("aiops", place.namespace)
    command = [sys.executable, "-m", "tests.act.contender", str(kubeconfig), place.namespace, str(LEASE_S)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        contender = Contender(process, [])

        def listen() -> None:
            for line in process.stdout or ():
                at_s, _, state = line.strip().partition(" ")
                contender.said.append((float(at_s), state == "leads"))

        Thread(target=listen, daemon=True).start()
        try:
            yield contender
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()


def two_of(place: Place, stack: ExitStack) -> tuple[Contender, Contender]:
    """The leader and the follower."""
    both = [stack.enter_context(contending(place)) for _ in range(2)]
    wait_for(lambda: all(one.said for one in both) and any(one.leads for one in both), "one of two leads")
    leader, follower = sorted(both, key=lambda one: not one.leads)
    return leader, follower


def test_a_leader_that_is_killed_is_followed_within_the_lease_time(
    allowed: Place,
) -> None:
    with ExitStack() as stack:
        leader, follower = two_of(allowed, stack)
        assert not follower.leads
        leader.process.kill()
        leader.process.wait()
        renewed_at = lease_of(allowed).renew_time
        wait_for(lambda: follower.leads, "the other one leads")
        lease = lease_of(allowed)

    assert lease.acquire_time - renewed_at >= timedelta(seconds=LEASE_S)
    assert lease.lease_transitions == 1


def test_a_leader_that_was_frozen_wakes_up_as_a_follower(allowed: Place) -> None:
    with ExitStack() as stack:
        leader, follower = two_of(allowed, stack)
        leader.process.send_signal(signal.SIGSTOP)
        wait_for(lambda: follower.leads, "the other one leads")
        leader.process.send_signal(signal.SIGCONT)
        wait_for(lambda: not leader.leads, "the first one knows it")
        woke = [leads for _, leads in leader.said]

    # It never called itself leader again: the clock that its lead is measured by had gone on.
    assert woke[-2:] == [True, False]


def test_a_leader_that_ends_cleanly_is_followed(allowed: Place) -> None:
    with ExitStack() as stack:
        leader, follower = two_of(allowed, stack)
        leader.process.communicate("", timeout=20)
        wait_for(lambda: follower.leads, "the other one leads")

    assert leader.process.returncode == 0
    assert lease_of(allowed).lease_transitions == 1


@contextmanager
def watched(*electors: LeaseElector) -> Iterator[list[tuple[bool, ...]]]:
    """Who called themselves leader, as often as one can look."""
    seen: list[tuple[bool, ...]] = []
    over = Event()

    def look() -> None:
        while not over.is_set():
            now = tuple(elector.leads() for elector in electors)
            if not seen or seen[-1] != now:
                seen.append(now)
            time.sleep(0.001)

    thread = Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def test_a_leader_whose_right_is_taken_stops_before_another_one_leads(allowed: Place) -> None:
    allow(allowed, ("coordination.k8s.io", "leases", "get,create,update"), account="other")
    first, second = new_elector(allowed, "first", "other"), new_elector(allowed, "second")

    with watched(first, second) as seen, first:
        wait_for(first.leads, "the first leads")
        with second:
            client.RbacAuthorizationV1Api(allowed.plane.admin).delete_namespaced_role_binding(
                "some-other-other", allowed.namespace
            )
            wait_for(second.leads, "the second leads")
            problem = first.problem

    assert re.fullmatch(
        rf"a right is missing: coordination\.k8s\.io leases (get|update) in namespace {allowed.namespace}", problem
    )
    assert seen[:4] == [(False, False), (True, False), (False, False), (False, True)]
    assert (True, True) not in seen


def freeze(server: Program) -> None:
    os.kill(server.pid or 0, signal.SIGSTOP)


def wake(server: Program) -> None:
    os.kill(server.pid or 0, signal.SIGCONT)


@pytest.mark.parametrize(
    ("end", "begin"),
    [
        pytest.param(Program.stop, Program.start, id="it is stopped"),
        # A renewal that was sent before may be carried out long after.
        pytest.param(freeze, wake, id="it hangs"),
    ],
)
def test_without_an_api_server_nobody_leads_and_afterwards_one_does(
    allowed: Place, end: Callable[[Program], None], begin: Callable[[Program], None]
) -> None:
    first, second = new_elector(allowed, "first"), new_elector(allowed, "second")
    server = allowed.plane.api_server

    with watched(first, second) as seen, first:
        wait_for(first.leads, "the first leads")
        with second:
            end(server)
            try:
                wait_for(lambda: not first.leads(), "the first gives up")
                problem = first.problem
            finally:
                begin(server)
                allowed.plane.wait_until_ready()
            wait_for(lambda: first.leads() or second.leads(), "one leads again")

    assert "the API server could not be reached" in problem
    assert (True, True) not in seen


# One attempt at a time, on a clock that is set by hand


@dataclass
class HandClock:
    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_of_two_that_find_the_lease_free_one_gets_it(allowed: Place) -> None:
    clock = HandClock()
    first, second = (new_elector(allowed, name, clock_s=clock) for name in ("first", "second"))

    first.attempt()
    second.attempt()

    assert (first.leads(), second.leads()) == (True, False)
    assert (first.problem, second.problem) == ("", "")
    assert lease_of(allowed).holder_identity == "first"
    assert lease_of(allowed).lease_transitions == 0
    assert first.valid_until_s == clock.now_s + LEASE_S - MARGIN_S


def test_a_lease_that_is_released_is_free_at_once(allowed: Place) -> None:
    clock = HandClock()
    first, second = new_elector(allowed, "first", clock_s=clock), new_elector(allowed, "second", clock_s=clock)

    with first:
        wait_for(first.leads, "the first leads")
        second.attempt()
        assert not second.leads()
    second.attempt()

    assert (first.leads(), second.leads()) == (False, True)
    assert lease_of(allowed).holder_identity == "second"


@pytest.mark.parametrize(
    "skewed_s", [pytest.param(-7200, id="two hours slow"), pytest.param(7200, id="two hours fast")]
)
def test_what_the_leaders_clock_shows_does_not_matter(allowed: Place, skewed_s: float) -> None:
    clock = HandClock()
    first, second = new_elector(allowed, "first", clock_s=clock), new_elector(allowed, "second", clock_s=clock)
    first.attempt()
    shown = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime(time.time() + skewed_s))
    leases = client.CoordinationV1Api(allowed.plane.admin)
    leases.patch_namespaced_lease("aiops", allowed.namespace, {"spec": {"renewTime": shown}})

    led = []
    for _ in range(4):
        second.attempt()
        led.append(second.leads())
        clock.now_s += 1.0

    # A whole lease from the moment at which it first saw the renewal.
    assert led == [False, False, False, True]


def test_a_leader_that_could_not_renew_gives_up_a_margin_before_another_may_lead(allowed: Place) -> None:
    clock = HandClock()
    first, second = new_elector(allowed, "first", clock_s=clock), new_elector(allowed, "second", clock_s=clock)
    first.attempt()
    second.attempt()

    states = []
    for _ in range(8):
        clock.now_s += 0.5
        second.attempt()
        states.append((first.leads(), second.leads()))
    first.attempt()

    assert states == [(True, False)] * 3 + [(False, False)] * 2 + [(False, True)] * 3
    assert (first.leads(), second.leads()) == (False, True)


def test_a_lease_that_runs_out_fences_a_write_that_was_under_way(allowed: Place) -> None:
    allowed.add_nodes()
    allowed.apply(Server(name="decode", replicas=2).deployment())
    clock = HandClock()
    elector = new_elector(allowed, "first", clock_s=clock)
    elector.attempt()

    def late() -> str:
        # Asked before the read and again before the write; each time takes long.
        clock.now_s += 1.5
        return ""

    actuator = ScaleActuator(grant(allowed, "act"), may_write=elector.leads, writes_off=late)
    outcome = actuator.apply(decided(PoolRef(allowed.namespace, "Deployment", "decode"), 2, 3))

    assert not outcome.applied
    assert "does not hold the Lease" in outcome.error
    verbs = [
        call["verb"]
        for call in allowed.plane.calls("aiops", allowed.namespace)
        if call.get("objectRef", {}).get("subresource") == "scale"
    ]
    assert (verbs, writes(allowed)) == (["get"], [])


@pytest.mark.parametrize(
    ("verbs", "missing"),
    [
        pytest.param("create,update", "get", id="get"),
        pytest.param("get,update", "create", id="create"),
        pytest.param("get,create", "update", id="update"),
    ],
)
def test_a_missing_right_is_a_problem_that_names_it(place: Place, verbs: str, missing: str) -> None:
    allow(place, ("coordination.k8s.io", "leases", verbs))
    elector = new_elector(place, "first", clock_s=HandClock())

    elector.attempt()
    elector.attempt()

    assert elector.problem == f"a right is missing: coordination.k8s.io leases {missing} in namespace {place.namespace}"


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"lease_s": 3, "margin_s": 2.0, "retry_s": 2.0}, id="it runs out between two renewals"),
        pytest.param({"lease_s": 3, "margin_s": 0.0}, id="no time for a write that is under way"),
        pytest.param({"lease_s": 3, "retry_s": 0.0}, id="renewed all the time"),
    ],
)
def test_times_that_cannot_work_are_refused(settings: dict[str, float]) -> None:
    stated = {"margin_s": 1.0, "retry_s": 0.5, **settings}

    with pytest.raises(ValueError, match="cannot be renewed every"):
        LeaseElector(client.ApiClient(client.Configuration()), "aiops", "aiops", "first", **stated)
