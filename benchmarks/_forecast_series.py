"""The series that the forecast benchmark scores: recorded ones, and new ones recombined from held-back clients."""

import csv
import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aiops.cli.forecast_train import HELD_BACK

BIN_S = 600.0
DAY_BINS = 144
HOUR_BINS = 6
COLUMNS = ("req_per_s", "input_tok_per_s", "output_tok_per_s")
RECORDED = ("m-large_10min", "m-large_open_seasonal_10min", "m-large_open_bursty_10min")
ONE_DAY = "mm-image_10min"
CLIENTS_OF = "m-large"
FEWEST_CLIENTS, MOST_CLIENTS = 6, 36
_LENGTH_BINS = 36  # lengths are told per 6 h

DAILY = 0.4
"""A client whose autocorrelation at a lag of a day is at least this has days."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Series:
    """Values every ten minutes from time 0; ``day_autocorrelation`` is that at a lag of a day (None: too short)."""

    group: str
    seed: int
    name: str
    column: str
    values: tuple[float, ...]
    day_autocorrelation: float | None


@dataclass(frozen=True, slots=True)
class Clients:
    """``rates`` has a row a client: those of its three columns, a value every ten minutes."""

    numbers: tuple[int, ...]
    rates: dict[str, Floats]


def recorded(folder: Path) -> list[Series]:
    """Read the recorded series; that of one day is a group of its own."""
    found = []
    for name in (*RECORDED, ONE_DAY):
        with (folder / f"{name}.csv").open() as file:
            rows = list(csv.DictReader(file))
        group = "mm_image" if name == ONE_DAY else "servegen"
        found += [_series(group, 0, name, each, np.array([float(row[each]) for row in rows])) for each in COLUMNS]
    return found


def held_back(folder: Path) -> Clients:
    """Read the clients held back."""
    modulus, rest = HELD_BACK
    rates: dict[int, dict[int, float]] = {}
    for row in _rows(folder / f"{CLIENTS_OF}_clients_trace.csv.gz"):
        if int(row["client"]) % modulus == rest:
            rates.setdefault(int(row["client"]), {})[_place(row)] = float(row["rate_rps"] or 0.0)
    numbers = tuple(sorted(rates))
    bins = 1 + max(max(each) for each in rates.values())
    requests = np.zeros((len(numbers), bins))
    for i, number in enumerate(numbers):
        requests[i, list(rates[number])] = list(rates[number].values())
    lengths = _lengths(folder / f"{CLIENTS_OF}_clients_lengths.csv.gz", numbers, bins)
    tokens = {column: requests * lengths[field] for column, field in zip(COLUMNS[1:], lengths, strict=True)}
    return Clients(numbers, {COLUMNS[0]: requests} | tokens)


def recombined(clients: Clients, count: int, seed: int) -> list[Series]:
    """Sum random subsets of clients, each turned in time by a whole number of hours; three columns for each sum."""
    random = np.random.default_rng(seed)
    hours = clients.rates[COLUMNS[0]].shape[1] // HOUR_BINS
    found = []
    for number in range(count):
        size = int(random.integers(FEWEST_CLIENTS, MOST_CLIENTS + 1))
        chosen = random.choice(len(clients.numbers), size, replace=False)
        turns = random.integers(0, hours, size) * HOUR_BINS
        found += _sum(clients, chosen, turns, ("held_back", seed, f"sum-{number:02d}-of-{size}"))
    return found


def seasonal(clients: Clients, count: int, seed: int) -> list[Series]:
    """Sum random subsets of the clients that have days, each turned by whole days, so that they keep their hour.

    Hardly a sum of clients turned by any hours is seasonal. These are a group of their own, as they are chosen.
    """
    random = np.random.default_rng([seed, 1])
    requests = clients.rates[COLUMNS[0]]
    daily = [i for i, rates in enumerate(requests) if _day_autocorrelation(rates) >= DAILY]
    found = []
    for number in range(count):
        size = int(random.integers(min(FEWEST_CLIENTS, len(daily)), len(daily) + 1))
        chosen = random.choice(daily, size, replace=False)
        turns = random.integers(0, requests.shape[1] // DAY_BINS, size) * DAY_BINS
        found += _sum(clients, chosen, turns, ("held_back_daily", seed, f"daily-{number:02d}-of-{size}"))
    return found


def _sum(clients: Clients, chosen: Ints, turns: Ints, name: tuple[str, int, str]) -> list[Series]:
    return [
        _series(*name, column, np.sum([np.roll(rates[i], turn) for i, turn in zip(chosen, turns, strict=True)], axis=0))
        for column, rates in clients.rates.items()
    ]


def _series(group: str, seed: int, name: str, column: str, values: Floats) -> Series:
    alike = _day_autocorrelation(values) if len(values) >= 3 * DAY_BINS else None
    return Series(group, seed, name, column, tuple(float(value) for value in values), alike)


def _day_autocorrelation(values: Floats) -> float:
    """A series that hardly changes has none."""
    earlier, later = values[:-DAY_BINS], values[DAY_BINS:]
    return float(np.corrcoef(earlier, later)[0, 1]) if earlier.std() > 0.0 and later.std() > 0.0 else 0.0


def _lengths(path: Path, numbers: Sequence[int], bins: int) -> dict[str, Floats]:
    """Give the mean tokens a request by client and bin: told, else the client's own mean, else the median client's."""
    places = {number: i for i, number in enumerate(numbers)}
    found = {field: np.full((len(numbers), bins), np.nan) for field in ("input_tokens", "output_tokens")}
    for row in _rows(path):
        if int(row["client"]) in places:
            begin = _place(row)
            found[row["field"]][places[int(row["client"])], begin : begin + _LENGTH_BINS] = float(row["mean"])
    for lengths in found.values():
        own = [float(np.nanmean(each)) if np.isfinite(each).any() else float("nan") for each in lengths]
        typical = float(np.nanmedian(own))
        for each, mean in zip(lengths, own, strict=True):
            each[np.isnan(each)] = typical if isnan(mean) else mean
    return found


def _rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt") as file:
        return list(csv.DictReader(file))


def _place(row: dict[str, str]) -> int:
    return int(float(row["t_s"]) // BIN_S)
