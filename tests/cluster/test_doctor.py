"""What doctor says of a real cluster: each trouble provoked, asked with the token of a ServiceAccount."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from aiops.model.policy import PolicySet
from aiops.observe.checkup.ask_cluster import ask_cluster
from aiops.observe.kubernetes import connect
from aiops.simulate.spec import FactorySpec
from tests.act.granted import ACCOUNT, allow, grant
from tests.cli.factory import aiops
from tests.cluster.control_plane import ControlPlane
from tests.cluster.live import factory_on_pods
from tests.cluster.manifests import Manifest, Server
from tests.cluster.place import Place, own_place
from tests.cluster.reading import autoscaler
from tests.cluster.scrape import PodPrometheus
from tests.cluster.test_live_factory import LOAD
from tests.parts import free_port, wait_for
from tests.simulate.factories import aggregated, small_profile

pytestmark = [pytest.mark.real, pytest.mark.slow]

POLICY = """\
metadata: {{name: pool, namespace: {namespace}}}
spec:
  model: llama
  mode: {mode}
  objectives: {{ttft: {{p95: {ttft}}}}}
  pools: [{{name: pool, target: {{name: {target}}}, variant: v}}]
variants: {{v: {{profile: {profile}}}}}
"""
EVERYTHING = ("observe", "cluster", "act", "deletion-cost/role.yaml", "controller/leader-election.yaml")
GRACE_S = 3600


@pytest.fixture(scope="module")
def served(plane: ControlPlane, prometheus: PodPrometheus) -> Iterator[Place]:
    """Two replicas that serve, a Prometheus that has seen requests of theirs end, and aiops with all rights."""
    with own_place(plane, "doctor") as place:
        place.add_nodes(2)
        # Made as a program makes it: server-side apply would go on to own the replicas.
        created(place, Server(name="pool", replicas=2, cold_start_s=2, grace_s=GRACE_S).deployment())
        spec = FactorySpec.model_validate(aggregated(model="llama", namespace=place.namespace, workload=LOAD))
        with factory_on_pods(place, [spec], {"small": small_profile()}):
            place.wait_for_ready(2)
            grant(place, *EVERYTHING)
            ended = f'sum(increase(vllm:e2e_request_latency_seconds_count{{namespace="{place.namespace}"}}[1h])) > 150'
            wait_for(lambda: prometheus.query(ended), "requests have ended", 240.0)
            yield place


def created(place: Place, deployment: Manifest, manager: str = "a-program", **annotations: str) -> None:
    deployment["metadata"]["annotations"] = annotations
    place.apps.create_namespaced_deployment(place.namespace, deployment, field_manager=manager)


def idle(name: str, **server: Any) -> Manifest:
    """A target that orders no pod."""
    return Server(name=name, replicas=0, **server).deployment()


def examined(
    place: Place,
    prometheus: PodPrometheus,
    *options: str,
    mode: str = "observe",
    account: str = ACCOUNT,
    **stated: str,
) -> tuple[int, list[dict[str, Any]]]:
    """The exit code and the findings, asked with the token of a ServiceAccount of this place."""
    done = aiops(*command(place, prometheus, mode, account, stated), *options, "--json")
    return done.returncode, json.loads(done.stdout)["findings"]


def command(
    place: Place, prometheus: PodPrometheus, mode: str, account: str, stated: dict[str, str]
) -> tuple[str, ...]:
    folder = place.plane.folder
    profile, policy = folder / "small.yaml", folder / f"{place.namespace}.yaml"
    profile.write_text(small_profile().model_dump_json(by_alias=True))
    known = {"ttft": "2.5s", "profile": profile, "target": "pool"} | stated
    policy.write_text(POLICY.format(namespace=place.namespace, mode=mode, **known))
    kubeconfig = place.plane.kubeconfig(account, place.namespace)
    access = ("--prometheus", prometheus.url, "--kubeconfig", str(kubeconfig))
    return ("doctor", "--policy", str(policy), *access, "--window", "10s")


def of(findings: list[dict[str, Any]], topic: str) -> list[tuple[str, str]]:
    return [(one["verdict"], f"{one['says']} → {one['way_out']}") for one in findings if one["topic"] == topic]


@pytest.mark.parametrize("mode", ["observe", "act"])
def test_where_all_is_well_nothing_is_wrong_and_nothing_doubtful(
    served: Place, prometheus: PodPrometheus, mode: str
) -> None:
    code, findings = examined(served, prometheus, "--deletion-cost", mode=mode)
    # Models of other tests are in the same Prometheus.
    ours = [one for one in findings if "no policy names it" not in one["says"]]

    assert (code, [one for one in ours if one["verdict"] != "fine"]) == (0, [])
    assert {one["topic"] for one in findings} == {
        *("prometheus", "clock", "target-down", "signal", "labels", "scrape", "cluster", "rights", "target", "scaler"),
        *("replicas-in-git", "grace-period", "profile", "objective"),
    }


def test_a_person_reads_it_as_a_table(served: Place, prometheus: PodPrometheus) -> None:
    done = aiops(*command(served, prometheus, "observe", ACCOUNT, {"ttft": "2s"}))
    told = " ".join(done.stdout.split())

    assert done.returncode == 0
    assert "warning objective" in told
    assert "→ set the objective to one of them" in told
    assert told.endswith("fine: warning")


def test_rights_that_are_missing_are_named_as_rules_with_what_grants_them(
    served: Place, prometheus: PodPrometheus
) -> None:
    allow(served, ("apps", "deployments,replicasets", "get,list"), ("", "pods", "list"), account="weak")

    looking, seen = examined(served, prometheus, account="weak")
    acting, findings = examined(served, prometheus, mode="act", account="weak")
    missing = of(findings, "rights")

    assert looking == 0, of(seen, "rights")
    assert {verdict for verdict, _ in of(seen, "rights")} == {"warning", "fine"}
    assert acting == 1
    namespace = served.namespace
    for rule, way_out in (
        ('apiGroups: ["apps"], resources: [deployments/scale], verbs: [update]', f"-n {namespace} -f deploy/act/"),
        ('apiGroups: ["coordination.k8s.io"], resources: [leases], verbs: [create]', "-f deploy/controller/"),
        ("resources: [leases], verbs: [update], resourceNames: [aiops]", "-f deploy/controller/"),
        ("resources: [horizontalpodautoscalers], verbs: [list]", f"-n {namespace} -f deploy/observe/"),
    ):
        assert [verdict for verdict, text in missing if rule in text and text.endswith(way_out)] == ["wrong"], missing
    for rule in ("resources: [nodes], verbs: [list]", "resources: [events], verbs: [patch]"):
        assert [verdict for verdict, text in missing if rule in text] == ["warning"]
    assert {one["about"] for one in findings if one["topic"] == "rights"} == {f"system:serviceaccount:{namespace}:weak"}


def test_the_right_to_scale_everything_is_told(served: Place, prometheus: PodPrometheus) -> None:
    group, name = "rbac.authorization.k8s.io", f"{served.namespace}-scales-all"
    rules = [{"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["update"]}]
    subject = {"kind": "ServiceAccount", "name": "mighty", "namespace": served.namespace}
    allow(served, ("apps", "deployments,replicasets", "get,list"), ("", "pods", "list"), account="mighty")
    served.apply(
        {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules},
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
            "subjects": [subject],
        },
    )

    def told() -> list[str]:
        _, findings = examined(served, prometheus, account="mighty")
        return [text for _, text in of(findings, "rights") if "may set the replicas of every" in text]

    # The authorizer learns of a rule some moments after it is made.
    (only,) = wait_for(told, "it is told")
    assert only.startswith("may set the replicas of every Deployment in the cluster")


def test_another_scaler_of_a_target_is_named(served: Place, prometheus: PodPrometheus) -> None:
    created(served, idle("scaled"))
    served.apply(autoscaler("theirs", "Deployment", "scaled"))

    code, findings = examined(served, prometheus, mode="act", target="scaled")
    _, looking = examined(served, prometheus, target="scaled")

    ((verdict, text),) = of(findings, "scaler")
    assert (code, verdict) == (1, "wrong")
    assert f"HorizontalPodAutoscaler {served.namespace}/theirs sets its replicas too" in text
    assert [verdict for verdict, _ in of(looking, "scaler")] == ["fine"]


@pytest.mark.parametrize(
    ("manager", "keeper"),
    [
        pytest.param("argocd-controller", "Argo CD", id="Argo CD"),
        pytest.param("helm", "Helm", id="Helm"),
        pytest.param("kubectl-client-side-apply", "kubectl apply", id="kubectl apply"),
    ],
)
def test_replicas_that_a_repository_holds_are_told(
    served: Place, prometheus: PodPrometheus, manager: str, keeper: str
) -> None:
    created(served, idle(manager), manager)

    code, findings = examined(served, prometheus, mode="act", target=manager)

    ((verdict, text),) = of(findings, "replicas-in-git")
    assert (code, verdict) == (1, "wrong")
    assert f"{keeper} (field manager {manager}) writes spec.replicas" in text
    assert "leave spec.replicas out of the manifest" in text


def test_replicas_that_are_applied_on_the_server_are_told_also_after_aiops_set_them(
    served: Place, prometheus: PodPrometheus
) -> None:
    served.apply(idle("applied"))
    _, before = examined(served, prometheus, target="applied")
    applied = json.dumps({"spec": {"replicas": 0}})
    created(served, idle("filed"), **{"kubectl.kubernetes.io/last-applied-configuration": applied})
    _, after = examined(served, prometheus, target="filed")

    assert [("server-side apply (field manager" in text) for _, text in of(before, "replicas-in-git")] == [True]
    assert ["its last-applied-configuration" in text for _, text in of(after, "replicas-in-git")] == [True]


def test_a_grace_period_shorter_than_the_slowest_requests_is_told(served: Place, prometheus: PodPrometheus) -> None:
    created(served, idle("hasty", grace_s=1))

    _, findings = examined(served, prometheus, target="hasty")

    ((verdict, text),) = of(findings, "grace-period")
    assert verdict == "warning"
    assert "a pod that leaves has 1 s, and one request in a hundred takes" in text
    assert "set terminationGracePeriodSeconds: " in text


def test_a_target_that_does_not_exist_is_wrong(served: Place, prometheus: PodPrometheus) -> None:
    code, findings = examined(served, prometheus, target="nobody")

    (told,) = of(findings, "target")
    assert (code, told[0]) == (1, "wrong")
    assert told[1].startswith(f"does not exist → kubectl get deployment -n {served.namespace}")


def test_engines_that_are_pods_of_another_object_are_named(served: Place, prometheus: PodPrometheus) -> None:
    created(served, idle("empty"))
    pods = sorted(pod.metadata.name for pod in served.ready_pods())

    code, findings = examined(served, prometheus, target="empty")

    ((_, text),) = [told for told in of(findings, "target") if told[0] == "wrong"]
    assert code == 1
    assert text.startswith(f"{', '.join(pods)} serve the model and are counted here, and are no pods of it")


def test_a_profile_of_other_engines_is_told(served: Place, prometheus: PodPrometheus) -> None:
    code, findings = examined(served, prometheus, profile="llama-8b-h100-tp1")

    ((verdict, text),) = of(findings, "profile")
    assert (code, verdict) == (0, "warning")
    assert "and the profile says 432992" in text


def test_a_clock_of_ours_that_is_ahead_of_the_api_servers_is_noticed(
    served: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = connect(served.plane.kubeconfig(ACCOUNT, served.namespace))
    present = time.time
    monkeypatch.setattr(time, "time", lambda: present() + 60)

    found = ask_cluster(access, PolicySet(), "aiops", datetime.now(UTC))
    access.close()

    assert found.ahead_s == pytest.approx(-60.0, abs=2.0)


def test_an_api_server_that_is_gone_is_told_beside_what_prometheus_says(
    served: Place, prometheus: PodPrometheus
) -> None:
    asked = list(command(served, prometheus, "observe", ACCOUNT, {}))
    at = asked.index("--kubeconfig") + 1
    gone = served.plane.folder / "gone.kubeconfig"
    gone.write_text(
        (served.plane.folder / f"{served.namespace}.{ACCOUNT}.kubeconfig")
        .read_text()
        .replace(served.plane.url, f"https://127.0.0.1:{free_port()}")
    )
    asked[at] = str(gone)

    done = aiops(*asked, "--json")
    findings = json.loads(done.stdout)["findings"]

    assert done.returncode == 1
    assert [("cannot be reached" in text) for _, text in of(findings, "cluster")] == [True]
    assert ("fine", "answers → ") in of(findings, "prometheus")


def test_without_a_prometheus_the_cluster_is_examined_all_the_same(served: Place, prometheus: PodPrometheus) -> None:
    asked = list(command(served, prometheus, "act", ACCOUNT, {}))
    asked[asked.index("--prometheus") + 1] = f"http://127.0.0.1:{free_port()}"

    done = aiops(*asked, "--json")
    findings = json.loads(done.stdout)["findings"]

    assert done.returncode == 3
    assert [verdict for verdict, _ in of(findings, "prometheus")] == ["wrong"]
    assert [verdict for verdict, _ in of(findings, "rights")] == ["fine"]
    assert of(findings, "signal") == []
