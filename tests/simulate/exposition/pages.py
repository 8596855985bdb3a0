"""Reads what expositions say, by regular expressions of its own."""

import re
from collections.abc import Iterator

from aiops.simulate.exposition.targets import Targets

_SAMPLE = re.compile(r"^([a-zA-Z0-9_:]+)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

Series = tuple[str, frozenset[tuple[str, str]]]


def samples(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    for line in text.splitlines():
        if not line.startswith("#"):
            found = _SAMPLE.match(line)
            assert found, line
            yield found[1], dict(_LABEL.findall(found[2] or "")), float(found[3])


def types(text: str, prefix: str = "") -> dict[str, str]:
    found = re.findall(rf"^# TYPE ({prefix}\S+) (\S+)$", text, re.MULTILINE)
    assert len(dict(found)) == len(found), "a family stands twice"
    return dict(found)


def of(text: str, name: str, **labels: str) -> float:
    return sum(value for found, its, value in samples(text) if found == name and labels.items() <= its.items())


def labels_of(text: str, name: str, **labels: str) -> list[dict[str, str]]:
    return [its for found, its, _ in samples(text) if found == name and labels.items() <= its.items()]


def pages(targets: Targets) -> dict[str, str]:
    """What each target answers, by its name; those that do not answer are left out."""
    return {each.name: each.read() for each in targets.all() if each.read is not None}


def counted(text: str) -> dict[Series, float]:
    """Everything that may only grow: counters, and the buckets, sums and counts of histograms."""
    kinds = types(text)
    grown = {name for name, kind in kinds.items() if kind == "counter"}
    for name in (name for name, kind in kinds.items() if kind == "histogram"):
        grown |= {f"{name}_bucket", f"{name}_count", f"{name}_sum"}
    return {(name, frozenset(labels.items())): value for name, labels, value in samples(text) if name in grown}
