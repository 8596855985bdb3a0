"""Known events as multipliers: what comes in one is brought back to an ordinary time, what is forecast into it raised.

Members and intervals thus learn demand without its events, and an event that comes for the first time is foreseen. A
value is divided rather than left out as a gap: in an event of days the level goes on being learned, and a multiplier
that proves wrong becomes a level with which the forecast within the event is right again.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from math import hypot
from statistics import NormalDist
from zoneinfo import ZoneInfo

from aiops.model.calendar import Day, Event
from aiops.model.forecast import Forecast

_DAYS = tuple(Day)
_NINE_IN_TEN = NormalDist().inv_cdf(0.95)


def ordinary(
    values: Sequence[float | None], ends_s: Sequence[float], bin_s: float, events: Sequence[Event]
) -> list[float | None]:
    """Divide the values of bins that ended at ``ends_s`` (Unix seconds, ascending) by the event that they fell into.

    A bin belongs to the event in which its middle lies; where several run, the largest multiplier counts. Gaps stay.
    """
    if not events:
        return list(values)
    found = _running(events, [end_s - bin_s / 2.0 for end_s in ends_s])
    return [value if value is None else value / _multiplier(event) for value, event in zip(values, found, strict=True)]


def foreseen(forecast: Forecast, events: Sequence[Event]) -> Event | None:
    """Find the event that a forecast is multiplied by: the largest multiplier at any time within its window.

    None where no event touches the window, and where part of it has no event and those there are would lower it.
    """
    begin_s = forecast.made_at.timestamp() + forecast.window.start_s
    end_s = begin_s + forecast.window.end_s - forecast.window.start_s
    edges = {edge for event in events for span in _spans(event, begin_s, end_s) for edge in span}
    times = [begin_s, *sorted(edge for edge in edges if begin_s < edge <= end_s)]
    return max(_running(events, times), key=_multiplier)


def with_events(forecast: Forecast, events: Sequence[Event]) -> Forecast:
    """Multiply a forecast by the event that its window touches, and widen it by what is not known of that event."""
    event = foreseen(forecast, events) if events else None
    middle = forecast.quantile(0.5)
    if event is None or middle is None:
        return forecast
    return replace(forecast, quantiles=_raised(forecast.quantiles, middle, event.multiplier, event.uncertainty))


def _raised(
    quantiles: tuple[tuple[float, float], ...], middle: float, multiplier: float, uncertainty: float
) -> tuple[tuple[float, float], ...]:
    """Multiply; then join both distances to the median as independent errors are: by the root of their squares."""
    middle *= multiplier
    values = []
    for level, value in quantiles:
        away = value * multiplier - middle
        score = NormalDist().inv_cdf(min(max(level, 1e-6), 1.0 - 1e-6)) / _NINE_IN_TEN
        unknown = middle * ((1.0 + uncertainty) ** score - 1.0)
        values.append(max(0.0, middle + hypot(away, unknown) * (1.0 if level >= 0.5 else -1.0)))
    return tuple(zip((level for level, _ in quantiles), accumulate(values, max), strict=True))


def _running(events: Sequence[Event], times_s: Sequence[float]) -> list[Event | None]:
    """Give the event with the largest multiplier that runs at each of some ascending times."""
    found: list[Event | None] = [None] * len(times_s)
    if not times_s:
        return found
    # The largest is laid down last, over the others.
    for event in sorted(events, key=_multiplier):
        for begin_s, end_s in _spans(event, times_s[0], times_s[-1]):
            first, last = bisect_left(times_s, begin_s), bisect_left(times_s, end_s)
            found[first:last] = [event] * (last - first)
    return found


def _spans(event: Event, begin_s: float, end_s: float) -> list[tuple[float, float]]:
    """Give the begin and end (Unix seconds) of each coming of an event that touches a span."""
    if event.start is not None and event.end is not None:
        spans = [(event.moment(event.start).timestamp(), event.moment(event.end).timestamp())]
    else:
        spans = _comings(event, begin_s, end_s)
    return [span for span in spans if span[0] <= end_s and span[1] > begin_s]


def _comings(event: Event, begin_s: float, end_s: float) -> list[tuple[float, float]]:
    if event.at is None or event.lasts is None:
        return []
    zone, lasts_s = ZoneInfo(event.time_zone), event.lasts.total_seconds()
    first = datetime.fromtimestamp(begin_s - lasts_s, UTC).astimezone(zone).date() - timedelta(days=1)
    days = int((end_s - begin_s + lasts_s) // 86_400) + 3
    spans = []
    for date in (first + timedelta(days=day) for day in range(days + 1)):
        if not event.days or _DAYS[date.weekday()] in event.days:
            start_s = datetime.combine(date, event.at, tzinfo=zone).timestamp()
            spans.append((start_s, start_s + lasts_s))
    return spans


def _multiplier(event: Event | None) -> float:
    return 1.0 if event is None else event.multiplier
