"""How rules are read and judged here, against what promtool makes of them."""

import random
import subprocess

import pytest
import yaml

from tests import parts
from tests.alerts.rules import RULE_FILES
from tests.mixin.rules import Rule, fired, levels, read_rules, without_recordings

_STEP_S = 60.0
_HOLDS = [(0, 0), (1, 0), (3, 0), (0, 2), (1, 1), (3, 4)]  # minutes of `for` and of `keep_firing_for`
_MINUTES = 60


def _patterns() -> dict[str, list[int]]:
    draws = random.Random(7)  # noqa: S311  # not for secrets
    drawn = {f"p{p}-{n}": [int(draws.random() < p) for _ in range(_MINUTES)] for p in (0.5, 0.7, 0.9) for n in range(4)}
    return {"never": [0] * _MINUTES, "always": [1] * _MINUTES, **drawn}


def _rule(hold: tuple[int, int]) -> Rule:
    return Rule(f"Held{hold[0]}Kept{hold[1]}", "thing > 0", True, 60.0 * hold[0], 60.0 * hold[1], {"severity": "info"})


def _answers(patterns: dict[str, list[int]]) -> list[dict[str, object]]:
    """What query_range gives for `thing > 0`."""
    return [
        {"metric": {"__name__": "thing", "case": case}, "values": [[60.0 * n, "1"] for n, on in enumerate(row) if on]}
        for case, row in patterns.items()
        if any(row)
    ]


def _told_by_promtool(tmp_path, late_s: float) -> subprocess.CompletedProcess[str]:
    """Hold up what ``fired`` says, moved by ``late_s``, against promtool's own evaluation."""
    patterns, tests = _patterns(), []
    rules = {
        "groups": [
            {
                "name": "g",
                "rules": [
                    {
                        "alert": rule.name,
                        "expr": rule.expr,
                        "for": f"{rule.for_s:.0f}s",
                        "keep_firing_for": f"{rule.keep_firing_s:.0f}s",
                        "labels": dict(rule.labels),
                    }
                    for rule in map(_rule, _HOLDS)
                ],
            }
        ]
    }
    for rule in map(_rule, _HOLDS):
        episodes = fired(rule, _answers(patterns), _STEP_S)
        for minute in range(_MINUTES):
            now = [one for one in episodes if one.begin_s + late_s <= 60.0 * minute < one.end_s + late_s]
            tests.append(
                {
                    "eval_time": f"{minute}m",
                    "alertname": rule.name,
                    "exp_alerts": [{"exp_labels": dict(one.labels)} for one in now],
                }
            )
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules))
    (tmp_path / "test.yaml").write_text(
        yaml.safe_dump(
            {
                "rule_files": ["rules.yaml"],
                "evaluation_interval": "1m",
                "tests": [
                    {
                        "interval": "1m",
                        "input_series": [
                            {"series": f'thing{{case="{case}"}}', "values": " ".join(map(str, row))}
                            for case, row in patterns.items()
                        ],
                        "alert_rule_test": tests,
                    }
                ],
            }
        )
    )
    promtool = parts.require("promtool", "prometheus")
    return subprocess.run(
        [promtool, "test", "rules", "test.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )


@pytest.mark.real
def test_for_and_keep_firing_for_come_to_what_promtool_makes_of_them(tmp_path):
    done = _told_by_promtool(tmp_path, 0.0)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


@pytest.mark.real
def test_an_alert_that_were_told_a_minute_late_would_be_noticed(tmp_path):
    assert _told_by_promtool(tmp_path, 60.0).returncode != 0


def test_the_labels_of_an_alert_are_the_series_own_and_the_rules_filled_in():
    rule = Rule("A", "x", True, labels={"severity": "{{ $labels.how }}", "team": "aiops"})
    (one,) = fired(rule, [{"metric": {"__name__": "x", "how": "critical", "pod": ""}, "values": [[0, "1"]]}], 60.0)
    assert one.named == {"how": "critical", "severity": "critical", "team": "aiops"}


def test_recording_rules_are_ordered_by_what_they_read():
    rules = [Rule("c", "sum(b) + a", False), Rule("a", "up", False), Rule("b", "rate(x[5m]) + a", False)]
    assert [[rule.name for rule in level] for level in levels(rules)] == [["a"], ["b"], ["c"]]


def test_rules_that_stand_on_each_other_are_refused():
    with pytest.raises(ValueError, match="stand on each other"):
        levels([Rule("a", "b", False), Rule("b", "a", False)])


def test_every_rule_that_ships_is_read():
    rules = read_rules()
    written = sum(len(group["rules"]) for file in RULE_FILES for group in yaml.safe_load(file.read_text())["groups"])
    assert len(rules) == written
    assert sum(map(len, levels(rules))) == sum(not rule.alert for rule in rules)


@pytest.mark.parametrize(
    ("expr", "raw"),
    [
        pytest.param('a:b:c{x=~".*"} > 1', "(sum(rate(x[5m]))) > 1", id="itself, whatever it is chosen by"),
        pytest.param("a:b:cd + d:a:b:c", "a:b:cd + d:a:b:c", id="no other name"),
        pytest.param("max(e:f:g)", "max(((sum(rate(x[5m]))) / 2))", id="what it stands on, too"),
        pytest.param("avg_over_time(a:b:c[1h])", "avg_over_time((sum(rate(x[5m])))[1h:60s])", id="over a time"),
        pytest.param("a:b:c offset 1h", "last_over_time((sum(rate(x[5m])))[60s:60s] offset 1h)", id="at another time"),
    ],
)
def test_what_is_recorded_can_be_asked_without_the_rules(expr, raw):
    rules = [Rule("a:b:c", "sum(rate(x[5m]))", False), Rule("e:f:g", "a:b:c / 2", False)]
    assert without_recordings(expr, {rule.name: rule for rule in rules}, 60.0) == raw
