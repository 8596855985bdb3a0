"""Arrivals as renewal processes in a time that runs as fast as requests are due.

In that time a request is due every unit, whatever the rate is outside; the gaps' law alone is drawn. A day curve or a
flash crowd then stretches and squeezes them (time rescaling), so that a CV means the same at every rate.
"""

from math import exp, lgamma, log
from typing import Final

import numpy as np

from aiops.simulate.load.columns import Floats
from aiops.simulate.load.laws import ArrivalKind, ArrivalSpec

_SHAPES: Final = np.geomspace(0.12, 30, 2000)


def _weibull_cv(shape: float) -> float:
    return float(np.sqrt(np.expm1(lgamma(1 + 2 / shape) - 2 * lgamma(1 + 1 / shape))))


_CVS: Final = np.array([_weibull_cv(shape) for shape in _SHAPES])


def weibull_shape(cv: Floats) -> Floats:
    """Give the shape of the Weibull law whose CV it is, from 0.05 to 100 (nearest to it beyond)."""
    return np.exp(np.interp(-np.log(cv), -np.log(_CVS), np.log(_SHAPES)))


class Gaps:
    """Gaps of mean 1 between the arrivals of one stream."""

    def __init__(self, spec: ArrivalSpec, random: np.random.Generator) -> None:
        self._random = random
        self._kind = spec.kind if spec.cv != 1.0 else ArrivalKind.POISSON
        self._shape = spec.cv**-2
        if self._kind is ArrivalKind.WEIBULL:
            self._shape = float(weibull_shape(np.array([spec.cv]))[0])

    def draw(self, count: int) -> Floats:
        """Draw gaps from one arrival to the next."""
        if self._kind is ArrivalKind.GAMMA:
            return self._random.standard_gamma(self._shape, count) / self._shape
        gaps = self._random.standard_exponential(count)
        if self._kind is ArrivalKind.WEIBULL:
            np.power(gaps, 1 / self._shape, out=gaps)
            gaps /= exp(lgamma(1 + 1 / self._shape))
        return gaps

    def first(self) -> float:
        """Draw the time to the next arrival as seen by someone who comes at any moment.

        It is a uniform part of a gap that is met in proportion to its length; begun with an ordinary gap, a process
        would bring (CV² − 1) / 2 requests too many.
        """
        part, shape = float(self._random.random()), self._shape
        if self._kind is ArrivalKind.GAMMA:
            return part * float(self._random.standard_gamma(shape + 1)) / shape
        if self._kind is ArrivalKind.WEIBULL:
            met = log(self._random.standard_gamma(1 + 1 / shape)) / shape
            return part * exp(met - lgamma(1 + 1 / shape))
        return float(self._random.standard_exponential())


class Renewals:
    """Arrivals in the rescaled time, drawn as it passes."""

    def __init__(self, gaps: Gaps) -> None:
        self._gaps = gaps
        self._ahead = np.array([gaps.first()])  # since the present; the last one is never given

    def pass_by(self, span: float) -> Floats:
        """Let the rescaled time run on; give the arrivals since then, in units from the span's beginning."""
        while (last := float(self._ahead[-1])) < span:
            more = self._gaps.draw(int(1.02 * (span - last)) + 256)
            self._ahead = np.concatenate([self._ahead, last + np.cumsum(more)])
        count = int(np.searchsorted(self._ahead, span))
        passed, self._ahead = self._ahead[:count], self._ahead[count:] - span
        return passed
