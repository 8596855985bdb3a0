"""Every PromQL text that observing takes. Each answers for all models at once, so their number never changes."""

from collections.abc import Iterable, Sequence
from enum import StrEnum

from aiops.observe import catalogue as metrics
from aiops.observe.catalogue import Metric, MetricType, any_of

RECENT_S = 600
"""A series that was there this long ago and is gone has stopped; one gone for longer is forgotten."""
SIZE_WINDOW_S = 600
"""Over which the tokens of a request are averaged."""

TARGET = ("namespace", "pod", "instance")
"""What a scrape adds to each series."""
POD = ("namespace", "exported_namespace", "pod", "exported_pod", "instance")
"""What tells pods apart; the exported ones are the exporter's own where a scrape put its labels above them."""
ENGINE = (*POD, "model_name", "engine")
ROLE_LABELS = ("llm_d_ai_role", "role")
GROUP = ("namespace", "exported_namespace", "model_name", "workload", *ROLE_LABELS)
"""Pods of one owner: few enough for histograms, and enough to tell prefill from decode."""
GATEWAY = ("namespace", "exported_namespace", "model_name", "target_model_name")
GATEWAY_POOL = ("namespace", "exported_namespace", "inference_pool")

# How a Deployment and a StatefulSet name their pods; Kubernetes leaves vowels and 0, 1, 3 out of its hashes.
_SAFE = "[bcdfghjklmnpqrstvwxz2456789]"
DEPLOYMENT_POD = f"(.+)-{_SAFE}{{1,10}}-{_SAFE}{{5}}"
STATEFULSET_POD = "(.+)-[0-9]+"
OWNED_POD = f"{DEPLOYMENT_POD}|{STATEFULSET_POD}"


class Now(StrEnum):
    """What is so at this moment."""

    GAUGES = "gauges"
    LOAD = "load"
    RECENT = "recent"
    TARGETS = "targets"
    NAMES = "names"
    CACHE_CONFIG = "cache_config"
    STARTED = "started"
    PROMPT_SIZE = "prompt_size"
    GENERATION_SIZE = "generation_size"
    LIFETIME_SIZE = "lifetime_size"
    REPLICAS = "replicas"
    POD_OWNERS = "pod_owners"
    REPLICASET_OWNERS = "replicaset_owners"
    UNREADY = "unready"
    GATEWAY_QUEUE = "gateway_queue"


class Over(StrEnum):
    """What happened over the window."""

    PROMPT_TOKENS = "prompt_tokens"
    GENERATION_TOKENS = "generation_tokens"
    FINISHED = "finished"
    REFUSED = "refused"
    PREEMPTIONS = "preemptions"
    PREFIX_QUERIES = "prefix_queries"
    PREFIX_HITS = "prefix_hits"
    TTFT = "ttft"
    ITL = "itl"
    TTFT_BUCKETS = "ttft_buckets"
    ITL_BUCKETS = "itl_buckets"
    GATEWAY_REQUESTS = "gateway_requests"
    GATEWAY_OUTCOMES = "gateway_outcomes"
    GATEWAY_QUEUE_BEFORE = "gateway_queue_before"
    GATEWAY_TTFT_BUCKETS = "gateway_ttft_buckets"


class Past(StrEnum):
    """What happened in each bin of a history."""

    REQUESTS = "requests"
    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"
    GATEWAY_REQUESTS = "gateway_requests"
    GATEWAY_INPUT_TOKENS = "gateway_input_tokens"
    GATEWAY_OUTPUT_TOKENS = "gateway_output_tokens"


