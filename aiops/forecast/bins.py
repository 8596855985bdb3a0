"""Which bins of the future a window covers."""

from functools import lru_cache
from math import ceil, floor

from aiops.model.forecast import Window

DAY_S = 86_400.0
GRID_POINTS = 8
_SLACK = 1e-6  # 599.9999 s are ten bins of a minute


@lru_cache(maxsize=4096)
def span(window: Window, bin_s: float) -> tuple[int, int]:
    """Give the first and the last bin that a window touches; bin k ends k bins from now, and a point lies in one bin.

    >>> span(Window(60.0, 180.0), 60.0), span(Window(60.0, 60.0), 60.0), span(Window(0.0, 0.0), 60.0)
    ((2, 3), (1, 1), (1, 1))
    """
    last = max(1, ceil(window.end_s / bin_s - _SLACK))
    return min(floor(window.start_s / bin_s + _SLACK) + 1, last), last


@lru_cache(maxsize=4096)
def grid(first: int, last: int) -> tuple[int, ...]:
    """Choose at most :data:`GRID_POINTS` bins of a span, its ends among them, evenly spaced.

    >>> grid(1, 3), grid(1, 15)
    ((1, 2, 3), (1, 3, 5, 7, 9, 11, 13, 15))
    """
    steps = min(last - first, GRID_POINTS - 1)
    return tuple(first + round(i * (last - first) / steps) for i in range(steps + 1)) if steps else (first,)
