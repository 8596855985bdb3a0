"""Which rights the modes need, and what is said of those that lack or are too many."""

import pytest

from aiops.model.checkup import Topic, Verdict
from aiops.model.cluster import ClusterView
from aiops.model.policy import PolicySet, Variant
from aiops.observe.checkup.facts import ClusterFacts
from aiops.observe.checkup.rights import dangerous_rights, needed_rights
from aiops.observe.cluster_kinds import DEPLOYMENTS, SCALED_OBJECTS, STATEFUL_SETS, Kinds
from aiops.observe.kubernetes import Resource
from tests.observe.checkup_facts import AT, facts, on
from tests.observe.world import policy


def test_the_right_to_scale_everything_is_told_of_a_service_account_alone() -> None:
    (deployments, *_) = dangerous_rights("system:serviceaccount:aiops:aiops")
    excess = ClusterFacts(ClusterView(AT), asked_as="system:serviceaccount:aiops:aiops", excess=(deployments,))
    told = [one.says for one in on(Topic.RIGHTS, facts(cluster=excess)) if one.verdict is Verdict.WARNING]

    assert told == ["may set the replicas of every Deployment in the cluster, and could bring all to zero"]
    assert dangerous_rights("kubernetes-admin") == ()


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
