"""aiops forecast: the forecasters judged on a recording, and their prior trained."""

import csv
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.progress import Progress, TaskID
from rich.table import Table

from aiops.cli.connect import JsonOption, duration
from aiops.cli.demand_file import SERIES, Demand, read_demand
from aiops.cli.fan_chart import FanChart
from aiops.cli.forecast_train import forecast_train
from aiops.cli.shell import CommandError, err, failing, print_json, telling, whole
from aiops.cli.show import console
from aiops.forecast import ensemble
from aiops.forecast.ensemble import Ensemble
from aiops.forecast.last_value import LastValue
from aiops.forecast.prior_codec import decode
from aiops.forecast.scoring import (
    LEVELS,
    Learn,
    Learner,
    Measures,
    Predict,
    RollingForecast,
    bin_widths,
    measured,
    origins,
    rolling,
)
from aiops.forecast.state import SeriesState
from aiops.model.forecast import Window
from aiops.model.quantity import format_duration
from aiops.observe.forecasters import installed_forecasters
from aiops.observe.prior_file import shipped_prior

_COLUMNS = ("origin_s", "target_s", "series", *(f"q{round(100 * level):02d}" for level in LEVELS))
_PICTURED_S = 2 * 86_400.0
_LONGEST_S = 10 * 366 * 86_400.0
_UNITS = dict(zip(SERIES, ("requests/s", "input tokens/s", "output tokens/s"), strict=True))
_SHOWN = {
    "wape_ratio": "WAPE",
    "wape_to_last_value_ratio": "÷ last value",
    "q90_coverage_ratio": "within q90",
    "q95_coverage_ratio": "within q95",
    "q90_coverage_rising_ratio": "q90, rising",
    "pinball_to_last_value_ratio": "pinball ÷ last value",
}

forecast = typer.Typer(
    name="forecast",
    help="Judge the forecasters on a recorded demand, and train their prior.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
)


forecast.command("train")(forecast_train)


