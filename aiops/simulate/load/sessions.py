"""Conversations: turns whose prompts are the transcripts so far.

Their requests are numbered by conversation: a later turn's prompt is the same content from its first token on as the
earlier prompt and its answer, and goes on.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from aiops.simulate.load.arrivals import Gaps, Renewals
from aiops.simulate.load.columns import Floats, HeldBack, offsets_of, to_ps
from aiops.simulate.load.laws import LengthSpec
from aiops.simulate.load.lengths import Lengths
from aiops.simulate.load.prefixes import Prefixes, prefixes_of
from aiops.simulate.load.rates import Bends, Rate, growth
from aiops.simulate.load.sources import Draws
from aiops.simulate.load.spec import LoadSpec, SessionSpec
from aiops.simulate.requests import PS, Ints, RequestBatch

_SAMPLE = 32_768  # conversations that show what all are like
_LONGEST_LEAD_S = 21_600.0
_AT_ONCE = 65_536  # requests

_Number = TypeVar("_Number", np.int64, np.float64)


@dataclass(frozen=True, slots=True)
class _Turns:
    """Turns, one conversation behind the other; ``session`` is its place among those asked for.

    ``kept_share`` is what the longest transcript left of all turns.
    """

    session: Ints
    after_s: Floats
    prompt_tokens: Ints
    output_tokens: Ints
    prefix_tokens: Ints
    prefix_ids: Ints
    shared: NDArray[np.bool_]
    kept_share: float


class _Talk:
    """Draws whole conversations."""

    def __init__(self, load: LoadSpec, sessions: SessionSpec, draws: Draws, bends: Bends) -> None:
        inputs = load.input_tokens or LengthSpec()
        self._spec = sessions
        self._random = draws.of("turns")
        self._firsts = Lengths(inputs, draws.of("inputs"), bends.inputs)
        self._followers = Lengths(sessions.follow_up_tokens or inputs, draws.of("follow-ups"), bends.inputs)
        self._outputs = Lengths(load.output_tokens or LengthSpec(), draws.of("outputs"), bends.outputs)
        self._prefixes: Prefixes = prefixes_of(load, draws.of("prefixes"))

    def hold(self, begin_s: Floats) -> _Turns:
        """Draw the conversations that begin at some times; the lengths are those of that time."""
        spec, count = self._spec, len(begin_s)
        turns = self._random.geometric(1 / spec.turns, count)
        session = np.repeat(np.arange(count), turns)
        first = offsets_of(turns)[:-1]
        at_s = begin_s[session]
        output = np.minimum(self._outputs.draw(at_s), spec.max_tokens - 1)
        text = self._followers.draw(at_s)
        begun = self._prefixes.draw(self._firsts.draw(begin_s))
        # What is too long for the context even alone is cut to it, prefix and all: no conversation is without a turn.
        text[first] = np.minimum(begun.prompt_tokens, np.maximum(spec.max_tokens - output[first], 1))
        fits = begun.prefix_tokens < text[first]
        prompt = _since_first(text + output, first, session) + text
        think = spec.think_time
        mean_s = think.mean.total_seconds()
        waits = mean_s * np.exp(think.spread * self._random.standard_normal(len(session)) - think.spread**2 / 2)
        after_s = _since_first(waits + output * spec.pace.total_seconds(), first, session)
        kept = prompt + output <= spec.max_tokens
        kept_turns = np.bincount(session[kept], minlength=count)
        return _Turns(
            session=session[kept],
            after_s=after_s[kept],
            prompt_tokens=prompt[kept],
            output_tokens=output[kept],
            prefix_tokens=np.where(fits, begun.prefix_tokens, 0)[session[kept]],
            prefix_ids=begun.prefix_ids[session[kept]],
            shared=(kept_turns > 1)[session[kept]],
            kept_share=float(kept.mean()) if count else 1.0,
        )


def _since_first(values: NDArray[_Number], first: Ints, session: Ints) -> NDArray[_Number]:
    """Sum, for each turn, the values of the earlier turns of its conversation."""
    before = np.cumsum(values) - values
    return before - before[first][session]


@dataclass(frozen=True, slots=True)
class SessionShape:
    """What conversations are like, from a sample: moments as a mean and a standard deviation over it."""

    turns: float
    nearly_all_over_s: float
    prompt: tuple[float, float]
    output: tuple[float, float]


def session_shape(load: LoadSpec, sessions: SessionSpec) -> SessionShape:
    """Sample the conversations of a load without its events; the sample is the same for every seed."""
    turns = _Talk(load, sessions, Draws(0, "session shape"), Bends()).hold(np.zeros(_SAMPLE))
    spans_s = np.zeros(_SAMPLE)
    np.maximum.at(spans_s, turns.session, turns.after_s)
    prompt, output = turns.prompt_tokens, turns.output_tokens
    return SessionShape(
        turns=sessions.turns * turns.kept_share,
        nearly_all_over_s=float(np.quantile(spans_s, 0.99)),
        prompt=(float(prompt.mean()), float(prompt.std() / prompt.mean())),
        output=(float(output.mean()), float(output.std() / output.mean())),
    )


class Sessions:
    """The turns of conversations that begin at a rate.

    Conversations that began before the load does are under way at its start (their later turns come, no earlier ones),
    so that the rate of requests needs no time to settle.
    """

    def __init__(
        self,
        load: LoadSpec,
        sessions: SessionSpec,
        requests: Rate,
        draws: Draws,
        bends: Bends,
        first_id: int,
    ) -> None:
        shape = session_shape(load, sessions)
        self.highest = requests.highest
        self._begins = requests
        self._turns = shape.turns
        self._renewals = Renewals(Gaps(load.arrivals, draws.of("arrivals")))
        self._talk = _Talk(load, sessions, draws, bends)
        self._held = HeldBack()
        self._next_id = first_id
        self._begun_s = -min(shape.nearly_all_over_s, _LONGEST_LEAD_S)

    def until(self, end_s: float) -> RequestBatch:
        """Draw the conversations that begin next; give the turns that are due."""
        while self._begun_s < end_s:
            # Before the load's start in steps too, so that little is drawn at once.
            step_s = min(end_s, self._begun_s + max(1.0, _AT_ONCE / self.highest))
            knots, counts = growth(self._begins, self._begun_s, step_s)
            at_s = np.interp(self._renewals.pass_by(float(counts[-1]) / self._turns) * self._turns, counts, knots)
            self._held.add(self._batch(at_s))
            self._begun_s = step_s
        return self._held.take(round(end_s * PS))

    def _batch(self, begin_s: Floats) -> RequestBatch:
        turns = self._talk.hold(begin_s)
        arrival_s = begin_s[turns.session] + turns.after_s
        # In the order of arrival at once: what is held back is then seldom sorted again.
        order = np.argsort(arrival_s, kind="stable")
        order = order[np.searchsorted(arrival_s[order], 0.0) :]
        prefix_tokens = turns.prefix_tokens[order]
        has = prefix_tokens > 0
        batch = RequestBatch(
            arrival_ps=to_ps(arrival_s[order]),
            prompt_tokens=turns.prompt_tokens[order],
            output_tokens=turns.output_tokens[order],
            own_ids=self._next_id + turns.session[order],
            own_public=turns.shared[order],
            piece_offsets=offsets_of(has),
            piece_ids=turns.prefix_ids[order][has],
            piece_tokens=prefix_tokens[has],
        )
        self._next_id += len(begin_s)
        return batch