def now(matchers: Sequence[str], look_s: int) -> dict[Now, str]:
    """Give the queries about this moment; LOAD reaches ``look_s`` seconds back, with each sample and its time."""
    load = any_of([*metrics.RUNNING.series(), *metrics.WAITING.series()], matchers)
    gauges = [name for metric in (metrics.RUNNING, metrics.WAITING, metrics.KV_USAGE) for name in metric.series()]
    engines = _one(metrics.RUNNING, matchers)
    recent = f"last_over_time({engines}[{RECENT_S}s])"
    up = _one(metrics.UP, matchers)
    names = [name for metric in metrics.ENGINE_SIGNALS for name in metric.series(part_to_count(metric))]
    sizes = [
        name
        for metric in (metrics.PROMPT_SIZE, metrics.GENERATION_SIZE)
        for part in ("_sum", "_count")
        for name in metric.series(part)
    ]
    replicas = [*metrics.DEPLOYMENT_REPLICAS.series(), *metrics.STATEFULSET_REPLICAS.series()]
    ready = [*matchers, 'condition="true"']
    owned = f"{_one(metrics.POD_OWNER, matchers)} and on (namespace, pod) {engines}"
    return {
        # Not aggregated: labels that nobody expects, such as a second cluster, must be seen.
        Now.GAUGES: any_of(gauges, matchers),
        Now.LOAD: f"{load}[{look_s}s]",
        Now.RECENT: _by("max", (*POD, "job", "model_name"), recent),
        # A target that is down, and those whose engines answered lately.
        Now.TARGETS: _by("max", (*TARGET, "job"), f"({up} == 0) or ({up} and on (job, instance) {recent})"),
        Now.NAMES: _by("max", ("__name__", *POD[:2], "model_name"), any_of(names, matchers)),
        Now.CACHE_CONFIG: _by(
            "max", (*POD, "engine", "block_size", "num_gpu_blocks"), _one(metrics.CACHE_CONFIG, matchers)
        ),
        Now.STARTED: _by("max", POD, f"{_one(metrics.PROCESS_START, matchers)} and on (job, instance) {engines}"),
        Now.PROMPT_SIZE: _sums_by_group(metrics.PROMPT_SIZE, matchers, SIZE_WINDOW_S),
        Now.GENERATION_SIZE: _sums_by_group(metrics.GENERATION_SIZE, matchers, SIZE_WINDOW_S),
        Now.LIFETIME_SIZE: _by("sum", ("__name__", *GROUP), _with_workload(any_of(sizes, matchers))),
        Now.REPLICAS: _by(
            "max",
            ("__name__", "namespace", "exported_namespace", "deployment", "statefulset"),
            any_of(replicas, matchers),
        ),
        Now.POD_OWNERS: _by("max", ("namespace", "pod", "owner_kind", "owner_name"), owned),
        Now.REPLICASET_OWNERS: _by(
            "max",
            ("namespace", "replicaset", "owner_kind", "owner_name"),
            f"{_one(metrics.REPLICASET_OWNER, matchers)} and on (namespace, replicaset) "
            f'label_replace({owned}, "replicaset", "$1", "owner_name", "(.+)")',
        ),
        Now.UNREADY: _by(
            "max",
            ("namespace", "pod"),
            f"({_one(metrics.POD_READY, ready)} == 0) and on (namespace, pod) {recent}",
        ),
        Now.GATEWAY_QUEUE: _gateway_queue(matchers),
    }


def over(matchers: Sequence[str], window_s: int) -> dict[Over, str]:
    """Give the queries about the last ``window_s`` seconds."""
    outcomes = [*matchers, 'outcome!="Dispatched"']
    # Without streaming, the first byte is the last one too. Routers that do not tell have no such label.
    streamed = [*matchers, 'streaming!="false"']
    return {
        Over.PROMPT_TOKENS: _increase_by_engine(metrics.PROMPT_TOKENS, matchers, window_s),
        Over.GENERATION_TOKENS: _increase_by_engine(metrics.GENERATION_TOKENS, matchers, window_s),
        Over.FINISHED: _increase_by_engine(metrics.FINISHED, matchers, window_s),
        Over.REFUSED: _increase_by_engine(metrics.REFUSED, matchers, window_s),
        Over.PREEMPTIONS: _increase_by_engine(metrics.PREEMPTIONS, matchers, window_s),
        Over.PREFIX_QUERIES: _increase_by_engine(metrics.PREFIX_QUERIES, matchers, window_s),
        Over.PREFIX_HITS: _increase_by_engine(metrics.PREFIX_HITS, matchers, window_s),
        Over.TTFT: _by("max", (*ENGINE, "part"), _sum_and_count(metrics.TTFT, matchers, window_s)),
        Over.ITL: _by("max", (*ENGINE, "part"), _sum_and_count(metrics.ITL, matchers, window_s)),
        # Dead pods stay in the latencies: their users did wait.
        Over.TTFT_BUCKETS: _buckets_by_group(metrics.TTFT, matchers, window_s),
        Over.ITL_BUCKETS: _buckets_by_group(metrics.ITL, matchers, window_s),
        Over.GATEWAY_REQUESTS: _by_gateway(GATEWAY, metrics.GATEWAY_REQUESTS, matchers, f"increase(%s[{window_s}s])"),
        Over.GATEWAY_OUTCOMES: _by_gateway(
            GATEWAY_POOL, metrics.GATEWAY_OUTCOMES, outcomes, f"increase(%s[{window_s}s])"
        ),
        Over.GATEWAY_QUEUE_BEFORE: _gateway_queue(matchers, f" offset {window_s}s"),
        Over.GATEWAY_TTFT_BUCKETS: _by_gateway(
            (*GATEWAY, "le"), metrics.GATEWAY_TTFT, streamed, f"increase(%s[{window_s}s])", "_bucket"
        ),
    }


