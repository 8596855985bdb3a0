"""How much each member counts: softly, by trailing error against that of the last value."""

from collections.abc import Sequence
from math import exp, log

from aiops.forecast.state import Phase, Score

POWER = 10.0
FLOOR_RATIO = 0.01
"""What a member keeps however wrong it was, so that it can come back."""
TRUSTED_WINDOWS = 10.0
"""What is known of members in general counts as much as that many windows of this series that do not overlap."""
EXPECTED_ERROR_RATIO = 0.9
"""What members together are known to reach in general."""
WORST_ERROR_RATIO = 1.1
"""Beyond it they have no skill; skill comes and goes, so a hair's breadth says nothing."""
_STEADY_RATIO = 1e-6  # an error of a millionth of the series is none: members that are all right count alike
_FURTHEST = 3.0
_TRUSTED_ERRORS = 20.0


def log_ratios(score: Score, leanings: Sequence[float], expected: Sequence[float], typical: float) -> tuple[float, ...]:
    """Give the logs of the members' error ratios: error ÷ that of the last value on the same windows.

    Each is drawn towards that of the ``expected`` one the more, the fewer windows have ended. What it leans to in this
    phase of the hour (:func:`leanings`) is added.
    """
    return tuple(
        [
            _drawn(error, last_error, windows, ratio, typical) + leaning
            for error, last_error, windows, ratio, leaning in zip(
                score.errors, score.last_errors, score.windows, expected, leanings, strict=True
            )
        ]
    )


def weights(values: Sequence[float | None], logs: Sequence[float]) -> tuple[float, ...]:
    """Share 1 among the members that have an opinion: error ratio to the power −10, above a floor.

    ``logs`` are those of the ratios. Without any opinion all are 0.
    """
    least = min([each for each, value in zip(logs, values, strict=True) if value is not None], default=0.0)
    raw = [
        0.0 if value is None else exp(-POWER * (each - least)) + FLOOR_RATIO
        for each, value in zip(logs, values, strict=True)
    ]
    total = sum(raw)
    return tuple([share / total for share in raw]) if total else tuple(raw)


def leanings(phase: Phase, whole: Phase, typical: float) -> tuple[float, ...]:
    """Give by how much the logs of the members' error ratios differ in a phase, drawn to 0 where few windows ended."""
    ratios = [
        [_seen(*sums, typical) for sums in zip(each.errors, each.last_errors, each.windows, strict=True)]
        for each in (phase, whole)
    ]
    trust = [windows / (windows + TRUSTED_WINDOWS) for windows in phase.windows]
    return tuple([share * (own - all_) for share, own, all_ in zip(trust, *ratios, strict=True)])


def skilled(score: Score, typical: float) -> bool:
    """Say whether the members together did better than the last value, as far as that is known.

    Their error ratio is drawn towards what is known of them in general, as a single member's is.
    """
    windows = max(score.windows, default=0.0)
    return _drawn(score.joined_error, score.last_error, windows, EXPECTED_ERROR_RATIO, typical) <= log(
        WORST_ERROR_RATIO
    )


def bias(phases: Sequence[Phase], place: int) -> float:
    """Give by how much more the log of actual ÷ forecast is in one phase of the hour than on the whole."""
    own, whole = phases[place], phases[-1]
    if not whole.weight:
        return 0.0
    return (own.bias - own.weight * whole.bias / whole.weight) / (own.weight + _TRUSTED_ERRORS)


def scatter_ratio(phases: Sequence[Phase], place: int) -> float:
    """Give how much wider than on the whole errors scatter in one phase of the hour, as far as that is known."""
    own, whole = phases[place], phases[-1]
    if whole.scatter <= 0.0:
        return 1.0
    return (own.scatter * whole.weight / whole.scatter + _TRUSTED_ERRORS) / (own.weight + _TRUSTED_ERRORS)


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
    seen = _seen(error, last_error, windows, typical)
    return (windows * seen + TRUSTED_WINDOWS * log(expected)) / (windows + TRUSTED_WINDOWS)


def _seen(error: float, last_error: float, windows: float, typical: float) -> float:
    none = _STEADY_RATIO * typical * max(windows, 1.0)
    seen = log((error + none) / (last_error + none)) if error + last_error > 0.0 and none > 0.0 else 0.0
    return min(max(seen, -_FURTHEST), _FURTHEST)
