"""How much each member counts: softly, by trailing error against that of the last value."""

from collections.abc import Sequence
from math import exp, log

from aiops.forecast.state import Score

POWER = 10.0
FLOOR_RATIO = 0.01
"""What a member keeps however wrong it was, so that it can come back."""
TRUSTED_WINDOWS = 10.0
"""What is known of members in general counts as much as that many windows of this series that do not overlap."""
_STEADY_RATIO = 1e-6  # an error of a millionth of the series is none: members that are all right count alike
_FURTHEST = 3.0


def weights(
    values: Sequence[float | None], score: Score, expected: Sequence[float], typical: float
) -> tuple[float, ...]:
    """Share 1 among the members that have an opinion: error ratio to the power −10, above a floor.

    A member's error ratio is its error ÷ that of the last value on the same windows; its logarithm is drawn towards
    that of the ``expected`` one the more, the fewer windows have ended. Without any opinion all are 0.
    """
    logs = [
        _drawn(error, last_error, windows, ratio, typical)
        for error, last_error, windows, ratio in zip(
            score.errors, score.last_errors, score.windows, expected, strict=True
        )
    ]
    least = min([each for each, value in zip(logs, values, strict=True) if value is not None], default=0.0)
    raw = [
        0.0 if value is None else exp(-POWER * (each - least)) + FLOOR_RATIO
        for each, value in zip(logs, values, strict=True)
    ]
    total = sum(raw)
    return tuple([share / total for share in raw]) if total else tuple(raw)


def together(values: Sequence[float | None], shares: Sequence[float], floor: float) -> float | None:
    """Give the weighted geometric mean of values raised by ``floor``; None without an opinion.

    Demand errs by factors, and a mean of logs is not drawn up by one member that expects ten times as much.
    """
    total = 0.0
    known = [(value, share) for value, share in zip(values, shares, strict=True) if value is not None and share]
    if not known:
        return None
    if len({value for value, _ in known}) == 1 or floor <= 0.0:
        return sum(value * share for value, share in known)
    for value, share in known:
        total += share * log(value + floor)
    return max(0.0, exp(total) - floor)


def _drawn(error: float, last_error: float, windows: float, expected: float, typical: float) -> float:
    none = _STEADY_RATIO * typical * max(windows, 1.0)
    seen = log((error + none) / (last_error + none)) if error + last_error > 0.0 and none > 0.0 else 0.0
    seen = min(max(seen, -_FURTHEST), _FURTHEST)
    return (windows * seen + TRUSTED_WINDOWS * log(expected)) / (windows + TRUSTED_WINDOWS)
