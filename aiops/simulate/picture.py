"""A run over time as a drawing in SVG: replicas, queue and time to first token, readable on light and on dark."""

from collections.abc import Sequence
from math import ceil

import numpy as np
from numpy.typing import NDArray

from aiops.simulate.faults.truth import Window
from aiops.simulate.panels import Band, Line, Panel, drawing
from aiops.simulate.requests import PS
from aiops.simulate.tables.outcome_csv import OutcomeBatch, Status
from aiops.simulate.tables.replica_csv import ReplicaRow

_BIN_S = 15.0


class Picture:
    """Gathers what a drawing needs while a run goes on.

    Memory holds the time to first token of every request that was answered, so it is for runs of minutes.
    """

    def __init__(self, title: str, about: str = "") -> None:
        self._title = title
        self._about = about
        self._rows: list[ReplicaRow] = []
        self._answered: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        self._windows: Sequence[Window] = ()

    def add_pools(self, row: ReplicaRow) -> None:
        """Take a row of ``replicas.csv``."""
        self._rows.append(row)

    def add_outcomes(self, outcomes: OutcomeBatch) -> None:
        """Take requests that have ended."""
        done = outcomes.status == Status.COMPLETED
        arrival = outcomes.arrival_ps[done]
        self._answered.append((arrival, outcomes.first_token_ps[done] - arrival))

    def add_truth(self, windows: Sequence[Window]) -> None:
        """Take what went wrong, to be shaded."""
        self._windows = windows

    def svg(self) -> str:
        """Draw it."""
        end_s = max((row.t_s for row in self._rows), default=0.0) or 1.0
        panels = (
            Panel("replicas", self._replicas()),
            Panel("requests waiting", self._waiting()),
            Panel("time to first token by arrival, s (log)", self._first_tokens(end_s), logarithmic=True),
        )
        bands = [Band(each.kind.replace("_", " "), each.begin_s, each.end_s) for each in self._windows]
        return drawing(self._title, self._about, panels, end_s, bands)

    def _replicas(self) -> list[Line]:
        at_s, ready = self._summed("ready_replicas")
        _, paid = self._summed("paid_replicas")
        return [Line("ready", at_s, ready, steps=True), Line("paid", at_s, paid, steps=True)]

    def _waiting(self) -> list[Line]:
        return [Line("waiting", *self._summed("waiting"))]

    def _summed(self, field: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Add a field of all pools up, at each time; every pool has a row at each."""
        sums: dict[float, float] = {}
        for row in self._rows:
            sums[row.t_s] = sums.get(row.t_s, 0.0) + getattr(row, field)
        return np.array([*sums]), np.array([*sums.values()])

    def _first_tokens(self, end_s: float) -> list[Line]:
        arrivals = np.concatenate([each for each, _ in self._answered] or [np.zeros(0, np.int64)]) / PS
        ttft_s = np.concatenate([each for _, each in self._answered] or [np.zeros(0, np.int64)]) / PS
        bins = np.minimum(arrivals // _BIN_S, ceil(end_s / _BIN_S) - 1).astype(int)
        spread = np.full((ceil(end_s / _BIN_S), 2), np.nan)
        for place in np.unique(bins):
            spread[place] = np.quantile(ttft_s[bins == place], (0.5, 0.95))
        middle_s = _BIN_S * np.arange(0.5, len(spread), dtype=np.float64)
        return [Line("p50", middle_s, spread[:, 0]), Line("p95", middle_s, spread[:, 1])]
