"""Level and damped trend (Gardner and McKenzie 1985), the smoothing of statsmodels' damped Holt model."""

from dataclasses import dataclass
from functools import lru_cache
from math import exp

from aiops.model.forecaster import History, MemberState


@dataclass(frozen=True, slots=True)
class ExponentialSmoothing:
    """Continue the level along a trend that fades.

    Memories are in seconds, so that one setting serves every bin width: a share per bin is 1 − exp(−bin ÷ memory).
    """

    level_memory_s: float = 240.0
    trend_memory_s: float = 1200.0
    damping_memory_s: float = 7200.0
    name: str = "exponential_smoothing"
    expected_error_ratio: float = 1.35
    catches_up: bool = False

    def learn(self, state: MemberState, value: float, at_s: float, bin_s: float, history: History) -> MemberState:
        """Take one smoothing step; the first value is the level, without a trend."""
        if not state:
            return (value, 0.0)
        level, trend = state
        alpha, beta, phi = self.shares(bin_s)
        expected = level + phi * trend
        new_level = alpha * value + (1.0 - alpha) * expected
        return (new_level, beta * (new_level - level) + (1.0 - beta) * phi * trend)

    def moved(self, state: MemberState, ratio: float) -> MemberState:
        """Keep the memory: it has moved by itself."""
        return state

    def path(
        self, state: MemberState, at_s: float, bin_s: float, ahead: tuple[int, ...], history: History
    ) -> tuple[float, ...] | None:
        """Give level + trend × (φ + … + φ^ahead), at least 0."""
        if not state:
            return None
        level, trend = state
        return tuple([max(0.0, level + trend * sum_) for sum_ in _damped_sums(self.shares(bin_s)[2], ahead)])

    def shares(self, bin_s: float) -> tuple[float, float, float]:
        """Give the smoothing of the level, the smoothing of the trend and the damping φ of one bin."""
        return _shares(self.level_memory_s, self.trend_memory_s, self.damping_memory_s, bin_s)


@lru_cache(maxsize=64)
def _shares(
    level_memory_s: float, trend_memory_s: float, damping_memory_s: float, bin_s: float
) -> tuple[float, float, float]:
    return 1.0 - exp(-bin_s / level_memory_s), 1.0 - exp(-bin_s / trend_memory_s), exp(-bin_s / damping_memory_s)


@lru_cache(maxsize=1024)
def _damped_sums(phi: float, ahead: tuple[int, ...]) -> tuple[float, ...]:
    return tuple(phi * (1.0 - phi**k) / (1.0 - phi) for k in ahead)
