"""The engines that answer, each a pod with all its data-parallel ranks, joined from what the queries gave."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from statistics import median

from aiops.model.refs import ModelRef
from aiops.model.snapshot import ReplicaSample
from aiops.observe import catalogue as metrics
from aiops.observe.identity import Group, Naming, Pod
from aiops.observe.prometheus import Series
from aiops.observe.queries import Now, Over

Place = tuple[ModelRef, Pod]
"""One engine: the model it serves and the pod it is."""
Ranks = dict[str, float | None]
"""A value for each data-parallel rank of an engine."""

_FRESH_S = (30.0, 120.0)
_FRESH_SCRAPES = 4


@dataclass(frozen=True, slots=True)
class Window:
    """The span that rates are taken over, and how often engines are scraped (None where that cannot be told yet)."""

    at_s: float
    length_s: float
    interval_s: float | None = None

    @property
    def begin_s(self) -> float:
        """When it begins, in Unix seconds."""
        return self.at_s - self.length_s

    def is_stale(self, sample_s: float | None) -> bool:
        """Whether a sample of that time is too old to say how things are: four scrapes, in 30 s to 2 min."""
        least, most = _FRESH_S
        return sample_s is None or self.at_s - sample_s > min(
            max(_FRESH_SCRAPES * (self.interval_s or most), least), most
        )


@dataclass(frozen=True, slots=True)
class Timeline:
    """Requests inside an engine (running and waiting) at each of its scrapes, oldest first; never empty."""

    times_s: tuple[float, ...]
    requests: tuple[float, ...]

    @property
    def interval_s(self) -> float | None:
        """The time between its scrapes; None where it was scraped once."""
        return _pace_s(self.times_s)

    def at(self, moment_s: float) -> float | None:
        """Give the requests at the last scrape up to a moment; None where the first one was later."""
        known = [count for time_s, count in zip(self.times_s, self.requests, strict=True) if time_s <= moment_s]
        return known[-1] if known else None


@dataclass(frozen=True, slots=True)
class Engine:
    """One live engine. ``finished`` and ``refused`` count requests over the window; None where it was not measured."""

    ref: ModelRef
    pod: Pod
    group: Group
    sample: ReplicaSample
    timeline: Timeline | None
    finished: float | None
    refused: float


@dataclass(frozen=True, slots=True)
class Answers:
    """What Prometheus said in one look."""

    now: Mapping[Now, Sequence[Series]]
    over: Mapping[Over, Sequence[Series]]


class EngineHistograms:
    """The engines' histograms, added up by owner, found by model."""

    _KEYS = (Now.PROMPT_SIZE, Now.GENERATION_SIZE, Now.LIFETIME_SIZE, Over.TTFT_BUCKETS, Over.ITL_BUCKETS)

    def __init__(self, answers: Answers, naming: Naming) -> None:
        self._found: dict[tuple[str, ModelRef], list[Series]] = defaultdict(list)
        for key in self._KEYS:
            for one in answers.now[key] if isinstance(key, Now) else answers.over[key]:
                ref = naming.ref(one.labels)
                if ref is not None:
                    self._found[key, ref].append(one)

    def of(self, key: Now | Over, ref: ModelRef, groups: frozenset[Group]) -> list[Series]:
        """Give the series of some of a model's pods."""
        return [one for one in self._found.get((key, ref), ()) if Group.of(one.labels) in groups]


def read_timelines(series: Iterable[Series], naming: Naming) -> dict[Place, Timeline]:
    """Add up the requests inside each engine, scrape by scrape; a scrape that lacks a part is left out."""
    parts: dict[Place, dict[tuple[str, str], Series]] = defaultdict(dict)
    for one in series:
        place = naming.place(one.labels)
        if place is None:
            continue
        part = (one.labels.get("__name__", ""), one.labels.get("engine", ""))
        known = parts[place].get(part)
        # Of two scrapes of one engine, the one that saw more, and then the newer.
        if known is None or (len(one.times_s), one.times_s[-1]) > (len(known.times_s), known.times_s[-1]):
            parts[place][part] = one
    lines = {place: _timeline(list(found.values())) for place, found in parts.items()}
    return {place: line for place, line in lines.items() if line is not None}


