"""What is said of the shifts that the forecasters noticed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from aiops.forecast import empty_series
from aiops.forecast.change import Shift
from aiops.model.forecast import INPUT_TOKENS, OUTPUT_TOKENS, REQUESTS, ShiftKind
from aiops.model.refs import ModelRef
from aiops.plan.shifts import demand_shifts
from aiops.plan.state import ModelMemory, SeriesMemory

SINCE = datetime(2026, 3, 3, 9, 0, tzinfo=UTC)
NOTICED = SINCE + timedelta(minutes=40)


def memory(**ratios: float) -> ModelMemory:
    names = {"requests": REQUESTS, "inputs": INPUT_TOKENS, "outputs": OUTPUT_TOKENS}
    series = []
    for word, name in names.items():
        state = empty_series(60.0)
        if word in ratios:
            state = replace(state, shift=Shift(SINCE.timestamp(), NOTICED.timestamp(), ratios[word]))
        series.append(SeriesMemory(name, state))
    return ModelMemory(ModelRef("llm", "m"), series=tuple(series))


@pytest.mark.parametrize(
    ("ratios", "later", "told"),
    [
        pytest.param({}, 30, {}, id="nothing shifted"),
        pytest.param({"requests": 3.0, "inputs": 3.1, "outputs": 2.9}, 30, {ShiftKind.LEVEL: 3.0}, id="more requests"),
        pytest.param(
            {"inputs": 20.0, "outputs": 19.0}, 30, {ShiftKind.TOKENS_PER_REQUEST: 20.0}, id="agents: longer requests"
        ),
        pytest.param(
            {"inputs": 0.25}, 30, {ShiftKind.TOKENS_PER_REQUEST: 0.25, ShiftKind.MIX: 4.0}, id="shorter prompts alone"
        ),
        pytest.param({"inputs": 20.0}, 5, {}, id="too early to say that requests did not shift as well"),
        pytest.param({"requests": 0.3}, 5, {ShiftKind.LEVEL: 0.3}, id="fewer requests"),
        pytest.param({"requests": 0.3}, 60 * 25, {}, id="yesterday's news"),
    ],
)
def test_shifts_are_told_as_what_users_send(ratios: dict[str, float], later: int, told: dict[ShiftKind, float]) -> None:
    found = demand_shifts(memory(**ratios), NOTICED + timedelta(minutes=later))

    assert {one.kind: pytest.approx(one.ratio) for one in found} == told
    assert all(one.since == SINCE for one in found)
