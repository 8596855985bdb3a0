"""A member that somebody else wrote: asked like ours, and kept from doing harm."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from aiops.model.forecaster import Forecaster, History, MemberState


@dataclass(frozen=True, slots=True)
class Plugged:
    """A member whose answers are checked: what is not a finite path of the asked length, or fails, is no opinion.

    It counts by its own errors like any other, and until it was judged no more than the last value does.
    """

    member: Forecaster

    @property
    def name(self) -> str:
        """The member's name."""
        return self.member.name

    @property
    def expected_error_ratio(self) -> float:
        """What it says of itself, but at least 1."""
        return max(1.0, self.member.expected_error_ratio)

    @property
    def catches_up(self) -> bool:
        """Whether the shared history is all it needs."""
        return self.member.catches_up

    def learn(self, state: MemberState, value: float, at_s: float, bin_s: float, history: History) -> MemberState:
        """Let it learn; where it fails it remembers what it did."""
        try:
            return tuple(map(float, self.member.learn(state, value, at_s, bin_s, history)))
        except Exception:  # somebody else's code must not stop the loop
            return state

    def moved(self, state: MemberState, ratio: float) -> MemberState:
        """Carry it over to another level; where it fails it remembers what it did."""
        try:
            return tuple(map(float, self.member.moved(state, ratio)))
        except Exception:  # as above
            return state

    def path(
        self, state: MemberState, at_s: float, bin_s: float, ahead: tuple[int, ...], history: History
    ) -> Sequence[float] | None:
        """Ask it."""
        try:
            path = self.member.path(state, at_s, bin_s, ahead, history)
            told = None if path is None else [float(value) for value in path]
        except Exception:  # as above
            return None
        sound = told is not None and len(told) == len(ahead) and all(isfinite(value) and value >= 0.0 for value in told)
        return told if sound else None
