import math

import pytest

from tests.cluster.demo import SETTINGS
from tests.cluster.recording import Recording, ReplicasSet, Sample, Served
from tests.cluster.run_picture import picture_beside
from tests.keda.comparison import figures, needed, table
from tests.keda.demo import LANES, day_s
from tests.keda.demo import needed as needed_by_day

NEED = [(0.0, 1), (20.0, 2), (40.0, 3), (80.0, 1)]


def recording(*ready: tuple[float, int]) -> Recording:
    """A pool that is set to what serves 5 s later, looked at every 5 s."""
    at = dict(ready)
    writes = [
        ReplicasSet(t_s=max(0.0, at_s - 5), pool="chat", replicas=replicas, generation=number, by="hpa")
        for number, (at_s, replicas) in enumerate(ready)
    ]
    samples = []
    now = 0
    for step in range(21):
        now = at.get(step * 5.0, now)
        samples.append(Sample(t_s=step * 5.0, pool="chat", ready=now, starting=0, unplaced=0, leaving=0))
    served = Served(
        t_s=15.0, model="m", over_s=15.0, answered=90, failed=1, late=4, waited=7, ttft_p50_s=0.1, ttft_p95_s=3.0
    )
    return Recording([*writes, *samples, served])


@pytest.mark.parametrize(
    ("run", "behind_s", "latest_s"),
    [
        pytest.param(recording((0.0, 1), (15.0, 2), (35.0, 3)), 0, -5, id="each replica 5 s ahead"),
        pytest.param(recording((0.0, 3)), 0, -20, id="all there from the start"),
        pytest.param(recording((0.0, 1), (20.0, 2), (50.0, 3)), 10, 10, id="the third 10 s late"),
        pytest.param(
            recording((0.0, 1), (10.0, 2), (15.0, 1), (30.0, 3)), 10, 10, id="the second there, and gone again"
        ),
        pytest.param(recording((0.0, 2)), 40, math.inf, id="a third that never came"),
    ],
)
def test_lateness_is_counted_against_what_the_load_needed(run: Recording, behind_s: float, latest_s: float) -> None:
    found = figures(run, NEED)

    assert (found.behind_s, found.latest_s) == (behind_s, latest_s)


def test_figures_are_those_of_the_recording() -> None:
    found = figures(recording((0.0, 1), (15.0, 2), (35.0, 3), (80.0, 1)), NEED)

    assert (found.most, found.ups, found.downs) == (3, 2, 1)
    assert (found.answered, found.late, found.failed, found.waited, found.slowest_s) == (90, 4, 1, 7, 3.0)
    assert found.replica_hours == pytest.approx((15 * 1 + 20 * 2 + 45 * 3 + 20 * 1) / 3600)


def test_a_load_needs_whole_replicas_and_at_least_one() -> None:
    assert needed([(0, 0.0), (10, 6.0), (20, 6.1), (30, 12.0)], 6.0) == [(0, 1), (10, 1), (20, 2), (30, 2)]


def test_the_day_of_the_demo_rises_to_what_ten_replicas_serve_and_falls_again() -> None:
    need = needed_by_day(SETTINGS)

    assert max(replicas for _, replicas in need) == 10
    assert need[0][1] == need[-1][1] == 1
    assert need[-1][0] < day_s(SETTINGS)


def test_every_run_has_its_column_and_its_line() -> None:
    runs = {lane.name: recording((0.0, 1), (15.0, 2)) for lane in LANES}
    shown = table({name: figures(run, NEED) for name, run in runs.items()})
    drawn = picture_beside(runs, "title", "about", [(at_s, float(replicas)) for at_s, replicas in NEED])

    assert shown.splitlines()[0] == "|  | aiops | llm-d 16 | llm-d 50 |"
    assert {line.count("|") for line in shown.splitlines()} == {len(LANES) + 2}
    assert "never" in shown
    assert {name: drawn.count(f">{name}<") for name in (*runs, "needed")} == {**dict.fromkeys(runs, 4), "needed": 1}
