"""Token counts drawn from what a load says of them."""

from collections.abc import Callable, Sequence
from functools import cache
from math import log
from statistics import NormalDist

import numpy as np

from aiops.simulate.load.columns import Floats
from aiops.simulate.load.laws import LengthSpec
from aiops.simulate.load.rates import Bend
from aiops.simulate.requests import Ints

_MOMENT_POINTS = 4096


class Lengths:
    """The lengths of prompts or of answers.

    ``means`` gives the mean at a time, where the spec leaves it to a table; ``bends`` multiply what was drawn (the cap
    goes with it, but for a cap of the bend's own).
    """

    def __init__(
        self,
        spec: LengthSpec,
        random: np.random.Generator,
        bends: Sequence[Bend] = (),
        means: Callable[[Floats], Floats] | None = None,
    ) -> None:
        if not spec.complete and means is None:
            raise ValueError("lengths without a mean, percentiles or fixed need a table of means")
        self._spec = spec
        self._random = random
        self._bends = bends
        self._means = None if spec.complete else means
        self._line = None if spec.percentiles is None else percentile_line(spec.percentiles, spec.max)

    def draw(self, at_s: Floats) -> Ints:
        """Draw a length for a request at each of some seconds since the load's start."""
        return whole_tokens(self._unbent(at_s), at_s, self._bends)

    def _unbent(self, at_s: Floats) -> Floats:
        spec, count = self._spec, len(at_s)
        if spec.fixed is not None:
            return np.full(count, float(spec.fixed))
        if self._line is not None:
            return np.exp(np.interp(self._random.random(count), *self._line))
        tokens = np.ones(count)
        if spec.spread:
            tokens = self._random.standard_normal(count)
            tokens *= spec.spread
            tokens -= spec.spread**2 / 2
            np.exp(tokens, out=tokens)
        tokens *= self._means(at_s) if self._means is not None else spec.mean or 1.0
        return np.minimum(tokens, spec.max, out=tokens)


def whole_tokens(tokens: Floats, at_s: Floats, bends: Sequence[Bend], cap: float = np.inf) -> Ints:
    """Cap lengths (in place), bend them by what events do at those times, and round them; at least a token each."""
    np.minimum(tokens, cap, out=tokens)
    for bend in bends:
        factor = bend.at(at_s)
        tokens *= factor
        if bend.cap is not None:
            np.minimum(tokens, bend.cap, out=tokens, where=factor != 1)
    np.rint(tokens, out=tokens)
    np.maximum(tokens, 1, out=tokens)
    return tokens.astype(np.int64)


def percentile_line(percentiles: dict[str, float], longest: int) -> tuple[Floats, Floats]:
    """Give the corners (share of requests, logarithm of the tokens) of the line through percentiles, 0 to 1.

    Beyond the outermost two the line goes on as it was, between a token and ``longest``.
    """
    ordered = sorted((float(name[1:]) / 100, log(max(1.0, value))) for name, value in percentiles.items())
    shares, logs = np.array(ordered).T
    low = logs[0] - shares[0] * (logs[1] - logs[0]) / (shares[1] - shares[0])
    high = logs[-1] + (1 - shares[-1]) * (logs[-1] - logs[-2]) / (shares[-1] - shares[-2])
    logs = np.clip(np.concatenate([[low], logs, [high]]), 0, log(longest))
    return np.concatenate([[0.0], shares, [1.0]]), logs


@cache
def _normal_quantiles() -> Floats:
    inverse = NormalDist().inv_cdf
    return np.array([inverse((place + 0.5) / _MOMENT_POINTS) for place in range(_MOMENT_POINTS)])


def moments(spec: LengthSpec, mean: float | None = None) -> tuple[float, float]:
    """Give the mean of the lengths, cap and all, and their standard deviation over it; ``mean`` where a table has it.

    Raises ValueError where neither says it.
    """
    if spec.fixed is not None:
        return float(spec.fixed), 0.0
    if spec.percentiles is not None:
        places = (np.arange(_MOMENT_POINTS) + 0.5) / _MOMENT_POINTS
        tokens = np.exp(np.interp(places, *percentile_line(spec.percentiles, spec.max)))
    else:
        middle = spec.mean if spec.mean is not None else mean
        if middle is None:
            raise ValueError("lengths without a mean, percentiles or fixed need a table of means")
        tokens = middle * np.exp(spec.spread * _normal_quantiles() - spec.spread**2 / 2)
    tokens = np.clip(np.rint(tokens), 1, spec.max)
    return float(tokens.mean()), float(tokens.std() / tokens.mean())
