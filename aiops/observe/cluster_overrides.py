"""What people say to aiops on a target itself: annotations that pause it or hold it at a number."""

from collections.abc import Mapping
from datetime import datetime

from aiops.model.cluster import Override

PAUSED = "aiops.tokenfactory.dev/paused"
"""``true``, or the RFC 3339 time until which nothing is written; ``false`` is as if it were not there."""
HOLD_AT = "aiops.tokenfactory.dev/hold-at"
"""The replicas to hold, alone or with the RFC 3339 time until which: ``4@2026-03-01T18:00:00Z``."""
_EXAMPLE_TIME = "2026-03-01T18:00:00Z"


def read_override(annotations: Mapping[str, str], at: datetime) -> tuple[Override | None, str]:
    """Read the override that holds at a time, and what is wrong with the annotations (empty where nothing is).

    A pause comes before a hold: of two words, the one that writes nothing.
    """
    problems: list[str] = []
    found: list[Override] = []
    for name, read in ((PAUSED, _paused), (HOLD_AT, _held)):
        if name not in annotations:
            continue
        try:
            override = read(annotations[name].strip())
        except ValueError as error:
            problems.append(f"annotation {name}: {annotations[name]!r} {error}")
            continue
        if override is not None and (override.until is None or override.until > at):
            found.append(override)
    return (found[0] if found else None), "; ".join(problems)


def _paused(text: str) -> Override | None:
    if text.lower() in ("true", "false"):
        return Override(None, None) if text.lower() == "true" else None
    return Override(None, _time(text, f"is neither true nor a time; write true, or {_EXAMPLE_TIME}"))


def _held(text: str) -> Override:
    wrong = f"is no number of replicas; write 4, or 4@{_EXAMPLE_TIME}"
    number, with_time, until = text.partition("@")
    if not (number.isascii() and number.isdecimal()):
        raise ValueError(wrong)
    return Override(
        int(number), _time(until, f"names no time after the @; write 4@{_EXAMPLE_TIME}") if with_time else None
    )


def _time(text: str, wrong: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(wrong) from error
    if moment.tzinfo is None:
        raise ValueError(f"names no time zone; write {_EXAMPLE_TIME}")
    return moment
