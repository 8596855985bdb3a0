"""What is said of facts that need a cluster, or clocks that differ: facts in tables, no server."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aiops.model.checkup import Finding, Topic, Verdict
from aiops.model.cluster import ClusterView, Override, PodView, TargetView
from aiops.model.fleet_policy import FleetSpec, Writes
from aiops.model.policy import PolicySet, Variant
from aiops.model.profile import CapacityProfile
from aiops.model.refs import ModelRef, PoolRef, Role
from aiops.model.snapshot import ModelSnapshot, PoolSnapshot, ReplicaSample, Snapshot
from aiops.observe.checkup import judge
from aiops.observe.checkup.facts import ClusterFacts, Facts, MetricFacts
from aiops.observe.checkup.rights import dangerous_rights, needed_rights
from aiops.observe.cluster_kinds import DEPLOYMENTS, SCALED_OBJECTS, STATEFUL_SETS, Kinds
from aiops.observe.cluster_template import ReplicasOwner, Template, read_template
from aiops.observe.kubernetes import Resource
from tests.observe.world import policy

AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
CHAT = PoolRef("llm", "Deployment", "chat")
REF = ModelRef("llm", "m")


def target(**known: Any) -> TargetView:
    return TargetView(CHAT, replicas=2, resource_version="1", **known)


def facts(
    *,
    mode: object = "act",
    profile: CapacityProfile | None = None,
    cluster: ClusterFacts | None = None,
    view: ClusterView | None = None,
    template: Template | None = None,
    **metrics: Any,
) -> Facts:
    """One policy with one Deployment, and what is known of it."""
    policies = PolicySet((policy("llm", mode=mode),), {"v": Variant("v", profile=profile)})
    seen = view or ClusterView(AT, targets=(target(),))
    known = cluster or ClusterFacts(seen, templates=(template or Template(CHAT),))
    return Facts(AT, policies, Snapshot(AT), MetricFacts(**metrics), known, timedelta(minutes=1))


def on(topic: Topic, known: Facts) -> list[Finding]:
    return [one for one in judge(known).findings if one.topic is topic]


@pytest.mark.parametrize(
    ("prometheus_s", "server_s", "wanted"),
    [
        pytest.param(0.2, -0.8, [Verdict.FINE], id="all show the same"),
        pytest.param(8.0, 0.0, [Verdict.WARNING], id="Prometheus is some seconds ahead"),
        pytest.param(-45.0, 0.0, [Verdict.WRONG], id="samples look too old to be believed"),
        pytest.param(0.0, 90.0, [Verdict.WRONG], id="the API server is ahead"),
        pytest.param(40.0, 41.0, [Verdict.WRONG, Verdict.WRONG], id="it is this machine that is behind"),
        pytest.param(None, None, [], id="nobody tells the time"),
    ],
)
def test_clocks_are_compared(prometheus_s: float | None, server_s: float | None, wanted: list[Verdict]) -> None:
    cluster = ClusterFacts(ClusterView(AT), ahead_s=server_s)

    found = on(Topic.CLOCK, facts(cluster=cluster, ahead_s=prometheus_s))

    assert [one.verdict for one in found] == wanted


def test_a_clock_that_is_off_is_told_with_its_side() -> None:
    (ahead, behind) = on(Topic.CLOCK, facts(cluster=ClusterFacts(ClusterView(AT), ahead_s=-5.0), ahead_s=31.0))

    assert (ahead.about, "31 s ahead of this machine's" in ahead.says) == ("Prometheus", True)
    assert (behind.about, "5 s behind this machine's" in behind.says) == ("API server", True)


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


def test_the_right_to_scale_everything_is_told_of_a_service_account_alone() -> None:
    (deployments, *_) = dangerous_rights("system:serviceaccount:aiops:aiops")
    excess = ClusterFacts(ClusterView(AT), asked_as="system:serviceaccount:aiops:aiops", excess=(deployments,))
    told = [one.says for one in on(Topic.RIGHTS, facts(cluster=excess)) if one.verdict is Verdict.WARNING]

    assert told == ["may set the replicas of every Deployment in the cluster, and could bring all to zero"]
    assert dangerous_rights("kubernetes-admin") == ()


def test_a_lost_api_server_is_one_finding() -> None:
    known = facts(view=ClusterView(AT, problem="https://one cannot be reached"))

    told = [one for one in judge(known).findings if "https://one" in one.says]

    assert [(one.topic, one.verdict) for one in told] == [(Topic.CLUSTER, Verdict.WRONG)]
    assert on(Topic.RIGHTS, known) == on(Topic.TARGET, known) == []


ALL = Kinds((DEPLOYMENTS, STATEFUL_SETS, SCALED_OBJECTS, Resource("x.io", "v1", "rays", "Ray", has_scale=True)))


def rights(mode: object, kind: str = "Deployment", *, victims: bool = False, kinds: Kinds = ALL) -> dict[str, bool]:
    pools = [{"name": "all", "target": {"kind": kind, "name": "chat"}, "variant": "v"}]
    policies = PolicySet((policy("llm", pools=pools, mode=mode),), {"v": Variant("v")})
    return {
        f"{one.verb} {'/'.join(filter(None, (one.resource.plural, one.subresource)))} {one.namespace}": one.needed
        for one in needed_rights(policies, kinds, ("aiops", "aiops"), victims=victims)
    }


def test_looking_needs_to_list_and_nothing_more() -> None:
    found = rights("emit")

    assert {name.split()[0] for name in found} == {"list", "get"}
    assert [name for name, needed in found.items() if needed] == [
        "list deployments llm",
        "list replicasets llm",
        "list pods llm",
    ]
    assert not found["list nodes None"]


def test_acting_needs_scale_the_lease_and_sight_of_other_scalers() -> None:
    more = {name for name, needed in rights("act").items() if needed} - {
        n for n, needed in rights("emit").items() if needed
    }

    assert more == {
        "list horizontalpodautoscalers llm",
        "list scaledobjects llm",
        "get deployments/scale llm",
        "update deployments/scale llm",
        "create leases aiops",
        "get leases aiops",
        "update leases aiops",
    }


@pytest.mark.parametrize(
    ("mode", "victims", "asked"),
    [
        pytest.param("act", True, True, id="it may remove, and shall choose"),
        pytest.param("act", False, False, id="it shall not choose"),
        pytest.param({"act": "up"}, True, False, id="it never removes"),
    ],
)
def test_choosing_who_leaves_needs_to_patch_pods(mode: object, victims: bool, asked: bool) -> None:
    assert ("patch pods llm" in rights(mode, victims=victims)) is asked


def test_another_kind_needs_its_scale_and_a_kind_that_is_not_there_needs_nothing() -> None:
    assert {"list rays llm", "get rays/scale llm", "update rays/scale llm"} <= rights("act", "Ray").keys()
    assert not any("leaderworkersets" in name for name in rights("act", "LeaderWorkerSet"))
    assert "list scaledobjects llm" not in rights("act", kinds=Kinds((DEPLOYMENTS,)))


@pytest.mark.parametrize(
    ("container", "wanted"),
    [
        pytest.param({"args": ["--max-num-seqs=64"]}, {"max-num-seqs": "64"}, id="a value after an equals sign"),
        pytest.param(
            {"args": ["--max_num_seqs", "64"]}, {"max-num-seqs": "64"}, id="underscores, and a word of its own"
        ),
        pytest.param({"args": ["--enforce-eager", "--seed", "1"]}, {"enforce-eager": "", "seed": "1"}, id="no value"),
        pytest.param(
            {"command": ["sh", "-c", "vllm serve m --tensor-parallel-size 4"]},
            {"tensor-parallel-size": "4"},
            id="a line of a shell",
        ),
    ],
)
def test_flags_are_read_as_people_write_them(container: dict[str, Any], wanted: dict[str, str]) -> None:
    item = {"metadata": {}, "spec": {"template": {"spec": {"containers": [container]}}}}

    assert read_template(CHAT, item).flags == wanted


def test_a_group_is_told_by_its_leader() -> None:
    leader = {"spec": {"containers": [{"image": "vllm/vllm-openai:v0.30.0"}], "terminationGracePeriodSeconds": 7}}
    workers = {"leaderTemplate": leader, "workerTemplate": {"spec": {"containers": []}}}

    read = read_template(CHAT, {"metadata": {}, "spec": {"leaderWorkerTemplate": workers}})

    assert (read.grace_s, read.images) == (7.0, ("vllm/vllm-openai:v0.30.0",))
