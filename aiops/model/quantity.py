"""Durations and shares as people write them."""

import re
from datetime import timedelta
from math import isfinite

_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
DURATION_PATTERN = r"^(\d+(\.\d+)?(ms|s|m|h|d|w))+$"
PERCENT_PATTERN = r"^\d+(\.\d+)?%$"


def parse_duration(text: object) -> timedelta:
    """Read a duration such as ``2s``, ``50ms`` or ``1h30m``.

    Raises ValueError with the value and an example where the text is anything else; a bare number has no unit and is
    refused.

    >>> parse_duration("1m30s")
    datetime.timedelta(seconds=90)
    """
    if isinstance(text, timedelta):
        return text
    if not isinstance(text, str) or not re.match(DURATION_PATTERN, text.strip()):
        raise ValueError(f"{text!r} is not a duration; write it with its unit, such as 500ms, 2s, 5m or 1h30m")
    try:
        return timedelta(seconds=sum(float(n) * _UNIT_SECONDS[unit] for n, unit in _PART.findall(text)))
    except OverflowError:
        raise ValueError(f"{text!r} is longer than any duration that can be used") from None


def format_duration(value: timedelta) -> str:
    """Write a duration the way :func:`parse_duration` reads it, the largest units first.

    >>> format_duration(timedelta(seconds=90))
    '1m30s'
    >>> format_duration(timedelta(milliseconds=2500))
    '2.5s'
    """
    milliseconds = round(value.total_seconds() * 1000)
    if milliseconds < 0:
        return "-" + format_duration(-value)
    parts = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000)):
        count, milliseconds = divmod(milliseconds, size)
        if count:
            parts.append(f"{count}{unit}")
    if milliseconds:
        parts.append(f"{milliseconds / 1000:g}s" if milliseconds >= 1000 else f"{milliseconds}ms")
    return "".join(parts) or "0s"


def parse_percent(text: object) -> float:
    """Read a share such as ``25%`` as 0.25.

    Raises ValueError with the value and an example where the text is anything else.

    >>> parse_percent("25%")
    0.25
    """
    if not isinstance(text, str) or not re.match(PERCENT_PATTERN, text.strip()):
        raise ValueError(f"{text!r} is not a share; write it with a percent sign, such as 25%")
    share = float(text.strip()[:-1]) / 100
    if not isfinite(share):
        raise ValueError(f"{text!r} is larger than any share that can be used")
    return share
