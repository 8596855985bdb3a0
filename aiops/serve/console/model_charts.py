"""The charts of one model: demand against what was forecast for it, and the replicas of each pool."""

from collections.abc import Sequence
from datetime import timedelta

from aiops.act.series import BAND_HORIZON, Band, PoolPoint, PoolSeries, Series
from aiops.model.forecast import INPUT_TOKENS, OUTPUT_TOKENS, ForecastSkill
from aiops.serve.console.chart import Chart, Path, Points, frame, nearest
from aiops.serve.console.words import MISSING, number, quantity

_SHORTEST_S = 300.0

Axis = tuple[float, float]
"""The time axis that all charts of a model share: first and last second."""


def axis_of(series: Series, newest_s: float, span: timedelta) -> Axis:
    """Show what there is of the span, and as far ahead as the forecast reaches."""
    oldest_s = min((point.at_s for point in series.demand[:1]), default=newest_s)
    start_s = max(oldest_s, newest_s - span.total_seconds())
    return min(start_s, newest_s - _SHORTEST_S), newest_s + BAND_HORIZON.end_s


def demand_charts(series: Series, axis: Axis, newest_s: float, skills: Sequence[ForecastSkill]) -> tuple[Chart, ...]:
    """Draw prompt and output tokens against their forecast bands."""
    shown = {skill.series: skill for skill in skills if skill.window == BAND_HORIZON}
    lines: tuple[tuple[str, str, Points, Sequence[tuple[float, Band]]], ...] = (
        (
            "Prompt tokens",
            INPUT_TOKENS,
            [(point.at_s, point.input_tok_per_s) for point in series.demand],
            [(point.at_s, point.input_tok_per_s) for point in series.band],
        ),
        (
            "Output tokens",
            OUTPUT_TOKENS,
            [(point.at_s, point.output_tok_per_s) for point in series.demand],
            [(point.at_s, point.output_tok_per_s) for point in series.band],
        ),
    )
    return tuple(
        _demand_chart(title, demand, band, axis, newest_s, series.step_s, _skill_note(shown.get(name)))
        for title, name, demand, band in lines
    )


def _demand_chart(
    title: str,
    demand: Points,
    band: Sequence[tuple[float, Band]],
    axis: Axis,
    newest_s: float,
    step_s: float,
    note: str,
) -> Chart:
    known = [(at_s, levels if None not in levels else (None, None, None)) for at_s, levels in band]
    low, middle, high = ([(at_s, levels[i]) for at_s, levels in known] for i in range(3))
    axes = frame(axis, [value for _, value in (*demand, *high)], step_s)

    def tell(at_s: float) -> str:
        now, expected = nearest(demand, at_s, axes.gap_s), nearest(known, at_s, axes.gap_s)
        lines = [f"demand {quantity(now, 'tok/s')}"] if now is not None else []
        if expected is not None and None not in expected:
            lines.append(f"forecast {number(expected[1])}, P10 to P90 {number(expected[0])} to {number(expected[2])}")
        return "\n".join(lines)

    return Chart(
        title=title,
        unit="tok/s",
        summary=_demand_summary(title, demand),
        y_ticks=axes.values(),
        x_ticks=axes.times(newest_s),
        paths=(
            Path("band", axes.band(low, high), "forecast 10 min before, P10 to P90"),
            Path("median", axes.line(middle), "median forecast"),
            Path("demand", axes.line(demand), "demand"),
        ),
        hits=axes.hits(tell),
        now_percent=axes.x(newest_s) / 10,
        note=note,
    )


def _demand_summary(title: str, demand: Points) -> str:
    known = [value for _, value in demand if value is not None]
    if not known:
        return f"{title}: no demand was measured."
    return f"{title} a second: now {number(known[-1])}, between {number(min(known))} and {number(max(known))}."


def _skill_note(skill: ForecastSkill | None) -> str:
    """Say what the forecaster knows of itself; nothing until it knows something."""
    if skill is None or skill.wape_ratio is None:
        return ""
    parts = [f"off by {quantity(skill.wape_ratio, 'ratio')} on average"]
    if skill.skill_ratio is not None:
        word = "better" if skill.skill_ratio >= 0 else "worse"
        parts.append(f"{quantity(abs(skill.skill_ratio), 'ratio')} {word} than repeating the last value")
    if skill.coverage_ratio is not None:
        parts.append(f"{quantity(skill.coverage_ratio, 'ratio')} of actuals at or below P90")
    return "Forecast 10 min ahead: " + ", ".join(parts) + "."


def pool_chart(pool: PoolSeries, axis: Axis, newest_s: float, step_s: float, asked: str) -> Chart:
    """Draw a pool's replicas; ``asked`` is what the plan's number is called in the policy's mode."""
    needed, desired, current, ready = (
        [(point.at_s, getattr(point, name)) for point in pool.points]
        for name in ("needed", "desired", "current", "ready")
    )
    points = [(point.at_s, point) for point in pool.points]
    axes = frame(axis, [value for _, value in (*needed, *desired, *current, *ready)], step_s, whole=True)

    def tell(at_s: float) -> str:
        point = nearest(points, at_s, axes.gap_s)
        return _pool_text(point, asked) if point is not None else ""

    newest = pool.points[-1] if pool.points else None
    return Chart(
        title=f"{pool.pool.name} replicas",
        unit="replicas",
        summary=f"{pool.pool.name}: {_pool_text(newest, asked)}." if newest else f"{pool.pool.name}: nothing seen.",
        y_ticks=axes.values(),
        x_ticks=axes.times(newest_s),
        paths=(
            Path("ready", axes.step_area(ready), "ready"),
            Path("needed", axes.steps(needed), "needed by demand alone"),
            Path("desired", axes.steps(desired), asked),
            Path("current", axes.steps(current), "had"),
        ),
        hits=axes.hits(tell),
        now_percent=axes.x(newest_s) / 10,
    )


def _pool_text(point: PoolPoint, asked: str) -> str:
    numbers = {
        "needed": point.needed,
        asked: point.desired,
        "had": point.current,
        "ready": point.ready,
        "starting": point.starting,
    }
    return ", ".join(f"{name} {MISSING if value is None else value}" for name, value in numbers.items())
