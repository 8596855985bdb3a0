"""Streams of requests that a load is made of: each gives what arrives next, in order."""

from typing import Protocol
from zlib import crc32

import numpy as np

from aiops.simulate.load.arrivals import Gaps, Renewals
from aiops.simulate.load.columns import prefixed_batch, to_ps
from aiops.simulate.load.lengths import Lengths
from aiops.simulate.load.prefixes import Prefixes
from aiops.simulate.load.rates import Rate, growth
from aiops.simulate.requests import RequestBatch


class Draws:
    """Independent random streams of one load: each depends on the seed, the load's name and its own name alone."""

    def __init__(self, seed: int, name: str) -> None:
        self._seed = seed
        self._name = name

    def of(self, part: str) -> np.random.Generator:
        """Begin the stream of a part."""
        return np.random.default_rng([self._seed, crc32(f"{self._name} {part}".encode())])


class Source(Protocol):
    """A stream of requests. It is asked for ever later times, which do not depend on who reads the load."""

    highest: float
    """A bound of its requests per second, or a guess where a recording sets them: how much is drawn at once."""

    def until(self, end_s: float) -> RequestBatch:
        """Give what arrives between the last such time (at first 0) and this one, in order."""
        ...


class SingleRequests:
    """Requests that have nothing to do with each other, but for what their prompts begin with."""

    def __init__(
        self, rate: Rate, gaps: Gaps, inputs: Lengths, outputs: Lengths, prefixes: Prefixes, first_id: int
    ) -> None:
        self.highest = rate.highest
        self._rate = rate
        self._renewals = Renewals(gaps)
        self._inputs = inputs
        self._outputs = outputs
        self._prefixes = prefixes
        self._next_id = first_id
        self._begun_s = 0.0

    def until(self, end_s: float) -> RequestBatch:
        """Draw what arrives next."""
        knots, counts = growth(self._rate, self._begun_s, end_s)
        at_s = np.interp(self._renewals.pass_by(float(counts[-1])), counts, knots)
        begun = self._prefixes.draw(self._inputs.draw(at_s))
        batch = prefixed_batch(
            to_ps(at_s),
            begun.prompt_tokens,
            self._outputs.draw(at_s),
            self._next_id,
            begun.prefix_tokens,
            begun.prefix_ids,
        )
        self._begun_s = end_s
        self._next_id += len(batch)
        return batch
