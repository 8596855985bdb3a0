from datetime import timedelta

import pytest

from aiops.simulate.exposition.gateway import Gateway
from aiops.simulate.factory import Factory
from tests.simulate.exposition.pages import labels_of, of, samples
from tests.simulate.factories import aggregated, factory, pair, run, workload

EPP = "llm_d_epp_"
ENDED = ("request_duration_seconds", "request_ttft_seconds", "request_ntpot_seconds", "request_input_tokens",
         "request_output_tokens", "request_cached_tokens")  # fmt: skip


def watched(spec: dict[str, object]) -> tuple[Factory, Gateway]:
    made = factory(spec)
    return made, Gateway(made.models[0])


def outcome(text: str, name: str) -> float:
    return of(text, f"{EPP}flow_control_requests_total", outcome=name)


@pytest.mark.parametrize("spec", [aggregated, pair], ids=["aggregated", "pair"])
def test_every_arrival_is_sent_held_or_refused(spec: object) -> None:
    assert callable(spec)
    made, gateway = watched(spec(2, workload=workload(6), router={"kind": "scored"}))
    for _ in range(4):
        run(made, 31.7)
        text, model = gateway.exposition(), made.models[0]
        sent, running = of(text, f"{EPP}request_total"), of(text, f"{EPP}request_running")
        assert sent + of(text, f"{EPP}flow_control_queue_size") == model.fleet.arrived
        assert outcome(text, "Dispatched") == sent
        for name in ENDED:
            assert of(text, f"{EPP}{name}_count") == of(text, f"{EPP}{name}_bucket", le="+Inf") == sent - running
        held = of(text, f"{EPP}inflight_requests")
        assert held == running
    if len(model.pools) > 1:
        assert of(text, f"{EPP}disagg_decision_total", decision_type="prefill-decode") == sent
        assert of(text, f"{EPP}scheduler_attempts_total") == pytest.approx(2 * sent, abs=running)
    else:
        assert of(text, f"{EPP}scheduler_attempts_total") == sent
        assert "disagg" not in text
    assert of(text, f"{EPP}prefix_indexer_hit_ratio_count") == sent - running
    assert not list(labels_of(text, f"{EPP}request_error_total"))


def test_what_users_feel_is_measured_from_their_arrival() -> None:
    made, gateway = watched(aggregated(1, workload=workload(3)))
    run(made, 120)
    made.run_out(timedelta(minutes=5))
    text, ledger = gateway.exposition(), made.models[0].ledger
    _, _, rows = ledger.window(made.now_s, 1e9, made.models[0].fleet.arrived)
    assert of(text, f"{EPP}request_ttft_seconds_sum", streaming="true") == pytest.approx(rows[:, 0].sum())
    assert of(text, f"{EPP}request_streaming_tpot_seconds_sum") == pytest.approx(rows[rows[:, 3] > 1, 1].sum())
    assert of(text, f"{EPP}request_input_tokens_sum") == rows[:, 2].sum()
    assert of(text, f"{EPP}request_output_tokens_sum") == rows[:, 3].sum()
    assert of(text, f"{EPP}request_running") == 0


def test_a_full_queue_refuses_and_clients_that_leave_it_are_told_of() -> None:
    router = {"maxWaiting": 2, "maxQueued": 50}
    made, gateway = watched(aggregated(1, timeout="2s", router=router, workload=workload(20, prompt=2000, output=200)))
    run(made, 60)
    text = gateway.exposition()
    assert outcome(text, "RejectedCapacity") > 0
    assert outcome(text, "EvictedContextCancelled") > 0
    assert 0 < of(text, f"{EPP}flow_control_queue_size") <= 50
    arrived = of(text, f"{EPP}request_total") + of(text, f"{EPP}flow_control_queue_size")
    arrived += outcome(text, "RejectedCapacity") + outcome(text, "EvictedContextCancelled")
    assert arrived == made.models[0].fleet.arrived
    waiting = of(text, f"{EPP}per_endpoint_queue_size")
    assert of(text, f"{EPP}flow_control_pool_saturation", stage="effective") == waiting / 2


def test_the_wait_at_the_gateway_is_part_of_what_users_wait_for() -> None:
    router = {"maxWaiting": 2}
    made, gateway = watched(aggregated(1, router=router, workload=workload(12, prompt=1000, output=200)))
    text = (run(made, 60), gateway.exposition())[1]
    waits = f"{EPP}flow_control_request_queue_duration_seconds"
    assert of(text, f"{EPP}request_ttft_seconds_sum") > of(text, f"{waits}_sum", outcome="Dispatched") > 0
    assert of(text, f"{waits}_count") == of(text, f"{EPP}request_ttft_seconds_count")


def test_requests_that_fit_nowhere_are_bad_ones_and_not_the_gateways_refusals() -> None:
    # The longest request has fewer tokens than the cache, and more than its two whole blocks.
    tight = {"name": "pool", "profile": "small", "engine": {"kvTokens": 4400, "blockSize": 1500}}
    made, gateway = watched(aggregated(1, pools=[tight], workload=workload(2, prompt=2000)))
    run(made, 60)
    text, refused = gateway.exposition(), made.models[0].ledger.refused
    assert refused > 0
    assert of(text, f"{EPP}request_error_total", error_code="BadRequest") == refused
    assert outcome(text, "RejectedCapacity") == 0
    assert of(text, f"{EPP}request_total") == made.models[0].fleet.arrived


def test_with_no_replica_ready_requests_wait_at_the_gateway() -> None:
    made, gateway = watched(aggregated(0, workload=workload(2)))
    run(made, 30)
    text = gateway.exposition()
    assert of(text, f"{EPP}flow_control_queue_size") == made.models[0].fleet.arrived > 0
    assert of(text, f"{EPP}request_total") == of(text, f"{EPP}ready_endpoints") == 0


def test_the_spread_over_replicas_tells_a_hot_one() -> None:
    hot, gateway = watched(aggregated(4, router={"affinity": 0.9}, workload=workload(8)))
    run(hot, 60)
    text = gateway.exposition()
    shares = sorted(value for name, _, value in samples(text) if name == f"{EPP}scheduler_attempts_total")
    assert shares[-1] > 5 * shares[0]
    running = of(text, f"{EPP}average_running_requests")
    assert of(text, f"{EPP}std_dev_running_requests") > running > 0


def test_a_dead_replicas_requests_are_errors_and_its_pod_keeps_its_counts() -> None:
    crash = {"kind": "crash_loop", "at": "30s", "duration": "5s", "lives": "60s"}
    cold = {"p50": "10s", "p90": "10s"}
    made, gateway = watched(aggregated(1, workload=workload(4), coldStart=cold, faults=[crash]))
    run(made, 29)
    (before,) = [value for name, _, value in samples(gateway.exposition()) if name == f"{EPP}scheduler_attempts_total"]
    run(made, 60)
    text = gateway.exposition()
    assert of(text, f"{EPP}request_error_total", error_code="ModelServerError") == made.models[0].ledger.failed > 0
    (after,) = [value for name, _, value in samples(text) if name == f"{EPP}scheduler_attempts_total"]
    assert after > before
    assert after == of(text, f"{EPP}request_total")
