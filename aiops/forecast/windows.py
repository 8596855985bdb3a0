"""The book that is kept on each window: forecasts made, judged when their window has ended."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from aiops.forecast import conformal
from aiops.forecast.bins import DAY_S, span
from aiops.forecast.state import Origin, Phase, Score, SeriesState, WindowState
from aiops.forecast.weights import leanings
from aiops.model.forecast import ForecastSkill, Window

MOST_WINDOWS = 12
UNASKED_S = 6 * 3600.0
"""How long a window that nobody asks for is remembered."""
LEAST_POINTS = 10
"""Fewer ended windows say nothing about skill."""
PHASES, PHASE_S = 6, 600.0
_HALF_LIFE_S = 2 * DAY_S
_PHASE_HALF_LIFE_S = 4 * DAY_S


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the ensemble expects of one window's maximum.

    ``members`` are the members' own (None: no opinion), ``joined`` is their weighted mean, ``point`` what the interval
    is around, ``spread`` the unit in which errors below and above it are counted, ``quantiles`` the values at
    ``conformal.LEVELS``.
    """

    members: tuple[float | None, ...]
    weights: tuple[float, ...]
    joined: float
    point: float
    spread: tuple[float, float]
    bias: float
    scatter_ratio: float
    quantiles: tuple[float, ...]


def cold(window: Window, bin_s: float, members: int) -> WindowState:
    """Open the book on a window."""
    first, last = span(window, bin_s)
    nothing = (0.0,) * members
    return WindowState(
        window,
        first,
        last,
        Score(nothing, nothing, nothing),
        (Phase(nothing, nothing, nothing, nothing),) * (PHASES + 1),
    )


def asked_for(
    known: Sequence[WindowState], windows: Sequence[Window], bin_s: float, at_s: float, members: int
) -> tuple[WindowState, ...]:
    """Bring the books in line with the windows asked for at ``at_s``, those first; at most twelve are kept."""
    wanted = {span(window, bin_s): window for window in windows}
    kept, unasked = [], []
    for state in known:
        window = wanted.pop((state.first_bin, state.last_bin), None)
        if window is not None:
            same = window == state.window and state.unasked_since_s is None
            kept.append(state if same else replace(state, window=window, unasked_since_s=None))
        elif state.unasked_since_s is None:
            unasked.append(replace(state, unasked_since_s=at_s))
        elif at_s - state.unasked_since_s <= UNASKED_S:
            unasked.append(state)
    kept += [cold(window, bin_s, members) for window in wanted.values()]
    return tuple((kept + unasked)[: max(MOST_WINDOWS, len(kept))])


def due(window: WindowState, bin_s: float, at_s: float) -> bool:
    """Say whether a forecast that will be judged is to be made at ``at_s``."""
    if window.unasked_since_s is not None or window.made_s is None:
        return window.unasked_since_s is None
    return at_s - window.made_s > (_stride(window, bin_s) - 0.5) * bin_s


def with_origin(window: WindowState, at_s: float, last: float, outlook: Outlook) -> WindowState:
    """Keep a forecast until its window has ended."""
    low, middle, high = (outlook.quantiles[i] for i in (conformal.LOW, conformal.MIDDLE, conformal.HIGH))
    origin = Origin(
        at_s,
        last,
        outlook.members,
        outlook.joined,
        outlook.point,
        low,
        middle,
        high,
        outlook.spread,
        outlook.bias,
        outlook.scatter_ratio,
    )
    return replace(window, origins=(*window.origins, origin), made_s=at_s)


