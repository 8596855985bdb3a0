"""What charts need of the past: a few numbers a point in time, thinned out to as many points as fit."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aiops.act.families import TOKEN_SERIES
from aiops.model.cycle import ModelCycle
from aiops.model.forecast import NEAR, Forecast
from aiops.model.refs import ModelRef, PoolRef, Role

BAND_HORIZON = NEAR
"""The band that demand is shown against is what was forecast ten minutes earlier."""
_LEVELS = (0.1, 0.5, 0.9)

Band = tuple[float | None, float | None, float | None]
"""The 0.1, 0.5 and 0.9 quantiles."""


@dataclass(frozen=True, slots=True)
class DemandPoint:
    """Demand and work at a time in Unix seconds: the mean of the cycles that the point stands for."""

    at_s: float
    requests_per_s: float | None
    input_tok_per_s: float | None
    output_tok_per_s: float | None
    prefill_work: float | None
    decode_work: float | None
    both_work: float | None


@dataclass(frozen=True, slots=True)
class BandPoint:
    """What was forecast *for* ``at_s``, ten minutes before it."""

    at_s: float
    input_tok_per_s: Band
    output_tok_per_s: Band


@dataclass(frozen=True, slots=True)
class PoolPoint:
    """A pool's replicas at a time: the last cycle of those that the point stands for."""

    at_s: float
    needed: int | None
    desired: int | None
    current: int | None
    ready: int | None
    starting: int | None


@dataclass(frozen=True, slots=True)
class PoolSeries:
    """The replicas of one pool over time."""

    pool: PoolRef
    role: Role
    points: tuple[PoolPoint, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """One model over time, oldest first; ``step_s`` is the time that one point stands for."""

    ref: ModelRef
    step_s: float
    demand: tuple[DemandPoint, ...] = ()
    band: tuple[BandPoint, ...] = ()
    pools: tuple[PoolSeries, ...] = ()


def pool_key(pool: PoolRef) -> str:
    """Write a pool as the journal's column does; a Kubernetes name holds no slash."""
    return f"{pool.namespace}/{pool.kind}/{pool.name}"


def keep_point(connection: sqlite3.Connection, cycle_id: int, at_s: float, model: ModelCycle) -> None:
    """Write the row of ``points`` for one model of a cycle."""
    demand, work = model.demand, model.work
    forecasts = {forecast.series: forecast for forecast in model.forecasts if forecast.window == BAND_HORIZON}
    bands = [forecasts.get(series) for series in TOKEN_SERIES]
    made = next((forecast.made_at for forecast in bands if forecast is not None), None)
    connection.execute(
        f"INSERT INTO points VALUES ({','.join('?' * 17)})",  # noqa: S608  # question marks alone
        (
            cycle_id,
            model.ref.namespace,
            model.ref.model,
            at_s,
            demand.requests_per_s if demand else None,
            demand.input_tok_per_s if demand else None,
            demand.output_tok_per_s if demand else None,
            work.prefill if work else None,
            work.decode if work else None,
            work.both if work else None,
            made.timestamp() + BAND_HORIZON.end_s if made else None,
            *_band(bands[0]),
            *_band(bands[1]),
        ),
    )


def _band(forecast: Forecast | None) -> Band:
    if forecast is None:
        return (None, None, None)
    low, middle, high = (forecast.quantile(level) for level in _LEVELS)
    return (low, middle, high)


def read_series(connection: sqlite3.Connection, ref: ModelRef, since_s: float, until_s: float, points: int) -> Series:
    """Read a model's past between two times, in at most about ``points`` points per line."""
    step_s = max((until_s - since_s) / max(points, 1), 1.0)
    where = (step_s, ref.namespace, ref.model)
    demand = connection.execute(
        "SELECT max(at_s), avg(requests_per_s), avg(input_tok_per_s), avg(output_tok_per_s), avg(prefill_work),"
        " avg(decode_work), avg(both_work), CAST(at_s / ? AS INTEGER) AS bin FROM points"
        " WHERE namespace = ? AND model = ? AND at_s BETWEEN ? AND ? GROUP BY bin ORDER BY bin",
        (*where, since_s, until_s),
    )
    band = connection.execute(
        "SELECT max(target_s), avg(input_p10), avg(input_p50), avg(input_p90), avg(output_p10), avg(output_p50),"
        " avg(output_p90), CAST(target_s / ? AS INTEGER) AS bin FROM points"
        " WHERE namespace = ? AND model = ? AND at_s BETWEEN ? AND ? AND target_s IS NOT NULL"
        " GROUP BY bin ORDER BY bin",
        (*where, since_s - BAND_HORIZON.end_s, until_s),
    )
    # SQLite gives the other columns from the row that holds max(at_s): the last cycle of each bin.
    pools = connection.execute(
        "SELECT pool, role, max(at_s), needed, desired, current, ready, starting, CAST(at_s / ? AS INTEGER) AS bin"
        " FROM decisions WHERE namespace = ? AND model = ? AND at_s BETWEEN ? AND ?"
        " GROUP BY pool, role, bin ORDER BY pool, role, bin",
        (*where, since_s, until_s),
    )
    return Series(
        ref,
        step_s,
        tuple(DemandPoint(*row[:7]) for row in demand),
        tuple(BandPoint(row[0], row[1:4], row[4:7]) for row in band),
        _by_pool(pools),
    )


def _by_pool(rows: Iterable[tuple[Any, ...]]) -> tuple[PoolSeries, ...]:
    found: dict[tuple[str, str], list[PoolPoint]] = {}
    for pool, role, *numbers in rows:
        found.setdefault((pool, role), []).append(PoolPoint(*numbers[:6]))
    return tuple(
        PoolSeries(PoolRef(*pool.split("/", 2)), Role(role), tuple(points)) for (pool, role), points in found.items()
    )
