"""Demand per window: rates of requests and the mean lengths that go with them."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aiops.simulate.load.columns import Floats
from aiops.simulate.load.rates import Rate
from aiops.simulate.load.spec import DemandSpec
from aiops.simulate.requests import Ints


@dataclass(frozen=True, slots=True)
class DemandTable:
    """Windows from ``begins_s`` (since the load's start) to the next one's, the last to ``end_s``.

    Requests per second, and tokens a request, NaN where the table does not say.
    """

    begins_s: Floats
    end_s: float
    requests_per_s: Floats
    input_tokens: Floats
    output_tokens: Floats

    @property
    def rate(self) -> Rate:
        """The rate of requests; nothing comes outside the windows."""

        def at(t_s: Floats) -> Floats:
            inside = (t_s >= self.begins_s[0]) & (t_s < self.end_s)
            return np.where(inside, self.requests_per_s[self._window(t_s)], 0.0)

        last = [self.end_s] if np.isfinite(self.end_s) else []
        return Rate(at, np.concatenate([self.begins_s, last]), float(self.requests_per_s.max()))

    @property
    def says_lengths(self) -> bool:
        """Whether each window with requests has their mean lengths."""
        used = self.requests_per_s > 0
        return not bool(np.isnan(self.input_tokens[used]).any() or np.isnan(self.output_tokens[used]).any())

    def mean_input(self, t_s: Floats) -> Floats:
        """Give the mean prompt at seconds since the load's start."""
        return self.input_tokens[self._window(t_s)]

    def mean_output(self, t_s: Floats) -> Floats:
        """Give the mean answer at seconds since the load's start."""
        return self.output_tokens[self._window(t_s)]

    def _window(self, t_s: Floats) -> Ints:
        return np.maximum(np.searchsorted(self.begins_s, t_s, side="right") - 1, 0)


def read_demand(spec: DemandSpec) -> DemandTable:
    """Read the table of a load's demand.

    Raises OSError where the file cannot be read, ValueError where it is no such table.
    """
    if spec.path is not None:
        begins_s, requests, inputs, outputs = _read_csv(spec.path)
        end_s = float(begins_s[-1] + (begins_s[-1] - begins_s[-2]))
    else:
        windows = spec.windows or ()
        begins_s = np.array([window.at.total_seconds() for window in windows])
        requests = np.array([window.requests_per_s for window in windows])
        inputs = np.array([np.nan if window.input_tokens is None else window.input_tokens for window in windows])
        outputs = np.array([np.nan if window.output_tokens is None else window.output_tokens for window in windows])
        end_s = np.inf
    origin_s = spec.origin.total_seconds()
    return DemandTable(begins_s - origin_s, end_s - origin_s, requests * spec.scale, inputs, outputs)


def _read_csv(path: Path) -> tuple[Floats, Floats, Floats, Floats]:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    try:
        begins_s = np.array([float(row["t_s"]) for row in rows])
        requests = np.array([float(row["req_per_s"]) for row in rows])
        tokens = [
            np.array([float(row[column] or "nan") for row in rows])
            if rows and column in rows[0]
            else np.full(len(rows), np.nan)
            for column in ("input_tok_per_s", "output_tok_per_s")
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no table t_s,req_per_s[,input_tok_per_s,output_tok_per_s]: {error!r}") from error
    if len(rows) < 2 or (np.diff(begins_s) <= 0).any() or not np.isfinite(begins_s).all():
        raise ValueError(f"{path} needs two windows or more, in the order of t_s")
    if not (requests >= 0).all():
        raise ValueError(f"{path} has a negative or missing req_per_s")
    inputs, outputs = (
        np.divide(per_s, requests, out=np.full(len(rows), np.nan), where=requests > 0) for per_s in tokens
    )
    return begins_s, requests, inputs, outputs
