from datetime import timedelta
from math import inf

import numpy as np
import pytest

from aiops.simulate.spec import WorkloadSpec
from aiops.simulate.workload import Workload, day_curve, peak_rate
from tests.simulate.factories import START, workload

DAY = WorkloadSpec.model_validate(workload(2.0, nightRatio=0.2, peakHour=11, rampHours=4, fallHours=12))


def arrivals(
    spec: WorkloadSpec, seconds: float, seed: int = 1, name: str = "a", hour: float = 0.0
) -> list[tuple[float, int, int]]:
    load = Workload(spec, seed, name, START + timedelta(hours=hour))
    taken = []
    while load.next_s <= seconds:
        request = load.take()
        taken.append((request.arrival_s, request.prompt, request.output))
    return taken


def test_a_day_brings_the_mean_rate_and_the_mean_lengths() -> None:
    spec = WorkloadSpec.model_validate(workload(2.0, 400, 40, nightRatio=0.2))
    day = np.array(arrivals(spec, 86_400))
    assert len(day) == pytest.approx(2 * 86_400, rel=0.01)
    assert day[:, 1].mean() == pytest.approx(400, rel=0.02)
    assert day[:, 2].mean() == pytest.approx(40, rel=0.02)


@pytest.mark.parametrize(
    ("hour", "share"),
    [
        pytest.param(3, 0.2, id="the night rests at its ratio"),
        pytest.param(7, 0.2, id="the ramp begins at the night's level"),
        pytest.param(9, 0.6, id="halfway up the ramp"),
        pytest.param(11, 1.0, id="the peak"),
        pytest.param(17, 0.6, id="halfway down"),
        pytest.param(23, 0.2, id="back at the night's level"),
        pytest.param(24 + 11, 1.0, id="tomorrow's peak"),
    ],
)
def test_the_day_curve(hour: float, share: float) -> None:
    assert day_curve(DAY, np.array([float(hour)]))[0] == pytest.approx(share)


def test_the_rate_follows_the_hour_of_the_start() -> None:
    peak = len(arrivals(DAY, 3600, hour=10.5))
    night = len(arrivals(DAY, 3600, hour=2))
    assert peak == pytest.approx(peak_rate(DAY) * 3600, rel=0.05)
    assert night == pytest.approx(0.2 * peak_rate(DAY) * 3600, rel=0.1)


def test_a_seed_and_a_name_make_the_stream() -> None:
    assert arrivals(DAY, 3600) == arrivals(DAY, 3600)
    assert arrivals(DAY, 3600) != arrivals(DAY, 3600, seed=2)
    assert arrivals(DAY, 3600) != arrivals(DAY, 3600, name="b")


def test_nothing_arrives_without_a_workload_or_after_the_stop() -> None:
    assert Workload(None, 1, "a", START).next_s == inf
    load = Workload(DAY, 1, "a", START)
    load.take()
    load.stop()
    assert load.next_s == inf
