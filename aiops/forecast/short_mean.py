"""The mean of about the last half hour: what a noisy, level series does next."""

from dataclasses import dataclass
from math import exp

from aiops.model.forecaster import History, MemberState


@dataclass(frozen=True, slots=True)
class ShortMean:
    """Forecast the exponentially weighted mean of the last ``memory_s`` seconds; at first, the plain mean."""

    memory_s: float = 1800.0
    name: str = "short_mean"
    expected_error_ratio: float = 1.0
    catches_up: bool = False

    def learn(self, state: MemberState, value: float, at_s: float, bin_s: float, history: History) -> MemberState:
        """Move the mean towards the value."""
        mean, share = state or (value, 1.0)
        # 1, 1/2, 1/3 … is the plain mean; it ends where the exponential share is reached.
        return (mean + share * (value - mean), max(share / (1.0 + share), 1.0 - exp(-bin_s / self.memory_s)))

    def moved(self, state: MemberState, ratio: float) -> MemberState:
        """Keep the memory: it has moved by itself."""
        return state

    def path(
        self, state: MemberState, at_s: float, bin_s: float, ahead: tuple[int, ...], history: History
    ) -> tuple[float, ...] | None:
        """Repeat the mean."""
        return state[:1] * len(ahead) if state else None
