import numpy as np
import pytest

from aiops.simulate.load.rates import day_curve, peak_rate
from tests.simulate.load.loads import drawn, rate, spec, within

DAY = spec(20.0, nightRatio=0.2, peakHour=11, rampHours=4, fallHours=12)
STEADY = 100.0


def test_a_day_brings_the_mean_rate_and_the_mean_lengths() -> None:
    batch = drawn(spec(2.0, nightRatio=0.2), 86_400)
    assert rate(batch, 0, 86_400) == pytest.approx(2, rel=0.01)
    assert batch.prompt_tokens.mean() == pytest.approx(400, rel=0.02)
    assert batch.output_tokens.mean() == pytest.approx(40, rel=0.02)


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
        pytest.param(-13, 1.0, id="yesterday's peak"),
    ],
)
def test_the_day_curve(hour: float, share: float) -> None:
    assert day_curve(DAY, np.array([float(hour)]))[0] == pytest.approx(share)


def test_the_rate_follows_the_hour_of_the_start() -> None:
    assert rate(drawn(DAY, 3600, hour=10.5), 0, 3600) == pytest.approx(peak_rate(DAY), rel=0.03)
    assert rate(drawn(DAY, 3600, hour=2), 0, 3600) == pytest.approx(0.2 * peak_rate(DAY), rel=0.03)


@pytest.mark.parametrize(
    ("event", "rates"),
    [
        pytest.param(
            {"kind": "flash_crowd", "at": "10m", "duration": "5m", "times": 6},
            {(0, 600): 1, (600, 900): 6, (900, 1500): 1},
            id="a flash crowd comes at once and goes at once",
        ),
        pytest.param(
            {"kind": "flash_crowd", "at": "10m", "duration": "5m", "times": 6, "ramp": "100s"},
            {(0, 600): 1, (600, 700): 3.5, (700, 1000): 6, (1000, 1100): 3.5, (1100, 1500): 1},
            id="a flash crowd climbs and falls",
        ),
        pytest.param(
            {"kind": "ramp", "at": "5m", "duration": "10m", "to": 3},
            {(0, 300): 1, (300, 900): 2, (840, 900): 2.9, (900, 1500): 3},
            id="a ramp ends where it stays",
        ),
        pytest.param(
            {"kind": "ramp", "at": "5m", "duration": "1s", "to": 0},
            {(0, 300): 1, (301, 1500): 0},
            id="a ramp to nothing ends the load",
        ),
    ],
)
def test_events_of_the_rate(event: dict[str, object], rates: dict[tuple[float, float], float]) -> None:
    batch = drawn(spec(STEADY, events=[event]), 1500)
    for (begin_s, end_s), times in rates.items():
        sampling_error = 4 * np.sqrt(STEADY * times / (end_s - begin_s))
        assert rate(batch, begin_s, end_s) == pytest.approx(times * STEADY, abs=sampling_error)


def test_events_at_the_same_time_multiply() -> None:
    crowd = {"kind": "flash_crowd", "at": "0s", "duration": "10m", "times": 2}
    assert rate(drawn(spec(events=[crowd, crowd]), 600), 0, 600) == pytest.approx(80, rel=0.03)


@pytest.mark.parametrize(
    ("event", "inputs", "outputs"),
    [
        pytest.param({"times": 20}, 20, 20, id="both by the same"),
        pytest.param({"times": 20, "outputTimes": 3}, 20, 3, id="answers by another"),
        pytest.param({}, 20, 20, id="twenty times unless said"),
    ],
)
def test_an_agentic_burst_has_more_tokens_at_the_same_rate(
    event: dict[str, object], inputs: float, outputs: float
) -> None:
    plain = drawn(spec(STEADY), 1200)
    burst = drawn(spec(STEADY, events=[{"kind": "agentic_burst", "at": "5m", "duration": "10m", **event}]), 1200)
    assert burst.arrival_ps.tolist() == plain.arrival_ps.tolist()
    inside, before = within(plain, 300, 900), ~within(plain, 300, 900)
    np.testing.assert_array_equal(burst.prompt_tokens[before], plain.prompt_tokens[before])
    # Rounding comes after the factor.
    np.testing.assert_allclose(burst.prompt_tokens[inside], plain.prompt_tokens[inside] * inputs, atol=inputs / 2 + 1)
    assert burst.output_tokens[inside].mean() == pytest.approx(plain.output_tokens[inside].mean() * outputs, rel=0.02)


def test_a_burst_has_a_cap_of_its_own() -> None:
    event = {"kind": "agentic_burst", "at": "5m", "duration": "10m", "maxInputTokens": 6000, "maxOutputTokens": 500}
    load = spec(STEADY, events=[event])
    batch = drawn(load, 1200)
    assert batch.prompt_tokens.max() == 6000
    assert batch.output_tokens[within(batch, 300, 900)].max() == 500
    assert load.longest == 6000 + 500


def test_a_length_shift_lasts() -> None:
    event = {"kind": "length_shift", "at": "5m", "inputTimes": 3, "outputTimes": 0.5, "ramp": "100s"}
    plain, shifted = drawn(spec(STEADY), 1500), drawn(spec(STEADY, events=[event]), 1500)

    def factor(column: str, begin_s: float, end_s: float) -> float:
        chosen = within(plain, begin_s, end_s)
        return float(getattr(shifted, column)[chosen].sum() / getattr(plain, column)[chosen].sum())

    assert factor("prompt_tokens", 0, 300) == 1
    assert factor("prompt_tokens", 300, 400) == pytest.approx(2, rel=0.05)
    assert factor("prompt_tokens", 400, 1500) == pytest.approx(3, rel=0.01)
    assert factor("output_tokens", 400, 1500) == pytest.approx(0.5, rel=0.02)
