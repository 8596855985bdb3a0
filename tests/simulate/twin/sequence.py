"""A request as one engine knows it."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(eq=False, slots=True)
class Sequence:
    """The tokens known so far (the prompt, then the answer), and what the engine holds for them.

    ``max_tokens`` is what the scheduler may count on; ``stops_after`` is where a stop token ends it, which it cannot
    foresee. ``rank`` orders requests under the priority policy, lower first. ``fetches``: another engine has computed
    the prompt. ``hands_over``: another engine will pull the prompt's blocks at the end.
    """

    number: int
    tokens: list[Hashable]
    max_tokens: int
    answer: Callable[[int], Hashable]
    stops_after: int | None = None
    rank: tuple[int, ...] = ()
    fetches: bool = False
    hands_over: bool = False

    prompt: int = 0
    computed: int = 0
    placeholders: int = 0
    blocks: list[int] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    registered: int = 0
    in_flight: int = 0
    preemptions: int = 0
    admitted: bool = False
    fetched: bool = False
    ended: bool = False

    def __post_init__(self) -> None:
        self.prompt = len(self.tokens)

    @property
    def outputs(self) -> int:
        return len(self.tokens) - self.prompt

    def append(self) -> None:
        self.tokens.append(self.answer(self.outputs))


class Entry(NamedTuple):
    """A sequence's share of a step: ``tokens`` after the ``before`` computed ones.

    ``lives`` counts its preemptions by then: a token of an earlier life is not one that it now waits for.
    """

    sequence: Sequence
    tokens: int
    before: int
    yields: bool
    lives: int


class Admission(NamedTuple):
    """A sequence that came from waiting to running, with ``cached`` tokens computed already."""

    sequence: Sequence
    cached: int
    resumed: bool


@dataclass(eq=False, slots=True)
class Step:
    """What one schedule decided."""

    tokens: dict[Sequence, int] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    admissions: list[Admission] = field(default_factory=list)
    preempted: list[Sequence] = field(default_factory=list)
    fetches: list[tuple[Sequence, int]] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Update:
    """What the tokens of one step changed: who got one, and whom it ended, in the order of the step."""

    made: list[Sequence] = field(default_factory=list)
    ended: list[Sequence] = field(default_factory=list)
