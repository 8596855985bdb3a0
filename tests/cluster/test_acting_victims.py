"""Of pods that serve, those with the fewest requests leave when aiops scales down, and their streams finish."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from aiops.act.deletion_cost import ANNOTATION
from aiops.simulate.spec import RouterKind, RouterSpec
from tests.act.granted import grant
from tests.cluster.controller import RIGHTS
from tests.cluster.live import Live, factory_on_pods
from tests.cluster.place import Place
from tests.cluster.scrape import PodPrometheus
from tests.cluster.test_acting import SETTINGS, aiops_run, annotate
from tests.cluster.test_deletion_cost import patched
from tests.cluster.test_live_factory import failed, lost
from tests.parts import http_text, wait_for
from tests.simulate.factories import shipped_profiles

pytestmark = [pytest.mark.real, pytest.mark.slow]

REPLICAS, HELD = 8, 5
# Scrapes and the loop's own look are up to a second apart each.
BLUR = timedelta(seconds=3)


@pytest.fixture
def uneven(place: Place) -> Iterator[tuple[Place, Live]]:
    """Eight replicas, of which the router likes one more than the others."""
    place.add_nodes(2)
    rate = {"night_req_per_s": 20.0, "peak_req_per_s": 20.0}
    settings = replace(SETTINGS, namespace=place.namespace, replicas=REPLICAS, grace_s=3600, **rate)
    router = RouterSpec(kind=RouterKind.RANDOM, affinity=0.3)
    with factory_on_pods(place, [settings.spec.model_copy(update={"router": router})], shipped_profiles()) as live:
        # Held from the start, so that nothing but the hold below moves it.
        deployment = settings.server.deployment()
        deployment["metadata"]["annotations"] = {"aiops.tokenfactory.dev/hold-at": str(REPLICAS)}
        place.apply(deployment)
        place.wait_for_ready(REPLICAS)
        yield place, live


def shrinking(page: str) -> list[dict[str, Any]]:
    """The decisions that took replicas away, the first one first."""
    told = json.loads(http_text(f"{page}/api/v1/decisions?changed=true"))
    return [each for each in reversed(told) if each["decision"]["desired"] < each["decision"]["current"]]


def requests_around(prometheus: PodPrometheus, place: Place, at: datetime) -> dict[str, tuple[float, float]]:
    """The fewest and the most requests that each pod had about a time."""
    labels = f'{{namespace="{place.namespace}"}}'
    found: dict[str, tuple[float, float]] = {}
    for name in ("min_over_time", "max_over_time"):
        span = f"{round(2 * BLUR.total_seconds())}s"
        both = f"{name}((vllm:num_requests_running{labels} + vllm:num_requests_waiting{labels})[{span}:1s])"
        url = f"{prometheus.url}/api/v1/query?query={quote(both)}&time={(at + BLUR).timestamp()}"
        for one in json.loads(http_text(url))["data"]["result"]:
            pod, value = one["metric"]["pod"], float(one["value"][1])
            found[pod] = (found.get(pod, (value, value))[0], value)
    return found


def test_the_least_busy_leave_and_their_streams_finish(
    uneven: tuple[Place, Live], prometheus: PodPrometheus, tmp_path: Path
) -> None:
    place, live = uneven
    grant(place, *RIGHTS, "deletion-cost")
    before = {pod.metadata.name for pod in place.pods()}
    with aiops_run(place, prometheus, tmp_path, options=["--deletion-cost"]) as page:
        wait_for(lambda: "held" in http_text(f"{page}/metrics"), "the hold is seen", timeout_s=120.0)
        wait_for(lambda: prometheus.query(f'vllm:num_requests_running{{namespace="{place.namespace}"}}>0'), "they work")
        annotate(place, hold_at=str(HELD))
        wait_for(lambda: shrinking(page), "the decision to shrink", timeout_s=120.0)
        place.wait_for_ready(HELD)
        after = {pod.metadata.name: pod.metadata.annotations or {} for pod in place.pods()}
        (decision,) = shrinking(page)
    victims = decision["decision"]["victims"]
    gone = before - after.keys()
    around = requests_around(prometheus, place, datetime.fromisoformat(decision["at"]))

    assert {victim["replica"] for victim in victims} == gone == set(patched(place))
    assert [victim["requests"] for victim in victims] == sorted(victim["requests"] for victim in victims)
    assert max(around[name][0] for name in gone) <= min(around[name][1] for name in after), around
    assert max(around, key=lambda name: around[name][1]) in after, "the busiest stays"
    assert [name for name, annotations in after.items() if ANNOTATION in annotations] == []
    assert (failed(live), lost(live)) == (0, 0)