def _timeline(parts: list[Series]) -> Timeline | None:
    """Add parts up at the scrapes of one of them: others may come from another target, at other times."""
    leading = max(parts, key=lambda part: len(part.times_s))
    pace_s = _pace_s(leading.times_s) or 0.0
    totals = []
    for time_s in leading.times_s:
        values = [_near(part, time_s, pace_s) for part in parts]
        known = [value for value in values if value is not None]
        if len(known) == len(values):
            totals.append((time_s, sum(known)))
    if not totals:
        return None
    return Timeline(tuple(time_s for time_s, _ in totals), tuple(total for _, total in totals))


def _near(part: Series, time_s: float, pace_s: float) -> float | None:
    """Give a part's sample of about that time; None where it has none, or where its value is missing."""
    place = bisect_right(part.times_s, time_s + pace_s / 2) - 1
    return part.values[place] if place >= 0 and part.times_s[place] >= time_s - pace_s else None


def _pace_s(times_s: Sequence[float]) -> float | None:
    gaps = [later - earlier for earlier, later in pairwise(times_s)]
    return median(gaps) if gaps else None


def last_scrapes(series: Iterable[Series], naming: Naming) -> dict[Place, float]:
    """Give the time of each engine's newest sample, whatever its value."""
    newest: dict[Place, float] = {}
    for one in series:
        place = naming.place(one.labels)
        if place is not None:
            newest[place] = max(newest.get(place, 0.0), one.times_s[-1])
    return newest


def scrape_interval_s(timelines: Mapping[Place, Timeline]) -> float | None:
    """Give the slowest pace at which any engine is scraped."""
    return max((pace for line in timelines.values() if (pace := line.interval_s) is not None), default=None)


def read_engines(
    answers: Answers, timelines: Mapping[Place, Timeline], naming: Naming, window: Window
) -> dict[Place, Engine]:
    """Join everything known of each engine that answers now, the stale ones included."""
    gauges = _by_name(answers.now[Now.GAUGES])
    running = _ranks(_of(gauges, metrics.RUNNING.series()), naming.place)
    values = {
        "running": _added(running),
        "waiting": _added(_ranks(_of(gauges, metrics.WAITING.series()), naming.place)),
        "kv_usage": _fullest(_first(_ranks(gauges.get(name, ()), naming.place) for name in metrics.KV_USAGE.series())),
    }
    counts = {key: _added(_ranks(answers.over[key], naming.place)) for key in _COUNTS}
    means = {key: _means(answers.over[key], naming.place) for key in (Over.TTFT, Over.ITL)}
    groups = {naming.place(one.labels): Group.of(one.labels) for one in answers.now[Now.GAUGES]}
    sizes = kv_tokens(answers.now[Now.CACHE_CONFIG])
    started = {Pod.of(one.labels): one.value for one in answers.now[Now.STARTED]}

    def engine(place: Place) -> Engine:
        ref, pod = place
        line = timelines.get(place)
        seen_s = _seen_s(line, window)
        rate = {key: _per_s(counts[key].get(place), seen_s) for key in _COUNTS}
        sample = ReplicaSample(
            name=pod.name,
            age=_age(started.get(pod), window.at_s),
            running=values["running"].get(place),
            waiting=values["waiting"].get(place),
            kv_usage_ratio=values["kv_usage"].get(place),
            kv_tokens=sizes.get(pod),
            preemptions_per_s=rate[Over.PREEMPTIONS],
            prefix_queries_tok_per_s=rate[Over.PREFIX_QUERIES],
            prefix_hits_tok_per_s=rate[Over.PREFIX_HITS],
            prompt_tok_per_s=rate[Over.PROMPT_TOKENS],
            generation_tok_per_s=rate[Over.GENERATION_TOKENS],
            finished_per_s=rate[Over.FINISHED],
            ttft_mean_s=means[Over.TTFT].get(place),
            itl_mean_s=means[Over.ITL].get(place),
        )
        finished, refused = counts[Over.FINISHED].get(place), counts[Over.REFUSED].get(place) or 0.0
        return Engine(ref, pod, groups[place], sample, line, finished, refused)

    return {place: engine(place) for place in running}


