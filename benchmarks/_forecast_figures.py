"""The figures that the forecast benchmark holds against bars: geometric means over the series of a group."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import exp, log
from statistics import fmean

from _forecast_scores import HORIZONS_S, Scored

from aiops.forecast.scoring import Measures

SEASONAL = 0.6
"""A series whose autocorrelation at a lag of a day is at least this is seasonal."""
LEAST_RISING = 10
"""A series with fewer rising windows has no coverage on them."""
NAMES = ("10 min", "30 min", "6 h")
_FAR = range(1, len(HORIZONS_S))
_ALL = range(len(HORIZONS_S))
Value = float | None


@dataclass(frozen=True, slots=True)
class Figure:
    """``of`` computes it from scores (None: nothing to compute it from); in its groups it is to be within the bar."""

    name: str
    lowest: Value
    highest: Value
    of: Callable[[Sequence[Scored]], Value]
    groups: tuple[str, ...] = ("held_back",)

    def holds(self, value: Value) -> bool | None:
        """Say whether a value is within the bar."""
        if value is None:
            return None
        return (self.lowest is None or value >= self.lowest) and (self.highest is None or value <= self.highest)

    def bar(self) -> str:
        """Write the bar."""
        if self.lowest is None:
            return f"at most {self.highest:.2f}"
        return f"at least {self.lowest:.2f}" if self.highest is None else f"{self.lowest:.2f} to {self.highest:.2f}"


def geometric_mean(values: Iterable[Value]) -> Value:
    """Leave out what is missing; a zero counts as a millionth."""
    known = [log(max(value, 1e-6)) for value in values if value is not None]
    return exp(fmean(known)) if known else None


def _wape(horizon: int, least: float = -1.0) -> Callable[[Sequence[Scored]], Value]:
    """Only series that are at least so alike from day to day count."""
    return lambda scores: geometric_mean(
        each.horizons[horizon].wape_to_last_value_ratio
        for each in scores
        if least <= -1.0 or (each.series.day_autocorrelation or 0.0) >= least
    )


def _pooled(each: Scored, field: str, horizons: Iterable[int], rising: bool = False) -> Value:
    """Take the horizons of a series together: the mean of a ratio over all their origins."""
    found = [(getattr(measures, field), _count(measures, rising)) for measures in (each.horizons[i] for i in horizons)]
    total = sum(count for value, count in found if value is not None)
    if total < (LEAST_RISING if rising else 1):
        return None
    return float(sum(value * count for value, count in found if value is not None) / total)


def _count(measures: Measures, rising: bool) -> int:
    return measures.rising_origins if rising else measures.origins


def _coverage(field: str, horizons: Iterable[int], rising: bool = False) -> Callable[[Sequence[Scored]], Value]:
    return lambda scores: geometric_mean(_pooled(each, field, horizons, rising) for each in scores)


def _worst(horizons: Iterable[int]) -> Callable[[Sequence[Scored]], Value]:
    def of(scores: Sequence[Scored]) -> Value:
        known = [_pooled(each, "q90_coverage_ratio", horizons) for each in scores]
        return min((value for value in known if value is not None), default=None)

    return of


def _pinball(horizons: Sequence[int]) -> Callable[[Sequence[Scored]], Value]:
    return lambda scores: geometric_mean(
        each.horizons[i].pinball_to_last_value_ratio for each in scores for i in horizons
    )


def _figures() -> tuple[Figure, ...]:
    each_horizon = list(zip(_ALL, NAMES, strict=True))
    wape = "WAPE ÷ last value"
    return (
        *(Figure(f"{wape}, {NAMES[i]}", None, bar, _wape(i)) for i, bar in zip(_ALL, (1.02, 0.95, 0.85), strict=True)),
        Figure(
            f"{wape}, 6 h, seasonal series", None, 0.70, _wape(2, SEASONAL), groups=("held_back", "held_back_daily")
        ),
        Figure(
            f"{wape}, 30 min, first day",
            None,
            1.00,
            lambda scores: geometric_mean(each.first_day.wape_to_last_value_ratio for each in scores),
        ),
        Figure("q90 coverage", 0.88, 0.92, _coverage("q90_coverage_ratio", _ALL)),
        *(
            Figure(f"q90 coverage, {name}", 0.88, 0.92, _coverage("q90_coverage_ratio", [i]))
            for i, name in each_horizon
        ),
        Figure("q95 coverage", 0.93, 0.97, _coverage("q95_coverage_ratio", _ALL)),
        *(
            Figure(f"q95 coverage, {name}", 0.93, 0.97, _coverage("q95_coverage_ratio", [i]))
            for i, name in each_horizon
        ),
        Figure("worst series' q90 coverage", 0.82, None, _worst(_ALL)),
        *(Figure(f"worst series' q90 coverage, {name}", 0.82, None, _worst([i])) for i, name in each_horizon),
        Figure("q90 coverage, rising", 0.75, None, _coverage("q90_coverage_rising_ratio", _ALL, rising=True)),
        *(
            Figure(
                f"q90 coverage, rising, {name}", 0.75, None, _coverage("q90_coverage_rising_ratio", [i], rising=True)
            )
            for i, name in each_horizon
        ),
        Figure("pinball(0.9) ÷ last value + conformal, 30 min and 6 h", None, 0.90, _pinball(_FAR)),
        *(Figure(f"pinball(0.9) ÷ last value + conformal, {NAMES[i]}", None, 0.90, _pinball([i])) for i in _FAR),
    )


FIGURES = _figures()


def table(scores: Sequence[Scored]) -> list[dict[str, object]]:
    """Give a row a figure: on the held-back clients (mean, least and most over seeds), and on what was recorded."""
    seeds = sorted({each.series.seed for each in scores if each.series.group == "held_back"})
    rows: list[dict[str, object]] = []
    for figure in FIGURES:
        by_seed = [figure.of(_only(scores, figure.groups, seed)) for seed in seeds]
        known = [value for value in by_seed if value is not None]
        mean = fmean(known) if known else None
        rows.append(
            {
                "figure": figure.name,
                "bar": figure.bar(),
                "held_back": _short(mean),
                "holds": figure.holds(mean),
                "seeds": [_short(value) for value in by_seed],
                "servegen": _short(figure.of(_only(scores, ("servegen",), 0))),
                "mm_image": _short(figure.of(_only(scores, ("mm_image",), 0))),
            }
        )
    return rows


def seasonal_series(scores: Sequence[Scored]) -> dict[str, int]:
    """Count the seasonal series by group."""
    return dict(Counter(each.series.group for each in scores if (each.series.day_autocorrelation or 0.0) >= SEASONAL))


def printed(rows: Sequence[dict[str, object]]) -> str:
    """Set the table in columns."""
    columns = ("figure", "bar", "held_back", "holds", "seeds", "servegen", "mm_image")
    cells = [columns, *(tuple(_cell(row[name]) for name in columns) for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)


def _only(scores: Sequence[Scored], groups: Sequence[str], seed: int) -> list[Scored]:
    return [each for each in scores if each.series.group in groups and each.series.seed == seed]


def _short(value: Value) -> Value:
    return None if value is None else round(value, 4)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, list):
        known = [each for each in value if each is not None]
        return f"{min(known):.3f}..{max(known):.3f}" if known else ""
    return "" if value is None else str(value)
