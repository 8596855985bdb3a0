"""What is said of targets, their pods and their profiles: facts in tables, no server."""

from dataclasses import replace
from datetime import timedelta

import pytest

from aiops.model.checkup import Topic, Verdict
from aiops.model.cluster import ClusterView, Override, PodView
from aiops.model.fleet_policy import FleetSpec, Writes
from aiops.model.profile import CapacityProfile
from aiops.model.refs import Role
from aiops.model.snapshot import ModelSnapshot, PoolSnapshot, ReplicaSample, Snapshot
from aiops.observe.checkup import judge
from aiops.observe.checkup.facts import ClusterFacts
from aiops.observe.cluster_template import ReplicasOwner, Template
from tests.observe.checkup_facts import AT, CHAT, REF, facts, on, target


@pytest.mark.parametrize(
    ("mode", "scaled_by", "verdict", "says"),
    [
        pytest.param("act", "", Verdict.FINE, "no other scaler", id="it acts alone"),
        pytest.param("act", "HorizontalPodAutoscaler llm/a", Verdict.WRONG, "never touches it", id="it would fight"),
        pytest.param({"act": "up"}, "ScaledObject llm/a", Verdict.WRONG, "delete ScaledObject", id="also upwards"),
        pytest.param("observe", "ScaledObject llm/a", Verdict.FINE, "leave it alone", id="it only looks"),
        pytest.param("emit", "ScaledObject llm/a", Verdict.FINE, "sets its replicas", id="somebody reads its number"),
        pytest.param("emit", "", Verdict.WARNING, "aiops keda", id="nobody reads its number"),
    ],
)
def test_another_scaler_is_told_as_the_mode_has_it(mode: object, scaled_by: str, verdict: Verdict, says: str) -> None:
    view = ClusterView(AT, targets=(target(scaled_by=scaled_by),))

    (found,) = on(Topic.SCALER, facts(mode=mode, view=view))

    assert (found.verdict, says in f"{found.says} {found.way_out}") == (verdict, True)


@pytest.mark.parametrize(
    ("owners", "applied", "keeper"),
    [
        pytest.param([("kubectl-client-side-apply", "Update", "")], False, "kubectl apply", id="kubectl apply"),
        pytest.param([("argocd-controller", "Update", "")], False, "Argo CD", id="Argo CD"),
        pytest.param([("kustomize-controller", "Apply", "")], False, "Flux", id="Flux"),
        pytest.param([("helm", "Update", "")], False, "Helm", id="Helm"),
        pytest.param([("a-script", "Apply", "")], False, "server-side apply", id="whoever applies on the server"),
        pytest.param(
            [("aiops", "Update", "scale")], True, "last-applied", id="a file that was applied before we scaled"
        ),
        pytest.param([("aiops", "Update", "scale")], False, "", id="aiops itself"),
        pytest.param([("kubectl-create", "Update", "")], False, "", id="a person who made it once"),
        pytest.param([("kubectl", "Update", "scale")], False, "", id="a person who scaled it"),
    ],
)
@pytest.mark.parametrize("mode", ["act", "observe"])
def test_whoever_writes_replicas_from_files_is_named(
    owners: list[tuple[str, str, str]], applied: bool, keeper: str, mode: str
) -> None:
    template = Template(CHAT, tuple(ReplicasOwner(*owner) for owner in owners), replicas_applied=applied)

    (found,) = on(Topic.GIT, facts(mode=mode, template=template))

    verdict = Verdict.WRONG if mode == "act" else Verdict.WARNING
    assert found.verdict is (verdict if keeper else Verdict.FINE)
    assert keeper in found.says


@pytest.mark.parametrize(
    ("slowest_s", "verdict", "says"),
    [
        pytest.param(None, Verdict.FINE, "too few requests", id="nothing ended lately"),
        pytest.param(29.0, Verdict.FINE, "P99 of a request 29 s", id="it suffices"),
        pytest.param(118.0, Verdict.WARNING, "terminationGracePeriodSeconds: 150", id="streams are cut off"),
    ],
)
def test_the_grace_period_is_held_against_the_slowest_requests(
    slowest_s: float | None, verdict: Verdict, says: str
) -> None:
    known = {} if slowest_s is None else {REF: slowest_s}

    (found,) = on(Topic.GRACE, facts(template=Template(CHAT, grace_s=30.0), slowest_s=known))

    assert (found.verdict, says in f"{found.says} {found.way_out}") == (verdict, True)


@pytest.mark.parametrize(
    ("flags", "images", "gpus", "wanted"),
    [
        pytest.param({}, ("vllm",), 1, [], id="nothing is known"),
        pytest.param({"max-num-seqs": "256", "tensor-parallel-size": "1"}, (), 1, [], id="all as in the profile"),
        pytest.param(
            {"max-num-seqs": "512"}, (), 1, ["--max-num-seqs 512", "limits.maxNumSeqs: 256"], id="more at once"
        ),
        pytest.param({"tensor-parallel-size": "2"}, (), 1, ["tensorParallel: 1"], id="split over two GPUs"),
        pytest.param({}, ("vllm/vllm-openai:v0.33.0",), 1, ["v0.33.0 is newer", "vllm 0.24.0"], id="a newer engine"),
        pytest.param({}, ("vllm/vllm-openai:v0.24.1",), 1, [], id="the engine of the profile"),
        pytest.param({}, (), 4, ["holds 4 GPUs", "says gpus: 1"], id="more GPUs than are counted"),
    ],
)
def test_a_profile_is_held_against_the_manifest(
    flags: dict[str, str],
    images: tuple[str, ...],
    gpus: int,
    wanted: list[str],
    shipped_profiles: dict[str, CapacityProfile],
) -> None:
    view = ClusterView(AT, targets=(target(gpus_per_replica=gpus),))
    known = ClusterFacts(view, templates=(Template(CHAT, flags=flags, images=images),))

    (found,) = on(Topic.PROFILE, facts(profile=shipped_profiles["llama-8b-h100-tp1"], cluster=known))

    assert found.verdict is (Verdict.WARNING if wanted else Verdict.FINE)
    assert [part for part in wanted if part not in found.says] == []


