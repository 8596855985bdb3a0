"""What recordings of the same load come to beside each other: figures, and a table of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

import numpy as np

from tests.cluster.recording import Recording, ReplicasSet, Sample, Served

Steps = Sequence[tuple[float, int]]
"""Numbers, each from its time on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One run. Hours of replicas are of those that are paid for: starting, serving or leaving.

    ``behind_s`` is for how long fewer served than the load needed, and ``latest_s`` how long after it was needed the
    replica served that was the latest of all (below 0: each was there before; infinite: it never came).
    """

    replica_hours: float
    most: int
    ups: int
    downs: int
    waited: int
    answered: int
    late: int
    failed: int
    slowest_s: float
    behind_s: float
    latest_s: float


def needed(windows: Sequence[tuple[float, float]], replica_req_per_s: float) -> list[tuple[float, int]]:
    """The least replicas for a load, told as the requests a second from each time on."""
    return [(at_s, max(1, ceil(rate / replica_req_per_s - 1e-9))) for at_s, rate in windows]


def figures(run: Recording, need: Steps) -> Figures:
    """What a run with one pool came to, against the replicas that its load needed."""
    (pool,) = run.pools
    moves = list(run.moves(pool))
    served, samples = run.of(Served), run.of(Sample, pool)
    return Figures(
        replica_hours=run.replica_seconds(pool) / 3600,
        most=max(event.replicas for event in run.of(ReplicasSet, pool)),
        ups=sum(after.replicas > before.replicas for before, after in moves),
        downs=sum(after.replicas < before.replicas for before, after in moves),
        waited=max((one.waited for one in served), default=0),
        answered=sum(one.answered for one in served),
        late=sum(one.late for one in served),
        failed=sum(one.failed for one in served),
        slowest_s=max((one.ttft_p95_s or 0.0 for one in served), default=0.0),
        behind_s=sum(
            after.t_s - before.t_s for before, after in pairwise(samples) if before.ready < _at(need, before.t_s)
        ),
        latest_s=max(_delays(samples, need), default=0.0),
    )


def _at(need: Steps, t_s: float) -> int:
    return next((replicas for at_s, replicas in reversed(need) if at_s <= t_s), need[0][1])


def _delays(samples: Sequence[Sample], need: Steps) -> Iterator[float]:
    """For each replica that the rise needs: how long after it was needed it served; infinite if it never did."""
    highest = need[0][1]
    for at_s, replicas in need:
        for number in range(highest + 1, replicas + 1):
            yield _served_since(samples, number, at_s) - at_s
        highest = max(highest, replicas)


def _served_since(samples: Sequence[Sample], number: int, at_s: float) -> float:
    """Since when that many served, as they did at a time or else first did after it."""
    since, before = np.inf, False
    for sample in samples:
        if sample.ready >= number and not before:
            since = sample.t_s
        before = sample.ready >= number
        if before and sample.t_s >= at_s:
            return float(since)
    return np.inf


def table(runs: Mapping[str, Figures]) -> str:
    """A table in Markdown, a column a run."""
    rows: list[tuple[str, list[str]]] = [
        ("replica-hours", [f"{one.replica_hours:.2f}" for one in runs.values()]),
        ("most replicas asked for", [str(one.most) for one in runs.values()]),
        ("changes up, down", [f"{one.ups}, {one.downs}" for one in runs.values()]),
        ("most requests waiting at once", [str(one.waited) for one in runs.values()]),
        ("first token later than 2.5 s", [f"{one.late} of {one.answered}" for one in runs.values()]),
        ("requests that failed", [str(one.failed) for one in runs.values()]),
        ("slowest 15 s: time to first token, p95", [f"{one.slowest_s:.2f} s" for one in runs.values()]),
        ("fewer replicas than needed for", [f"{one.behind_s:.0f} s" for one in runs.values()]),
        ("the latest replica after it was needed", [_seconds(one.latest_s) for one in runs.values()]),
    ]
    head = ["", *runs]
    lines = [head, ["---", *("---:" for _ in runs)], *([name, *cells] for name, cells in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _seconds(value: float) -> str:
    return "never" if np.isinf(value) else f"{value:+.0f} s"
