"""A recorded run as a drawing: replicas, what waited, and the time to first token; or two runs in one."""

from collections.abc import Mapping, Sequence

import numpy as np

from aiops.simulate.panels import Band, Line, Panel, drawing
from tests.cluster.recording import Mark, Recording, ReplicasSet, Sample, Served


def picture_of(
    recording: Recording, title: str, about: str = "", needed: Mapping[str, Sequence[tuple[float, float]]] | None = None
) -> str:
    """Draw one run: a panel of replicas for each pool, with what it ``needed`` over time where that is known."""
    panels = []
    for pool in recording.pools:
        lines = [asked(recording, pool, "ordered"), sampled(recording, [pool], "ready", "ready")]
        if needed and pool in needed:
            lines.append(_steps("needed", [*needed[pool], (recording.end_s, needed[pool][-1][1])]))
        panels.append(Panel(f"replicas of {pool}", lines))
    panels.append(Panel("requests waiting", [sampled(recording, recording.pools, "waiting", "waiting")]))
    for model in dict.fromkeys(served.model for served in recording.of(Served)):
        lines = [
            first_tokens(recording, "ttft_p50_s", "p50", model),
            first_tokens(recording, "ttft_p95_s", "p95", model),
        ]
        panels.append(Panel(f"time to first token of {model} by arrival, s (log)", lines, logarithmic=True))
    return drawing(title, about, panels, recording.end_s, _bands(recording))


def picture_beside(
    runs: Mapping[str, Recording], title: str, about: str = "", needed: Sequence[tuple[float, float]] = ()
) -> str:
    """Draw runs of the same load beside each other, at most three, each under its name; the pools of each added up.

    ``needed`` is what the load needed, from each time on; who waited at a gateway is counted too.
    """
    named = list(runs.items())
    end_s = max(run.end_s for run in runs.values())
    serving = [sampled(run, run.pools, "ready", name) for name, run in named]
    if needed:
        serving.append(_steps("needed", [*needed, (end_s, needed[-1][1])]))
    panels = [
        Panel("replicas that serve", serving),
        Panel("replicas that are paid for", [sampled(run, run.pools, "paid", name) for name, run in named]),
        Panel("most requests waiting at once", [_waited(run, name) for name, run in named]),
        Panel(
            "time to first token by arrival, p95, s (log)",
            [first_tokens(run, "ttft_p95_s", name) for name, run in named],
            logarithmic=True,
        ),
    ]
    return drawing(title, about, panels, end_s, [band for run in runs.values() for band in _bands(run)])


def asked(recording: Recording, pool: str, name: str) -> Line:
    """``spec.replicas`` as written."""
    writes = [(event.t_s, float(event.replicas)) for event in recording.of(ReplicasSet, pool)]
    return _steps(name, [*writes, (recording.end_s, writes[-1][1] if writes else np.nan)])


def sampled(recording: Recording, pools: Sequence[str], field: str, name: str) -> Line:
    """A field of the samples, added up over pools; a gap where one of them was not counted."""
    seconds = [{round(sample.t_s): getattr(sample, field) for sample in recording.of(Sample, pool)} for pool in pools]
    sums: dict[float, float] = {}
    for at_s, value in (point for counted in seconds for point in counted.items()):
        sums[at_s] = sums.get(at_s, 0.0) + (np.nan if value is None else value)
    return _steps(name, sorted(sums.items()))


def _waited(recording: Recording, name: str) -> Line:
    served = recording.of(Served)
    return _steps(name, [(one.t_s, float(one.waited)) for one in served])


def first_tokens(recording: Recording, level: str, name: str, model: str | None = None) -> Line:
    """A quantile of the time to first token, in the middle of each bin of arrivals."""
    bins = [served for served in recording.of(Served) if model in (None, served.model)]
    at_s = [served.t_s + served.over_s / 2 for served in bins]
    values = [np.nan if getattr(served, level) is None else getattr(served, level) for served in bins]
    return Line(name, np.array(at_s, dtype=float), np.array(values, dtype=float))


def _steps(name: str, points: Sequence[tuple[float, float]]) -> Line:
    # A step that stays as high is no step: without them a drawing is a tenth as large.
    last = len(points) - 1
    kept = [point for i, point in enumerate(points) if i in (0, last) or point[1] != points[i - 1][1]]
    return Line(name, np.array([at_s for at_s, _ in kept]), np.array([value for _, value in kept]), steps=True)


def _bands(recording: Recording) -> list[Band]:
    return [Band(mark.text, mark.t_s, mark.t_s) for mark in recording.of(Mark)]
