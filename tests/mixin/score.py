"""What alerts are worth: in a week whose troubles are labelled, which were told of, how soon, and what was false."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import median
from typing import Any

import yaml

from aiops.model.quantity import parse_duration
from aiops.simulate.exposition.pods import slug
from tests.mixin.recording import STARTS
from tests.mixin.rules import Episode
from tests.mixin.troubles import CHAT, HERE, RAG, Trouble

_GRACE_S = 600.0
"""Who tells of a trouble this long after its end tells of it still."""
_SUBJECTS = {CHAT: "chat", RAG: "rag"}
_SUBJECT_LABELS = ("pool", "pod", "replica", "node", "exported_pod", "instance", "inference_pool")


@dataclass(frozen=True, slots=True)
class Expected:
    """The alerts that tell of a kind of trouble, and those that may come with it."""

    tells: frozenset[str]
    may: frozenset[str]


@dataclass(frozen=True, slots=True)
class Judged:
    """``told``: the first episode that tells of a trouble, None where none does; ``false``: what nothing explains."""

    told: tuple[tuple[Trouble, Episode | None], ...]
    false: tuple[Episode, ...]
    episodes: tuple[Episode, ...]

    @property
    def recall_ratio(self) -> float:
        return sum(one is not None for _, one in self.told) / len(self.told)

    @property
    def precision_ratio(self) -> float:
        return 1 - len(self.false) / len(self.episodes)


@cache
def expected() -> Mapping[str, Expected]:
    """What each kind of trouble should make fire, from expected.yaml."""
    table = yaml.safe_load((HERE / "expected.yaml").read_text())
    harm = {"harm": table["harm"]}

    def read(entry: Mapping[str, Sequence[str]]) -> Expected:
        also = {name for one in entry.get("also", ()) for name in harm.get(one, [one])}
        tells = frozenset(entry["any"])
        return Expected(tells, tells | also)

    return {kind: read(entry) for kind, entry in table["kinds"].items()}


@cache
def _follows_s() -> Mapping[str, float]:
    table = yaml.safe_load((HERE / "expected.yaml").read_text())["follows"]
    return {alert: parse_duration(span).total_seconds() for alert, span in table.items()}


def subject(episode: Episode) -> str | None:
    """The model that an alert is about; None where it is about none."""
    labels = episode.named
    for model, name in _SUBJECTS.items():
        if labels.get("model_name", "").startswith(model):
            return model
        told = [labels.get(label, "").removeprefix("llm/").removeprefix("dcgm-exporter-") for label in _SUBJECT_LABELS]
        if any(f"{one}-".startswith((f"{name}-", f"{slug(model)}-")) for one in told):
            return model
    return None


def judge(troubles: Iterable[Trouble], episodes: Iterable[Episode]) -> Judged:
    """Hold the episodes of all alerts against the labels; ``Watchdog`` and the like (severity none) do not count."""
    counted = tuple(one for one in sorted(episodes, key=lambda one: one.begin_s) if one.named["severity"] != "none")
    listed = tuple(one for one in troubles if not one.benign)
    told = tuple((trouble, next((one for one in counted if _tells(one, trouble)), None)) for trouble in listed)
    false = tuple(one for one in counted if not any(_explains(trouble, one) for trouble in listed))
    return Judged(told, false, counted)


def _tells(episode: Episode, trouble: Trouble) -> bool:
    named = episode.alert in expected()[trouble.kind].tells and _about(episode, trouble)
    return named and trouble.begin_s <= _since_start(episode.begin_s) <= trouble.end_s + _GRACE_S


def _explains(trouble: Trouble, episode: Episode) -> bool:
    if episode.alert not in expected()[trouble.kind].may or not _about(episode, trouble):
        return False
    return trouble.begin_s <= _since_start(episode.begin_s) <= trouble.end_s + _follows_s().get(episode.alert, 3600.0)


def _about(episode: Episode, trouble: Trouble) -> bool:
    return trouble.model is None or subject(episode) in (None, trouble.model)


def _since_start(unix_s: float) -> float:
    return unix_s - STARTS.timestamp()


def summary(judged: Judged) -> dict[str, Any]:
    """Figures for people: recall, precision, and by kind how often and how soon it was told."""
    kinds: dict[str, list[tuple[Trouble, Episode | None]]] = defaultdict(list)
    for trouble, episode in judged.told:
        kinds[trouble.kind].append((trouble, episode))
    return {
        "troubles": len(judged.told),
        "recall_ratio": round(judged.recall_ratio, 3) if judged.told else None,
        "episodes": len(judged.episodes),
        "precision_ratio": round(judged.precision_ratio, 3) if judged.episodes else None,
        "pages": sum(one.named.get("severity") == "critical" for one in judged.episodes),
        "kinds": {kind: _of_kind(told) for kind, told in sorted(kinds.items())},
        "false": [_shown(one) for one in judged.false],
    }


def _of_kind(told: list[tuple[Trouble, Episode | None]]) -> dict[str, Any]:
    found = [(trouble, episode) for trouble, episode in told if episode is not None]
    minutes = [(_since_start(episode.begin_s) - trouble.begin_s) / 60 for trouble, episode in found]
    return {
        "troubles": len(told),
        "told": len(found),
        "minutes_to_fire": {"median": round(median(minutes), 1), "most": round(max(minutes), 1)} if minutes else None,
        "by": dict(Counter(episode.alert for _, episode in found)),
        "missed": [f"{one.model or 'aiops'} at {one.begin_s / 3600:.1f} h" for one, episode in told if episode is None],
    }


def _shown(one: Episode) -> dict[str, Any]:
    labels = {name: value for name, value in one.labels if name not in ("cluster", "team", "namespace")}
    begin_s = _since_start(one.begin_s)
    return {"alert": one.alert, **labels, "at_h": round(begin_s / 3600, 2), "for_min": (one.end_s - one.begin_s) / 60}
