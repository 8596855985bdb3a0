"""Piecewise-linear tables, extrapolated linearly."""

from bisect import bisect_right
from collections.abc import Sequence


def interpolate(x: float, xs: Sequence[float], ys: Sequence[float]) -> float:
    """Read a table at ``x``: linear between its points, and along its last segment outside them.

    ``xs`` ascend strictly; one point makes a constant.

    >>> interpolate(3.0, [0.0, 2.0], [0.0, 4.0])
    6.0
    """
    if len(xs) == 1:
        return ys[0]
    i = min(max(bisect_right(xs, x), 1), len(xs) - 1)
    x0, x1, y0, y1 = xs[i - 1], xs[i], ys[i - 1], ys[i]
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
