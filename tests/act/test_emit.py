import subprocess
from dataclasses import replace
from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from aiops.act.emit import Emitter
from aiops.model.cycle import Cycle, FleetSummary
from aiops.model.decision import Outcome, Reason
from aiops.model.forecast import ForecastSkill, Window
from aiops.model.policy import Mode, PolicySet
from tests.act import evidence
from tests.parts import require

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]

NAMES = """
aiops_build_info aiops_mode aiops_leader aiops_loop_last_success_timestamp_seconds aiops_loop_interval_seconds
aiops_loop_duration_seconds aiops_loop_errors aiops_loop_queries aiops_policy_load_failed aiops_recommended_replicas
aiops_desired_replicas aiops_current_replicas aiops_ready_replicas aiops_starting_replicas aiops_draining_replicas
aiops_gpus aiops_min_replicas aiops_max_replicas
aiops_decisions aiops_scale_events aiops_decision_limited aiops_demand_tokens_per_second
aiops_demand_requests_per_second aiops_work_replicas aiops_forecast_tokens_per_second
aiops_forecast_requests_per_second aiops_forecast_coverage_ratio aiops_forecast_wape_ratio aiops_forecast_skill_ratio
aiops_demand_shift_ratio
aiops_utilization_limit_ratio aiops_lead_time_seconds aiops_detection_active aiops_signal_state aiops_pd_ratio
aiops_slo_target_seconds aiops_slo_objective_ratio aiops_cost_usd_per_hour
aiops_writes_off aiops_fleet_removed_replicas aiops_fleet_removable_replicas aiops_unplaced_replicas
"""


def samples(emitter: Emitter) -> Samples:
    found: Samples = {}
    for family in text_string_to_metric_families(emitter.expose().decode()):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, f"{key} stands twice: Prometheus refuses the scrape"
            found[key] = sample.value
    return found


def values(emitter: Emitter, name: str, **labels: str) -> list[float]:
    return [
        value
        for (found, pairs), value in samples(emitter).items()
        if found == name and labels.items() <= dict(pairs).items()
    ]


def emitted(cycle: Cycle, policies: PolicySet | None = None, leads: bool = True) -> Emitter:
    emitter = Emitter("1.2.3", 15.0)
    emitter.record(cycle, policies or evidence.policies(), leads)
    return emitter


def test_the_families_are_exactly_the_documented_ones() -> None:
    emitter = emitted(evidence.troubled(evidence.cycle()))
    assert {family.name for family in text_string_to_metric_families(emitter.expose().decode())} == set(NAMES.split())


@pytest.mark.real
def test_promtool_reads_the_exposition_and_minds_nothing_but_the_quantile_label() -> None:
    text = emitted(evidence.troubled(evidence.cycle())).expose()
    checked = subprocess.run(
        [require("promtool", "prometheus"), "check", "metrics"], input=text, capture_output=True, check=False
    )
    minded = checked.stderr.decode().splitlines()
    # A forecast's quantiles are levels of the future, not of a summary; the label is the one people look for.
    assert [line for line in minded if '"quantile" label' not in line] == []


def test_a_pool_is_labelled_with_its_namespace_model_target_role_and_variant() -> None:
    labels = {
        "namespace": "llm",
        "model_name": evidence.CHAT.model,
        "pool": "llm/chat-70b-decode",
        "role": "decode",
        "variant": "h100-tp4",
    }
    emitter = emitted(evidence.cycle())
    assert ("aiops_current_replicas", tuple(sorted(labels.items()))) in samples(emitter)
    assert values(emitter, "aiops_cost_usd_per_hour", role="decode") == [4 * 14.0]
    assert values(emitter, "aiops_gpus", role="decode") == [4 * 4]
    assert values(emitter, "aiops_starting_replicas", role="decode") == [0]
    assert values(emitter, "aiops_draining_replicas", role="decode") == [0]
    assert values(emitter, "aiops_max_replicas", role="decode") == [24]


@pytest.mark.parametrize(
    ("mode", "leads", "asked"),
    [
        pytest.param(Mode.OBSERVE, True, False, id="observe mode asks for nothing"),
        pytest.param(Mode.EMIT, True, True, id="emit mode publishes the number"),
        pytest.param(Mode.ACT, True, True, id="act mode publishes what it asks for"),
        pytest.param(Mode.EMIT, False, False, id="a follower asks for nothing"),
    ],
)
def test_desired_replicas_are_exported_only_where_something_is_asked(mode: Mode, leads: bool, asked: bool) -> None:
    emitter = emitted(evidence.cycle(mode=mode), leads=leads)
    assert len(values(emitter, "aiops_recommended_replicas")) == 2
    assert len(values(emitter, "aiops_desired_replicas")) == (2 if asked else 0)
    assert values(emitter, "aiops_mode", mode=mode.value) == [1]
    assert sum(values(emitter, "aiops_mode")) == 1


