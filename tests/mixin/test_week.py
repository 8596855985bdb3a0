"""Half a simulated day with some kinds of trouble, in a real Prometheus 2 and a 3: panels, rules and alerts."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from tests.cluster.build import PROMETHEUS
from tests.cluster.conftest import built
from tests.mixin.panels import LOOK_S, dashboards, evaluated, may_be_empty, names_asked_for, silent_panels, silent_rules
from tests.mixin.recording import SCRAPE_S, Week
from tests.mixin.rules import Episode, read_rules
from tests.mixin.score import judge, summary
from tests.mixin.server import Asked, Store, stores
from tests.mixin.troubles import HALF_A_DAY_HOURS, Trouble, draw_half_a_day

pytestmark = [pytest.mark.real, pytest.mark.slow]
_SEED = 1


@dataclass(frozen=True)
class Day:
    """The day in one server, what fired, and what was wrong."""

    asked: Asked
    episodes: list[Episode]
    troubles: tuple[Trouble, ...]


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Store]:
    """The day as each Prometheus stores it, by its major version."""
    week = Week(draw_half_a_day(_SEED), _SEED, names_asked_for())
    return stores(week, HALF_A_DAY_HOURS, tmp_path_factory.mktemp("day"), ("2", "3"))


@pytest.fixture(scope="module", params=["2", "3"], ids=["Prometheus 2", "Prometheus 3"])
def day(request, held, pytestconfig) -> Iterator[Day]:
    program = built(PROMETHEUS, pytestconfig).programs["prometheus"] if request.param == "3" else None
    store = replace(held[request.param], program=program)
    episodes = store.evaluate(read_rules())
    with store.running() as asked:
        yield Day(asked, episodes, draw_half_a_day(_SEED).troubles)


def test_a_scrape_adds_the_labels_that_rules_and_dashboards_choose_by(day):
    for query, labels in (
        (
            "vllm:num_requests_running",
            {"cluster", "job", "instance", "namespace", "pod", "model_name", "llm_d_ai_role"},
        ),
        ("llm_d_epp_request_total", {"cluster", "job", "instance", "namespace", "pod", "model_name"}),
        ('llm_d_epp_scheduler_attempts_total{job="epp"}', {"exported_namespace", "endpoint_name"}),
        (
            'DCGM_FI_DEV_POWER_USAGE{exported_pod!=""}',
            {"namespace", "pod", "exported_namespace", "exported_pod", "UUID"},
        ),
        ("kube_pod_status_ready", {"cluster", "job", "namespace", "pod"}),
        ("aiops_current_replicas", {"cluster", "job", "namespace", "model_name", "pool", "role"}),
    ):
        series = day.asked.range(query, LOOK_S)
        assert series, query
        assert all(labels <= set(one["metric"]) for one in series), query


def test_a_replica_that_is_gone_is_forgotten_with_its_target(day):
    assert day.asked.range("count by (pod) (vllm:num_requests_running)")
    lingering = 'count by (pod) (vllm:num_requests_running) unless on (pod) up{job="vllm"}'
    assert day.asked.range(lingering) == []


def test_prometheus_2_keeps_the_bounds_that_exporters_write_and_3_writes_them_as_floats(day):
    bounds = {one["metric"]["le"] for one in day.asked.range("llm_d_epp_request_ttft_seconds_bucket", 3600)}
    assert ({"1", "1.0"} & bounds) == ({"1.0"} if day.asked.floats else {"1"})


@pytest.mark.parametrize("dashboard", dashboards(), ids=lambda one: one["uid"])
def test_every_panel_shows_something_or_is_listed_with_the_reason(day, dashboard):
    silent = silent_panels(evaluated(day.asked, dashboard, step_s=LOOK_S))
    listed = may_be_empty()[0].get(dashboard["uid"], {})
    assert {title: exprs for title, exprs in silent.items() if title not in listed} == {}
    assert [title for title in listed if title not in silent] == [], "these show something: take them off the list"


def test_every_recording_rule_records_something_or_is_listed_with_the_reason(day):
    assert silent_rules(day.asked) == set(may_be_empty()[1])


def test_the_right_alerts_tell_of_the_troubles(day):
    judged = judge(day.troubles, day.episodes)
    assert judged.recall_ratio >= 0.9, summary(judged)


def test_no_page_comes_without_a_trouble(day):
    judged = judge(day.troubles, day.episodes)
    assert [one for one in judged.false if one.named["severity"] == "critical"] == [], summary(judged)


def test_what_fired_can_be_seen_as_prometheus_shows_it(day):
    told = {one["metric"]["alertname"] for one in day.asked.range('ALERTS{alertstate="firing"}', SCRAPE_S)}
    assert told == {one.alert for one in day.episodes}
