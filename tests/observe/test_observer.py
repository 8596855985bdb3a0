"""What is observed of real engines' metrics through a real Prometheus, each scenario in a namespace of its own.

The pages change once; the tests look at one moment some scrapes later.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import pytest

from aiops.model.demand import DemandSource
from aiops.model.snapshot import ModelSnapshot, SignalState, Snapshot
from tests import parts
from tests.observe.scenarios import AFTER, BEFORE, POD_B, POD_C, RECORDED, TARGETS, recorded, totals
from tests.observe.world import exporter, look, only, pd_pools, policy, replicas, signal, sleep_until, target

pytestmark = [pytest.mark.real, pytest.mark.slow]

WINDOW_S = 8.0
RUNNING = "vllm:num_requests_running"
# A counter that jumps once inside n samples is extrapolated by up to n / (n - 1).
ABOUT = 0.2


@dataclass(frozen=True)
class World:
    url: str
    at: datetime

    def look(self, namespace: str, model: str = "m", **spec: object) -> Snapshot:
        return look(self.url, self.at, policy(namespace, model, **spec), window_s=WINDOW_S)

    def model(self, namespace: str, model: str = "m", **spec: object) -> ModelSnapshot:
        return only(self.look(namespace, model, **spec))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("observer")
    with exporter() as served:
        served.pages |= BEFORE | {page: recorded(before) for page, (before, _) in RECORDED.items()}
        discovered = folder / "targets.json"

        def discover(names: list[str]) -> None:
            draft = folder / "draft"
            draft.write_text(json.dumps([target(served.port, **TARGETS["discovered"][name]) for name in names]))
            draft.rename(discovered)

        discover(["removed-a", "removed-b"])
        jobs: list[dict[str, object]] = [
            {"job_name": job, "static_configs": [target(served.port, **one) for one in TARGETS[job].values()]}
            for job in ("vllm", "again", "ksm")
        ]
        jobs[2]["honor_labels"] = True
        jobs.append(
            {"job_name": "discovered", "file_sd_configs": [{"files": [str(discovered)], "refresh_interval": "1s"}]}
        )
        with parts.prometheus(folder / "prometheus", jobs) as url:
            begun = time.monotonic()
            sleep_until(begun + WINDOW_S - 1)  # Prometheus needs up to 6 s to take up changed targets
            discover(["removed-a"])
            sleep_until(begun + WINDOW_S + 2)
            served.pages |= AFTER | {page: recorded(after) for page, (_, after) in RECORDED.items()}
            sleep_until(begun + WINDOW_S + 8)
            at = datetime.now().astimezone()
            yield World(url, at)


def test_recorded_engine_shows_what_its_scrape_says(world: World) -> None:
    (engine,) = replicas(world.model("moves", "tiny/llama")).values()
    before, after = totals(recorded("light")), totals(recorded("saturated"))
    grown = {name: (after[name] - before[name]) / WINDOW_S for name in after}

    assert (engine.running, engine.waiting) == (16, 43)
    assert engine.kv_usage_ratio == pytest.approx(0.003662556)
    assert engine.kv_tokens == 8192 * 128
    assert engine.age is not None
    assert engine.age.total_seconds() == pytest.approx(world.at.timestamp() - after["process_start_time_seconds"])
    assert engine.preemptions_per_s == 0
    assert engine.prompt_tok_per_s == pytest.approx(grown["vllm:prompt_tokens_total"], rel=ABOUT)
    assert engine.generation_tok_per_s == pytest.approx(grown["vllm:generation_tokens_total"], rel=ABOUT)
    assert engine.finished_per_s == pytest.approx(65 / WINDOW_S, rel=ABOUT)
    hits, queries = grown["vllm:prefix_cache_hits_total"], grown["vllm:prefix_cache_queries_total"]
    assert engine.prefix_hit_ratio == pytest.approx(hits / queries)
    ttft = "vllm:time_to_first_token_seconds"
    assert engine.ttft_mean_s == pytest.approx(grown[f"{ttft}_sum"] / grown[f"{ttft}_count"], rel=ABOUT)
    itl = "vllm:inter_token_latency_seconds"
    assert engine.itl_mean_s == pytest.approx(grown[f"{itl}_sum"] / grown[f"{itl}_count"], rel=ABOUT)


def test_recorded_arrivals_are_what_finished_and_what_came_to_wait(world: World) -> None:
    demand = world.model("moves", "tiny/llama").demand
    before, after = totals(recorded("light")), totals(recorded("saturated"))

    assert demand is not None
    assert demand.source is DemandSource.ENGINES
    assert demand.requests_per_s == pytest.approx((65 + 16 + 43) / WINDOW_S, rel=ABOUT)
    for size, found in (
        ("vllm:request_prompt_tokens", demand.input_tokens_per_request),
        ("vllm:request_generation_tokens", demand.output_tokens_per_request),
    ):
        mean = (after[f"{size}_sum"] - before[f"{size}_sum"]) / (after[f"{size}_count"] - before[f"{size}_count"])
        assert found == pytest.approx(mean)
    assert demand.backlog_requests == 43
    assert not demand.censored


def test_recorded_latency_is_read_at_the_bounds_of_the_buckets(world: World) -> None:
    model = world.model("moves", "tiny/llama", objectives={"ttft": {"p50": "1s"}, "itl": {"p95": "30ms"}})
    before, after = totals(recorded("light")), totals(recorded("saturated"))

    def share(name: str, le: str) -> float:
        within, all_ = f'{name}_bucket{{le="{le}"}}', f"{name}_count"
        return (after[within] - before[within]) / (after[all_] - before[all_])

    assert model.latency.ttft_attainment_ratio == pytest.approx(share("vllm:time_to_first_token_seconds", "1.0"))
    assert model.latency.itl_attainment_ratio == pytest.approx(share("vllm:inter_token_latency_seconds", "0.025"))
    assert 1.0 <= (model.latency.ttft_s or 0) <= 2.5
    assert signal(model, "vllm:time_to_first_token_seconds").detail == ""
    assert "measured at 0.025 s" in signal(model, "vllm:inter_token_latency_seconds").detail


def test_recorded_preemptions_and_small_cache(world: World) -> None:
    (engine,) = replicas(world.model("preempts", "tiny/llama")).values()

    assert engine.preemptions_per_s == pytest.approx((247 - 68) / WINDOW_S, rel=ABOUT)
    assert engine.kv_tokens == 40 * 32
    assert (engine.running, engine.waiting, engine.kv_usage_ratio) == (0, 0, 0)


def test_signals_of_a_recorded_engine_are_there_or_zero(world: World) -> None:
    states = {one.signal: one.state for one in world.model("moves", "tiny/llama").signals}

    assert states.pop("vllm:num_preemptions_total") is SignalState.ZERO
    assert set(states.values()) == {SignalState.OK}


def test_old_names_answer_in_place_of_new_ones(world: World) -> None:
    model = world.model("old", "tiny/llama")
    (engine,) = replicas(model).values()

    assert engine.kv_usage_ratio == pytest.approx(0.003662556)
    assert engine.prefix_hit_ratio is not None
    assert engine.itl_mean_s is not None
    assert model.latency.itl_attainment_ratio == 1.0
    usage = signal(model, "vllm:kv_cache_usage_perc")
    assert (usage.state, usage.found_as) == (SignalState.OK, "vllm:gpu_cache_usage_perc")
    assert "old name" in usage.detail


def test_a_name_and_its_alias_are_one_value(world: World) -> None:
    (engine,) = replicas(world.model("twins")).values()

    assert engine.kv_usage_ratio == 0.5
    assert engine.prefix_queries_tok_per_s == pytest.approx(700 / WINDOW_S, rel=ABOUT)


def test_nan_is_missing_and_spoils_only_its_own_engine(world: World) -> None:
    model = world.model("nan")
    by_name = replicas(model)

    assert model.blind == ""
    assert (by_name[POD_B].running, by_name[POD_C].running) == (None, 3)
    assert model.pools[0].total("running") is None
    assert model.demand is None


def test_a_model_whose_every_value_is_nan_is_blind(world: World) -> None:
    model = world.model("nothing")

    assert RUNNING in model.blind
    assert "no number" in model.blind


def test_a_counter_reset_is_no_negative_rate(world: World) -> None:
    model = world.model("reset", "tiny/llama")
    (engine,) = replicas(model).values()

    for rate in (engine.prompt_tok_per_s, engine.generation_tok_per_s, engine.finished_per_s):
        assert rate is not None
        assert rate >= 0
    assert model.demand is not None
    assert model.demand.requests_per_s >= 0


def test_two_scrapes_of_one_pod_are_one_value(world: World) -> None:
    model = world.model("pair")
    (engine,) = replicas(model).values()

    assert (engine.running, engine.waiting) == (4, 2)
    assert engine.finished_per_s == pytest.approx(80 / WINDOW_S, rel=ABOUT)
    assert model.demand is not None
    assert model.demand.requests_per_s == engine.finished_per_s
    assert model.pools[0].current == 1


def test_data_parallel_ranks_are_one_engine(world: World) -> None:
    (engine,) = replicas(world.model("ranks")).values()

    assert (engine.running, engine.waiting, engine.kv_usage_ratio) == (7, 3, 0.9)
    assert engine.kv_tokens == 2 * 100 * 16


def test_ranks_that_answer_at_ports_of_their_own_are_one_engine(world: World) -> None:
    model = world.model("ports")

    assert [(engine.running, engine.waiting) for engine in replicas(model).values()] == [(5, 2)]
    assert model.demand is not None
    assert model.demand.requests_per_s == pytest.approx((3 + 2) / WINDOW_S)


def test_a_removed_pod_leaves_at_once(world: World) -> None:
    model = world.model("removed")

    assert model.blind == ""
    assert list(replicas(model)) == [POD_B]
    assert model.pools[0].current == 1
    assert model.pools[0].current_inferred


def test_a_target_that_went_down_is_not_idle(world: World) -> None:
    model = world.model("down")

    assert f"{POD_C} does not answer its scrapes" in model.blind
    assert signal(model, RUNNING).state is SignalState.STALE
    assert model.demand is None
    assert model.pools[0].current is None


def test_engines_that_answer_without_their_metrics_are_not_idle(world: World) -> None:
    model = world.model("silent")

    assert "answers without its metrics" in model.blind
    assert {one.state for one in model.signals} == {SignalState.STALE}


def test_one_lost_engine_of_many_is_told_and_blinds_nothing(world: World) -> None:
    model = world.model("many")

    assert model.blind == ""
    assert len(replicas(model)) == 11
    assert signal(model, RUNNING).state is SignalState.STALE
    assert "missing from all sums" in signal(model, RUNNING).detail


def test_a_newcomer_counts_from_zero(world: World) -> None:
    model = world.model("young")

    assert len(replicas(model)) == 2
    assert model.demand is not None
    assert model.demand.requests_per_s == pytest.approx(4 / WINDOW_S)


def test_requests_that_vanish_are_no_negative_demand(world: World) -> None:
    demand = world.model("vanish").demand

    assert demand is not None
    assert demand.requests_per_s == 0.0


def test_labels_that_the_exporter_set_itself_come_first(world: World) -> None:
    model = world.model("exported")

    assert sorted(replicas(model)) == [POD_B, POD_C]
    assert "honorLabels" in signal(model, RUNNING).detail


def test_series_without_a_namespace_count_for_the_one_policy_that_names_their_model(world: World) -> None:
    assert len(replicas(world.model("anywhere", "bare"))) == 1


def test_a_pod_of_another_deployment_is_told_and_left_out(world: World) -> None:
    model = world.model("stray")

    assert list(replicas(model)) == [POD_B]
    owner = signal(model, "kube_pod_owner")
    assert owner.state is SignalState.MISMATCH
    assert "canary-7d9f8b6c5d-ccccc" in owner.detail


@pytest.mark.parametrize(
    ("namespace", "model", "says"),
    [
        pytest.param("moves", "tiny/lama", "did you mean 'tiny/llama'?", id="a typing error in the model's name"),
        pytest.param("elsewhere", "tiny/llama", "in the namespace moves", id="the right model in another namespace"),
        pytest.param("elsewhere", "large", "there are", id="neither the model nor the namespace"),
        pytest.param("unborn", "m", "chat-7d9f8b6c5d-bbbbb do not answer", id="all its targets are down since ever"),
    ],
)
def test_a_model_that_no_series_has_is_blind_and_told_what_is_there(
    world: World, namespace: str, model: str, says: str
) -> None:
    seen = world.model(namespace, model)

    assert says in seen.blind
    assert seen.demand is None
    assert {one.state for one in seen.signals} <= {SignalState.MISMATCH, SignalState.ABSENT}


def test_models_without_a_policy_are_told(world: World) -> None:
    unmanaged = world.look("moves", "tiny/llama").unmanaged

    assert "pair/m" in map(str, unmanaged)
    assert "moves/tiny/llama" not in map(str, unmanaged)


def test_two_clusters_are_never_added_up(world: World) -> None:
    both = world.model("clusters")
    one = only(look(world.url, world.at, policy("clusters"), window_s=WINDOW_S, matchers=('cluster="a"',)))

    assert 'cluster="a"' in both.blind
    assert one.blind == ""
    assert one.pools[0].total("running") == 2


def test_kube_state_metrics_tells_owners_and_replicas(world: World) -> None:
    model = world.model("ksm")

    assert list(replicas(model)) == ["oddly-named"]
    assert (model.pools[0].current, model.pools[0].current_inferred) == (5, False)
    assert "another" in signal(model, "kube_pod_owner").detail


def test_a_pod_that_kubernetes_calls_not_ready_is_no_loss(world: World) -> None:
    model = world.model("restarting")

    assert model.blind == ""
    assert list(replicas(model)) == [POD_B]


def test_a_pool_scaled_to_zero_is_not_blind(world: World) -> None:
    model = world.model("zero")

    assert (model.blind, model.pools[0].current) == ("", 0)


def test_prefill_and_decode_count_each_request_once(world: World) -> None:
    model = world.model("pd", pools=pd_pools())
    demand = model.demand

    assert [(pool.role, pool.current) for pool in model.pools] == [("prefill", 1), ("decode", 2)]
    assert demand is not None
    # Finished at decode (2 x 20) and grown at prefill (5) and decode (2 x 3).
    assert demand.requests_per_s == pytest.approx((2 * 20 + 5 + 2 * 3) / WINDOW_S, rel=ABOUT)
    assert (demand.prefill_backlog_requests, demand.decode_backlog_requests, demand.backlog_requests) == (4, 2, 6)
    assert demand.cached_ratio == pytest.approx(0.25)
    assert demand.output_tokens_per_request == pytest.approx(100)


def test_roles_are_read_from_labels_where_names_tell_nothing(world: World) -> None:
    model = world.model("roles", pools=pd_pools())

    assert [[replica.name for replica in pool.replicas] for pool in model.pools] == [["one"], ["two"]]


def test_the_router_counts_what_it_routed_holds_and_refused(world: World) -> None:
    model = world.model("gateway")
    demand = model.demand

    assert demand is not None
    assert demand.source is DemandSource.GATEWAY
    # Its old name says the same once more, and is not added.
    assert demand.requests_per_s == pytest.approx((40 + 12 + 8) / WINDOW_S, rel=ABOUT)
    assert demand.backlog_requests == 1 + 12
    assert demand.censored
    assert model.latency.ttft_attainment_ratio == pytest.approx(0.75)


def test_traffic_past_the_router_is_seen_at_the_engines(world: World) -> None:
    demand = world.model("bypass").demand

    assert demand is not None
    assert demand.source is DemandSource.ENGINES
    assert demand.requests_per_s == pytest.approx(80 / WINDOW_S, rel=ABOUT)


def test_refused_requests_count_and_teach_nothing(world: World) -> None:
    demand = world.model("refusing").demand

    assert demand is not None
    assert demand.requests_per_s == pytest.approx(24 / WINDOW_S, rel=ABOUT)
    assert demand.censored


def test_a_window_that_began_before_the_first_scrape_is_shorter(world: World) -> None:
    demand = only(look(world.url, world.at, policy("moves", "tiny/llama"), window_s=60)).demand

    assert demand is not None
    assert demand.window.total_seconds() < 25
    assert demand.requests_per_s * demand.window.total_seconds() == pytest.approx(124, rel=ABOUT)


def test_what_the_router_saw_needs_no_engine(world: World) -> None:
    demand = world.model("woken").demand

    assert demand is not None
    assert (demand.backlog_requests, demand.input_tokens_per_request) == (6, None)
