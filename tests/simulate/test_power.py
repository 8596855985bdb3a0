import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiops.simulate.power import board_of, energy_j, gpu_power, prompt_seconds
from aiops.simulate.step_law import step_law
from tests.simulate.factories import small_profile

H100 = gpu_power("llama-70b-h100-tp4", 4)
SHARES = st.floats(0, 1)


@pytest.mark.parametrize(
    ("name", "board", "peak_w"),
    [
        pytest.param("h100_sxm", "NVIDIA H100 80GB HBM3", 700, id="as profiles name an accelerator"),
        pytest.param("nvidia-h100-sxm", "NVIDIA H100 80GB HBM3", 700, id="as policies name an accelerator"),
        pytest.param("H100 PCIe", "NVIDIA H100 PCIe", 350, id="the more exact board goes first"),
        pytest.param("llama-8b-l4-tp1", "NVIDIA L4", 72, id="within a variant's name"),
        pytest.param("RTXPRO6000", "NVIDIA RTX PRO 6000 Blackwell Server Edition", 600, id="in one word"),
        pytest.param("llama10b-h200", "NVIDIA H200", 700, id="the model's size is no board"),
        pytest.param("small", "NVIDIA H100 80GB HBM3", 700, id="one that nobody knows counts as an H100"),
    ],
)
def test_a_board_is_found_by_its_name(name: str, board: str, peak_w: float) -> None:
    found = board_of(name)
    assert (found.name, found.peak_w) == (board, peak_w)


@pytest.mark.parametrize(
    ("busy", "prompt", "watts"),
    [
        pytest.param(0, 0, 70, id="idle, a tenth of the peak"),
        pytest.param(1, 0, 301, id="decode alone, less than half of it"),
        pytest.param(1, 1, 700, id="prompts alone, the peak"),
        pytest.param(0.5, 0, 185.5, id="half of the time decode, halfway"),
        pytest.param(0.5, 0.9, 385, id="more prompts than work count as work"),
    ],
)
def test_what_a_gpu_draws(busy: float, prompt: float, watts: float) -> None:
    assert H100.watts(busy, prompt) == pytest.approx(watts)


def test_a_variants_watts_are_those_of_all_its_gpus() -> None:
    assert gpu_power("h100-tp4", 4, 2000).prefill_w == 500


@given(SHARES, SHARES, SHARES)
def test_more_work_draws_more_and_prompts_more_than_decode(busy: float, more: float, prompt: float) -> None:
    low, high = sorted([busy, more])
    assert H100.idle_w <= H100.watts(low, prompt) <= H100.watts(high, prompt) + 1e-9
    assert H100.watts(high, 0) <= H100.watts(high, prompt) <= H100.prefill_w + 1e-9


@given(st.lists(st.tuples(st.floats(0.1, 100), SHARES, SHARES), min_size=1, max_size=8))
def test_energy_is_the_integral_of_power(times: list[tuple[float, float, float]]) -> None:
    seconds, busy, prompt = np.array(times).T
    prompt = np.minimum(busy, prompt)
    joules = sum(
        4 * each * H100.watts(b, p) for each, b, p in zip(seconds, busy.tolist(), prompt.tolist(), strict=True)
    )
    held_s, busy_s, prompt_s = seconds.sum(), (seconds * busy).sum(), (seconds * prompt).sum()
    assert energy_j(H100, 4, held_s, busy_s, prompt_s) == pytest.approx(joules)


def test_prompt_seconds_are_those_of_full_chunks_and_no_more_than_busy_ones() -> None:
    law = step_law(small_profile(), 16, 512)  # a chunk of 512 takes 5 ms and 0.1 ms a token
    assert prompt_seconds(law, 5120, 100.0) == pytest.approx(10 * (0.005 + 0.0512), rel=0.01)
    assert prompt_seconds(law, 5120, 0.2) == 0.2
    assert prompt_seconds(law, 0, 0.2) == 0
