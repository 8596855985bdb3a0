"""A replica's metrics under the names of vLLM 0.32; each family stands once."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from aiops.model.refs import Role
from aiops.simulate.cluster import Replica
from aiops.simulate.exposition.text import Kind, Labels, Sample, family, page
from aiops.simulate.factory import Factory
from aiops.simulate.fleet import EngineSettings, Shown
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
    shown: Shown
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
    def transfers(self) -> Histogram:
        histogram = Histogram(())
        histogram.counts, histogram.sum = [self.count("transfers")], self.count("transfer_wait") / PS
        return histogram

    @property
    def steps(self) -> Histogram:
        return self.columns(STEP_AT, STEP_TOKENS, self.count("computed") + self.count("generated"))


@dataclass(frozen=True, slots=True)
class Family:
    """A metric: its name without what the format appends, its type, and where its value comes from.

    A value by ``label`` is a mapping from that label's values. ``engine`` tells whether vLLM puts the engine's number
    on it.
    """

    name: str
    kind: Kind
    meaning: str
    read: Callable[[_Reading], Value]
    label: str = ""
    engine: bool = True


def _by(**values: float) -> Mapping[str, float]:
    return values


FAMILIES = (
    Family("estimated_flops_per_gpu", "counter", "Floating point operations; not simulated.", lambda _: 0.0),
    Family("estimated_read_bytes_per_gpu", "counter", "Bytes read from memory; not simulated.", lambda _: 0.0),
    Family("estimated_write_bytes_per_gpu", "counter", "Bytes written to memory; not simulated.", lambda _: 0.0),
    Family("num_requests_running", "gauge", "Requests in the batch.", lambda r: r.shown.running),
    Family(
        "num_requests_waiting",
        "gauge",
        "Requests that wait, those whose KV is on its way included.",
        lambda r: r.shown.waiting + r.shown.fetching,
    ),
    Family(
        "num_requests_waiting_by_reason",
        "gauge",
        "Requests that wait: for capacity, or deferred because their KV is on its way.",
        lambda r: _by(capacity=r.shown.waiting, deferred=r.shown.fetching),
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
        lambda r: r.shown.kv_usage_ratio,
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
NIXL_FAMILIES = (
    Family(
        "nixl_xfer_time_seconds",
        "histogram",
        "From the start of a KV transfer to its end, the queue at the receiver included; counted when it starts. Its"
        " distribution is not kept, only sum and count.",
        lambda r: r.transfers,
    ),
    Family("nixl_num_failed_transfers", "counter", "Failed transfers; a simulated one never fails.", lambda _: 0.0),
    Family("nixl_num_failed_notifications", "counter", "Failed notifications; not simulated.", lambda _: 0.0),
    Family("nixl_num_kv_expired_reqs", "counter", "KV that nobody fetched in time; not simulated.", lambda _: 0.0),
)
"""What prefill and decode engines have besides."""


def exposition(factory: Factory, replica: Replica, wanted: Callable[[str], bool] = lambda _: True) -> str:
    """Write what a scrape of a live replica answers at the factory's present time.

    The process counts as started when it became ready, so that its age is that of its cache. ``wanted`` picks families
    by name, a counter's without its ``_total``, as a scrape with ``?name[]=`` may.
    """
    model = factory.model_of(replica)
    model.settle()
    fleet, number = model.fleet, replica.engine
    reading = _Reading(
        engine=fleet.engines[number],
        counts=fleet.counts[number],
        settings=fleet.pools[replica.pool.number].engines,
        model=model.ref.model,
        shown=fleet.shown(number),
        requests=model.histograms.of(replica.incarnation),
    )
    families = [each for each in _families(replica.pool.role) if wanted(f"vllm:{each.name}")]
    return page(_lines(reading, factory.time(replica.ready_at_s).timestamp(), families))


def _families(role: Role) -> tuple[Family, ...]:
    return FAMILIES if role is Role.BOTH else FAMILIES + NIXL_FAMILIES


def _lines(reading: _Reading, born: float, families: Iterable[Family]) -> Iterator[str]:
    began = "When the process started, in Unix seconds."
    yield from family("process_start_time_seconds", "gauge", began, [({}, born)])
    for each in families:
        yield from _family_lines(each, reading, born)
    labels = {"engine": "0", **_CACHE_DEFAULTS, **_cache_config(reading.settings)}
    yield from family("vllm:cache_config_info", "gauge", "How the KV cache is configured.", [(labels, 1.0)], repr)


def _family_lines(one: Family, reading: _Reading, born: float) -> Iterator[str]:
    name = f"vllm:{one.name}"
    samples = list(_samples(one, reading))
    shown = f"{name}_total" if one.kind == "counter" else name
    yield from family(shown, one.kind, one.meaning, samples, repr)
    if one.kind != "gauge":
        began = f"When counting began, in Unix seconds: {one.meaning}"
        yield from family(f"{name}_created", "gauge", began, [(labels, born) for labels, _ in samples], repr)


def _samples(one: Family, reading: _Reading) -> Iterator[Sample]:
    common: Labels = {"model_name": reading.model, **({"engine": "0"} if one.engine else {})}
    value = one.read(reading)
    if not isinstance(value, Mapping):
        yield common, value
        return
    for key, each in value.items():
        yield {**common, one.label: key}, each


def _cache_config(settings: EngineSettings) -> dict[str, str]:
    size = str(settings.block_size)
    return {
        "_block_size_resolved": "True",
        "block_size": size,
        "effective_attention_block_size": size,
        "enable_prefix_caching": str(settings.prefix_caching),
        "kv_cache_max_concurrency": str(settings.kv_tokens / settings.max_model_len),
        "kv_cache_size_tokens": str(settings.kv_tokens),
        "num_gpu_blocks": str(settings.blocks + 1),  # the placeholder block is one of them
    }


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
