"""Facts of a setup with one policy and one Deployment, for tables of what is said of them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from aiops.model.checkup import Finding, Topic
from aiops.model.cluster import ClusterView, TargetView
from aiops.model.policy import PolicySet, Variant
from aiops.model.profile import CapacityProfile
from aiops.model.refs import ModelRef, PoolRef
from aiops.model.snapshot import Snapshot
from aiops.observe.checkup import judge
from aiops.observe.checkup.facts import ClusterFacts, Facts, MetricFacts
from aiops.observe.cluster_template import Template
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
