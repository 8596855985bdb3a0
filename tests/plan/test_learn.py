from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from aiops.model.decision import Provenance
from aiops.model.demand import DemandHistory
from aiops.model.forecast import REQUESTS
from aiops.plan import State, begin, decide, learn_snapshot
from aiops.plan.state import ModelMemory
from tests.plan.worlds import REF, START, demand_of, policies, policy, snapshot

LAUNCH: dict[str, Any] = {
    "name": "launch", "start": "2026-03-02T12:00", "end": "2026-03-02T14:00", "multiplier": 3, "uncertainty": 0,
}  # fmt: skip
BUSY = policies(policy(calendar=[LAUNCH]))


def minutes(count: int) -> datetime:
    return START + timedelta(minutes=count)


def history(first: int, last: int, raised: tuple[int, int] = (0, 0)) -> DemandHistory:
    """Bins of a minute, the one that ends ``first + 1`` minutes after START first; thrice as much in ``raised``."""
    requests = tuple((20.0 + n % 7) * (3.0 if raised[0] <= n < raised[1] else 1.0) for n in range(first, last))
    ends_s = tuple(minutes(n + 1).timestamp() for n in range(first, last))
    return DemandHistory(
        REF, 60.0, ends_s, requests, tuple(1000.0 * r for r in requests), tuple(100.0 * r for r in requests)
    )


def begun(last: int, raised: tuple[int, int] = (0, 0), busy: bool = True) -> State:
    return begin(State(), BUSY if busy else policies(), (history(0, last, raised),), minutes(last))


def median(memory: ModelMemory, name: str = REQUESTS) -> float:
    found = next(forecast for forecast in memory.forecasts if forecast.series == name).quantile(0.5)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "overlap", [pytest.param(0, id="what came since"), pytest.param(30, id="more than that, which is known")]
)
def test_what_is_kept_and_what_came_since_make_the_same_forecast_as_the_whole_past(overlap: int) -> None:
    kept = begin(State(), policies(), (history(0, 300),), minutes(300))
    filled = begin(kept, policies(), (history(300 - overlap, 400),), minutes(400), kept)
    assert filled == begin(State(), policies(), (history(0, 400),), minutes(400))


def test_a_model_that_is_not_kept_learns_the_whole_past() -> None:
    filled = begin(State(), policies(), (history(0, 400),), minutes(400), State())
    assert filled == begin(State(), policies(), (history(0, 400),), minutes(400))


def test_the_bin_that_was_open_when_the_state_was_kept_closes_with_what_was_seen_in_it() -> None:
    kept = learn_snapshot(begun(300, busy=False), snapshot(minutes(300), {"both": 3}, demand_of(77.0)), policies())
    filled = begin(kept, policies(), (history(301, 303),), minutes(303), kept)
    state = next(entry.state for entry in filled.model(REF).series if entry.name == REQUESTS)
    assert state.recent[-3] == 77.0


def test_before_an_event_the_forecast_of_it_is_multiplied_and_the_input_names_it() -> None:
    plain, busy = begun(718, busy=False), begun(718)
    assert median(busy.model(REF)) == pytest.approx(3.0 * median(plain.model(REF)))
    seen = snapshot(minutes(718), {"both": 4}, demand_of(20.0))
    (decision,) = decide(seen, learn_snapshot(busy, seen, BUSY), BUSY).decisions
    named = {entry.name: entry.value for entry in decision.inputs}
    assert named["known event: launch"] == 3.0


def test_far_from_an_event_nothing_names_it() -> None:
    seen = snapshot(minutes(300), {"both": 4}, demand_of(20.0))
    (decision,) = decide(seen, learn_snapshot(begun(300), seen, BUSY), BUSY).decisions
    assert not any("known event" in entry.name for entry in decision.inputs)


def test_an_event_teaches_no_level_whether_it_is_read_or_seen() -> None:
    quiet = begun(860, busy=False)
    read = begun(860, raised=(720, 840))
    assert median(read.model(REF)) == pytest.approx(median(quiet.model(REF)), rel=1e-6)
    seen = begun(700)
    for minute in range(700, 861):
        requests_per_s = (20.0 + minute % 7) * (3.0 if 720 <= minute < 840 else 1.0)
        seen = learn_snapshot(seen, snapshot(minutes(minute), {"both": 3}, demand_of(requests_per_s)), BUSY)
    values = next(entry.state for entry in seen.model(REF).series if entry.name == REQUESTS).recent
    assert max(value for value in values if value is not None) == pytest.approx(26.0)


def test_within_an_event_whose_multiplier_is_wrong_the_forecast_finds_the_level_that_comes() -> None:
    """Twice as much as was said: the forecast of the event's second hour is of what its first hour brought."""
    past = history(0, 830)
    doubled = tuple(r * (6.0 if n >= 720 else 1.0) for n, r in enumerate(past.requests_per_s) if r is not None)
    state = begin(State(), BUSY, (replace(past, requests_per_s=doubled),), minutes(825))
    assert median(state.model(REF)) == pytest.approx(6.0 * 23.0, rel=0.15)


@pytest.mark.parametrize(
    ("bins", "value", "provenance"),
    [
        pytest.param(4, None, Provenance.MISSING, id="a few minutes judge nothing"),
        pytest.param(300, 0.2, Provenance.MEASURED, id="hours do"),
        pytest.param(300, -0.2, Provenance.MEASURED, id="also where they judge badly"),
    ],
)
def test_a_decision_names_the_skill_of_the_forecast_that_it_stands_on(
    bins: int, value: float | None, provenance: Provenance
) -> None:
    seen = snapshot(minutes(bins), {"both": 4}, demand_of(20.0))
    state = learn_snapshot(begun(bins, busy=False), seen, policies())
    known = state.model(REF)
    if value is not None:
        known = replace(known, skills=tuple(replace(skill, skill_ratio=value) for skill in known.skills))
    (decision,) = decide(seen, replace(state, models=(known,)), policies()).decisions
    (named,) = (entry for entry in decision.inputs if entry.name.startswith("skill of the forecast"))
    assert (named.value, named.provenance) == (value, provenance)
    assert named.name.endswith(": none") == (value is not None and value < 0.0)
