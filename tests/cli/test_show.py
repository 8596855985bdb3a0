from dataclasses import replace

from rich.console import Console

from aiops.cli.show import explanation, plan_table
from aiops.model.cycle import FleetSummary
from aiops.model.decision import Victim
from aiops.model.forecast import DemandShift, ForecastBasis, ForecastSkill, ShiftKind, Window
from tests.act import evidence

NEAR = Window(600, 600)


def told(*skills: ForecastSkill) -> str:
    seen = evidence.cycle()
    out = Console(width=200)
    with out.capture() as captured:
        out.print(explanation(replace(seen.models[0], skills=skills), seen.at))
    return captured.get()


def test_an_explanation_shows_what_the_forecaster_knows_of_itself() -> None:
    text = told(ForecastSkill("req_per_s", NEAR, 0.213, 0.24, 0.91, 48))
    (row,) = (line.split() for line in text.splitlines() if "req_per_s" in line and " 600 s" in line)
    assert row[-7:] == ["history", "21%", "24%", "91%", "48", "day_profile", "100%"]
    assert "no skill" not in text


def test_an_explanation_says_where_the_forecast_has_no_skill() -> None:
    text = told(ForecastSkill("req_per_s", NEAR, 0.3, -0.25, 0.91, 48))
    assert "the forecast of req_per_s at 600 s has no skill: its error was 1.25 times that of repeating" in text


def test_an_explanation_says_where_the_last_value_is_told_and_what_shifted() -> None:
    seen = evidence.cycle()
    (first, *others) = seen.models[0].forecasts
    noon = seen.at.replace(hour=12, minute=30)
    fallen = replace(
        seen.models[0],
        forecasts=(replace(first, basis=ForecastBasis.LAST_VALUE), *others),
        shifts=(DemandShift(ShiftKind.TOKENS_PER_REQUEST, 20.0, noon, noon),),
    )
    out = Console(width=200)
    with out.capture() as captured:
        out.print(explanation(fallen, seen.at))

    assert f"the forecasters of {first.series} at" in captured.get()
    assert "tokens a request moved to 20 times their level at" in captured.get()
    assert "12:30 UTC" in captured.get()


def test_what_was_not_judged_yet_is_left_empty() -> None:
    text = told(ForecastSkill("req_per_s", NEAR, None, None, None, 3))
    (row,) = (line.split() for line in text.splitlines() if "req_per_s" in line and " 600 s" in line)
    assert row[-4:] == ["history", "3", "day_profile", "100%"]
    assert "no skill" not in text


def test_an_explanation_names_the_replicas_that_cost_least_to_lose() -> None:
    seen = evidence.cycle()
    (first, *others) = seen.models[0].decisions
    victims = tuple(Victim(f"pod-{i}", starting=not i, requests=float(i)) for i in range(7))
    out = Console(width=200)
    with out.capture() as captured:
        out.print(explanation(replace(seen.models[0], decisions=(replace(first, victims=victims), *others)), seen.at))

    assert "costs least to lose: pod-0 does not serve yet" in captured.get()
    assert "costs least to lose: pod-4 has 4 requests" in captured.get()
    assert "pod-5" not in captured.get()
    assert "and 2 more" in captured.get()


def test_a_plan_says_that_writing_is_switched_off() -> None:
    seen = evidence.cycle()
    out = Console(width=200)
    with out.capture() as captured:
        out.print(plan_table(replace(seen, fleet=FleetSummary(writes_off=True)), 200))

    assert "writing is switched off: the FleetPolicy says writes: off" in captured.get()


def test_a_plan_and_an_explanation_name_what_replicas_without_a_node_wait_for() -> None:
    seen = evidence.cycle()
    (first, *others) = seen.models[0].pools
    told = replace(first, unplaced=2, unplaced_reason="waiting for nvidia.com/gpu: 4")
    model = replace(seen.models[0], pools=(told, *others))
    out = Console(width=200)
    with out.capture() as captured:
        out.print(plan_table(replace(seen, models=(model,)), 200), explanation(model, seen.at))

    assert captured.get().count(f"no node: 2 replicas of {first.pool}: waiting for nvidia.com/gpu: 4") == 2
