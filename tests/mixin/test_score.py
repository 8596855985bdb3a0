"""What is expected of alerts, and how episodes are held against it."""

import pytest

from tests.mixin.recording import STARTS
from tests.mixin.rules import Episode, read_rules
from tests.mixin.score import expected, judge, subject
from tests.mixin.troubles import CHAT, LOOK_ALIKES, OF_HALF_A_DAY, RAG, TROUBLES, Trouble, draw_half_a_day, draw_week

_TROUBLE = Trouble("metric_gap", CHAT, 3600.0, 4800.0)


def _episode(alert: str, begin_s: float, **labels: str) -> Episode:
    at_s = STARTS.timestamp() + begin_s
    return Episode(alert, tuple(sorted(({"severity": "warning"} | labels).items())), at_s, at_s, at_s + 600)


def test_every_kind_of_trouble_says_what_should_tell_of_it():
    assert set(expected()) == set(TROUBLES)


def test_the_alerts_that_are_expected_ship():
    shipped = {rule.name for rule in read_rules() if rule.alert}
    assert {name for one in expected().values() for name in one.may} <= shipped


@pytest.mark.parametrize(
    ("episode", "told", "false"),
    [
        pytest.param(_episode("AiopsBlind", 3700, model_name=CHAT), True, False, id="within it, on its model"),
        pytest.param(_episode("AiopsBlind", 5300, model_name=CHAT), True, False, id="shortly after"),
        pytest.param(_episode("AiopsBlind", 3700, model_name=RAG), False, True, id="another model"),
        pytest.param(_episode("AiopsBlind", 3500, model_name=CHAT), False, True, id="before it"),
        pytest.param(_episode("AiopsBlind", 6000, model_name=CHAT), False, False, id="late, as a consequence"),
        pytest.param(_episode("TokenFactorySaturated", 4000, pool="llm/chat"), False, False, id="a consequence"),
        pytest.param(_episode("AiopsPolicyBroken", 4000), False, True, id="another kind"),
        pytest.param(_episode("AiopsWatchdog", 4000, severity="none"), False, False, id="the watchdog does not count"),
    ],
)
def test_an_alert_is_held_against_the_labels(episode, told, false):
    judged = judge([_TROUBLE], [episode])
    assert (judged.recall_ratio == 1.0, bool(judged.false)) == (told, false)


def test_a_look_alike_explains_nothing_and_need_not_be_told():
    judged = judge(
        [Trouble("rollout", CHAT, 0, 600, benign=True)], [_episode("TokenFactorySaturated", 100, pool="llm/chat")]
    )
    assert (judged.told, len(judged.false)) == ((), 1)


@pytest.mark.parametrize(
    ("labels", "model"),
    [
        pytest.param({"model_name": RAG}, RAG, id="by its model"),
        pytest.param({"pool": "llm/chat"}, CHAT, id="by its pool"),
        pytest.param({"pod": "rag-decode-5d9f-x2x"}, RAG, id="by its pod"),
        pytest.param({"inference_pool": "meta-llama-llama-3-1-70b-instruct"}, CHAT, id="by its router"),
        pytest.param({"node": "rag-prefill-node-3"}, RAG, id="by its node"),
        pytest.param({"job": "aiops"}, None, id="aiops itself"),
    ],
)
def test_whom_an_alert_is_about(labels, model):
    assert subject(_episode("A", 0, **labels)) == model


@pytest.mark.parametrize("clean", [False, True])
def test_a_week_has_every_kind_and_one_trouble_at_a_time(clean):
    plan = draw_week(3, 168, clean=clean)
    assert {one.kind for one in plan.troubles} == set(LOOK_ALIKES if clean else TROUBLES)
    assert all(one.end_s < after.begin_s for one, after in zip(plan.troubles, plan.troubles[1:], strict=False))
    assert plan == draw_week(3, 168, clean=clean)
    assert plan != draw_week(4, 168, clean=clean)


def test_half_a_day_has_each_of_its_kinds_once():
    plan = draw_half_a_day(1)
    assert sorted(one.kind for one in plan.troubles) == sorted(OF_HALF_A_DAY)
    assert plan.troubles[-1].end_s < 12 * 3600
