"""Mode emit as it runs at its users: aiops → Prometheus → KEDA's operator and adapter → HPA → Deployment, all real.

Every write of ``spec.replicas`` is looked at: whatever fails, none may be a number that aiops did not ask for.
"""

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from aiops.serve.pod_fleet import Address
from tests.cluster.live import Settings, factory_on_pods, router
from tests.cluster.manifests import Manifest
from tests.cluster.place import Place
from tests.cluster.recorder import recorder
from tests.cluster.recording import ReplicasSet, read_recording
from tests.cluster.scrape import PodPrometheus
from tests.keda.emitting import PORTS, emitting, exported, scaled_objects, unasked, wrote_only_its_lease
from tests.parts import wait_for
from tests.simulate.factories import shipped_profiles

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.usefixtures("running_keda")]

POOL = "chat-8b"
FAILURES = 3  # as aiops keda prints it
SETTINGS = Settings(cold_start_s=(2.0, 4.0), grace_s=20)


def policy(place: Place, least: int = 1) -> str:
    pool = {"name": POOL, "target": {"name": POOL}, "variant": "h100", "min": least, "max": 24}
    spec = {
        "model": SETTINGS.model,
        "mode": "emit",
        "pools": [pool],
        "scaleUp": {"maxStep": "400%", "per": "10s"},
    }
    metadata = {"name": POOL, "namespace": place.namespace}
    variants = {"h100": {"gpus": 1, "profile": SETTINGS.profile}}
    return yaml.safe_dump({"metadata": metadata, "spec": spec, "variants": variants})


@dataclass(frozen=True, slots=True)
class Emitted:
    """A pool of two replicas that serve, with what aiops keda printed for it, and what is recorded of it."""

    place: Place
    prometheus: PodPrometheus
    folder: Path
    file: Path
    began_s: float

    @property
    def asked(self) -> int:
        found: int = self.place.apps.read_namespaced_deployment(POOL, self.place.namespace).spec.replicas
        return found

    def hold_at(self, replicas: int | None) -> None:
        """Let a person hold the pool at a number: it is what aiops exports then, whatever the load. None lets go."""
        at = None if replicas is None else str(replicas)
        held = {"metadata": {"annotations": {"aiops.tokenfactory.dev/hold-at": at}}}
        self.place.apps.patch_namespaced_deployment(POOL, self.place.namespace, held)

    def wait_for(self, replicas: int) -> None:
        wait_for(lambda: self.asked == replicas, f"{replicas} replicas are asked for", timeout_s=120.0)

    def failures(self) -> int:
        """How often in a row KEDA had no number when the autoscaler asked for it; from the fourth on it falls back."""
        kind = self.place.dynamic.resources.get(api_version="keda.sh/v1alpha1", kind="ScaledObject")
        health = kind.get(POOL, self.place.namespace).to_dict().get("status", {}).get("health") or {}
        return max((one.get("numberOfFailures") or 0 for one in health.values()), default=0)

    def stays(self) -> list[int]:
        """Wait until KEDA has no number, and see that three fallbacks change nothing; what the replicas were so far."""
        wait_for(lambda: self.failures() > FAILURES, "KEDA falls back", timeout_s=180.0)
        before = self.replicas()
        wait_for(lambda: self.failures() > FAILURES + 3, "KEDA has fallen back three times more", timeout_s=90.0)
        assert self.replicas() == before
        return before

    def autoscaler(self) -> dict[str, Any]:
        """The HPA that KEDA made."""
        kind = self.place.dynamic.resources.get(api_version="autoscaling/v2", kind="HorizontalPodAutoscaler")
        (found,) = kind.get(namespace=self.place.namespace).to_dict()["items"]
        return dict(found)

    def tolerates(self) -> object:
        return self.autoscaler()["spec"]["behavior"]["scaleUp"].get("tolerance")

    def seen_by_the_autoscaler(self) -> str:
        """The number ÷ the replicas there are, as the autoscaler tells it."""
        metrics = self.autoscaler()["status"].get("currentMetrics") or [{}]
        return str(metrics[0].get("external", {}).get("current", {}).get("averageValue"))

    def value(self, query: str) -> float | None:
        rows = self.prometheus.query(query)
        return float(rows[0]["value"][1]) if rows else None

    def replicas(self) -> list[int]:
        """What ``spec.replicas`` was so far, one after the other."""
        run = read_recording(self.file)
        return [run.of(ReplicasSet, POOL)[0].replicas, *(after.replicas for _, after in run.moves(POOL))]

    def told(self) -> str:
        """Whether the timeline is whole, and every number in it one that aiops had exported; else what is wrong."""
        run, numbers = read_recording(self.file), exported(self.prometheus, f"{self.place.namespace}/{POOL}")
        return f"unseen {run.unseen(POOL)}, unasked {unasked(run, POOL, self.began_s, numbers)}"


@contextmanager
def emitted(
    place: Place, prometheus: PodPrometheus, folder: Path, settings: Settings, routers: Sequence[Address] = ()
) -> Iterator[Emitted]:
    """Two replicas that serve under a load, and KEDA with what aiops keda printed; aiops itself does not run yet."""
    place.add_nodes(3)
    settings = replace(settings, namespace=place.namespace)
    file = folder / "run.jsonl"
    with factory_on_pods(place, [settings.spec], shipped_profiles(), routers=routers):
        place.apply(settings.server.deployment())
        place.wait_for_ready(2)
        began_s = time.time()
        with recorder(place, prometheus.url, file):
            place.apply(*scaled_objects(policy(place), folder, prometheus))
            yield Emitted(place, prometheus, folder, file, began_s)


