"""What GPUs draw: watts from how busy an engine is and with what, joules as their integral.

A GPU that serves draws its idle watts at all times, and more while a step runs: up to its peak while prompts are
computed, less than half of that in decode, which waits for memory. The shares are inferred from published measurements,
not fitted to the simulated hardware: decode of several attention kinds drew 137 to 300 W on a 700 W H200, and no more
under any cap (arXiv:2605.11999); prompts run at or near the board's limit (Splitwise, arXiv:2311.18677). Host, network
and cooling are not in it.
"""

from dataclasses import dataclass

from aiops.simulate.requests import PS
from aiops.simulate.step_law import StepLaw

IDLE_SHARE = 0.1
"""Of the peak; an idle H100 or H200 with a loaded model draws 70 W or more of 700. Inferred."""
DECODE_SHARE = 0.43
"""Of the peak, at large batches: the upper end of the measurements named above."""


@dataclass(frozen=True, slots=True)
class Board:
    """A GPU as its datasheet has it: peak board power, memory, and the highest clock of its multiprocessors."""

    name: str
    peak_w: float
    memory_mib: int
    clock_mhz: int


_H100 = Board("NVIDIA H100 80GB HBM3", 700.0, 81559, 1980)
_RTX_PRO = Board("NVIDIA RTX PRO 6000 Blackwell Server Edition", 600.0, 97887, 2617)
_BOARDS = (
    ("h100 pcie", Board("NVIDIA H100 PCIe", 350.0, 81559, 1755)),
    ("h100 nvl", Board("NVIDIA H100 NVL", 400.0, 95830, 1785)),
    ("h100", _H100),
    ("h200", Board("NVIDIA H200", 700.0, 143771, 1980)),
    ("b200", Board("NVIDIA B200", 1000.0, 183359, 1965)),
    ("a100", Board("NVIDIA A100-SXM4-80GB", 400.0, 81920, 1410)),
    ("rtx pro 6000", _RTX_PRO),
    ("rtxpro6000", _RTX_PRO),
    ("l40s", Board("NVIDIA L40S", 350.0, 46068, 2520)),
    ("a10", Board("NVIDIA A10", 150.0, 23028, 1695)),
    ("l4", Board("NVIDIA L4", 72.0, 23034, 2040)),
)


def board_of(name: str) -> Board:
    """Give the board whose words are among those of an accelerator's or a variant's name; an H100 SXM where none is."""
    words = set("".join(letter if letter.isalnum() else " " for letter in name.lower()).split())
    return next((board for key, board in _BOARDS if words.issuperset(key.split())), _H100)


@dataclass(frozen=True, slots=True)
class GpuPower:
    """What one GPU draws when idle, in decode and when it computes prompts, in watts; each at least the one before."""

    idle_w: float
    decode_w: float
    prefill_w: float

    def watts(self, busy_ratio: float, prompt_ratio: float) -> float:
        """Give the mean draw over a time of which a share was busy, and a share of all of it with prompts."""
        return self.idle_w + self.active_j(busy_ratio, min(prompt_ratio, busy_ratio))

    def active_j(self, busy_s: float, prompt_s: float) -> float:
        """Give the joules beyond idle of some busy seconds, ``prompt_s`` of which were spent on prompts."""
        return (self.decode_w - self.idle_w) * busy_s + (self.prefill_w - self.decode_w) * prompt_s


def gpu_power(variant: str, gpus: int, watts: float | None = None) -> GpuPower:
    """Give what each GPU of a replica draws.

    ``watts`` is the peak of a whole replica, as a policy's variant has it; where it has none, the board's that the
    variant's name tells (see :func:`board_of`).
    """
    peak_w = board_of(variant).peak_w if watts is None else watts / gpus
    return GpuPower(IDLE_SHARE * peak_w, DECODE_SHARE * peak_w, peak_w)


def prompt_seconds(law: StepLaw, computed_tokens: int, busy_s: float) -> float:
    """Tell how many of an engine's busy seconds went into prompts.

    Inferred: the prompt tokens that it has computed, at the pace of a full chunk, and never more than all it was busy.
    Grows with both.
    """
    tokens = len(law.chunk) - 1
    return min(computed_tokens * float(law.chunk[tokens]) / tokens / PS, busy_s)


def energy_j(power: GpuPower, gpus: int, held_s: float, busy_s: float, prompt_s: float) -> float:
    """Add up what replicas have used, in joules.

    ``held_s`` are the replica-seconds with GPUs, from binding to deletion, ``busy_s`` those in which an engine ran
    steps, ``prompt_s`` those of them that went into prompts (:func:`prompt_seconds`); ``gpus`` is a replica's.
    """
    return gpus * (power.idle_w * held_s + power.active_j(busy_s, prompt_s))