def test_growing_only_never_asks_for_fewer_replicas_than_there_are() -> None:
    seen = evidence.cycle(mode=Mode.ACT_UP)
    model = seen.models[0]
    shrunk = tuple(replace(decision, desired=1) for decision in model.decisions)
    emitter = emitted(replace(seen, models=(replace(model, decisions=shrunk),)))
    assert values(emitter, "aiops_recommended_replicas") == [1, 1]
    assert values(emitter, "aiops_desired_replicas") == [2, 4]


def test_a_blind_cycle_keeps_asking_for_the_held_number_and_shows_no_demand() -> None:
    seen = evidence.cycle(mode=Mode.EMIT)
    emitter = emitted(seen)
    before_s = values(emitter, "aiops_loop_last_success_timestamp_seconds")
    blind = evidence.blind_cycle(seen.at + timedelta(seconds=15), 2)
    emitter.record(blind, evidence.policies(Mode.EMIT))
    assert values(emitter, "aiops_desired_replicas") == [2, 4]
    assert values(emitter, "aiops_demand_tokens_per_second") == []
    assert values(emitter, "aiops_ready_replicas") == []
    assert values(emitter, "aiops_decision_limited", limit=Reason.STALE_METRICS.value) == [1, 1]
    assert values(emitter, "aiops_loop_last_success_timestamp_seconds") == before_s


def test_replicas_that_are_not_known_have_no_series() -> None:
    seen = evidence.cycle()
    model = seen.models[0]
    unknown = tuple(replace(decision, current=None, desired=None) for decision in model.decisions)
    pools = tuple(replace(pool, current=None) for pool in model.pools)
    emitter = emitted(replace(seen, models=(replace(model, decisions=unknown, pools=pools),)))
    for name in ("aiops_recommended_replicas", "aiops_desired_replicas", "aiops_current_replicas"):
        assert values(emitter, name) == []
    assert values(emitter, "aiops_pd_ratio", kind="current") == []


def test_a_model_that_is_gone_leaves_the_metrics_and_its_counters_stay() -> None:
    seen = evidence.cycle()
    emitter = emitted(seen)
    emitter.record(replace(seen, models=(), number=2), evidence.policies())
    gone = {name for name, labels in samples(emitter) if dict(labels).get("model_name")}
    assert gone == {"aiops_decisions_total"}


def test_a_limit_that_holds_no_more_goes_to_zero() -> None:
    seen = evidence.cycle()
    emitter = emitted(seen)
    assert values(emitter, "aiops_decision_limited", limit="scale_up_step_limited") == [1, 1]
    model = seen.models[0]
    free = tuple(replace(decision, reasons=(Reason.STEADY,)) for decision in model.decisions)
    emitter.record(replace(seen, models=(replace(model, decisions=free),), number=2), evidence.policies())
    assert values(emitter, "aiops_decision_limited", limit="scale_up_step_limited") == [0, 0]


def test_each_signal_is_in_exactly_one_state() -> None:
    emitter = emitted(evidence.troubled(evidence.cycle()))
    assert values(emitter, "aiops_signal_state", signal="prefix_cache_hits", state="absent") == [1]
    assert sum(values(emitter, "aiops_signal_state", signal="prefix_cache_hits")) == 1


def test_a_finding_about_a_pool_has_an_empty_replica() -> None:
    emitter = emitted(evidence.troubled(evidence.cycle()))
    assert values(emitter, "aiops_detection_active", kind="routing_skew", replica="", severity="warning") == [1]


def test_the_forecast_is_exported_by_kind_quantile_and_horizon() -> None:
    emitter = emitted(evidence.cycle())
    assert len(values(emitter, "aiops_forecast_tokens_per_second")) == 2 * 3 * 2
    assert len(values(emitter, "aiops_forecast_requests_per_second", horizon="30m")) == 3
    (low,) = values(emitter, "aiops_forecast_tokens_per_second", kind="input", quantile="0.1", horizon="10m")
    (high,) = values(emitter, "aiops_forecast_tokens_per_second", kind="input", quantile="0.9", horizon="10m")
    assert low < high
    assert values(emitter, "aiops_forecast_skill_ratio", kind="output", horizon="10m") == [0.24]


