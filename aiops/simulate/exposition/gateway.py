"""What the llm-d router in front of a model shows, under the names of its version 0.9 and later.

Only what the simulation knows stands here: no plugin times, no bytes, no time between response chunks, no router's
belief of what engines have cached, and none of the names that came before ``llm_d_epp_``.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from statistics import fmean, pstdev

import numpy as np

from aiops.model.refs import Role
from aiops.simulate.cluster import Replica, ReplicaState
from aiops.simulate.exposition.pods import slug
from aiops.simulate.exposition.text import Kind, Labels, Sample, family, page
from aiops.simulate.fleet import RouterKind, VirtualFleet
from aiops.simulate.histogram import Histogram
from aiops.simulate.kernel.layout import COMPLETED, FAILED, PREFILLED, QUEUED, REFUSED, TIMED_OUT, Records
from aiops.simulate.requests import PS
from aiops.simulate.served_model import ServedModel

_LONG_S = (
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0,
    45.0, 60.0, 120.0, 180.0, 240.0, 300.0, 360.0, 480.0, 600.0, 900.0, 1200.0, 1800.0, 2700.0, 3600.0,
)  # fmt: skip
_TTFT_S = _LONG_S[: _LONG_S.index(120.0) + 1]
_TPOT_S = (
    0.0005, 0.00205, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.125, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 2.0,
)  # fmt: skip
_NTPOT_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_QUEUE_S = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_INPUT_TOKENS = (
    1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0, 32778.0, 65536.0,
    131072.0, 262144.0, 524288.0, 1048576.0,
)  # fmt: skip
_OUTPUT_TOKENS = _INPUT_TOKENS[: _INPUT_TOKENS.index(8192.0) + 1]
_RATIOS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_PREFIX_PLUGIN = {"plugin_name": "prefix-cache-scorer", "plugin_type": "prefix-cache-scorer"}
_SPLIT_PLUGIN = {"plugin_name": "disagg-profile-handler", "plugin_type": "disagg-profile-handler"}
_PORT = "8000"


class _Answered:
    """What the router has measured of the requests that were answered, one histogram each."""

    def __init__(self) -> None:
        self.duration_s = Histogram(_LONG_S)
        self.ttft_s = Histogram(_TTFT_S)
        self.tpot_s = Histogram(_TPOT_S)
        self.ntpot_s = Histogram(_NTPOT_S)
        self.input_tokens = Histogram(_INPUT_TOKENS)
        self.output_tokens = Histogram(_OUTPUT_TOKENS)
        self.cached_tokens = Histogram(_INPUT_TOKENS)
        self.hit_ratios = Histogram(_RATIOS)

    def observe(self, rows: Records) -> None:
        """Count some requests from their outcomes."""
        seconds = (rows["finish"] - rows["arrival"]) / PS
        streamed_s = (rows["finish"] - rows["first_token"]) / PS
        output = rows["output"]
        self.duration_s.observe(seconds)
        self.ttft_s.observe((rows["first_token"] - rows["arrival"]) / PS)
        self.tpot_s.observe(streamed_s[output > 1] / (output[output > 1] - 1))
        self.ntpot_s.observe(seconds / np.maximum(output, 1))
        self.input_tokens.observe(rows["prompt"])
        self.output_tokens.observe(output)
        self.cached_tokens.observe(rows["cached"])
        self.hit_ratios.observe(rows["cached"] / np.maximum(rows["prompt"], 1))


class Gateway:
    """The router in front of a model's pools, which are one InferencePool; it counts from when it is made."""

    def __init__(self, model: ServedModel) -> None:
        self._model = model
        self._entry = next(pool for pool in model.pools if pool.role is not Role.DECODE)
        self._paired = len(model.pools) > 1
        self._answered = _Answered()
        self._queue_s = Histogram(_QUEUE_S)
        self._ended_routed = 0
        self._errors: Counter[str] = Counter()
        self._refusals: Counter[str] = Counter()
        self._sent: Counter[int] = Counter()
        handed_on = model.on_outcomes

        def take(rows: Records) -> None:
            self._take(rows)
            handed_on(rows)

        model.on_outcomes = take

    @property
    def name(self) -> str:
        """The InferencePool's name, made from the model's."""
        return slug(self._model.ref.model)

    @property
    def answers(self) -> bool:
        """Whether its metrics can be read."""
        return self._model.faults.gateway_answers

    def exposition(self) -> str:
        """Write what a scrape of the router answers at the factory's present time."""
        self._model.settle()
        return page(self._lines())

    def _take(self, rows: Records) -> None:
        kinds = rows["kind"]
        self._answered.observe(rows[kinds == COMPLETED])
        dispatched = rows[kinds == (PREFILLED if self._paired else COMPLETED)]
        self._queue_s.observe((dispatched["queued"] - dispatched["arrival"]) / PS)
        # The row of a prompt that was handed over and then sent nowhere names an engine that has been counted.
        first = (rows["engine"] >= 0) & (rows["decode_engine"] < 0) & (rows["scheduled"] == rows["joined"])
        self._sent.update(rows["engine"][first].tolist())
        self._sent.update(rows["decode_engine"][rows["decode_engine"] >= 0].tolist())
        final = rows[kinds != PREFILLED]
        unroutable = (final["kind"] == REFUSED) & ~self._servable(final)
        routed = (final["engine"] >= 0) | unroutable
        self._ended_routed += int(np.count_nonzero(routed))
        self._errors["ModelServerError"] += int(np.count_nonzero(final["kind"] == FAILED))
        self._errors["BadRequest"] += int(np.count_nonzero(unroutable))
        self._refusals["RejectedCapacity"] += int(np.count_nonzero((final["kind"] == REFUSED) & ~routed))
        self._refusals["EvictedContextCancelled"] += int(np.count_nonzero((final["kind"] == TIMED_OUT) & ~routed))

    def _servable(self, rows: Records) -> Records:
        """Whether requests fit into the engines at all: those that do not are sent on, and refused there."""
        fits = np.ones(len(rows), bool)
        for pool in self._model.fleet.pools:
            engines, output = pool.engines, 1 if pool.role is Role.PREFILL else rows["output"]
            tokens = rows["prompt"] + output
            fits &= (tokens <= engines.max_model_len) & (-(-(tokens - 1) // engines.block_size) <= engines.blocks)
        return fits

    def _lines(self) -> Iterator[str]:
        live = self._model.fleet.live_requests()
        at_gate = (live["state"] == QUEUED) & (live["entry_engine"] < 0)
        sent, queued = live[~at_gate], int(np.count_nonzero(at_gate))
        yield from self._request_lines(len(sent))
        yield from self._flow_lines(queued, self._ended_routed + len(sent))
        replicas = [replica for replica in self._model.replicas() if replica.state is ReplicaState.READY]
        yield from _pool_lines(self._model.fleet, replicas, {"name": self.name})
        yield from self._endpoint_lines(replicas, sent)

    def _request_lines(self, running: int) -> Iterator[str]:
        model, counted = self._labels, self._answered
        total = self._ended_routed + running
        yield from _one("request_total", "counter", "Requests sent to an engine.", model, total)
        yield from _by("request_error_total", "counter", "Requests that failed.", model, "error_code", self._errors)
        yield from _one("request_running", "gauge", "Requests sent to an engine and not ended.", model, running)
        streamed = {**model, "streaming": "true"}
        for name, meaning, labels, histogram in (
            ("request_duration_seconds", "From arrival to end.", model, counted.duration_s),
            ("request_ttft_seconds", "From arrival to first token.", streamed, counted.ttft_s),
            ("request_streaming_tpot_seconds", "Mean time from token to token.", model, counted.tpot_s),
            ("request_ntpot_seconds", "From arrival to end, by tokens generated.", model, counted.ntpot_s),
            ("request_input_tokens", "Prompt tokens.", model, counted.input_tokens),
            ("request_output_tokens", "Tokens generated.", model, counted.output_tokens),
            ("request_cached_tokens", "Prompt tokens that the engine had cached.", model, counted.cached_tokens),
        ):
            yield from _one(name, "histogram", meaning, labels, histogram)
        if self._model.fleet.pools[self._entry.number].router.kind is RouterKind.SCORED:
            meaning = "Share of a prompt found cached; the engine's own, which is what the simulated router goes by."
            yield from _one("prefix_indexer_hit_ratio", "histogram", meaning, _PREFIX_PLUGIN, counted.hit_ratios)
        if self._paired:
            split = {**_SPLIT_PLUGIN, "model_name": self._model.ref.model, "decision_type": "prefill-decode"}
            meaning = "Requests by how they are served; every one of a pair is split."
            yield from _one("disagg_decision_total", "counter", meaning, split, total)

    def _flow_lines(self, queued: int, dispatched: int) -> Iterator[str]:
        pool = {"inference_pool": self.name}
        labels = {**self._labels, **pool}
        yield from _one("flow_control_queue_size", "gauge", "Requests held at the gateway.", labels, queued)
        meaning = "From arrival to the engine's queue, tokenizer included; told when the prompt is computed."
        told = {**labels, "outcome": "Dispatched"}
        yield from _one("flow_control_request_queue_duration_seconds", "histogram", meaning, told, self._queue_s)
        outcomes = {"Dispatched": dispatched, **self._refusals}
        labels = {"priority": "0", **pool}
        meaning = "What became of requests at the gateway."
        yield from _by("flow_control_requests_total", "counter", meaning, labels, "outcome", outcomes)
        yield from _family("flow_control_pool_saturation", "gauge", _SATURATION, self._saturation(pool))

    def _saturation(self, labels: Labels) -> Iterator[Sample]:
        ratios = {}
        for pool in self._model.pools:
            limit = pool.fleet.pools[pool.number].router.hold_waiting
            if limit is not None:
                waiting = [pool.fleet.shown(replica.engine).waiting for replica in pool.in_state(ReplicaState.READY)]
                ratios[str(pool.role)] = fmean(waiting) / limit if waiting else 1.0
        stages = ratios if self._paired else {}
        if ratios:
            stages = {**stages, "effective": max(ratios.values())}
        for stage, ratio in stages.items():
            yield {**labels, "stage": stage}, ratio

    def _endpoint_lines(self, replicas: list[Replica], sent: Records) -> Iterator[str]:
        uncached = Counter[int]()
        for number, tokens in zip(sent["engine"].tolist(), (sent["prompt"] - sent["cached"]).tolist(), strict=True):
            uncached[number] += tokens
        held = Counter(sent["engine"].tolist())
        names, sent_to = self._model.engine_names, Counter[str]()
        for incarnation, count in self._sent.items():
            sent_to[names[incarnation]] += count
        namespace = self._model.ref.namespace
        places = [(replica, {"endpoint_name": replica.name, "namespace": namespace}) for replica in replicas]
        target = {"status": "success", "target_model_name": self._model.ref.model, "port": _PORT}
        yield from _family(
            "scheduler_attempts_total", "counter", "Requests sent to an endpoint.",
            (({**place, **target}, sent_to[replica.name] + held[replica.engine]) for replica, place in places),
        )  # fmt: skip
        flow = {"fairness_id": _FAIRNESS["fairness_id"], "priority": "0", "producer_name": "inflight-load-producer"}
        yield from _family(
            "inflight_requests", "gauge", "Requests sent to an endpoint and not ended there.",
            (({**place, **flow}, held[replica.engine]) for replica, place in places),
        )  # fmt: skip
        yield from _family(
            "inflight_tokens", "gauge", "Their prompt tokens, those known to be cached excepted.",
            (({**place, **flow}, uncached[replica.engine]) for replica, place in places),
        )  # fmt: skip

    @property
    def _labels(self) -> Labels:
        name = self._model.ref.model
        return {"model_name": name, "target_model_name": name, **_FAIRNESS}


_FAIRNESS = {"fairness_id": "default-flow", "priority": "0"}
_SATURATION = "Requests waiting in engines over the number at which the gateway holds more back; 1 with none ready."


def _pool_lines(fleet: VirtualFleet, replicas: list[Replica], labels: Labels) -> Iterator[str]:
    shown = [fleet.shown(replica.engine) for replica in replicas]
    waiting = [float(each.waiting + each.fetching) for each in shown]
    running = [float(each.running) for each in shown]
    usage = [each.kv_usage_ratio for each in shown]
    yield from _one("ready_endpoints", "gauge", "Endpoints that take requests.", labels, len(replicas))
    for name, meaning, values in (
        ("kv_cache_utilization", "KV cache in use, 0 to 1", usage),
        ("queue_size", "Requests waiting in an engine", waiting),
        ("running_requests", "Requests in an engine's batch", running),
    ):
        mean, spread = (fmean(values), pstdev(values)) if values else (0.0, 0.0)
        yield from _one(f"average_{name}", "gauge", f"{meaning}: mean over the pool.", labels, mean)
        yield from _one(f"std_dev_{name}", "gauge", f"{meaning}: standard deviation.", labels, spread)
    yield from _family(
        "per_endpoint_queue_size", "gauge", "Requests waiting in an engine.",
        (
            ({**labels, "model_server_endpoint": replica.name}, count)
            for replica, count in zip(replicas, waiting, strict=True)
        ),
    )  # fmt: skip


def _family(name: str, kind: Kind, meaning: str, samples: Iterator[Sample]) -> Iterator[str]:
    return family(f"llm_d_epp_{name}", kind, meaning, samples)


def _one(name: str, kind: Kind, meaning: str, labels: Labels, value: float | Histogram) -> Iterator[str]:
    return _family(name, kind, meaning, iter([(labels, value)]))


def _by(name: str, kind: Kind, meaning: str, labels: Labels, label: str, values: Mapping[str, float]) -> Iterator[str]:
    """A family by one more label; the router tells of nothing that has not happened yet."""
    return _family(name, kind, meaning, (({**labels, label: key}, each) for key, each in values.items() if each))
