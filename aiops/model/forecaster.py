"""What one forecaster of the ensemble is, ours or one that somebody else wrote, and the past that all of them share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

SLOT_S = 600.0

MemberState = tuple[float, ...]
"""All that a member remembers of one series: a flat, bounded tuple; empty before the first value."""


@dataclass(frozen=True, slots=True)
class History:
    """The means of the last slots, oldest first; a slot without a value is None.

    Slots are ``slot_s`` seconds long (ten minutes, or a bin where bins are longer) and end ``offset_s`` seconds after
    whole multiples of that since the Unix epoch; ``end_s`` is the end of the last closed one. ``open_sum`` and
    ``open_count`` are those of the slot under way.
    """

    slot_s: float = SLOT_S
    offset_s: float = 0.0
    end_s: float | None = None
    values: tuple[float | None, ...] = ()
    open_sum: float = 0.0
    open_count: int = 0

    def closed_at(self, at_s: float, bin_s: float) -> bool:
        """Say whether the bin that ended at ``at_s`` closed a slot."""
        return self.end_s is not None and abs(at_s - self.end_s) <= bin_s / 2.0


class Forecaster(Protocol):
    """One way to forecast a series, from its own memory of it and the history that all share.

    The contract, to which one test suite holds every member: paths are finite, not negative, and scale with the series;
    a constant series is continued; gaps are never passed in, so time may jump.
    """

    @property
    def name(self) -> str:
        """The member's name among a forecast's weights."""
        ...

    @property
    def expected_error_ratio(self) -> float:
        """Its error ÷ that of the last value, as it is on the whole: what it counts by until it was judged."""
        ...

    @property
    def catches_up(self) -> bool:
        """Whether the shared history is all it needs: of a long past that is learned at once it is told the end."""
        ...

    def learn(self, state: MemberState, value: float, at_s: float, bin_s: float, history: History) -> MemberState:
        """Learn the value of the bin that is ``bin_s`` seconds long and ends at ``at_s`` (Unix seconds).

        ``history`` has the bin already; most bins close none of its slots (:meth:`History.closed_at`).
        """
        ...

    def moved(self, state: MemberState, ratio: float) -> MemberState:
        """Give the memory as if all that is older than an hour had been ``ratio`` times as high.

        ``learn`` follows, with a history that was moved likewise.
        """
        ...

    def path(
        self, state: MemberState, at_s: float, bin_s: float, ahead: tuple[int, ...], history: History
    ) -> Sequence[float] | None:
        """Give the expected values of the bins that end ``ahead`` (ascending, at least 1) bins after ``at_s``.

        ``at_s`` is the end of the last bin learned.
        None is no opinion: the history is too short for this member.
        """
        ...
