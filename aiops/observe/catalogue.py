"""The metrics that aiops knows, each name once, and how a PromQL selector is written for one."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any

import yaml


class MetricType(StrEnum):
    """How a metric's values are to be read."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


HISTOGRAM_PARTS = ("_bucket", "_sum", "_count")


@dataclass(frozen=True, slots=True)
class Alias:
    """An older name of a metric; ``until`` is the first version that lacks it, where that is known."""

    name: str
    until: str | None = None


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. ``name`` is the one on the wire (a counter with its ``_total``), or a histogram's family.

    ``labels`` are those that the exporter itself sets; ``since`` and ``until`` bound the exporter's versions.
    """

    name: str
    type: MetricType
    unit: str
    source: str
    labels: tuple[str, ...] = ()
    aliases: tuple[Alias, ...] = ()
    since: str | None = None
    until: str | None = None
    core: bool = False
    enabled_by: str | None = None
    meaning: str = ""
    buckets: tuple[float, ...] = ()
    """A histogram's bounds by default, the infinite one left out; empty where nothing here needs them."""

    @property
    def names(self) -> tuple[str, ...]:
        """Its name and its aliases, the one to prefer first."""
        return (self.name, *(alias.name for alias in self.aliases))

    def series(self, part: str = "") -> tuple[str, ...]:
        """Names of its series, the one to prefer first. ``part`` is one of HISTOGRAM_PARTS for a histogram."""
        if (self.type is MetricType.HISTOGRAM) != (part in HISTOGRAM_PARTS):
            raise ValueError(f"{self.name} is a {self.type}: {part!r} is no part of it")
        return tuple(name + part for name in self.names)

    def queries(self, matchers: Iterable[str] = (), part: str = "") -> tuple[str, ...]:
        """Give one selector for its name and one for each alias.

        >>> RUNNING.queries(['cluster="a"'])
        ('vllm:num_requests_running{cluster="a"}',)
        """
        inside = ",".join(matchers)
        return tuple(f"{name}{{{inside}}}" if inside else name for name in self.series(part))


def any_of(names: Iterable[str], matchers: Iterable[str] = ()) -> str:
    """Give one selector for several series names; the answer tells them apart by ``__name__``."""
    return "{" + ",".join([f'__name__=~"{"|".join(names)}"', *matchers]) + "}"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All metrics, and those that the code refers to by their id."""

    metrics: tuple[Metric, ...]
    by_id: dict[str, Metric]

    def find(self, name: str) -> Metric | None:
        """Find a metric by its name, an alias, or the name of a histogram's series; None where it is not known."""
        for metric in self.metrics:
            parts = HISTOGRAM_PARTS if metric.type is MetricType.HISTOGRAM else ()
            if name in metric.names or any(name in metric.series(part) for part in parts):
                return metric
        return None

    def of(self, source: str) -> tuple[Metric, ...]:
        """Give the metrics of one source: ``vllm``, ``nixl``, ``epp``, ``dcgm``, ``ksm`` or ``prometheus``."""
        return tuple(metric for metric in self.metrics if metric.source == source)


@cache
def catalogue() -> Catalogue:
    """Read the catalogue that is part of the package."""
    # The loader in C, where there is one, reads it ten times as fast; every command pays for this.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    sections = yaml.load(files("aiops.observe").joinpath("metrics.yaml").read_text("utf-8"), loader)  # noqa: S506  # both are safe
    entries = [(entry, _metric(source, entry)) for source, metrics in sections.items() for entry in metrics]
    return Catalogue(
        metrics=tuple(metric for _, metric in entries),
        by_id={entry["id"]: metric for entry, metric in entries if "id" in entry},
    )


def _metric(source: str, entry: dict[str, Any]) -> Metric:
    fields = {key: value for key, value in entry.items() if key != "id"}
    return Metric(
        **fields
        | {
            "source": source,
            "type": MetricType(entry["type"]),
            "labels": tuple(entry["labels"]),
            "buckets": tuple(map(float, entry.get("buckets", ()))),
            "aliases": tuple(Alias(**alias) for alias in entry.get("aliases", ())),
        }
    )


RUNNING = catalogue().by_id["running"]
WAITING = catalogue().by_id["waiting"]
KV_USAGE = catalogue().by_id["kv_usage"]
CACHE_CONFIG = catalogue().by_id["cache_config"]
PROMPT_TOKENS = catalogue().by_id["prompt_tokens"]
GENERATION_TOKENS = catalogue().by_id["generation_tokens"]
PREFIX_QUERIES = catalogue().by_id["prefix_queries"]
PREFIX_HITS = catalogue().by_id["prefix_hits"]
PREEMPTIONS = catalogue().by_id["preemptions"]
FINISHED = catalogue().by_id["finished"]
REFUSED = catalogue().by_id["refused"]
TTFT = catalogue().by_id["ttft"]
ITL = catalogue().by_id["itl"]
REQUEST_TIME = catalogue().by_id["request_time"]
PROMPT_SIZE = catalogue().by_id["prompt_size"]
GENERATION_SIZE = catalogue().by_id["generation_size"]
GATEWAY_REQUESTS = catalogue().by_id["gateway_requests"]
GATEWAY_ERRORS = catalogue().by_id["gateway_errors"]
GATEWAY_OUTCOMES = catalogue().by_id["gateway_outcomes"]
GATEWAY_QUEUE = catalogue().by_id["gateway_queue"]
GATEWAY_TTFT = catalogue().by_id["gateway_ttft"]
GATEWAY_PROMPT_SIZE = catalogue().by_id["gateway_prompt_size"]
GATEWAY_GENERATION_SIZE = catalogue().by_id["gateway_generation_size"]
DEPLOYMENT_REPLICAS = catalogue().by_id["deployment_replicas"]
STATEFULSET_REPLICAS = catalogue().by_id["statefulset_replicas"]
POD_OWNER = catalogue().by_id["pod_owner"]
REPLICASET_OWNER = catalogue().by_id["replicaset_owner"]
POD_READY = catalogue().by_id["pod_ready"]
UP = catalogue().by_id["up"]
PROCESS_START = catalogue().by_id["process_start"]

ENGINE_SIGNALS = (
    RUNNING,
    WAITING,
    KV_USAGE,
    FINISHED,
    PROMPT_TOKENS,
    GENERATION_TOKENS,
    PROMPT_SIZE,
    GENERATION_SIZE,
    PREFIX_QUERIES,
    PREFIX_HITS,
    PREEMPTIONS,
    TTFT,
    ITL,
)
"""What a model's numbers stand on, and what its health is told of; the first two are required."""
