"""Forecasters that other packages bring along, such as one that asks a foundation model."""

from functools import lru_cache
from importlib.metadata import entry_points

from aiops.forecast import MEMBERS
from aiops.model.forecaster import Forecaster

GROUP = "aiops.forecasters"
"""The entry points: each names a :class:`Forecaster`, or something that makes one when called without arguments."""
_PARTS = ("learn", "moved", "path")


class ForecasterError(ValueError):
    """An installed forecaster that cannot be used; the message names it and the way out."""


@lru_cache(maxsize=1)
def installed_forecasters() -> tuple[Forecaster, ...]:
    """Load what is installed, once, in the order of names. Raises ForecasterError."""
    found: list[Forecaster] = []
    taken = {member.name for member in MEMBERS} | {"prior"}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            loaded = entry.load()
            made = loaded() if callable(loaded) else loaded
            name, parts = str(made.name), [getattr(made, part, None) for part in _PARTS]
            sound = all(map(callable, parts)) and float(made.expected_error_ratio) > 0.0 and made.catches_up in (0, 1)
        except Exception as error:  # whatever somebody else's code raises
            raise ForecasterError(_told(entry.name, entry.value, f"{type(error).__name__}: {error}")) from error
        if not sound:
            raise ForecasterError(_told(entry.name, entry.value, "it is no Forecaster (aiops/model/forecaster.py)"))
        if name in taken:
            raise ForecasterError(_told(entry.name, entry.value, f"its name {name!r} is taken"))
        taken.add(name)
        found.append(made)
    return tuple(found)


def _told(name: str, value: str, why: str) -> str:
    return f"the installed forecaster {name} ({value}) cannot be used: {why}; mend or uninstall the package it is from"