_COUNTS = (
    Over.PROMPT_TOKENS,
    Over.GENERATION_TOKENS,
    Over.FINISHED,
    Over.REFUSED,
    Over.PREEMPTIONS,
    Over.PREFIX_QUERIES,
    Over.PREFIX_HITS,
)


def _seen_s(line: Timeline | None, window: Window) -> float:
    """How much of the window an engine was seen for: a young one did what it did in less time."""
    if line is None or line.times_s[0] <= window.begin_s or line.interval_s is None:
        return window.length_s
    return min(window.length_s, line.times_s[-1] - line.times_s[0] + line.interval_s)


def _per_s(count: float | None, seconds: float) -> float | None:
    return None if count is None else count / seconds


def _age(started_s: float | None, at_s: float) -> timedelta | None:
    return None if started_s is None else timedelta(seconds=max(0.0, at_s - started_s))


def _by_name(series: Iterable[Series]) -> dict[str, list[Series]]:
    named: dict[str, list[Series]] = defaultdict(list)
    for one in series:
        named[one.labels.get("__name__", "")].append(one)
    return named


def _of(named: Mapping[str, list[Series]], names: Iterable[str]) -> list[Series]:
    return [one for name in names for one in named.get(name, ())]


def _ranks(series: Iterable[Series], place_of: Callable[[Mapping[str, str]], Place | None]) -> dict[Place, Ranks]:
    """Sort values by engine and rank. Two series for one rank are two scrapes of it: the larger counts, once."""
    found: dict[Place, Ranks] = defaultdict(dict)
    for one in series:
        place = place_of(one.labels)
        if place is not None:
            ranks, rank = found[place], one.labels.get("engine", "")
            known = [value for value in (ranks.get(rank), one.value) if value is not None]
            ranks[rank] = max(known, default=None)
    return found


def _first(choices: Iterable[dict[Place, Ranks]]) -> dict[Place, Ranks]:
    """Give each engine's values under the first name that it has."""
    chosen: dict[Place, Ranks] = {}
    for choice in choices:
        chosen = choice | chosen
    return chosen


def _added(found: Mapping[Place, Ranks]) -> dict[Place, float | None]:
    """Add up the ranks of each engine; None where one is missing."""
    return {
        place: None if None in ranks.values() else sum(value for value in ranks.values() if value is not None)
        for place, ranks in found.items()
    }


def _fullest(found: Mapping[Place, Ranks]) -> dict[Place, float | None]:
    """Give the largest of each engine's ranks: the one that runs out first."""
    return {
        place: max((value for value in ranks.values() if value is not None), default=None)
        for place, ranks in found.items()
    }


def _means(series: Sequence[Series], place_of: Callable[[Mapping[str, str]], Place | None]) -> dict[Place, float]:
    """Divide the sums by the counts; nothing where nothing was counted."""
    part = {
        name: _added(_ranks([one for one in series if one.labels.get("part") == name], place_of))
        for name in ("_sum", "_count")
    }
    return {
        place: total / count
        for place, count in part["_count"].items()
        if count and (total := part["_sum"].get(place)) is not None
    }


def kv_tokens(series: Iterable[Series]) -> dict[Pod, float]:
    """Give each pod's KV capacity in tokens, over its ranks; engines write None until they know it."""
    sizes: dict[Pod, dict[str, float]] = defaultdict(dict)
    for one in series:
        blocks, block_size = one.labels.get("num_gpu_blocks", ""), one.labels.get("block_size", "")
        if blocks.isdigit() and block_size.isdigit():
            sizes[Pod.of(one.labels)][one.labels.get("engine", "")] = float(int(blocks) * int(block_size))
    return {pod: sum(ranks.values()) for pod, ranks in sizes.items()}
