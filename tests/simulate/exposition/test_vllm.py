import re
from datetime import timedelta

import pytest

from aiops.simulate.exposition import exposition
from aiops.simulate.factory import Factory
from tests.parts import shared_data
from tests.simulate.exposition.pages import of, samples, types
from tests.simulate.factories import START, aggregated, factory, pair, run, workload

_CLOSED = {"le", "engine", "reason", "source", "finished_reason", "sleep_state"}  # labels whose values are vLLM's own


def shapes(text: str) -> set[tuple[str, frozenset[tuple[str, str]]]]:
    return {
        (name, frozenset((key, value if key in _CLOSED else "") for key, value in labels.items()))
        for name, labels, _ in samples(text)
        if name.startswith("vllm:")
    }


def scrapes(made: Factory) -> dict[str, str]:
    return {str(pool.role): exposition(made, replica) for pool, replica in made.live_replicas()}


@pytest.mark.parametrize(
    ("recorded", "max_model_len"),
    [
        ("idle", 2048),
        ("light", 2048),
        ("saturated", 2048),
        ("after", 2048),
        ("preempting", 1024),
        ("preempting_after", 1024),
    ],
)
def test_names_types_labels_and_buckets_are_those_of_a_real_server(recorded: str, max_model_len: int) -> None:
    real = shared_data("vllm_metrics", f"vllm-0.32.0_{recorded}.prom").read_text()
    load = {"requestsPerS": 5, "inputTokens": {"mean": 400}, "outputTokens": {"mean": 40}}
    made = run(factory(aggregated(1, maxModelLen=max_model_len, workload=load)), 60)
    ours = scrapes(made)["both"]
    assert types(ours, "vllm:") == types(real, "vllm:")
    assert shapes(ours) == shapes(real)
    assert "process_start_time_seconds" in {name for name, _, _ in samples(ours)}


@pytest.mark.parametrize("seconds", [0.0, 37.3, 301.7])
@pytest.mark.parametrize("kind", ["aggregated", "pair"])
def test_the_counters_agree_with_each_other(kind: str, seconds: float) -> None:
    spec = {"aggregated": aggregated(1), "pair": pair(1, 1)}[kind]
    made = run(factory(spec | {"workload": workload(4, prefixShare=0.3, warmupTokens=10_000)}), seconds)
    for role, text in scrapes(made).items():
        prompt = of(text, "vllm:prompt_tokens_total")
        first_tokens = of(text, "vllm:time_to_first_token_seconds_count")
        assert of(text, "vllm:prompt_tokens_by_source_total") == prompt
        assert of(text, "vllm:prompt_tokens_cached_total") == prompt - of(
            text, "vllm:prompt_tokens_by_source_total", source="local_compute"
        )
        assert of(text, "vllm:prompt_tokens_cached_by_source_total") == of(text, "vllm:prefix_cache_hits_total") + of(
            text, "vllm:external_prefix_cache_hits_total"
        )
        assert of(text, "vllm:num_requests_waiting_by_reason") == of(text, "vllm:num_requests_waiting")
        assert of(text, "vllm:generation_tokens_total") == first_tokens + of(
            text, "vllm:inter_token_latency_seconds_count"
        )
        finished = of(text, "vllm:request_success_total")
        for family in re.findall(r"^# TYPE (vllm:(?:request_|e2e_)\S+) histogram$", text, re.MULTILINE):
            assert of(text, f"{family}_count") == of(text, f"{family}_bucket", le="+Inf") == finished
        assert 0 <= of(text, "vllm:kv_cache_usage_perc") <= 1
        assert finished <= first_tokens
        if seconds > 60:
            assert finished > 0
            assert of(text, "vllm:prefix_cache_hits_total") > 0
            assert (of(text, "vllm:external_prefix_cache_hits_total") > 0) == (role == "decode")
            assert (of(text, "vllm:nixl_xfer_time_seconds_count") > 0) == (role == "decode")


def test_steps_account_for_every_token() -> None:
    made = run(factory(aggregated(1, workload=workload(4, prefixShare=0.3, warmupTokens=10_000))), 120)
    made.run_out(timedelta(minutes=5))
    text = scrapes(made)["both"]
    computed = of(text, "vllm:prompt_tokens_by_source_total", source="local_compute")
    assert of(text, "vllm:iteration_tokens_total_sum") == computed + of(text, "vllm:generation_tokens_total")
    assert computed == of(text, "vllm:request_prefill_kv_computed_tokens_sum")
    assert of(text, "vllm:generation_tokens_total") == of(text, "vllm:request_generation_tokens_sum")


@pytest.mark.parametrize("recorded", ["light", "after", "preempting_after"])
def test_a_real_server_accounts_for_its_steps_in_the_same_way(recorded: str) -> None:
    text = shared_data("vllm_metrics", f"vllm-0.32.0_{recorded}.prom").read_text()
    computed = of(text, "vllm:prompt_tokens_by_source_total", source="local_compute")
    assert of(text, "vllm:iteration_tokens_total_sum") == computed + of(text, "vllm:generation_tokens_total")
    assert computed == of(text, "vllm:request_prefill_kv_computed_tokens_sum")


def test_a_decode_replica_computes_no_prompts_and_tells_of_its_transfers() -> None:
    transfer = {"latency": "5ms", "secondsPerToken": 1e-5}
    made = run(factory(pair(1, 1, transfer=transfer, workload=workload(4))), 120)
    made.run_out(timedelta(minutes=5))
    prefill, decode = scrapes(made)["prefill"], scrapes(made)["decode"]
    for text in (prefill, decode):
        computed = of(text, "vllm:prompt_tokens_by_source_total", source="local_compute")
        assert computed == of(text, "vllm:request_prefill_kv_computed_tokens_sum")
    assert of(decode, "vllm:prompt_tokens_by_source_total", source="local_compute") == 0
    pulled = of(decode, "vllm:prompt_tokens_by_source_total", source="external_kv_transfer")
    transfers = of(decode, "vllm:nixl_xfer_time_seconds_count")
    assert transfers == of(prefill, "vllm:request_success_total") > 0
    # Each waits for its latency and for those before it.
    assert of(decode, "vllm:nixl_xfer_time_seconds_sum") >= 0.005 * transfers + 1e-5 * pulled - 1e-6
    assert of(prefill, "vllm:nixl_xfer_time_seconds_count") == 0
    assert "nixl" not in scrapes(run(factory(aggregated(1)), 1))["both"]


def test_preemptions_and_waits_are_told() -> None:
    made = run(factory(aggregated(1, workload=workload(12, prompt=1500, output=200))), 60)
    text = scrapes(made)["both"]
    assert of(text, "vllm:num_preemptions_total") > 0
    assert of(text, "vllm:num_requests_waiting_by_reason", reason="capacity") > 0
    assert of(text, "vllm:num_requests_waiting_by_reason", reason="deferred") == 0
    finished = of(text, "vllm:request_num_preemptions_sum")
    assert 0 < finished <= of(text, "vllm:num_preemptions_total")


def test_a_replica_is_as_old_as_its_cache() -> None:
    made = factory(aggregated(0, coldStart={"p50": "60s", "p90": "60s"}))
    run(made, 100)
    made.scale(made.models[0].pools[0].ref, 1)
    run(made, 100)
    assert of(scrapes(made)["both"], "process_start_time_seconds") == pytest.approx(START.timestamp() + 160)