@pytest.mark.parametrize(
    ("series", "window", "kind", "horizon"),
    [
        pytest.param("input_tok_per_s", Window(600, 600), "input", "10m", id="tokens"),
        pytest.param("req_per_s", Window(1800, 1800), "requests", "30m", id="requests"),
        pytest.param(
            "work_decode", Window(240, 300), "work_decode", "lead", id="work when a replica ordered now serves"
        ),
        pytest.param("work_decode", Window(0, 840), "work_decode", "down", id="work until one removed now is back"),
    ],
)
def test_what_the_forecaster_knows_of_itself_is_exported_by_series_and_window(
    series: str, window: Window, kind: str, horizon: str
) -> None:
    seen = evidence.cycle()
    skill = ForecastSkill(series, window, wape_ratio=0.2, skill_ratio=-0.1, coverage_ratio=0.91, points=40)
    emitter = emitted(replace(seen, models=(replace(seen.models[0], skills=(skill,)),)))
    for name, value in (("wape", 0.2), ("skill", -0.1), ("coverage", 0.91)):
        assert values(emitter, f"aiops_forecast_{name}_ratio", kind=kind, horizon=horizon) == [value]


def test_decisions_are_counted_once_for_each_reason() -> None:
    seen = evidence.cycle()
    emitter = emitted(seen)
    emitter.record(replace(seen, number=2), evidence.policies())
    assert values(emitter, "aiops_decisions_total", direction="up", reason="demand_now") == [2, 2]


def test_only_changes_that_were_applied_are_scale_events() -> None:
    seen = evidence.cycle()
    emitter = emitted(seen)
    emitter.outcome(Outcome(evidence.DECODE, seen.at, 8, applied=True))
    emitter.outcome(Outcome(evidence.PREFILL, seen.at, 4, applied=False, error="conflict"))
    assert values(emitter, "aiops_scale_events_total", role="decode", direction="up") == [1]
    assert values(emitter, "aiops_scale_events_total", role="prefill") == []
    assert values(emitter, "aiops_loop_errors_total", stage="act") == [1]


def test_each_stage_of_a_turn_is_timed_once() -> None:
    emitter = Emitter("1.2.3", 15.0)
    for stage in ("observe", "decide", "record", "act", ""):
        emitter.stage(stage)
    for stage in ("observe", "decide", "record", "act"):
        assert values(emitter, "aiops_loop_duration_seconds_count", stage=stage) == [1]


def test_an_error_without_a_name_belongs_to_the_stage_under_way() -> None:
    emitter = Emitter("1.2.3", 15.0)
    emitter.stage("decide")
    emitter.error()
    assert values(emitter, "aiops_loop_errors_total", stage="decide") == [1]


def test_before_the_first_cycle_nothing_is_claimed() -> None:
    emitter = Emitter("1.2.3", 15.0)
    assert values(emitter, "aiops_loop_last_success_timestamp_seconds") == [0]
    assert values(emitter, "aiops_leader") == [0]
    assert values(emitter, "aiops_build_info", version="1.2.3") == [1]


def test_two_emitters_do_not_share_a_registry() -> None:
    assert values(emitted(evidence.cycle()), "aiops_loop_queries") == [14]
    assert values(Emitter("1.2.3", 15.0), "aiops_loop_queries") == []


@pytest.mark.parametrize(
    ("fleet", "off", "removed", "removable"),
    [
        pytest.param(FleetSummary(), [0], [0], [], id="no bound has no number"),
        pytest.param(FleetSummary(removed=3, may_remove=2), [0], [3], [2], id="a bound"),
        pytest.param(FleetSummary(writes_off=True, may_remove=0), [1], [0], [0], id="switched off, and nothing left"),
    ],
)
def test_the_switch_and_what_the_fleet_may_lose_are_exported(
    fleet: FleetSummary, off: list[float], removed: list[float], removable: list[float]
) -> None:
    emitter = emitted(replace(evidence.cycle(), fleet=fleet))
    assert values(emitter, "aiops_writes_off") == off
    assert values(emitter, "aiops_fleet_removed_replicas") == removed
    assert values(emitter, "aiops_fleet_removable_replicas") == removable