def phase_of(at_s: float) -> int:
    """Give the sixth of the hour in which a bin ended; what runs by the clock is alike in it."""
    return int(at_s // PHASE_S) % PHASES


def judged(window: WindowState, series: SeriesState, at_s: float) -> WindowState:
    """Compare the forecasts whose window has ended by ``at_s``, the end of the series' last bin, with what came."""
    while window.origins and window.origins[0].at_s + (window.last_bin - 0.5) * series.bin_s < at_s:
        actual = _actual(window, window.origins[0].at_s, series, at_s)
        window = replace(window, origins=window.origins[1:]) if actual is None else _taught(window, actual, series)
    return window


def skill(window: WindowState, series: str) -> ForecastSkill:
    """Say how well a window was forecast lately."""
    score = window.score
    known = score.points >= LEAST_POINTS
    return ForecastSkill(
        series,
        window.window,
        score.error / score.actual if known and score.actual > 0.0 else None,
        1.0 - score.error / score.last_error if known and score.last_error > 0.0 else None,
        score.covered / score.weight if known else None,
        score.points,
    )


def _actual(window: WindowState, origin_s: float, series: SeriesState, at_s: float) -> float | None:
    """Give the maximum that came; None where over half of the window is a gap, or any of it was censored."""
    if series.censored_s is not None and series.censored_s > origin_s + (window.first_bin - 0.5) * series.bin_s:
        return None
    now = len(series.recent) + round((origin_s - at_s) / series.bin_s)  # the place of the bin after the origin
    places = slice(max(0, now + window.first_bin - 1), max(0, now + window.last_bin))
    seen = [value for value in series.recent[places] if value is not None]
    return max(seen) if seen and 2 * len(seen) >= window.last_bin - window.first_bin + 1 else None


def _taught(window: WindowState, actual: float, series: SeriesState) -> WindowState:
    """Learn from the oldest forecast what came of it."""
    origin, apart_ratio = window.origins[0], _stride(window, series.bin_s) / window.last_bin
    since_s = 0.0 if window.judged_s is None else origin.at_s - window.judged_s
    residual = conformal.residual(actual, origin.point, conformal.FLOOR_RATIO * series.typical, origin.spread)
    bias = origin.bias + conformal.residual(actual, origin.joined, conformal.FLOOR_RATIO * series.typical)
    phases, place = list(window.phases), phase_of(origin.at_s)
    for i in (place, PHASES):
        phases[i] = _phase(phases[i], origin, actual, bias, abs(residual) * origin.scatter_ratio, min(1.0, apart_ratio))
    phases[place] = replace(phases[place], leanings=leanings(phases[place], phases[PHASES], series.typical))
    return replace(
        window,
        standing=None,
        phases=tuple(phases),
        score=_scored(
            window.score,
            origin,
            actual,
            keep=0.5 ** (since_s / max(_HALF_LIFE_S, 4.0 * window.window.end_s)),
            apart=min(1.0, apart_ratio),
        ),
        errors=conformal.learn(
            window.errors,
            residual,
            below_low=_exceeds(origin.low, actual),
            above_high=_exceeds(actual, origin.high),
            apart_ratio=apart_ratio,
            calm=conformal.is_calm(origin.high, origin.last),
        ),
        origins=window.origins[1:],
        judged_s=origin.at_s,
    )


def _exceeds(value: float, bound: float) -> bool:
    """Compare, but take a weighted mean of equal values for that value, although its last digit may differ."""
    return value > bound * (1.0 + 1e-9)


def _scored(score: Score, origin: Origin, actual: float, keep: float, apart: float) -> Score:
    last_error = abs(actual - origin.last)
    told = [value is not None for value in origin.members]
    errors = [0.0 if value is None else abs(actual - value) for value in origin.members]
    return Score(
        errors=tuple([keep * old + new for old, new in zip(score.errors, errors, strict=True)]),
        last_errors=tuple([keep * old + last_error * has for old, has in zip(score.last_errors, told, strict=True)]),
        windows=tuple([keep * old + apart * has for old, has in zip(score.windows, told, strict=True)]),
        error=keep * score.error + abs(actual - origin.middle),
        joined_error=keep * score.joined_error + abs(actual - origin.joined),
        last_error=keep * score.last_error + last_error,
        actual=keep * score.actual + actual,
        covered=keep * score.covered + (not _exceeds(actual, origin.high)),
        weight=keep * score.weight + 1.0,
        points=score.points + 1,
    )


def _phase(phase: Phase, origin: Origin, actual: float, bias: float, scatter: float, apart: float) -> Phase:
    since_s = 0.0 if phase.seen_s is None else origin.at_s - phase.seen_s
    keep = 0.5 ** (since_s / _PHASE_HALF_LIFE_S)
    last_error = abs(actual - origin.last)
    told = [value is not None for value in origin.members]
    errors = [0.0 if value is None else abs(actual - value) for value in origin.members]
    return Phase(
        errors=tuple([keep * old + new for old, new in zip(phase.errors, errors, strict=True)]),
        last_errors=tuple([keep * old + last_error * has for old, has in zip(phase.last_errors, told, strict=True)]),
        windows=tuple([keep * old + apart * has for old, has in zip(phase.windows, told, strict=True)]),
        leanings=phase.leanings,
        bias=keep * phase.bias + bias,
        scatter=keep * phase.scatter + scatter,
        weight=keep * phase.weight + 1.0,
        seen_s=origin.at_s,
    )


def _stride(window: WindowState, bin_s: float) -> int:
    """Give the bins between two origins.

    At most 30 are pending, and at bins of a minute 200 residuals, seven bins apart, reach back a day; the first are one
    bin apart, so that a new window leaves its default interval soon.
    """
    day = DAY_S / bin_s / conformal.MOST_RESIDUALS
    return round(max(window.last_bin / 30.0, min(day, len(window.errors.residuals) / 25.0), 1.0))
