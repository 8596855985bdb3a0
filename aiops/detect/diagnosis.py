"""Ranks what was found at the same time into one answer to "why is it slow"."""

from collections.abc import Sequence

from aiops.model.detection import Cause, Detection, DetectionKind, Diagnosis, Severity
from aiops.model.refs import ModelRef

# How much each kind explains by itself: a ranking for people, not a measured frequency.
_CONFIDENCE_RATIO = {
    DetectionKind.SATURATION: 0.85,
    DetectionKind.ROUTING_SKEW: 0.8,
    DetectionKind.HOTSPOT: 0.7,
    DetectionKind.COLD_CACHE: 0.3,
    DetectionKind.BLIND: 0.2,
}
_SKEW_WITH_HOTSPOT_RATIO = 0.9
_EXPLAINED_HOTSPOT_RATIO = 0.4
_COLD_HOTSPOT_RATIO = 0.75


def diagnose(ref: ModelRef, detections: Sequence[Detection]) -> Diagnosis:
    """Give one cause a kind, most likely first; none without detections.

    A routing skew explains the hotspots of its pool, a cold cache a hotspot on the same replica. While the model is
    blind, that is the first cause, and the others have no confidence.
    """
    by_kind = {
        kind: found
        for kind in DetectionKind
        if (found := [one for one in detections if one.kind is kind and one.ref == ref])
    }
    blind = any(one.severity is Severity.CRITICAL for one in by_kind.get(DetectionKind.BLIND, []))
    causes = [_cause(kind, found, _confidence_ratio(kind, by_kind, blind=blind)) for kind, found in by_kind.items()]
    return Diagnosis(ref, tuple(sorted(causes, key=lambda cause: -(cause.confidence_ratio or 0.0))))


def _confidence_ratio(
    kind: DetectionKind, by_kind: dict[DetectionKind, list[Detection]], *, blind: bool
) -> float | None:
    if blind:
        return 1.0 if kind is DetectionKind.BLIND else None
    hot = by_kind.get(DetectionKind.HOTSPOT, [])
    skewed = {one.pool for one in by_kind.get(DetectionKind.ROUTING_SKEW, [])}
    cold = {(one.pool, one.replica) for one in by_kind.get(DetectionKind.COLD_CACHE, [])}
    explained_by_skew = any(one.pool in skewed for one in hot)
    explained_by_cold = any((one.pool, one.replica) in cold for one in hot)
    if kind is DetectionKind.ROUTING_SKEW and explained_by_skew:
        return _SKEW_WITH_HOTSPOT_RATIO
    if kind is DetectionKind.COLD_CACHE and explained_by_cold:
        return _COLD_HOTSPOT_RATIO
    if kind is DetectionKind.HOTSPOT and (explained_by_skew or explained_by_cold):
        return _EXPLAINED_HOTSPOT_RATIO
    return _CONFIDENCE_RATIO[kind]


def _cause(kind: DetectionKind, found: list[Detection], confidence_ratio: float | None) -> Cause:
    oldest = min(found, key=lambda one: (one.since, one.subject))
    others = f" So it is with {len(found) - 1} more." if len(found) > 1 else ""
    return Cause(kind, confidence_ratio, oldest.note + others, _next_step(oldest))


def _next_step(one: Detection) -> str:
    model = one.ref.model
    where = f"-n {one.ref.namespace}"
    return {
        DetectionKind.HOTSPOT: f"Look at that replica: kubectl {where} logs {one.replica} --since=15m. If it stays "
        "full after the router sends it less, drain it and let it be replaced.",
        DetectionKind.ROUTING_SKEW: "Add no replicas. Look at the router: the weight of its prefix scorer against its "
        "queue scorer, session affinity, and endpoints it believes to be gone.",
        DetectionKind.SATURATION: f"aiops explain {model} says whether replicas are on their way, or which limit "
        "(maximum, budget, step) holds them back.",
        DetectionKind.COLD_CACHE: f"Wait ten minutes if it is new; else kubectl {where} describe pod {one.replica} for "
        "restarts, and the router's prefix scorer for whether it is ever chosen.",
        DetectionKind.BLIND: f"aiops explain {model} says which signals are lost, and under which name or label they "
        "are found instead; then look at the scrape targets of Prometheus, under /targets.",
    }[one.kind]