def past(matchers: Sequence[str], window_s: int) -> dict[Past, str]:
    """Give the queries of a history, as rates per second over ``window_s``."""

    def engines(metric: Metric) -> str:
        rate = " or ".join(f"rate({selector}[{window_s}s])" for selector in metric.queries(matchers))
        rates = _by("max", (*ENGINE, *ROLE_LABELS, *_own(metric)), rate)
        return _by("sum", GROUP, _with_workload(rates))

    def gateways(metric: Metric, part: str = "") -> str:
        return _by_gateway(GATEWAY, metric, matchers, f"rate(%s[{window_s}s])", part)

    return {
        Past.REQUESTS: engines(metrics.FINISHED),
        Past.INPUT_TOKENS: engines(metrics.PROMPT_TOKENS),
        Past.OUTPUT_TOKENS: engines(metrics.GENERATION_TOKENS),
        Past.GATEWAY_REQUESTS: gateways(metrics.GATEWAY_REQUESTS),
        Past.GATEWAY_INPUT_TOKENS: gateways(metrics.GATEWAY_PROMPT_SIZE, "_sum"),
        Past.GATEWAY_OUTPUT_TOKENS: gateways(metrics.GATEWAY_GENERATION_SIZE, "_sum"),
    }


def scrapes(matchers: Sequence[str], span_s: int) -> str:
    """Give the query that counts the samples of the best-scraped engine, or else router, over ``span_s`` seconds."""
    counted = (metrics.GENERATION_TOKENS, metrics.PROMPT_TOKENS, metrics.FINISHED, metrics.GATEWAY_REQUESTS)
    return " or ".join(
        f"max(count_over_time({selector}[{span_s}s]))" for metric in counted for selector in metric.queries(matchers)
    )


def part_to_count(metric: Metric) -> str:
    """Give the part of a metric that has one series for each set of labels."""
    return "_count" if metric.type is MetricType.HISTOGRAM else ""


def _one(metric: Metric, matchers: Sequence[str]) -> str:
    (selector,) = metric.queries(matchers)
    return selector


def _by(operator: str, labels: Iterable[str], expression: str) -> str:
    return f"{operator} by ({', '.join(labels)}) ({expression})"


def _own(metric: Metric) -> tuple[str, ...]:
    """The labels that an exporter sets beyond those of an engine, such as the reason of an end."""
    return tuple(label for label in metric.labels if label not in ENGINE)


def _increase(metric: Metric, matchers: Sequence[str], window_s: int, part: str = "") -> str:
    """Its growth; where a pod has it under two names, `or` takes the first."""
    return " or ".join(f"increase({selector}[{window_s}s])" for selector in metric.queries(matchers, part))


def _increase_by_engine(metric: Metric, matchers: Sequence[str], window_s: int) -> str:
    # max, since two scrapes of one engine (a pair of Prometheus, two jobs) are one value and not a sum.
    once = _by("max", (*ENGINE, *_own(metric)), _increase(metric, matchers, window_s))
    return _by("sum", ENGINE, once) if _own(metric) else once


def _sum_and_count(metric: Metric, matchers: Sequence[str], window_s: int) -> str:
    parts = (
        f'label_replace({_increase(metric, matchers, window_s, part)}, "part", "{part}", "", "")'
        for part in ("_sum", "_count")
    )
    return " or ".join(parts)


def _sums_by_group(metric: Metric, matchers: Sequence[str], window_s: int) -> str:
    # Duplicates need no care here: they are in the sum and in the count alike.
    return _by("sum", (*GROUP, "part"), _with_workload(_sum_and_count(metric, matchers, window_s)))


def _buckets_by_group(metric: Metric, matchers: Sequence[str], window_s: int) -> str:
    return _by("sum", (*GROUP, "le"), _with_workload(_increase(metric, matchers, window_s, "_bucket")))


def _by_gateway(labels: Sequence[str], metric: Metric, matchers: Sequence[str], shape: str, part: str = "") -> str:
    """Add up the routers' series, each once; ``shape`` holds %s where the selector belongs.

    A router may emit a metric under its old name beside the new one, with other labels: the names are alternatives only
    once they are added up.
    """
    once = tuple(dict.fromkeys((*labels, *TARGET, *metric.labels)))
    return " or ".join(
        _by("sum", labels, _by("max", once, shape % selector)) for selector in metric.queries(matchers, part)
    )


def _gateway_queue(matchers: Sequence[str], offset: str = "") -> str:
    return _by_gateway((*GATEWAY, "inference_pool"), metrics.GATEWAY_QUEUE, matchers, f"%s{offset}")


def _with_workload(expression: str) -> str:
    """Add the label ``workload``: the name of the owner, as far as the pod's name tells."""
    for pod in ("pod", "exported_pod"):
        expression = f'label_replace({expression}, "workload", "$1$2", "{pod}", "{OWNED_POD}")'
    return expression