@forecast.command()
def score(
    demand: Annotated[
        Path,
        typer.Argument(
            metavar="DEMAND.csv",
            help=f"Columns t_s (seconds) and any of {', '.join(SERIES)}; also gzip. May have gaps.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FORECASTS.csv", help="Gets the forecasts, or nothing.")],
    horizon: Annotated[
        str, typer.Option(metavar="S,S,…", help="How far ahead, in seconds or as 10m or 6h; several with commas.")
    ] = "600,1800,21600",
    origin_every: Annotated[str, typer.Option(metavar="S", help="From one origin to the next.")] = "3600",
    start: Annotated[float, typer.Option(min=0.0, max=1.0, help="The first origin, as a share of the span.")] = 0.5,
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="FILE.svg", help="Draw a fan chart of the last two days.")
    ] = None,
    picture_series: Annotated[
        str | None, typer.Option(metavar="SERIES", help="What it shows; the first series of the file if not said.")
    ] = None,
    picture_horizon: Annotated[
        str | None, typer.Option(metavar="S", help="How long before it was forecast; the first horizon if not said.")
    ] = None,
    prior: Annotated[
        Path | None, typer.Option("--prior", metavar="FILE", help="Another prior than the one that ships.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Forecast a recording at rolling origins, knowing at each nothing later, and compare with what came.

    A row of FORECASTS.csv is an origin, a series and a horizon: the quantiles of the value at the target time. Origins
    are counted from the first row, in gaps too; before a series' first value the quantiles are empty. The width of a
    bin is the median difference of the times so far. Measures need the target in the recording; the last value is
    the yardstick, its intervals conformal as ours.

    Exit codes: 0 done, 1 bad input (nothing is written), 2 wrong usage.

    Examples:

      aiops forecast score demand.csv --horizon 600,1800,21600 --origin-every 3600 --start 0.5 --out forecasts.csv

      aiops forecast score demand.csv.gz --horizon 10m,6h --out forecasts.csv --json | jq '.scores[0]'

      aiops forecast score demand.csv --out forecasts.csv --picture fan.svg --picture-horizon 6h
    """
    horizons_s = _horizons(horizon)
    every_s = _seconds(origin_every, "--origin-every")
    pictured_s = horizons_s[0] if picture_horizon is None else _seconds(picture_horizon, "--picture-horizon")
    with telling(as_json):
        began = time.perf_counter()
        with failing(f"cannot read {prior}"):
            ours = ensemble(decode(prior.read_bytes()) if prior else shipped_prior(), installed_forecasters())
        with failing(f"cannot read {demand}"):
            read = read_demand(demand)
            at_s = origins(read.times_s[0], read.times_s[-1], every_s, start)
        for path in (out, picture):
            _check_target(path, demand)
        shown = _pictured_series(read, picture_series, demand) if picture else ""
        rows = len(at_s) * len(read.series) * len(horizons_s)
        made = _forecasts(ours, read, at_s, horizons_s)
        with failing(f"cannot write {out}"), whole(out) as part:
            _write(part, made)
        if picture:
            with failing(f"cannot write {picture}"), whole(picture) as part:
                part.write_text(_drawn(ours, read, shown, pictured_s, demand), encoding="utf-8")
        wall_s = time.perf_counter() - began
        err.print(f"{rows} forecasts in {wall_s:.1f} s; they are in {out}", markup=False, soft_wrap=True)
        if as_json:
            print_json(_summary(read, made, horizons_s))
        else:
            _print(made, horizons_s)


@dataclass(frozen=True, slots=True)
class _Watched:
    """A learner that is watched at work."""

    learn: Learn
    predict: Predict


@dataclass(frozen=True, slots=True)
class _Made:
    """The forecasts of one series, a tuple with one a horizon for each origin, and how good each horizon's were."""

    forecasts: Sequence[tuple[RollingForecast, ...]]
    measures: Sequence[Measures]


def _forecasts(learner: Ensemble, read: Demand, at_s: Sequence[float], horizons_s: Sequence[float]) -> dict[str, _Made]:
    """Forecast and judge every series, and show how far it is."""
    made = {}
    with Progress(console=err, transient=True, disable=not err.is_terminal) as progress:
        for name, values in read.series.items():
            # What is forecast is learned from first to last: by us, and by the yardstick.
            task = progress.add_task(name, total=2 * len(read.times_s))
            ours, naive = (
                list(rolling(_watched(each, progress, task), read.times_s, values, at_s, horizons_s))
                for each in (learner, Ensemble((LastValue(),)))
            )
            progress.update(task, completed=2 * len(read.times_s))
            judged = [
                measured([each[i] for each in ours], [each[i] for each in naive], read.times_s, values)
                for i in range(len(horizons_s))
            ]
            made[name] = _Made(ours, judged)
    return made


def _watched(learner: Learner, progress: Progress, task: TaskID) -> _Watched:
    def learn_and_tell(
        state: SeriesState, at_s: float, value: float | None, windows: Sequence[Window], /
    ) -> SeriesState:
        progress.advance(task)
        return learner.learn(state, at_s, value, windows)

    return _Watched(learner.learn if progress.disable else learn_and_tell, learner.predict)


def _write(path: Path, made: Mapping[str, _Made]) -> None:
    """Write the rows by origin, then by series, then by horizon."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for at_once in zip(*(each.forecasts for each in made.values()), strict=True):
            for name, forecasts in zip(made, at_once, strict=True):
                for each in forecasts:
                    values = [f"{value:.9g}" for value in each.quantiles] or [""] * len(LEVELS)
                    writer.writerow([_time(each.origin_s), _time(each.target_s), name, *values])


def _time(at_s: float) -> str:
    """Write a time to the millisecond, without zeros that say nothing."""
    return f"{at_s:.3f}".rstrip("0").rstrip(".")


def _drawn(learner: Ensemble, read: Demand, name: str, horizon_s: float, demand: Path) -> str:
    """Draw the end of a series beside what was forecast for it at every point ``horizon_s`` before."""
    begin_s = read.times_s[-1] - _PICTURED_S
    at_s = [each for each in read.times_s if begin_s <= each + horizon_s <= read.times_s[-1]]
    values = read.series[name]
    forecasts = [each for (each,) in rolling(learner, read.times_s, values, at_s, (horizon_s,))]
    points = [(each, value) for each, value in zip(read.times_s, values, strict=True) if each >= begin_s]
    return FanChart(
        title=f"{_UNITS[name]} and what was forecast {format_duration(timedelta(seconds=horizon_s))} before",
        about=f"{demand.name}: at each time, the forecast that was made so long before it, knowing nothing later",
        unit=_UNITS[name],
        times_s=[each for each, _ in points],
        values=[value for _, value in points],
        forecasts=forecasts,
        longest_gap_s=1.5 * bin_widths(read.times_s)[-1][1],
    ).svg()


def _summary(read: Demand, made: Mapping[str, _Made], horizons_s: Sequence[float]) -> dict[str, Any]:
    return {
        "span_s": read.times_s[-1] - read.times_s[0],
        "bin_s": bin_widths(read.times_s)[-1][1],
        "points": len(read.times_s),
        "measured": {name: sum(value is not None for value in values) for name, values in read.series.items()},
        "origins": max(len(each.forecasts) for each in made.values()),
        "scores": [
            {"series": name, "horizon_s": horizon_s, **asdict(measures)}
            for name, each in made.items()
            for horizon_s, measures in zip(horizons_s, each.measures, strict=True)
        ],
    }


def _print(made: Mapping[str, _Made], horizons_s: Sequence[float]) -> None:
    table = Table(box=SIMPLE_HEAD)
    table.add_column("series")
    for column in ("horizon", "origins", *_SHOWN.values()):
        table.add_column(column, justify="right")
    for name, each in made.items():
        for horizon_s, measures in zip(horizons_s, each.measures, strict=True):
            ratios = (getattr(measures, field) for field in _SHOWN)
            cells = ("none" if ratio is None else f"{ratio:.3f}" for ratio in ratios)
            table.add_row(name, format_duration(timedelta(seconds=horizon_s)), str(measures.origins), *cells)
    console().print(table)


def _check_target(path: Path | None, demand: Path) -> None:
    """Find out before the work whether its result has a place."""
    if path is None:
        return
    if not path.parent.is_dir():
        raise CommandError(f"cannot write {path}: there is no folder {path.parent}; make it first")
    if path.is_dir() or path.resolve() == demand.resolve():
        what = "a folder" if path.is_dir() else "the recording itself"
        raise CommandError(f"cannot write {path}: it is {what}; name another file")


def _pictured_series(read: Demand, asked: str | None, demand: Path) -> str:
    if asked is None:
        return next(iter(read.series))
    if asked not in read.series:
        raise CommandError(f"{demand} has no series {asked}; draw one of {', '.join(read.series)}")
    return asked


def _horizons(text: str) -> tuple[float, ...]:
    found = tuple(_seconds(part, "--horizon") for part in text.split(","))
    if len(set(found)) < len(found):
        raise typer.BadParameter(f"--horizon {text} names a horizon twice")
    return found


def _seconds(text: str, option: str) -> float:
    """Read a time above zero, up to ten years: a number of seconds, or as 10m or 6h."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = duration(text.strip()).total_seconds()
    if not 0.001 <= seconds <= _LONGEST_S:
        raise typer.BadParameter(f"{option} {text} is not between 1 ms and ten years")
    return seconds
