"""Everything one look found, sorted by model: engines that answer, engines that were lost, and what else is there."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiops.model.cluster import ClusterView
from aiops.model.refs import ModelRef
from aiops.observe.engines import Answers, Engine, Place, Timeline, Window, last_scrapes, read_engines
from aiops.observe.identity import Naming, Pod, workload_of
from aiops.observe.pools import ClusterState, read_cluster_state
from aiops.observe.prometheus import Series
from aiops.observe.queries import Now

Values = dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Lost:
    """An engine that served lately and whose load is missing from the sums now; ``why`` completes "it …"."""

    pod: Pod
    why: str


@dataclass(frozen=True, slots=True)
class Fleet:
    """One look at all models. ``removed`` are engines that ended together with their target, as in a scale-down."""

    window: Window
    engines: Mapping[ModelRef, tuple[Engine, ...]]
    lost: Mapping[ModelRef, tuple[Lost, ...]]
    removed: Mapping[ModelRef, tuple[Pod, ...]]
    names: Mapping[ModelRef, Values]
    """The largest value of each series name that a model has."""
    clusters: Mapping[ModelRef, tuple[str, ...]]
    exported: frozenset[ModelRef]
    """Models whose namespace had to be read from ``exported_namespace``."""
    down: tuple[Pod, ...]
    """Scrape targets that do not answer, whatever they are."""
    cluster: ClusterState


def read_fleet(
    answers: Answers,
    timelines: Mapping[Place, Timeline],
    naming: Naming,
    window: Window,
    view: ClusterView | None = None,
) -> Fleet:
    """Sort one look's answers by model; ``view`` is what Kubernetes says of the pods, where it is asked."""
    cluster = read_cluster_state(answers.now)
    found = read_engines(answers, timelines, naming, window)
    scraped_s = last_scrapes(answers.now[Now.LOAD], naming)
    live = [engine for place, engine in found.items() if not window.is_stale(scraped_s.get(place))]
    lost, removed = _missing(answers, naming, found, cluster)
    for ref, pod in set(found) - {(engine.ref, engine.pod) for engine in live}:
        lost[ref].append(Lost(pod, _last_seen(scraped_s.get((ref, pod)), window)))
    for ref, gone in lost.items():
        removed[ref] += [one.pod for one in gone if serves_no_more(one.pod, view)]
        lost[ref] = [one for one in gone if not serves_no_more(one.pod, view)]
    return Fleet(
        window=window,
        engines=_sorted_by_ref(live),
        lost={ref: tuple(sorted(gone, key=lambda one: one.pod)) for ref, gone in lost.items() if gone},
        removed={ref: tuple(sorted(pods)) for ref, pods in removed.items()},
        names=_names(answers.now[Now.NAMES], naming),
        clusters=_clusters(answers.now[Now.GAUGES], naming),
        exported=_exported(answers.now[Now.GAUGES], naming),
        down=tuple(sorted({Pod.of(one.labels) for one in answers.now[Now.TARGETS] if one.value == 0})),
        cluster=cluster,
    )


def _missing(
    answers: Answers, naming: Naming, found: Mapping[Place, Engine], cluster: ClusterState
) -> tuple[dict[ModelRef, list[Lost]], dict[ModelRef, list[Pod]]]:
    """Tell engines that were lost from those that ended: a target that is still there should answer."""
    up = {_target(one.labels): one.value for one in answers.now[Now.TARGETS]}
    targets: dict[Place, list[float]] = defaultdict(list)
    for one in answers.now[Now.RECENT]:
        place, state = naming.place(one.labels), up.get(_target(one.labels))
        if place is not None and place not in found:
            targets[place] += [] if state is None else [state]
    lost: dict[ModelRef, list[Lost]] = defaultdict(list)
    removed: dict[ModelRef, list[Pod]] = defaultdict(list)
    for (ref, pod), states in targets.items():
        # A pod that Kubernetes calls not ready gets no requests: nothing of its load is missing.
        if not states or pod in cluster.unready:
            removed[ref].append(pod)
        else:
            lost[ref].append(Lost(pod, "answers without its metrics" if any(states) else "does not answer its scrapes"))
    return lost, removed


def serves_no_more(pod: Pod, view: ClusterView | None) -> bool:
    """Whether Kubernetes says so of a pod of a target: it leaves, is not ready, or is there no more.

    Of what it could not tell, and of pods of others, it says nothing.
    """
    if view is None or view.problem:
        return False
    targets = [target for target in view.targets if target.pool.namespace == pod.namespace]
    known = next((one for target in targets for one in target.pods if one.name == pod.name), None)
    if known is not None:
        return known.deleting_since is not None or known.ready_at is None
    return any(workload_of(pod.name) == target.pool.name for target in targets if target.pods)


def _last_seen(scraped_s: float | None, window: Window) -> str:
    return "was scraped long ago" if scraped_s is None else f"was last scraped {window.at_s - scraped_s:.0f} s ago"


def _target(labels: Mapping[str, str]) -> tuple[str, str]:
    return labels.get("job", ""), labels.get("instance", "")


def _sorted_by_ref(engines: Sequence[Engine]) -> dict[ModelRef, tuple[Engine, ...]]:
    sorted_: dict[ModelRef, list[Engine]] = defaultdict(list)
    for engine in sorted(engines, key=lambda one: (one.ref, one.pod)):
        sorted_[engine.ref].append(engine)
    return {ref: tuple(found) for ref, found in sorted_.items()}


def _names(series: Sequence[Series], naming: Naming) -> dict[ModelRef, Values]:
    names: dict[ModelRef, Values] = defaultdict(dict)
    for one in series:
        ref = naming.ref(one.labels)
        if ref is not None:
            names[ref][one.labels.get("__name__", "")] = one.value
    return names


def _exported(series: Sequence[Series], naming: Naming) -> frozenset[ModelRef]:
    refs = (naming.ref(one.labels) for one in series if "exported_namespace" in one.labels)
    return frozenset(ref for ref in refs if ref is not None)


def _clusters(series: Sequence[Series], naming: Naming) -> dict[ModelRef, tuple[str, ...]]:
    clusters: dict[ModelRef, set[str]] = defaultdict(set)
    for one in series:
        ref = naming.ref(one.labels)
        if ref is not None and "cluster" in one.labels:
            clusters[ref].add(one.labels["cluster"])
    return {ref: tuple(sorted(names)) for ref, names in clusters.items()}
