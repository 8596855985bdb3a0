from datetime import timedelta

import pytest

from aiops.simulate.history import past_demand
from aiops.simulate.spec import FactorySpec
from aiops.simulate.workload import peak_rate
from tests.simulate.factories import START, aggregated, workload

DAY = FactorySpec.model_validate(aggregated(workload=workload(20, nightRatio=0.2, peakHour=11)))


def test_the_past_has_the_load_of_the_same_day_curve() -> None:
    past = past_demand(DAY, 1, START, timedelta(days=2))
    assert DAY.workload is not None
    assert len(past.ends_s) == len(past.requests_per_s) == len(past.input_tok_per_s) == 2 * 24 * 60
    assert past.ends_s[-1] == START.timestamp()
    rates = [rate or 0.0 for rate in past.requests_per_s]
    assert sum(rates) / len(rates) == pytest.approx(20, rel=0.01)
    around_the_peak = rates[11 * 60 - 30 : 11 * 60 + 30]
    assert sum(around_the_peak) / 60 == pytest.approx(peak_rate(DAY.workload), rel=0.02)
    assert sum(each or 0.0 for each in past.input_tok_per_s) / sum(rates) == pytest.approx(400, rel=0.01)
    assert sum(each or 0.0 for each in past.output_tok_per_s) / sum(rates) == pytest.approx(40, rel=0.01)


def test_without_a_workload_nothing_came() -> None:
    past = past_demand(FactorySpec.model_validate(aggregated()), 1, START, timedelta(hours=1))
    assert set(past.requests_per_s) == {0.0}
