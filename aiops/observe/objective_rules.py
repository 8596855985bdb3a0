"""Rules that tell how fast the objectives' budgets of late and failed requests burn.

A budget is what an objective allows: of p95 it is one request in twenty, over 30 days. Each share is recorded over five
minutes from the histograms' bucket at the objective's bound, and over longer windows from those few series, so that a
replica's buckets are read once a look. An alert needs a long window, so that it means something, and a short one, so
that it ends when the trouble does.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from aiops.model.policy import Bound, Objectives, PolicySet
from aiops.model.quantity import format_duration
from aiops.observe.catalogue import (
    FINISHED,
    GATEWAY_ERRORS,
    GATEWAY_REQUESTS,
    GATEWAY_TTFT,
    ITL,
    REFUSED,
    TTFT,
    Metric,
)

Group = dict[str, object]
Matchers = tuple[str, ...]

AVAILABILITY = 0.99
"""The share of requests that shall be answered at all, unless another is asked for."""
BUDGET_DAYS = 30
_BY = "sum by (cluster, namespace, model_name)"
_USERS = 'llm_d_ai_role!="prefill"'  # in a pair the prompt is answered twice, and users see the decode role's answer
_WINDOWS = ("30m", "1h", "2h", "6h", "1d", "3d")


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast is too fast: pairs of a long and a short window, each with how many times too fast the budget burns."""

    name: str
    severity: str
    pending: str
    pairs: tuple[tuple[str, str, float], ...]
    outlook: str


