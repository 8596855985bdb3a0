"""The requests of the scenarios: Poisson arrivals, prompts that may begin with shared segments, geometric outputs."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv


@dataclass(frozen=True, slots=True)
class Load:
    """``groups`` families of prompts share up to ``segments`` leading segments (0: nothing is shared)."""

    requests_per_s: float
    input_tokens: int
    output_tokens: int
    groups: int = 0
    segments: int = 0
    segment_tokens: int = 512


PIECE = 500_000


def write(load: Load, count: int, path: Path, seed: int = 1) -> None:
    """Write ``count`` requests, piece by piece; the first n are the same for every count."""
    path.parent.mkdir(parents=True, exist_ok=True)
    now_s = 0.0
    with path.open("wb") as file:
        for first in range(0, count, PIECE):
            table = draw(load, np.random.default_rng((seed, first)), now_s)
            now_s = table["arrival_s"][-1].as_py()
            if not first:
                file.write(",".join(table.column_names).encode() + b"\n")
            plain = csv.WriteOptions(include_header=False, quoting_style="none")
            csv.write_csv(table.slice(0, count - first), file, plain)


def draw(load: Load, random: np.random.Generator, now_s: float) -> pa.Table:
    """Draw one piece."""
    arrival_s = np.round(now_s + np.cumsum(random.exponential(1 / load.requests_per_s, PIECE)), 6)
    columns: dict[str, object] = {
        "arrival_s": arrival_s,
        "input_tokens": np.maximum(1, random.poisson(load.input_tokens, PIECE)),
        "output_tokens": random.geometric(1 / load.output_tokens, PIECE),
    }
    if load.groups:
        group = np.minimum(random.zipf(1.2, PIECE), load.groups) - 1
        shared = random.integers(1, load.segments + 1, PIECE)
        columns["prefix_ids"] = [
            " ".join(str(first * load.segments + place) for place in range(length))
            for first, length in zip(group.tolist(), shared.tolist(), strict=True)
        ]
    return pa.table(columns)
