"""What is known of demand before a series has a past: boosted trees, as plain arrays."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Trees:
    """The sum of complete binary trees of one depth.

    A row goes from node ``n`` to ``2n + 1`` where its ``feature[n]`` is at most ``threshold[n]``, else to ``2n + 2``.
    Shapes, of T trees of depth D: ``feature`` and ``threshold`` (T, 2**D − 1), ``leaf`` (T, 2**D); ``base`` is added.
    """

    base: float
    feature: NDArray[np.int32]
    threshold: Floats
    leaf: Floats

    def predict(self, rows: Floats) -> NDArray[np.float64]:
        """Give the sum for each row of features, shape (rows, features)."""
        trees, inner = self.feature.shape
        first = np.arange(trees, dtype=np.int32) * inner
        feature, threshold = self.feature.ravel(), self.threshold.ravel()
        width = rows.shape[1]
        flat, starts = rows.ravel(), (np.arange(len(rows), dtype=np.int32) * width)[:, np.newaxis]
        node = np.zeros((len(rows), trees), np.int32)
        for _ in range(inner.bit_length()):
            place = node + first
            right = flat.take(feature.take(place) + starts) > threshold.take(place)
            node = 2 * node + 1 + right
        leaves = self.leaf.ravel().take(node - inner + np.arange(trees, dtype=np.int32) * (inner + 1))
        total: NDArray[np.float64] = leaves.sum(axis=1, dtype=np.float64) + self.base
        return total


@dataclass(frozen=True, slots=True, eq=False)
class Prior:
    """What forecasts a series from its shape alone, trained on other series.

    ``heads`` are trees by what they give: the ``median`` of the log of future ÷ level, and its quantiles ``q10`` and
    ``q90``; ``horizons`` are those asked for, in slots of ten minutes, and the first feature.
    ``card`` says what it was trained on, when, and how well it does; ``sha256`` is that of the arrays.
    """

    heads: Mapping[str, Trees]
    horizons: tuple[int, ...]
    features: int
    card: Mapping[str, object]
    sha256: str
