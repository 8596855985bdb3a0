import pytest

from aiops.model.policy import Mode, Variant
from aiops.plan.lead_time import LeadTime, lead_time


@pytest.mark.parametrize(
    ("mode", "starts_s", "expected"),
    [
        pytest.param(Mode.ACT, (), LeadTime(120.0, 270.0, 0), id="a scrape and a cycle beyond the prior"),
        pytest.param(Mode.OBSERVE, (), LeadTime(120.0, 270.0, 0), id="what is only watched is told as if it were done"),
        pytest.param(
            Mode.EMIT, (), LeadTime(150.0, 300.0, 0), id="and the way through Prometheus and an HPA, where others scale"
        ),
        pytest.param(Mode.ACT, (40.0,) * 20, LeadTime(95.0, 170.0, 20), id="twenty starts count half"),
    ],
)
def test_the_time_from_a_decision_to_a_replica_that_serves(
    mode: Mode, starts_s: tuple[float, ...], expected: LeadTime
) -> None:
    variant = Variant(name="h100", cold_start_p50_s=90.0, cold_start_p90_s=240.0)
    assert lead_time(variant, starts_s, mode) == expected
