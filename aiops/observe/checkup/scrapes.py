"""Whether targets answer their scrapes, and whether those come often enough for the window of rates."""

from collections.abc import Iterator
from datetime import timedelta

from aiops.model.checkup import Finding, Topic, Verdict
from aiops.model.policy import ScalingPolicy
from aiops.model.quantity import format_duration
from aiops.observe.checkup.facts import Down, Facts
from aiops.observe.listed import listed

_SLOWEST_S = 60.0
_SCRAPES = 4
_SEE = "see Prometheus' page /targets for the error of each"


def judge_down(facts: Facts) -> Iterator[Finding]:
    """Name targets of the policies' namespaces that do not answer; whose they are is told by their names."""
    if facts.metrics.problem:
        return
    told: set[Down] = set()
    for policy in facts.policies.policies:
        mine = [one for one in facts.metrics.down if _serves(one, policy)]
        told.update(mine)
        if mine:
            who = listed(sorted(map(str, mine)))
            says = f"{who} do not answer their scrapes (up is 0): their load is missing from all sums"
            yield Finding(Topic.TARGET_DOWN, Verdict.WARNING, str(policy.ref), says, _SEE)
    if not told:
        yield Finding(Topic.TARGET_DOWN, Verdict.FINE, "engines", "no target of theirs is down")
    namespaces = {policy.ref.namespace for policy in facts.policies.policies}
    near = [one for one in facts.metrics.down if one.namespace in namespaces and one not in told]
    if near:
        says = f"targets beside the engines do not answer their scrapes: {listed(sorted(map(str, near)))}"
        yield Finding(Topic.TARGET_DOWN, Verdict.WARNING, ", ".join(sorted(namespaces)), says, _SEE)


def _serves(one: Down, policy: ScalingPolicy) -> bool:
    named = any(one.pod.startswith(f"{pool.target.name}-") for pool in policy.spec.pools)
    return named and one.namespace in ("", policy.ref.namespace)


def judge_scrapes(facts: Facts) -> Iterator[Finding]:
    """Hold how often engines are scraped against the window of rates: four scrapes are the least."""
    for ref, pace_s in sorted(facts.metrics.pace_s.items()):
        if ref not in {policy.ref for policy in facts.policies.policies}:
            continue
        pace, window = format_duration(timedelta(seconds=round(pace_s))), format_duration(facts.window)
        least = format_duration(timedelta(seconds=_SCRAPES * round(pace_s)))
        if pace_s > _SLOWEST_S * 1.1:
            says = f"is scraped every {pace}, and aiops needs a scrape a minute at least to tell arrivals"
            yield Finding(Topic.SCRAPE, Verdict.WRONG, str(ref), says, "set the scrape interval to 15s or 30s")
        elif _SCRAPES * pace_s > facts.window.total_seconds() * 1.1:
            says = f"is scraped every {pace}: the window of {window} is too short for four scrapes, so {least} is taken"
            yield Finding(Topic.SCRAPE, Verdict.WARNING, str(ref), says, f"give --window {least}, or scrape more often")
        else:
            says = f"is scraped every {pace}, at least four times in the window of {window}"
            yield Finding(Topic.SCRAPE, Verdict.FINE, str(ref), says)
