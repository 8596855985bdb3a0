"""Numbers, times and rules as people read them."""

from datetime import UTC, datetime, timedelta

MISSING = "–"


def number(value: float | None) -> str:
    """Write a number in three significant figures, thousands and millions with their letter.

    >>> number(41234.0), number(3.0), number(0.0423), number(None)
    ('41.2k', '3', '0.0423', '–')
    """
    if value is None:
        return MISSING
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size * 0.9995:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def quantity(value: float | None, unit: str) -> str:
    """Write a number with its unit; shares as per cent, seconds as people say them.

    >>> quantity(0.93, "ratio"), quantity(0.042, "s"), quantity(41234, "tok/s"), quantity(90, "s")
    ('93 %', '42 ms', '41.2k tok/s', '1 min 30 s')
    """
    if value is None:
        return MISSING
    if unit == "ratio":
        return f"{value * 100:.3g} %"
    if unit == "s":
        return seconds(value)
    return f"{number(value)} {unit}".rstrip()


def seconds(value: float) -> str:
    """Write a duration with at most two units.

    >>> seconds(1.234), seconds(7260)
    ('1.23 s', '2 h 1 min')
    """
    if abs(value) < 0.9995:
        return f"{value * 1000:.3g} ms"
    if value < 59.95:
        return f"{value:.3g} s"
    whole = round(value)
    if whole < 3600:
        return _two(whole, 60, "min", "s")
    if whole < 86400:
        return _two(whole // 60, 60, "h", "min")
    return _two(whole // 3600, 24, "d", "h")


def _two(small: int, size: int, big_unit: str, small_unit: str) -> str:
    big, rest = divmod(small, size)
    return f"{big} {big_unit} {rest} {small_unit}" if rest else f"{big} {big_unit}"


def ago(then: datetime, now: datetime) -> str:
    """Say how long ago something was."""
    passed = (now - then).total_seconds()
    return "just now" if passed < 1 else f"{seconds(passed)} ago"


def clock(time: datetime, now: datetime | None = None) -> str:
    """Write a time in UTC, with its day where that is not the day of ``now``."""
    time = time.astimezone(UTC)
    day = "" if now is None or time.date() == now.astimezone(UTC).date() else f"{time:%b} {time.day} "
    return f"{day}{time:%H:%M:%S}"


def span_text(span: timedelta) -> str:
    """Name a span of time in one letter.

    >>> span_text(timedelta(hours=6)), span_text(timedelta(days=7))
    ('6h', '7d')
    """
    hours = int(span.total_seconds()) // 3600
    return f"{hours // 24}d" if hours > 24 and hours % 24 == 0 else f"{hours}h"
