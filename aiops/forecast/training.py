"""Training the prior: many made series from the parts of few real ones, and boosted trees over their shapes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor

from aiops.forecast.prior_codec import digest
from aiops.forecast.prior_features import DAY, shape
from aiops.model.prior import Prior, Trees

Floats = NDArray[np.float64]

HORIZONS = (1, 2, 4, 9, 18, 36, 72, 144)
ORIGINS = 60
"""Moments that are taken from each made series."""
DEPTH = 6
_WIDEST = 3.0
_HOUR = 6
_LEAST_ALIVE = 0.5
_HEADS: Mapping[str, Mapping[str, object]] = {
    "median": {"loss": "absolute_error"},
    "q10": {"loss": "quantile", "quantile": 0.1},
    "q90": {"loss": "quantile", "quantile": 0.9},
}


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is spent on training: made series, and trees a head."""

    series: int = 1500
    trees: int = 200


def train(
    rates: Floats,
    seed: int,
    effort: Effort,
    card: Mapping[str, object],
    on_step: Callable[[str], None] = lambda _: None,
) -> Prior:
    """Train all heads on series made from ``rates``: a row a client, a column a slot of ten minutes, 0 where idle.

    The same arguments give the same prior on one machine. Raises ValueError where the rates span less than three days.
    """
    if rates.ndim != 2 or rates.shape[1] < 3 * DAY:
        raise ValueError(f"the prior learns from three days or more of ten-minute slots, not from shape {rates.shape}")
    draws = np.random.default_rng(seed)
    made = []
    for number in range(effort.series):
        made.append(_examples(_made(rates, draws), draws))
        if number % 100 == 99:
            on_step(f"{number + 1} of {effort.series} series made")
    rows, targets = (np.concatenate(part) for part in zip(*made, strict=True))
    heads = {}
    for name, loss in _HEADS.items():
        on_step(f"training {name} on {len(rows)} rows")
        heads[name] = _fitted(rows, targets, loss, effort.trees, seed)
    return Prior(heads, HORIZONS, rows.shape[1], card, digest(heads))


def _made(rates: Floats, draws: np.random.Generator) -> Floats:
    """Make a series that is alive: some clients, rotated in time and rescaled, their habits and noise varied."""
    while True:
        clients, slots = rates.shape
        count = min(int(np.exp(draws.uniform(0.0, np.log(clients + 1.0)))), clients)
        together, spread = draws.random() < 0.6, draws.uniform(0.0, 1.0)
        turn, made, stray = int(draws.integers(slots)), np.zeros(slots), draws.random() < 0.3
        for client in draws.choice(clients, count, replace=False):
            # Whole hours as a rule: what runs by the clock does so in every time zone.
            turned = turn + _HOUR * int(draws.integers(-2, 3)) if together else int(draws.integers(slots))
            turned = turned if together or stray else turned // _HOUR * _HOUR
            made += np.exp(draws.normal(0.0, spread)) * np.roll(rates[client], turned)
        if (made > 0.0).mean() >= _LEAST_ALIVE:
            return _varied(made / made.mean(), draws)


def _varied(made: Floats, draws: np.random.Generator) -> Floats:
    slot = np.arange(len(made))
    if draws.random() < 0.4:  # a day of its own, and a week
        phase, second = draws.uniform(0.0, 2 * np.pi, 2)
        turn = 2 * np.pi * slot / DAY
        day = draws.uniform(0.1, 1.3) * np.sin(turn - phase) + draws.uniform(0.0, 0.4) * np.sin(2 * turn - second)
        weekend = (slot // DAY + int(draws.integers(7))) % 7 >= 5
        quieter = draws.uniform(0.1, 0.8) * (draws.random() < 0.3)
        made = made * np.exp(day - quieter * weekend)
    if draws.random() < 0.3:
        made = made ** draws.uniform(0.7, 1.3)
    if draws.random() < 0.4:  # few requests: counts scatter
        made = made * draws.gamma(1.0 / draws.uniform(0.02, 0.25) ** 2, size=len(made))
    return np.asarray(made / made.mean(), np.float64)


def _examples(made: Floats, draws: np.random.Generator) -> tuple[NDArray[np.float32], Floats]:
    """Look at a series from some moments, as far back as a drawn start, gaps included; give rows and log ratios."""
    start = int(draws.integers(len(made) - 3 * DAY)) if draws.random() < 0.4 else 0
    seen = made.copy()
    for _ in range(int(draws.integers(1, 6)) if draws.random() < 0.3 else 0):
        gap = int(draws.integers(len(made)))
        seen[gap : gap + int(draws.integers(1, 60))] = np.nan
    seen = seen[start:]
    last = len(seen) - 1 - HORIZONS[-1]
    rows, targets = [], []
    # A tenth of the moments are early ones, as young series are what the prior is there for.
    early, late = draws.integers(0, min(last, 2 * DAY), ORIGINS // 10), draws.integers(0, last, ORIGINS)
    moments = np.concatenate([early, late])
    for now in np.unique(moments):
        found = shape(seen[max(0, now + 1 - 15 * DAY) : now + 1], HORIZONS)
        if found is None:
            continue
        future = seen[now + np.array(HORIZONS)]
        known = np.isfinite(future)
        rows.append(found.rows[known])
        ratios = np.log((future[known] + found.floor) / (found.level + found.floor))
        targets.append(np.clip(ratios, -_WIDEST, _WIDEST))
    if not rows:
        return np.zeros((0, 0), np.float32), np.zeros(0)
    return np.concatenate(rows), np.concatenate(targets)


def _fitted(rows: NDArray[np.float32], targets: Floats, loss: Mapping[str, object], trees: int, seed: int) -> Trees:
    model = HistGradientBoostingRegressor(
        max_iter=trees,
        learning_rate=0.08,
        max_depth=DEPTH,
        max_leaf_nodes=40,
        min_samples_leaf=200,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=seed,
        **loss,
    ).fit(rows, targets)
    # The library has no other way to its trees; the prior keeps none of its types.
    grown = [_complete(stage[0].nodes) for stage in model._predictors]
    features, thresholds, leaves = (np.array(part) for part in zip(*grown, strict=True))
    return Trees(
        float(np.ravel(model._baseline_prediction)[0]),
        features.astype(np.int32),
        thresholds.astype(np.float32),
        leaves.astype(np.float32),
    )


def _complete(nodes: NDArray[np.void]) -> tuple[NDArray[np.int32], Floats, Floats]:
    """Lay a tree out as a complete one: below an early leaf all leaves are that one."""
    inner = 2**DEPTH - 1
    feature, threshold, leaf = np.zeros(inner, np.int32), np.zeros(inner), np.zeros(inner + 1)
    places = [(0, 0)]
    while places:
        place, node = places.pop()
        record = nodes[node]
        if place >= inner:
            leaf[place - inner] = record["value"]
        elif record["is_leaf"]:
            places += [(2 * place + 1, node), (2 * place + 2, node)]
        else:
            feature[place], threshold[place] = record["feature_idx"], record["num_threshold"]
            places += [(2 * place + 1, int(record["left"])), (2 * place + 2, int(record["right"]))]
    return feature, threshold, leaf