PACES = (
    Pace(
        "Fast", "critical", "2m", (("1h", "5m", 14.4), ("6h", "30m", 6.0)),
        f"At this pace what may be missed in {BUDGET_DAYS} days is used up within days.",
    ),
    Pace(
        "Slow", "warning", "1h", (("1d", "2h", 3.0), ("3d", "6h", 1.0)),
        f"At this pace more than may be missed in {BUDGET_DAYS} days will be missed.",
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Counted:
    """What is counted of an objective of some models: all, and what missed it, as rates over five minutes.

    ``missed`` is the noun of the records, such as ``ttft_late``; ``least_per_s`` the rate below which one miss would be
    an alarm.
    """

    slo: str
    alert: str
    matchers: Matchers
    all_name: str
    missed_name: str
    all: str
    missed: str
    least_per_s: float
    summary: str
    promise: str


@dataclass(frozen=True, slots=True)
class Snapped:
    """An objective of some models, and the bucket bounds that measure it; no ``router_s`` where only engines do."""

    slo: str
    models: tuple[str, ...]
    attainment: float
    bound_s: float
    engine_s: float
    router_s: float | None

    @property
    def exact(self) -> bool:
        """Whether it is measured where it was promised."""
        return {self.engine_s, self.router_s or self.engine_s} == {self.bound_s}


def nearest_bound(bound_s: float, bounds_s: Iterable[float]) -> float:
    """Give the bucket bound that is nearest by its ratio; of two as near the higher, which never alarms too early.

    >>> nearest_bound(2.5, (1.0, 2.0, 3.0))
    3.0
    """
    return min(bounds_s, key=lambda one: (max(one / bound_s, bound_s / one), -one))


def objective_groups(policies: PolicySet, availability: float = AVAILABILITY) -> list[Group]:
    """Give the rule groups for the objectives of some policies; of none, the defaults for every model seen."""
    groups = []
    for slo, count in (("ttft", _ttft), ("itl", _itl)):
        for bound, chosen in _promises(policies, slo).items():
            for place, matchers in _matchers(chosen):
                groups.append(_group(f"{slo}-{_said(bound)}{place}", count(bound, matchers), 1 - bound.attainment))
    for place, matchers in _matchers(policies):
        groups.append(_group(f"availability{place}", _availability(availability, matchers), 1 - availability))
    return groups


def snapped_bounds(policies: PolicySet) -> tuple[Snapped, ...]:
    """Tell at which bucket bounds the objectives of some policies are measured; of none, the default objectives."""
    return tuple(
        Snapped(
            slo, tuple(sorted(str(policy.ref) for policy in chosen.policies)), bound.attainment, bound.bound_s,
            engine_s=nearest_bound(bound.bound_s, metric.buckets),
            router_s=nearest_bound(bound.bound_s, GATEWAY_TTFT.buckets) if slo == "ttft" else None,
        )
        for slo, metric in (("ttft", TTFT), ("itl", ITL))
        for bound, chosen in _promises(policies, slo).items()
    )  # fmt: skip


# --- which models a rule is about ---


def _promises(policies: PolicySet, slo: str) -> dict[Bound, PolicySet]:
    """Give each bound that is promised, with the policies that do; none is a promise to every model."""

    def of(objectives: Objectives) -> Bound:
        return objectives.ttft if slo == "ttft" else objectives.itl

    bounds = dict.fromkeys(of(policy.spec.objectives) for policy in policies.policies)
    return {
        bound: PolicySet(tuple(policy for policy in policies.policies if of(policy.spec.objectives) == bound))
        for bound in bounds
    } or {of(Objectives()): policies}


def _matchers(policies: PolicySet) -> Iterator[tuple[str, Matchers]]:
    """Give matchers that select the models of some policies, a namespace at a time, with a name for each."""
    models: dict[str, list[str]] = defaultdict(list)
    for policy in policies.policies:
        models[policy.metadata.namespace] += [policy.spec.model, *policy.spec.adapters]
    for namespace, names in sorted(models.items()):
        yield f"-{namespace}", (_matcher("namespace", [namespace]), _matcher("model_name", names))
    if not models:
        yield "", ()


def _matcher(label: str, values: Iterable[str]) -> str:
    distinct = sorted(set(values))
    if len(distinct) == 1:
        return f'{label}="{_quoted(distinct[0])}"'
    escaped = [re.sub(r"([.+*?()|^$\[\]{}\\])", r"\\\1", each) for each in distinct]
    return f'{label}=~"{_quoted("|".join(escaped))}"'


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


# --- what is counted ---


def _ttft(bound: Bound, matchers: Matchers) -> Counted:
    # What users feel is what the router measures: its queue is in it. Where there is none, what the engines measure.
    router_s, engine_s = (nearest_bound(bound.bound_s, metric.buckets) for metric in (GATEWAY_TTFT, TTFT))
    router, engines = ('streaming="true"', *matchers), (_USERS, *matchers)
    answered = _rate(GATEWAY_TTFT, router, "_count"), _rate(TTFT, engines, "_count")
    in_time = (
        _rate(GATEWAY_TTFT, (*router, _le(router_s)), "_bucket"),
        _rate(TTFT, (*engines, _le(engine_s)), "_bucket"),
    )
    return Counted(
        slo="ttft",
        alert="TokenFactoryTTFTBurn",
        matchers=matchers,
        all_name="ttft_all",
        missed_name="ttft_late",
        all=_either(f"{every} > 0" for every in answered),
        missed=_either(f"({every} > 0)\n  - {good}" for every, good in zip(answered, in_time, strict=True)),
        least_per_s=0.02,
        summary=f"{_SHARE} of the first tokens of {_MODEL} come later than {format_duration(bound.bound)}",
        promise=f"Promised is {_said(bound)}; it is counted at {router_s:g} s where a router measures it, else at "
        f"{engine_s:g} s by the engines.",
    )


def _itl(bound: Bound, matchers: Matchers) -> Counted:
    engine_s = nearest_bound(bound.bound_s, ITL.buckets)
    every = _rate(ITL, (_USERS, *matchers), "_count")
    return Counted(
        slo="itl",
        alert="TokenFactoryITLBurn",
        matchers=matchers,
        all_name="itl_all",
        missed_name="itl_late",
        all=f"{every} > 0",
        missed=f"({every} > 0)\n  - {_rate(ITL, (_USERS, *matchers, _le(engine_s)), '_bucket')}",
        least_per_s=1.0,
        summary=f"{_SHARE} of the tokens of {_MODEL} take longer than {format_duration(bound.bound)}",
        promise=f"Promised is {_said(bound)}; it is counted at {engine_s:g} s by the engines.",
    )


def _availability(availability: float, matchers: Matchers) -> Counted:
    # A router counts a request once it is sent, and an error whether it was sent or not: the greater one is all there
    # were. What was asked for wrongly is no failure.
    sent = _rate(GATEWAY_REQUESTS, matchers)
    errors = _rate(GATEWAY_ERRORS, ('error_code!="BadRequest"', *matchers))
    ended, refused = _rate(FINISHED, (_USERS, *matchers)), _rate(REFUSED, (_USERS, *matchers))
    broken = _rate(FINISHED, (_USERS, 'finished_reason="error"', *matchers))
    turned_away = f"({refused} or 0 * {ended})"  # vLLM before 0.33 refuses nothing
    return Counted(
        slo="availability",
        alert="TokenFactoryAvailabilityBurn",
        matchers=matchers,
        all_name="requests_all",
        missed_name="requests_failed",
        all=_either([f"(({sent} >= {errors}) or {errors} or {sent}) > 0", f"({ended} + {turned_away}) > 0"]),
        missed=_either([errors, f"0 * {sent}", f"({broken} or 0 * {ended}) + {turned_away}"]),
        least_per_s=0.02,
        summary=f"{_SHARE} of the requests to {_MODEL} fail",
        promise=f"Promised are {100 * availability:g} %; what the router or an engine failed or refused is counted.",
    )


_SHARE = "{{ $value | humanizePercentage }}"
_MODEL = "{{ $labels.model_name }}"


def _said(bound: Bound) -> str:
    return f"p{100 * bound.attainment:g} within {format_duration(bound.bound)}"


def _rate(metric: Metric, matchers: Matchers, part: str = "") -> str:
    inside = f"{{{', '.join(matchers)}}}" if matchers else ""
    return f"{_BY} (rate({metric.series(part)[0]}{inside}[5m]))"


def _le(bound_s: float) -> str:
    # Python's client writes le="1.0" and Go's le="1"; Prometheus 3 stores the first, Prometheus 2 what it reads.
    text = f"{bound_s:g}"
    return f'le="{text}"' if "." in text else f'le=~"{text}(\\\\.0)?"'


def _either(expressions: Iterable[str]) -> str:
    return "\nor\n".join(expressions)


# --- the rules ---


def _group(name: str, counted: Counted, budget: float) -> Group:
    rules = [*_records(counted), *(_alert(counted, pace, budget) for pace in PACES)]
    return {"name": f"objective-{name.replace(' within ', '-')}", "interval": "30s", "rules": rules}


def _records(counted: Counted) -> Iterator[Group]:
    inside = _selecting(counted)
    every, missed = f"model:{counted.all_name}:rate5m", f"model:{counted.missed_name}:rate5m"
    yield {"record": every, "expr": counted.all}
    yield {"record": missed, "expr": counted.missed}
    share = f"model:{counted.missed_name}:ratio_rate"
    yield {"record": f"{share}5m", "expr": f"{missed}{inside} / {every}{inside}"}
    for window in _WINDOWS:
        expr = f"sum_over_time({missed}{inside}[{window}]) / sum_over_time({every}{inside}[{window}])"
        yield {"record": f"{share}{window}", "expr": expr}


def _alert(counted: Counted, pace: Pace, budget: float) -> Group:
    inside, alert = _selecting(counted), f"{counted.alert}{pace.name}"
    share = f"model:{counted.missed_name}:ratio_rate"

    def burning(long: str, short: str, times: float) -> str:
        # Where much may be missed, so many times that would be more than everything: half of the rest is enough.
        too_much = f"{min(times * budget, (1 + budget) / 2):.6g}"
        return f"{share}{long}{inside} > {too_much} and {share}{short}{inside} > {too_much}"

    pairs = "\n  or\n  ".join(burning(*pair) for pair in pace.pairs)
    often = f"avg_over_time(model:{counted.all_name}:rate5m{inside}[1h]) > {counted.least_per_s:g}"
    return {
        "alert": alert,
        "expr": f"(\n  {pairs}\n)\nand {often}",
        "for": pace.pending,
        "labels": {"severity": pace.severity, "team": "aiops", "slo": counted.slo},
        "annotations": {
            "summary": counted.summary,
            "description": f"{counted.promise} {pace.outlook}",
            "runbook_url": f"alerts/runbook/{alert}.md",
        },
    }


def _selecting(counted: Counted) -> str:
    return f"{{{', '.join(counted.matchers)}}}" if counted.matchers else ""
