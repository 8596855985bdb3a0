"""Prometheus' text format 0.0.4."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import accumulate
from typing import Literal

from aiops.simulate.histogram import Histogram

Kind = Literal["gauge", "counter", "histogram"]
Labels = Mapping[str, str]
Sample = tuple[Labels, float | Histogram]
BoundText = Callable[[float], str]
"""How an exporter writes a bucket's bound."""

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def go_bound(bound: float) -> str:
    """Write a bound as exporters made in Go do: whole numbers without a fraction."""
    return str(int(bound)) if bound == int(bound) else repr(bound)


def family(
    name: str, kind: Kind, meaning: str, samples: Iterable[Sample], bound: BoundText = go_bound
) -> Iterator[str]:
    """Write a family's lines; none where it has no samples. A counter's ``name`` is the one on the wire."""
    lines = [line for labels, value in samples for line in _sample(name, labels, value, bound)]
    if lines:
        yield f"# HELP {name} {meaning}"
        yield f"# TYPE {name} {kind}"
        yield from lines


def page(lines: Iterable[str]) -> str:
    """Put lines together to what a scrape answers."""
    return "".join(f"{line}\n" for line in lines)


def _sample(name: str, labels: Labels, value: float | Histogram, bound: BoundText) -> Iterator[str]:
    if not isinstance(value, Histogram):
        yield _line(name, labels, value)
        return
    bounds = [*(bound(each) for each in value.bounds), "+Inf"]
    # Most lines of a page are buckets: what they share is written once.
    before = "".join(f"{_label(key, labels[key])}," for key in sorted(labels) if key < "le")
    after = "".join(f",{_label(key, labels[key])}" for key in sorted(labels) if key > "le")
    for upper, count in zip(bounds, accumulate(value.counts), strict=True):
        yield f'{name}_bucket{{{before}le="{upper}"{after}}} {float(count)!r}'
    yield _line(f"{name}_count", labels, sum(value.counts))
    yield _line(f"{name}_sum", labels, value.sum)


def _line(name: str, labels: Labels, value: float) -> str:
    if not labels:
        return f"{name} {float(value)!r}"
    text = ",".join(_label(key, labels[key]) for key in sorted(labels))
    return f"{name}{{{text}}} {float(value)!r}"


@lru_cache(maxsize=10_000)
def _label(key: str, value: str) -> str:
    return f'{key}="{value.translate(_ESCAPES)}"'
