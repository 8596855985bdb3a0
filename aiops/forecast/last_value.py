"""The last value holds: hard to beat a few minutes ahead, and the yardstick of all skill."""

from dataclasses import dataclass

from aiops.model.forecaster import History, MemberState


@dataclass(frozen=True, slots=True)
class LastValue:
    """Forecast the last value for ever."""

    name: str = "last_value"
    expected_error_ratio: float = 1.0
    catches_up: bool = False

    def learn(self, state: MemberState, value: float, at_s: float, bin_s: float, history: History) -> MemberState:
        """Keep the value."""
        return (value,)

    def moved(self, state: MemberState, ratio: float) -> MemberState:
        """Keep the memory: it has moved by itself."""
        return state

    def path(
        self, state: MemberState, at_s: float, bin_s: float, ahead: tuple[int, ...], history: History
    ) -> tuple[float, ...] | None:
        """Repeat the value."""
        return state * len(ahead) if state else None
