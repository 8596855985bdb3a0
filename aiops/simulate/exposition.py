"""A replica's metrics in the text format, under the names of vLLM 0.32. Each family stands once, in ``FAMILIES``."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from aiops.simulate.cluster import Replica
from aiops.simulate.factory import Factory
from aiops.simulate.fleet import EngineSettings
from aiops.simulate.histogram import ITL_S, STEP_TOKENS, TTFT_S, Histogram, RequestHistograms
from aiops.simulate.kernel.layout import ITL_AT, STEP_AT, TTFT_AT, Ints, Records
from aiops.simulate.requests import PS

Value = float | Mapping[str, float] | Histogram


@dataclass(frozen=True, slots=True)
class _Reading:
    """One look at a settled engine: its record, its histogram columns, and the requests that ended there."""

    engine: Records
    counts: Ints
    settings: EngineSettings
    model: str
    waiting: int
    fetching: int
    used_blocks: int
    requests: RequestHistograms

    def count(self, field: str) -> int:
        return int(self.engine[field])

    def columns(self, start: int, bounds: tuple[float, ...], total: float) -> Histogram:
        histogram = Histogram(bounds)
        histogram.counts, histogram.sum = self.counts[start : start + len(bounds) + 1].tolist(), total
        return histogram

    @property
    def prompt_tokens(self) -> int:
        return self.count("computed") + self.count("cached") + self.count("pulled")

    @property
    def first_tokens(self) -> Histogram:
        return self.columns(TTFT_AT, TTFT_S, self.count("ttft_sum") / PS)

    @property
    def intervals(self) -> Histogram:
        return self.columns(ITL_AT, ITL_S, self.count("itl_sum") / PS)

    @property
    def steps(self) -> Histogram:
        return self.columns(STEP_AT, STEP_TOKENS, self.count("step_tokens"))


@dataclass(frozen=True, slots=True)
class Family:
    """A metric: its name without what the format appends, its type, and where its value comes from.

    A value by ``label`` is a mapping from that label's values. ``engine`` tells whether vLLM puts the engine's number
    on it.
    """

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    help: str
    read: Callable[[_Reading], Value]
    label: str = ""
    engine: bool = True


def _by(**values: float) -> Mapping[str, float]:
    return values


FAMILIES = (
    Family("estimated_flops_per_gpu", "counter", "Floating point operations; not simulated.", lambda _: 0.0),
    Family("estimated_read_bytes_per_gpu", "counter", "Bytes read from memory; not simulated.", lambda _: 0.0),
    Family("estimated_write_bytes_per_gpu", "counter", "Bytes written to memory; not simulated.", lambda _: 0.0),
    Family("num_requests_running", "gauge", "Requests in the batch.", lambda r: r.count("running")),
    Family(
        "num_requests_waiting",
        "gauge",
        "Requests that wait, those whose KV is on its way included.",
        lambda r: r.waiting + r.fetching,
    ),
    Family(
        "num_requests_waiting_by_reason",
        "gauge",
        "Requests that wait: for capacity, or deferred because their KV is on its way.",
        lambda r: _by(capacity=r.waiting, deferred=r.fetching),
        label="reason",
    ),
    Family(
        "engine_sleep_state",
        "gauge",
        "Whether the engine is awake; a simulated one always is.",
        lambda _: _by(awake=1.0, weights_offloaded=0.0, discard_all=0.0),
        label="sleep_state",
    ),
    Family(
        "kv_cache_usage_perc",
        "gauge",
        "Share of the KV cache in use, 0 to 1.",
        lambda r: r.used_blocks / r.settings.blocks,
    ),
    Family("prefix_cache_queries", "counter", "Prompt tokens looked up.", lambda r: r.count("queries")),
    Family("prefix_cache_hits", "counter", "Prompt tokens found by the lookup.", lambda r: r.count("hits")),
    Family(
        "external_prefix_cache_queries",
        "counter",
        "Prompt tokens asked of a peer.",
        lambda r: r.count("remote_queries"),
    ),
    Family(
        "external_prefix_cache_hits", "counter", "Prompt tokens that a peer has.", lambda r: r.count("remote_queries")
    ),
    Family("mm_cache_queries", "counter", "Multimodal items looked up.", lambda _: 0.0),
    Family("mm_cache_hits", "counter", "Multimodal items found.", lambda _: 0.0),
    Family("num_preemptions", "counter", "Requests thrown out of the batch.", lambda r: r.count("preemptions")),
    Family(
        "prompt_tokens", "counter", "Prompt tokens of the requests that got a first token.", lambda r: r.prompt_tokens
    ),
    Family(
        "prompt_tokens_by_source",
        "counter",
        "The same, by where their KV came from.",
        lambda r: _by(
            local_compute=r.count("computed"),
            local_cache_hit=r.count("cached"),
            external_kv_transfer=r.count("pulled"),
        ),
        label="source",
    ),
    Family(
        "prompt_tokens_cached",
        "counter",
        "The same, those alone that were not computed here.",
        lambda r: r.count("cached") + r.count("pulled"),
    ),
    Family(
        "prompt_tokens_cached_by_source",
        "counter",
        "Prompt tokens found at admission, by where.",
        lambda r: _by(
            device=r.count("hits"), host=0.0, p2p=r.count("remote_queries"), disk=0.0, external_unspecified=0.0
        ),
        label="source",
    ),
    Family("generation_tokens", "counter", "Tokens generated.", lambda r: r.count("generated")),
    Family(
        "request_success",
        "counter",
        "Requests that ended, by why; simulated ones have the length they were asked for.",
        lambda r: _by(stop=0.0, length=r.count("finished"), abort=0.0, error=0.0, repetition=0.0),
        label="finished_reason",
    ),
    Family(
        "admission_rejections",
        "counter",
        "Requests refused because of a limit on the queue.",
        lambda _: _by(max_num_queued_reqs=0.0, max_num_queued_tokens=0.0),
        label="reason",
        engine=False,
    ),
    Family("request_prompt_tokens", "histogram", "Prompt tokens of a request.", lambda r: r.requests.prompt_tokens),
    Family("request_generation_tokens", "histogram", "Tokens generated.", lambda r: r.requests.generated_tokens),
    Family("iteration_tokens_total", "histogram", "Tokens computed and generated in a step.", lambda r: r.steps),
    Family(
        "request_max_num_generation_tokens",
        "histogram",
        "Most tokens asked for.",
        lambda r: r.requests.generated_tokens,
    ),
    Family("request_params_n", "histogram", "Answers asked for.", lambda r: r.requests.sequences),
    Family("request_params_max_tokens", "histogram", "Limit on the answer.", lambda r: r.requests.generated_tokens),
    Family("time_to_first_token_seconds", "histogram", "From arrival to first token.", lambda r: r.first_tokens),
    Family("inter_token_latency_seconds", "histogram", "From token to token.", lambda r: r.intervals),
    Family(
        "request_time_per_output_token_seconds",
        "histogram",
        "Mean time from token to token of a request.",
        lambda r: r.requests.token_s,
    ),
    Family("e2e_request_latency_seconds", "histogram", "From arrival to end.", lambda r: r.requests.total_s),
    Family("request_queue_time_seconds", "histogram", "From arrival to admission.", lambda r: r.requests.queue_s),
    Family("request_inference_time_seconds", "histogram", "From admission to end.", lambda r: r.requests.inference_s),
    Family("request_prefill_time_seconds", "histogram", "Admission to first token.", lambda r: r.requests.prefill_s),
    Family("request_decode_time_seconds", "histogram", "From first token to end.", lambda r: r.requests.decode_s),
    Family("request_num_preemptions", "histogram", "Preemptions of a request.", lambda r: r.requests.preemptions),
    Family(
        "request_prefill_kv_computed_tokens",
        "histogram",
        "Prompt tokens computed, hits excepted.",
        lambda r: r.requests.computed_tokens,
    ),
)


def exposition(factory: Factory, replica: Replica) -> str:
    """Write what a scrape of a live replica answers at the factory's present time.

    The process counts as started when it became ready, so that its age is that of its cache.
    """
    model = factory.model_of(replica)
    model.settle()
    fleet, number = model.fleet, replica.engine
    reading = _Reading(
        engine=fleet.engines[number],
        counts=fleet.counts[number],
        settings=fleet.pools[replica.pool.number].engines,
        model=model.ref.model,
        waiting=fleet.waiting(number),
        fetching=fleet.fetching(number),
        used_blocks=fleet.used_blocks(number),
        requests=model.histograms.of(replica.incarnation),
    )
    born = factory.time(replica.ready_at_s).timestamp()
    lines = [
        "# HELP process_start_time_seconds When the process started, in Unix seconds.",
        "# TYPE process_start_time_seconds gauge",
        f"process_start_time_seconds {born!r}",
    ]
    for family in FAMILIES:
        lines += _family_lines(family, reading, born)
    lines += _cache_config_lines(reading.settings)
    return "\n".join(lines) + "\n"


def _family_lines(family: Family, reading: _Reading, born: float) -> Iterator[str]:
    name = f"vllm:{family.name}"
    shown = f"{name}_total" if family.kind == "counter" else name
    yield f"# HELP {shown} {family.help}"
    yield f"# TYPE {shown} {family.kind}"
    value = family.read(reading)
    common = {"engine": "0"} if family.engine else {}
    common["model_name"] = reading.model
    by_labels = (
        [({**common, family.label: key}, each) for key, each in value.items()]
        if isinstance(value, Mapping)
        else [(common, value)]
    )
    for labels, each in by_labels:
        if isinstance(each, Histogram):
            yield from _histogram_lines(name, labels, each)
        else:
            yield _line(shown, labels, each)
    if family.kind != "gauge":
        yield f"# HELP {name}_created When counting began, in Unix seconds: {family.help}"
        yield f"# TYPE {name}_created gauge"
        for labels, _ in by_labels:
            yield _line(f"{name}_created", labels, born)


def _histogram_lines(name: str, labels: dict[str, str], histogram: Histogram) -> Iterator[str]:
    bounds = [*(repr(bound) for bound in histogram.bounds), "+Inf"]
    for bound, count in zip(bounds, accumulate(histogram.counts), strict=True):
        yield _line(f"{name}_bucket", {**labels, "le": bound}, count)
    yield _line(f"{name}_count", labels, sum(histogram.counts))
    yield _line(f"{name}_sum", labels, histogram.sum)


def _cache_config_lines(settings: EngineSettings) -> list[str]:
    size = str(settings.block_size)
    known = {
        "_block_size_resolved": "True",
        "block_size": size,
        "effective_attention_block_size": size,
        "enable_prefix_caching": str(settings.prefix_caching),
        "kv_cache_max_concurrency": str(settings.kv_tokens / settings.max_model_len),
        "kv_cache_size_tokens": str(settings.kv_tokens),
        "num_gpu_blocks": str(settings.blocks + 1),  # the placeholder block is one of them
    }
    name = "vllm:cache_config_info"
    labels = {"engine": "0", **_CACHE_DEFAULTS, **known}
    return [
        f"# HELP {name} How the KV cache is configured.",
        f"# TYPE {name} gauge",
        _line(name, labels, 1.0),
    ]


def _line(name: str, labels: dict[str, str], value: float) -> str:
    text = ",".join(f'{key}="{labels[key]}"' for key in sorted(labels))
    return f"{name}{{{text}}} {float(value)!r}"


_CACHE_DEFAULTS = {
    "cache_dtype": "auto",
    "cache_hit_alignment_tokens": "None",
    "enable_mamba_shared_prefix_checkpoint": "False",
    "gpu_memory_utilization": "0.92",
    "hash_block_size": "None",
    "is_attention_free": "False",
    "kv_cache_dtype_skip_layers": "[]",
    "kv_cache_layout": "None",
    "kv_cache_memory_bytes": "None",
    "kv_offloading_backend": "native",
    "kv_offloading_size": "None",
    "kv_sharing_fast_prefill": "False",
    "mamba_block_size": "None",
    "mamba_cache_dtype": "auto",
    "mamba_cache_mode": "none",
    "mamba_page_size_padded": "None",
    "mamba_ssm_cache_dtype": "float32",
    "num_cpu_blocks": "None",
    "num_gpu_blocks_override": "None",
    "prefix_cache_retention_interval": "0",
    "prefix_caching_hash_algo": "sha256",
    "prefix_match_unit": "None",
    "replayssm_buffer_len": "16",
    "skip_page_size_padded": "None",
    "sliding_window": "None",
    "swa_bounded_replay": "True",
    "use_kda_recoverssm": "False",
    "use_replayssm": "False",
    "user_specified_block_size": "False",
}
