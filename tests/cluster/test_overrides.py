"""What a person says of a target with ``aiops pause`` and ``aiops hold`` stands on it, as the observer reads it."""

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest
from kubernetes import client

from aiops.act.overrides import HOLD_AT, PAUSED, OverrideError, hold, pause, release
from aiops.model.cluster import Override
from aiops.model.refs import PoolRef
from aiops.observe.cluster_overrides import read_override
from tests.act.granted import NOW, grant
from tests.cluster.manifests import Server
from tests.cluster.place import Place

pytestmark = [pytest.mark.real, pytest.mark.slow]

LATER = NOW + timedelta(hours=2)
Say = Callable[[client.ApiClient, PoolRef], None]


def said(place: Place, kind: str) -> tuple[dict[str, str], Override | None, str]:
    """The annotations that aiops knows, and what the observer reads in them."""
    target = place.dynamic.resources.get(api_version="apps/v1", kind=kind).get(name="decode", namespace=place.namespace)
    annotations = {
        key: value for key, value in target.to_dict()["metadata"].get("annotations", {}).items() if "aiops" in key
    }
    return (annotations, *read_override(annotations, NOW))


@pytest.mark.parametrize(
    ("say", "annotations", "override"),
    [
        pytest.param(
            lambda api, pool: pause(api, pool, NOW), {PAUSED: "true"}, Override(None, None), id="paused until released"
        ),
        pytest.param(
            lambda api, pool: pause(api, pool, NOW, LATER),
            {PAUSED: "2026-03-02T11:00:00Z"},
            Override(None, LATER),
            id="paused until a time",
        ),
        pytest.param(
            lambda api, pool: pause(api, pool, NOW, LATER.astimezone(timezone(timedelta(hours=1)))),
            {PAUSED: "2026-03-02T11:00:00Z"},
            Override(None, LATER),
            id="paused until a time of another zone",
        ),
        pytest.param(lambda api, pool: hold(api, pool, 4, NOW), {HOLD_AT: "4"}, Override(4, None), id="held"),
        pytest.param(
            lambda api, pool: hold(api, pool, 0, NOW, LATER),
            {HOLD_AT: "0@2026-03-02T11:00:00Z"},
            Override(0, LATER),
            id="held at none until a time",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_an_override_stands_on_its_target(
    place: Place, kind: str, say: Say, annotations: dict[str, str], override: Override
) -> None:
    place.apply(Server(name="decode").deployment(), Server(name="decode").stateful_set())

    say(place.plane.admin, PoolRef(place.namespace, kind, "decode"))

    assert said(place, kind) == (annotations, override, "")


def test_the_last_word_counts_and_release_takes_it_back(place: Place) -> None:
    place.apply(Server(name="decode").deployment())
    pool = PoolRef(place.namespace, "Deployment", "decode")
    admin = place.plane.admin

    states = []
    for say in (
        lambda: hold(admin, pool, 4, NOW),
        lambda: pause(admin, pool, NOW),
        lambda: hold(admin, pool, 5, NOW),
        lambda: release(admin, pool),
        lambda: release(admin, pool),
    ):
        say()
        states.append(said(place, "Deployment")[0])

    assert states == [{HOLD_AT: "4"}, {PAUSED: "true"}, {HOLD_AT: "5"}, {}, {}]


@pytest.mark.parametrize(
    ("say", "error"),
    [
        pytest.param(
            lambda api, pool: pause(api, pool, NOW, NOW - timedelta(hours=1)),
            r"2026-03-02T08:00:00\+00:00 is past; give a time after",
            id="until a time that is past",
        ),
        pytest.param(
            lambda api, pool: hold(api, pool, 4, NOW, datetime(2026, 3, 2, 11)),  # noqa: DTZ001
            "names no time zone; write it with one",
            id="until a time of no zone",
        ),
        pytest.param(lambda api, pool: hold(api, pool, -1, NOW), "-1 replicas cannot be held", id="below nothing"),
    ],
)
def test_a_word_that_means_nothing_changes_nothing(place: Place, say: Say, error: str) -> None:
    place.apply(Server(name="decode").deployment())

    with pytest.raises(ValueError, match=error):
        say(place.plane.admin, PoolRef(place.namespace, "Deployment", "decode"))

    assert said(place, "Deployment") == ({}, None, "")


@pytest.mark.parametrize(
    ("kind", "name", "error"),
    [
        pytest.param("Deployment", "decode", r"a right is missing: apps deployments patch in namespace", id="no right"),
        pytest.param("Sandcastle", "decode", "the cluster has no kind Sandcastle", id="no such kind"),
    ],
)
def test_a_refusal_of_the_cluster_is_told(place: Place, kind: str, name: str, error: str) -> None:
    place.apply(Server(name="decode").deployment())

    with pytest.raises(OverrideError, match=error):
        pause(grant(place, "observe", "act"), PoolRef(place.namespace, kind, name), NOW)

    assert said(place, "Deployment") == ({}, None, "")


def test_a_target_that_is_gone_is_told(place: Place) -> None:
    with pytest.raises(OverrideError, match=r"Deployment .*/decode is gone"):
        pause(place.plane.admin, PoolRef(place.namespace, "Deployment", "decode"), NOW)