def without_guard(made: Manifest) -> None:
    del made["spec"]["fallback"]
    del made["spec"]["triggers"][0]["metadata"]["ignoreNullValues"]


def with_a_fallback_to_none(made: Manifest) -> None:
    made["spec"]["fallback"]["replicas"] = 0


def without_tolerance(made: Manifest) -> None:
    for rules in made["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"].values():
        del rules["tolerance"]


def test_a_load_s_number_goes_all_the_way_and_stays_when_those_who_tell_it_are_gone(
    place: Place, prometheus: PodPrometheus, tmp_path: Path
) -> None:
    # From the start as many requests as eight replicas can answer.
    busy = replace(SETTINGS, night_req_per_s=45.0, peak_req_per_s=45.0)
    with emitted(place, prometheus, tmp_path, busy) as it:
        assert it.stays() == [2], "KEDA was there before aiops"

        with emitting(place, prometheus, tmp_path, policy(place)) as aiops:
            wait_for(lambda: it.asked >= 6, "the load's replicas are asked for", timeout_s=240.0)
            wait_for(lambda: len(place.ready_pods()) >= 6, "they serve", timeout_s=180.0)

            prometheus.program.stop()
            it.stays()
            prometheus.program.start()
            prometheus.wait_until_ready()
            wait_for(lambda: it.failures() == 0, "KEDA has a number again", timeout_s=120.0)
            # Of whom it has not scraped since its start it does not notice that they are gone, for 5 minutes.
            since_s = time.time()
            wait_for(lambda: (it.value("max(timestamp(aiops_leader))") or 0.0) > since_s, "aiops is scraped again")

            aiops.program.stop(signal.SIGKILL)
            last = it.stays()

        assert it.told() == "unseen 0, unasked []"
        assert wrote_only_its_lease(place)

        # What aiops keda puts there for this case is needed: without it the replicas go.
        place.apply(*scaled_objects(policy(place), tmp_path, prometheus, without_guard))
        it.wait_for(1)
        assert it.replicas() == [*last, 1]


def test_each_number_goes_through_as_it_is_and_of_two_processes_one_tells_it(
    place: Place, prometheus: PodPrometheus, tmp_path: Path
) -> None:
    pool = f'pool="{place.namespace}/{POOL}"'
    told_by = f"count(aiops_desired_replicas{{{pool}}})"
    with ExitStack() as stack:
        it = stack.enter_context(emitted(place, prometheus, tmp_path, SETTINGS))
        it.hold_at(2)
        first, _ = (
            stack.enter_context(emitting(place, prometheus, tmp_path, policy(place), port=port)) for port in PORTS
        )
        for replicas in (20, 21, 20):
            it.hold_at(replicas)
            it.wait_for(replicas)
        # One more of many is a change of less than the tenth that an autoscaler by itself does not mind.
        assert it.tolerates() == "0"
        place.apply(*scaled_objects(policy(place), tmp_path, prometheus, without_tolerance))
        wait_for(lambda: it.tolerates() is None, "KEDA has taken the tolerance away")
        it.hold_at(21)
        wait_for(lambda: it.seen_by_the_autoscaler() == "1050m", "the autoscaler has seen 21 over 20", timeout_s=90.0)
        assert it.asked == 20
        place.apply(*scaled_objects(policy(place), tmp_path, prometheus))
        it.wait_for(21)

        wait_for(lambda: it.value('sum(up{job="aiops"})') == 2, "both are scraped")
        assert it.value("sum(aiops_leader)") == 1
        first.program.stop(signal.SIGKILL)
        leads = 'sum(aiops_leader) and on() (sum(up{job="aiops"}) == 1)'
        wait_for(lambda: it.value(leads) == 1, "the other leads", timeout_s=120.0)
        it.hold_at(3)
        it.wait_for(3)

        assert it.replicas() == [2, 20, 21, 20, 21, 3]
        assert it.told() == "unseen 0, unasked []"
        assert it.value(f"max_over_time({told_by}[30m:1s])") == 1


def test_a_pool_goes_to_zero_and_comes_back_but_not_because_nobody_tells_its_number(
    place: Place, prometheus: PodPrometheus, tmp_path: Path
) -> None:
    with emitted(place, prometheus, tmp_path, SETTINGS, [router(place.plane)]) as it:
        it.hold_at(3)
        told = policy(place, least=0)
        place.apply(*scaled_objects(told, tmp_path, prometheus))
        with emitting(place, prometheus, tmp_path, told) as aiops:
            it.wait_for(3)
            # Asked for none at once, the autoscaler may take all but one before KEDA takes that one, or KEDA takes all.
            for replicas in (1, 0):
                it.hold_at(replicas)
                it.wait_for(replicas)
            wait_for(lambda: not place.pods(), "nothing is left that would tell of the load")
            it.hold_at(None)
            wait_for(place.ready_pods, "what waits at the router has woken a replica", timeout_s=120.0)
            it.hold_at(3)
            it.wait_for(3)
            aiops.program.stop(signal.SIGKILL)
            woken = it.stays()
        assert it.told() == "unseen 0, unasked []"
        assert (woken[:5], woken[-1]) == ([2, 3, 1, 0, 1], 3)

        # Whatever its behavior says, KEDA looks at this number first.
        place.apply(*scaled_objects(told, tmp_path, prometheus, with_a_fallback_to_none))
        with emitting(place, prometheus, tmp_path, told, port=PORTS[1]) as aiops:
            wait_for(lambda: it.failures() == 0, "KEDA has a number again", timeout_s=120.0)
            aiops.program.stop(signal.SIGKILL)
            it.wait_for(0)
