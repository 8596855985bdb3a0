"""Labels that a scrape overwrote: the exporter's own are then called ``exported_…``."""

from collections.abc import Iterable, Iterator

from aiops.model.checkup import Finding, Topic, Verdict
from aiops.model.policy import Mode
from aiops.observe.catalogue import catalogue
from aiops.observe.checkup.facts import Facts, SeriesSeen

_HONOUR = "set honorLabels: true in the ServiceMonitor or PodMonitor (honor_labels in a scrape job)"
_OWN = "aiops_"


def judge_labels(facts: Facts) -> Iterator[Finding]:
    """Tell whose own labels were overwritten, and what no longer fits because of it."""
    if facts.metrics.problem:
        return
    overwritten = [one for one in facts.metrics.seen if one.labels.get("exported_namespace")]
    yield from _engines([one for one in overwritten if _source(one) == "vllm"])
    if any(_source(one) == "ksm" for one in overwritten):
        says = "its namespace is in exported_namespace, so that pods and their owners cannot be joined to engines"
        yield Finding(Topic.LABELS, Verdict.WARNING, "ksm", f"kube-state-metrics: {says}", _HONOUR)
    yield from _own(facts, [one for one in overwritten if one.name.startswith(_OWN)])


def _engines(overwritten: Iterable[SeriesSeen]) -> Iterator[Finding]:
    for ref in sorted({one.ref for one in overwritten if one.ref is not None}):
        says = (
            f"the namespace {ref.namespace!r} is found in exported_namespace, not in namespace: aiops reads either, "
            "dashboards and alerts read namespace alone"
        )
        yield Finding(Topic.LABELS, Verdict.WARNING, str(ref), says, _HONOUR)


def _own(facts: Facts, overwritten: list[SeriesSeen]) -> Iterator[Finding]:
    modes = {policy.spec.mode for policy in facts.policies.policies}
    if overwritten:
        found = overwritten[0].labels
        says = (
            f"aiops' own metrics have namespace={found.get('namespace', '')!r} and "
            f"exported_namespace={found['exported_namespace']!r}: a query for the model's namespace finds nothing"
        )
        yield Finding(Topic.LABELS, Verdict.WRONG if Mode.EMIT in modes else Verdict.WARNING, "aiops", says, _HONOUR)
    elif any(one.name.startswith(_OWN) for one in facts.metrics.seen):
        yield Finding(Topic.LABELS, Verdict.FINE, "aiops", "its own metrics are here, with their own labels")
    else:
        says = "its own metrics are not in this Prometheus (yet): dashboards, alerts and mode emit live on them"
        verdict = Verdict.WARNING if Mode.EMIT in modes else Verdict.FINE
        yield Finding(Topic.LABELS, verdict, "aiops", says, "scrape aiops: kubectl apply -f deploy/monitoring/")


def _source(one: SeriesSeen) -> str:
    metric = catalogue().find(one.name)
    return "" if metric is None else metric.source
