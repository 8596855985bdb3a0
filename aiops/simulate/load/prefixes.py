"""The shared texts that prompts begin with."""

from dataclasses import dataclass
from math import floor
from typing import Protocol

import numpy as np

from aiops.simulate.load.columns import Floats
from aiops.simulate.load.spec import LoadSpec, PrefixSpec
from aiops.simulate.requests import Ints

_GRAIN = 16  # tokens: the usual KV block, so that a shared text loses nothing to rounding
_GROWTH = 1.25  # of a text over the next shorter one
_ALTERNATIVES = PrefixSpec(count=8, tokens=1)  # texts of each length


@dataclass(frozen=True, slots=True)
class Beginnings:
    """The prompts, lengthened where their prefix needs it, and the tokens (0: none) and ids of their prefixes."""

    prompt_tokens: Ints
    prefix_tokens: Ints
    prefix_ids: Ints


class Prefixes(Protocol):
    """What chooses the prefixes of prompts."""

    def draw(self, prompt_tokens: Ints) -> Beginnings:
        """Choose a prefix, or none, for each of some prompts."""
        ...


class NoPrefixes:
    """Every prompt is its own from its first token on."""

    def draw(self, prompt_tokens: Ints) -> Beginnings:
        """Choose none."""
        none = np.zeros_like(prompt_tokens)
        return Beginnings(prompt_tokens, none, none)


class NamedPrefixes:
    """A share of the prompts begin with one of so many texts of the same length."""

    def __init__(self, spec: PrefixSpec, random: np.random.Generator) -> None:
        self._spec = spec
        self._random = random
        self._popularity = _popularity(spec)

    def draw(self, prompt_tokens: Ints) -> Beginnings:
        """Choose by popularity; a prompt is at least a token longer than its prefix."""
        count = len(prompt_tokens)
        tokens = np.where(self._random.random(count) < self._spec.share, self._spec.tokens, 0)
        ids = np.searchsorted(self._popularity, self._random.random(count), side="right")
        return Beginnings(np.where(tokens > 0, np.maximum(prompt_tokens, tokens + 1), prompt_tokens), tokens, ids)


class ProportionalPrefixes:
    """Every prompt shares the same part of its tokens, on average, through texts of graded lengths.

    Of the two lengths around the wanted one the longer is taken as often as makes the mean right. A part of nearly 1
    needs close grades: the longer of the two must fit too.
    """

    def __init__(self, share: float, random: np.random.Generator) -> None:
        self._share = share
        self._random = random
        self._growth = min(_GROWTH, max(1.02, 0.99 / share))
        self._popularity = _popularity(_ALTERNATIVES)
        self._grades = np.zeros(1, np.int64)

    def draw(self, prompt_tokens: Ints) -> Beginnings:
        """Choose by length, and among the texts of that length by popularity."""
        count = len(prompt_tokens)
        wanted = prompt_tokens * self._share
        self._reach(float(wanted.max(initial=0.0)))
        above = np.searchsorted(self._grades, wanted, side="right")
        low, high = self._grades[above - 1], self._grades[above]
        grade = above - (self._random.random(count) >= (wanted - low) / (high - low))
        tokens = self._grades[grade]
        tokens = np.where(tokens < prompt_tokens, tokens, np.where(low < prompt_tokens, low, 0))
        alternative = np.searchsorted(self._popularity, self._random.random(count), side="right")
        return Beginnings(prompt_tokens, tokens, tokens * _ALTERNATIVES.count + alternative)

    def _reach(self, tokens: float) -> None:
        while self._grades[-1] <= tokens:
            last = int(self._grades[-1])
            following = max(last + _GRAIN, _GRAIN * floor(last * self._growth / _GRAIN))
            self._grades = np.append(self._grades, following)


def _popularity(spec: PrefixSpec) -> Floats:
    shares = np.cumsum(np.arange(1, spec.count + 1, dtype=np.float64) ** -spec.zipf)
    return np.asarray(shares[:-1] / shares[-1])


def prefixes_of(spec: LoadSpec, random: np.random.Generator) -> Prefixes:
    """Make what a load says of its prefixes."""
    if spec.prefixes is not None:
        return NamedPrefixes(spec.prefixes, random)
    return ProportionalPrefixes(spec.prefix_share, random) if spec.prefix_share else NoPrefixes()
