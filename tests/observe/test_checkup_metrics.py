"""What is said of clocks, signals and objectives: facts in tables, no server."""

from dataclasses import replace
from datetime import timedelta
from math import inf
from typing import Any

import pytest

from aiops.model.checkup import Topic, Verdict
from aiops.model.cluster import ClusterView
from aiops.model.demand import DemandSource, TokenDemand
from aiops.model.policy import PolicySet, Variant
from aiops.model.refs import ModelRef, Role
from aiops.model.snapshot import ModelSnapshot, PoolSnapshot, ReplicaSample, SignalHealth, SignalState, Snapshot
from aiops.observe.catalogue import GATEWAY_TTFT, POD_OWNER, RUNNING, TTFT, Metric
from aiops.observe.checkup.facts import ClusterFacts, SeriesSeen
from tests.observe.checkup_facts import AT, CHAT, REF, facts, on, target
from tests.observe.world import pd_pools, policy


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
    ("exposed", "bound", "verdict", "says"),
    [
        pytest.param({}, "2.5s", Verdict.FINE, "vllm:time_to", id="vLLM's own bounds where none is exposed"),
        pytest.param({}, "2s", Verdict.WARNING, "those are 1 s and 2.5 s", id="between two of them"),
        pytest.param({TTFT: (1.0, 2.0)}, "2s", Verdict.FINE, "vllm:time_to", id="a bound that somebody set"),
        pytest.param(
            {TTFT: (1.0, 2.5), GATEWAY_TTFT: (1.5, 2.0)}, "2s", Verdict.FINE, "llm_d_epp", id="the router's come first"
        ),
        pytest.param({TTFT: (1.0, 2.5)}, "9s", Verdict.WARNING, "those are 2.5 s", id="beyond the last bound"),
        pytest.param({TTFT: (1.0, 2.5)}, "100ms", Verdict.WARNING, "those are 1 s", id="below the first"),
    ],
)
def test_objectives_are_held_against_the_bounds_at_which_they_are_measured(
    exposed: dict[Metric, tuple[float, ...]], bound: str, verdict: Verdict, says: str
) -> None:
    known = facts(bounds_s={(metric.name, REF): (*bounds, inf) for metric, bounds in exposed.items()})
    policies = PolicySet((policy("llm", objectives={"ttft": {"p95": bound}}),), {"v": Variant("v")})

    ttft, _ = on(Topic.OBJECTIVE, replace(known, policies=policies))

    assert (ttft.verdict, says in ttft.says) == (verdict, True)


@pytest.mark.parametrize(
    ("replicas", "verdict", "says"),
    [
        pytest.param(0, Verdict.WARNING, "no replica is asked for", id="there is nothing to see"),
        pytest.param(2, Verdict.WRONG, "cannot be seen: no series", id="there is"),
    ],
)
def test_a_model_at_zero_is_told_apart_from_one_that_cannot_be_seen(replicas: int, verdict: Verdict, says: str) -> None:
    known = facts(view=ClusterView(AT, targets=(replace(target(), replicas=replicas),)))
    blind = replace(known, snapshot=Snapshot(AT, (ModelSnapshot(REF, blind="no series"),)))

    found = [one for one in on(Topic.SIGNAL, blind) if one.about == "llm/m"]

    assert [(one.verdict, one.says.startswith(says)) for one in found] == [(verdict, True)]


def test_a_model_at_zero_is_fine_where_a_router_tells_what_arrives() -> None:
    known = facts(view=ClusterView(AT, targets=(replace(target(), replicas=0),)))
    demand = TokenDemand(0.0, None, None, timedelta(minutes=1), DemandSource.GATEWAY)
    told = replace(known, snapshot=Snapshot(AT, (ModelSnapshot(REF, demand=demand),)))

    assert {one.verdict for one in on(Topic.SIGNAL, told) if one.about == "llm/m"} == {Verdict.FINE}


def seen_model(**known: Any) -> Snapshot:
    pool = PoolSnapshot(CHAT, Role.BOTH, "v", 1, replicas=(ReplicaSample("chat-a"),))
    return Snapshot(AT, (ModelSnapshot(REF, (pool,), **known),))


@pytest.mark.parametrize(
    ("signals", "says"),
    [
        pytest.param(
            [SignalHealth(RUNNING.name, SignalState.STALE, RUNNING.name, "b was last scraped 150 s ago")],
            "b was last scraped 150 s ago",
            id="some engines are lost",
        ),
        pytest.param(
            [SignalHealth(POD_OWNER.name, SignalState.MISMATCH, detail="x belongs to no pool")],
            "x belongs to no pool",
            id="an engine of nobody",
        ),
        pytest.param([], "what arrives cannot be told", id="gaps in the scrapes"),
    ],
)
def test_what_is_half_seen_is_doubtful(signals: list[SignalHealth], says: str) -> None:
    demand = TokenDemand(1.0, 1.0, 1.0, timedelta(minutes=1), DemandSource.ENGINES) if signals else None
    known = replace(facts(), snapshot=seen_model(signals=tuple(signals), demand=demand))

    bad = [one.says for one in on(Topic.SIGNAL, known) if one.about == "llm/m" and one.verdict is Verdict.WARNING]

    assert [says in text for text in bad if "has no series" not in text] == [True]


def test_a_model_that_is_served_without_a_policy_is_told() -> None:
    other = replace(seen_model(), unmanaged=(ModelRef("llm", "other"),))

    told = [one for one in on(Topic.SIGNAL, replace(facts(), snapshot=other)) if one.about == "llm/other"]

    assert [(one.verdict, "aiops discover" in one.way_out) for one in told] == [(Verdict.WARNING, True)]


def test_transfers_are_missed_only_where_prefill_and_decode_are_apart() -> None:
    together = facts()
    apart = replace(together, policies=PolicySet((policy("llm", pools=pd_pools()),), {"v": Variant("v")}))

    told = {one.about: one for one in on(Topic.SIGNAL, apart)}

    assert "NixlConnector" in told["nixl"].way_out
    assert "nixl" not in {one.about for one in on(Topic.SIGNAL, together)}


@pytest.mark.parametrize(
    ("labels", "mode", "verdict", "says"),
    [
        pytest.param({"namespace": "llm"}, "emit", Verdict.FINE, "with their own labels", id="as they were exported"),
        pytest.param(None, "emit", Verdict.WARNING, "not in this Prometheus", id="nobody scrapes aiops"),
        pytest.param(None, "observe", Verdict.FINE, "not in this Prometheus", id="and nobody needs it"),
    ],
)
def test_own_metrics_are_looked_for(labels: dict[str, str] | None, mode: str, verdict: Verdict, says: str) -> None:
    seen = () if labels is None else (SeriesSeen("aiops_recommended_replicas", labels, 3.0),)

    (found,) = on(Topic.LABELS, facts(mode=mode, seen=seen))

    assert (found.verdict, says in found.says) == (verdict, True)
