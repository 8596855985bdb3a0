"""discover on a real cluster: what serves is found by engines and by labels, with the rights of mode observe."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiops.model.policy import PolicySet
from aiops.observe.policies import read_policies
from aiops.simulate.spec import FactorySpec
from tests.act.granted import ACCOUNT, allow, grant
from tests.cli.factory import aiops
from tests.cluster.control_plane import ControlPlane
from tests.cluster.live import factory_on_pods
from tests.cluster.manifests import H100, Server
from tests.cluster.place import Place, own_place
from tests.cluster.reading import autoscaler
from tests.cluster.scrape import PodPrometheus
from tests.cluster.test_reading_groups import leader_worker_set, leader_worker_sets, leaders
from tests.parts import wait_for
from tests.simulate.factories import pair, shipped_profiles, workload

pytestmark = [pytest.mark.real, pytest.mark.slow]
__all__ = ["leader_worker_sets"]

MODEL = "meta-llama/Llama-3.3-70B-Instruct"


@pytest.fixture(scope="module")
def found(
    plane: ControlPlane,
    prometheus: PodPrometheus,
    leader_worker_sets: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Place, str, PolicySet]]:
    """A pair that a living factory serves on, and others that are labelled; what discover writes of them."""
    with own_place(plane, "discover") as place:
        place.add_nodes(3)
        grant(place, "observe", "cluster")
        serving = {"llm-d.ai/inference-serving": "true"}
        for role, replicas in (("prefill", 1), ("decode", 2)):
            spot = {"llm-d.ai/variant": "h100-spot"} if role == "decode" else {}
            place.apply(
                Server(name=f"rag-{role}", model="rag", role=role, replicas=replicas, gpus=4, labels=spot).deployment()
            )
        place.apply(
            Server(name="ranker", model="ranker", labels=serving).stateful_set(),
            leader_worker_set(Server(name="huge", model="huge", gpus=8, replicas=0), 2),
            leaders(Server(name="huge", model="huge", replicas=0)),
            autoscaler("theirs", "StatefulSet", "ranker"),
            router(),
        )
        stated = pair(1, 2, model=MODEL, namespace=place.namespace, workload=workload(2))
        for one in stated["pools"]:  # type: ignore[attr-defined]  # it is a list
            one |= {"name": f"rag-{one['role']}", "profile": "llama-70b-h100-tp4"}
        spec = FactorySpec.model_validate(stated)
        with factory_on_pods(place, [spec], shipped_profiles()):
            place.wait_for_ready(4)
            counted = f'count(vllm:num_requests_running{{namespace="{place.namespace}"}})'
            wait_for(lambda: [row["value"][1] for row in prometheus.query(counted)] == ["3"], "all are scraped", 180.0)
            folder = tmp_path_factory.mktemp("found")
            text = discovered(place, prometheus, folder / "found.yaml")
            yield place, text, read_policies([folder / "found.yaml"])


def router() -> dict[str, object]:
    """Something else that lives beside them."""
    labels = {"app": "router"}
    containers = [{"name": "epp", "image": "epp"}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "router"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
        },
    }


def discovered(place: Place, prometheus: PodPrometheus, path: Path) -> str:
    kubeconfig = place.plane.kubeconfig(ACCOUNT, place.namespace)
    access = ("--prometheus", prometheus.url, "--kubeconfig", str(kubeconfig), "--namespace", place.namespace)
    done = aiops("discover", *access, "--out", str(path))
    assert done.returncode == 0, done.stderr
    checked = aiops("validate", str(path))
    assert checked.returncode == 0, checked.stderr
    return path.read_text()


def test_every_model_that_serves_has_a_policy_that_only_watches(found: tuple[Place, str, PolicySet]) -> None:
    place, _, policies = found

    assert {policy.ref.model for policy in policies.policies} == {MODEL, "ranker", "huge"}
    assert {policy.ref.namespace for policy in policies.policies} == {place.namespace}
    assert {policy.spec.mode for policy in policies.policies} == {"observe"}


def test_prefill_and_decode_are_one_policy_with_the_replicas_and_gpus_that_they_have(
    found: tuple[Place, str, PolicySet],
) -> None:
    _, _, policies = found
    (rag,) = [policy for policy in policies.policies if policy.ref.model == MODEL]

    assert [(pool.role, str(pool.target.kind), pool.target.name, pool.min, pool.max) for pool in rag.spec.pools] == [
        ("prefill", "Deployment", "rag-prefill", 1, 4),
        ("decode", "Deployment", "rag-decode", 1, 4),
    ]
    prefill, decode = (policies.variants[pool.variant] for pool in rag.spec.pools)
    assert (prefill.name, decode.name) == ("h100-tp4", "h100-spot")
    assert (prefill.accelerator, prefill.gpus) == (decode.accelerator, decode.gpus) == (H100, 4)
    assert prefill.profile is not None
    assert (prefill.profile.model, prefill.profile.tensor_parallel) == (MODEL, 4), "the engines are what it is of"
    assert decode.profile == prefill.profile


def test_other_kinds_are_found_by_their_labels_and_their_parts_are_no_targets(
    found: tuple[Place, str, PolicySet],
) -> None:
    place, text, policies = found
    targets = {
        policy.ref.model: [(pool.target.kind, pool.target.name) for pool in policy.spec.pools]
        for policy in policies.policies
    }
    huge = next(policy for policy in policies.policies if policy.ref.model == "huge")

    assert targets["ranker"] == [("StatefulSet", "ranker")]
    assert targets["huge"] == [("LeaderWorkerSet", "huge")]
    assert policies.variants[huge.spec.pools[0].variant].gpus == 16, "of the whole group"
    assert huge.spec.pools[0].min == 0
    assert f"# HorizontalPodAutoscaler {place.namespace}/theirs sets its replicas today" in text
    assert text.count("# the model is what labels or flags say: no engine of it is in Prometheus") == 2
    assert "router" not in text


def test_nothing_is_written_to_the_cluster(found: tuple[Place, str, PolicySet]) -> None:
    place, _, _ = found

    assert {call["verb"] for call in place.plane.calls(ACCOUNT, place.namespace)} <= {"get", "list", "create"}
    created = [
        call["objectRef"]["resource"]
        for call in place.plane.calls(ACCOUNT, place.namespace)
        if call["verb"] == "create"
    ]
    assert set(created) <= {"selfsubjectaccessreviews"}, "by which the test itself waits for its rights"


def test_without_the_right_to_list_the_missing_rule_is_named(
    found: tuple[Place, str, PolicySet], prometheus: PodPrometheus
) -> None:
    place, _, _ = found
    allow(place, ("", "pods", "list"), account="blind")
    kubeconfig = place.plane.kubeconfig("blind", place.namespace)

    done = aiops(
        *("discover", "--prometheus", prometheus.url, "--kubeconfig", str(kubeconfig)),
        *("--namespace", place.namespace, "--json"),
    )

    assert done.returncode == 4
    assert 'apiGroups: ["apps"], resources: [deployments], verbs: [list]' in json.loads(done.stdout)["error"]


def test_doctor_finds_nothing_wrong_with_what_was_written_for_engines_that_serve(
    found: tuple[Place, str, PolicySet], prometheus: PodPrometheus, tmp_path: Path
) -> None:
    place, text, _ = found
    # The others have no engines, and no profile.
    documents = text.split("\n---\n")
    (rag,) = [one for one in documents if f"model: {MODEL}\n" in one]
    (tmp_path / "found.yaml").write_text("\n---\n".join([rag, documents[-1]]))
    kubeconfig = place.plane.kubeconfig(ACCOUNT, place.namespace)

    done = aiops(
        *("doctor", "--policy", str(tmp_path / "found.yaml"), "--window", "10s", "--json"),
        *("--prometheus", prometheus.url, "--kubeconfig", str(kubeconfig)),
    )
    findings = json.loads(done.stdout)["findings"]

    assert (done.returncode, [one for one in findings if one["verdict"] == "wrong"]) == (0, [])
    assert {one["verdict"] for one in findings if one["topic"] == "profile"} == {"fine"}
