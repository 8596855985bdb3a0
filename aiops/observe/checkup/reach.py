"""Whether Prometheus and the cluster answer, and whether all clocks show the same time."""

from collections.abc import Iterator

from aiops.model.checkup import Finding, Topic, Verdict
from aiops.observe.checkup.facts import ACTS, Facts

BLINDING_SKEW_S = 30.0
"""Samples that look this much older than they are count as stale."""
NOTABLE_SKEW_S = 3.0


def judge_reach(facts: Facts) -> Iterator[Finding]:
    """Say whether both worlds can be asked at all."""
    if facts.metrics.problem:
        yield Finding(Topic.PROMETHEUS, Verdict.WRONG, "Prometheus", facts.metrics.problem)
    else:
        yield Finding(Topic.PROMETHEUS, Verdict.FINE, "Prometheus", "answers")
    if facts.cluster is None:
        yield _no_cluster(facts)
    elif facts.cluster.view.problem:
        yield Finding(Topic.CLUSTER, Verdict.WRONG, "API server", facts.cluster.view.problem)
    else:
        yield Finding(Topic.CLUSTER, Verdict.FINE, "API server", "answers")


def _no_cluster(facts: Facts) -> Finding:
    acting = [policy.metadata.name for policy in facts.policies.policies if policy.spec.mode in ACTS]
    if acting:
        says = f"none is connected, and the mode of {', '.join(acting)} writes to one"
        return Finding(Topic.CLUSTER, Verdict.WRONG, "API server", says, _CONNECT)
    says = "none is connected: rights, other scalers, grace periods and replicas in git are not looked at"
    return Finding(Topic.CLUSTER, Verdict.WARNING, "API server", says, _CONNECT)


_CONNECT = "give --kubeconfig FILE, or run in a pod with a ServiceAccount"


def judge_clocks(facts: Facts) -> Iterator[Finding]:
    """Compare the clocks of Prometheus and of the API server with ours."""
    ahead = {"Prometheus": facts.metrics.ahead_s, "API server": facts.cluster.ahead_s if facts.cluster else None}
    known = {who: seconds for who, seconds in ahead.items() if seconds is not None}
    for who, seconds in known.items():
        if abs(seconds) < NOTABLE_SKEW_S:
            continue
        verdict = Verdict.WRONG if abs(seconds) >= BLINDING_SKEW_S else Verdict.WARNING
        side = "ahead of" if seconds > 0 else "behind"
        says = f"its clock is {abs(seconds):.0f} s {side} this machine's: samples look older or newer than they are"
        yield Finding(Topic.CLOCK, verdict, who, says, "let all machines follow one time source (NTP)")
    if known and all(abs(seconds) < NOTABLE_SKEW_S for seconds in known.values()):
        says = f"within {NOTABLE_SKEW_S:g} s of this machine's"
        yield Finding(Topic.CLOCK, Verdict.FINE, " and ".join(known), says)