def test_a_target_that_is_not_there_is_wrong() -> None:
    (found,) = on(Topic.TARGET, facts(view=ClusterView(AT, missing=(CHAT,))))

    assert (found.verdict, found.says, "kubectl get deployment -n llm" in found.way_out) == (
        Verdict.WRONG,
        "does not exist",
        True,
    )


def test_replicas_outside_of_the_bounds_and_a_word_that_cannot_be_read_are_told() -> None:
    odd = replace(target(override_problem="hold-at is 'three': write a number"), replicas=40)

    said = [
        one.says
        for one in on(Topic.TARGET, facts(view=ClusterView(AT, targets=(odd,))))
        if one.verdict is Verdict.WARNING
    ]

    assert said == ["hold-at is 'three': write a number", "has 40 replicas, and the policy allows 1 to 10"]


@pytest.mark.parametrize(
    ("engines", "pods", "wanted"),
    [
        pytest.param(["a", "b"], [("a", 600), ("b", 600)], [], id="they are the same"),
        pytest.param(["a"], [("a", 600), ("b", 600)], ["b are ready, and nothing"], id="a pod that nobody scrapes"),
        pytest.param(["a"], [("a", 600), ("b", 60)], [], id="a pod that has just become ready"),
        pytest.param(["a"], [("a", 600), ("b", None)], [], id="a pod that starts"),
        pytest.param(["a", "x"], [("a", 600)], ["x serve the model"], id="an engine of another object"),
        pytest.param(["x"], [], ["x serve the model"], id="no engine of its own"),
    ],
)
def test_engines_and_pods_are_held_against_each_other(
    engines: list[str], pods: list[tuple[str, float | None]], wanted: list[str]
) -> None:
    seen = tuple(
        PodView(name, "r", AT, ready_at=None if ready_s is None else AT - timedelta(seconds=ready_s))
        for name, ready_s in pods
    )
    replicas = tuple(ReplicaSample(name) for name in engines)
    pool = PoolSnapshot(CHAT, Role.BOTH, "v", len(engines), replicas=replicas)
    known = facts(view=ClusterView(AT, targets=(target(pods=seen),)))

    found = on(Topic.TARGET, replace(known, snapshot=Snapshot(AT, (ModelSnapshot(REF, (pool,)),))))
    bad = [one for one in found if one.verdict is not Verdict.FINE]

    assert [one.says.startswith(text) for one, text in zip(bad, wanted, strict=True)] == [True] * len(wanted)
    assert all(one.verdict is Verdict.WRONG for one in bad) is (engines == ["x"] or not wanted)


@pytest.mark.parametrize(
    ("mode", "verdict"),
    [pytest.param("act", Verdict.WRONG, id="it writes"), pytest.param("emit", Verdict.WARNING, id="it does not")],
)
def test_no_cluster_is_told_as_the_mode_has_it(mode: str, verdict: Verdict) -> None:
    (found,) = on(Topic.CLUSTER, replace(facts(mode=mode), cluster=None))

    assert (found.verdict, "--kubeconfig" in found.way_out) == (verdict, True)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        pytest.param(Override(None, None), "is paused by a person, until somebody resumes it", id="paused"),
        pytest.param(Override(3, AT), "held at 3 replicas by a person, until 2026-03-02 09:00 UTC", id="held"),
    ],
)
def test_a_persons_word_is_told(override: Override, says: str) -> None:
    known = facts(view=ClusterView(AT, targets=(target(override=override),)))

    assert [says in one.says for one in on(Topic.TARGET, known) if one.verdict is Verdict.WARNING] == [True]


def test_the_switch_for_everything_is_told_where_it_is_off() -> None:
    known = facts()
    off = replace(known, policies=replace(known.policies, fleet=FleetSpec(writes=Writes.OFF)))

    assert [one.about for one in on(Topic.TARGET, off) if one.verdict is Verdict.WARNING] == ["FleetPolicy"]
    assert [one for one in on(Topic.TARGET, known) if one.verdict is Verdict.WARNING] == []


def test_a_manifest_that_may_not_be_read_is_not_called_fine() -> None:
    unread = facts(cluster=ClusterFacts(ClusterView(AT, targets=(target(),))))

    assert on(Topic.GIT, unread) == on(Topic.GRACE, unread) == []


def test_a_lost_api_server_is_one_finding() -> None:
    known = facts(view=ClusterView(AT, problem="https://one cannot be reached"))

    told = [one for one in judge(known).findings if "https://one" in one.says]

    assert [(one.topic, one.verdict) for one in told] == [(Topic.CLUSTER, Verdict.WRONG)]
    assert on(Topic.RIGHTS, known) == on(Topic.TARGET, known) == []


def test_a_target_that_may_not_be_read_is_wrong() -> None:
    (found,) = on(Topic.TARGET, facts(view=ClusterView(AT, forbidden=("may not list deployments",))))

    assert (found.verdict, "for want of rights" in found.says) == (Verdict.WRONG, True)
