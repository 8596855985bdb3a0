"""When what happens next: a heap over all engines' times, and one of requests in the tokenizer.

Each engine has two entries that are always in the heap, NEVER if nothing is due: the next report of a transfer, and
its next look (the end of a batch, or a wake). At equal times reports come first, then looks, each by engine.
"""

from aiops.simulate.kernel.compiled import compiled
from aiops.simulate.kernel.layout import HEAP, PLACE, TIMES, Ints, Records


@compiled
def set_time(events: Ints, item: int, time: int) -> None:
    """Set when an entry is due."""
    before = events[TIMES, item]
    events[TIMES, item] = time
    if time < before:
        _rise(events, item)
    elif time > before:
        _sink(events, item)


@compiled
def _rise(events: Ints, item: int) -> None:
    times, heap, places = events[TIMES], events[HEAP], events[PLACE]
    time, place = times[item], places[item]
    while place > 0:
        above = (place - 1) >> 1
        other = heap[above]
        if times[other] < time or (times[other] == time and other < item):
            break
        heap[place] = other
        places[other] = place
        place = above
    heap[place] = item
    places[item] = place


@compiled
def _sink(events: Ints, item: int) -> None:
    times, heap, places = events[TIMES], events[HEAP], events[PLACE]
    time, place, count = times[item], places[item], len(heap)
    while True:
        below = 2 * place + 1
        if below >= count:
            break
        first = heap[below]
        if below + 1 < count:
            second = heap[below + 1]
            if times[second] < times[first] or (times[second] == times[first] and second < first):
                below, first = below + 1, second
        if time < times[first] or (time == times[first] and item < first):
            break
        heap[place] = first
        places[first] = place
        place = below
    heap[place] = item
    places[item] = place


@compiled
def push_delivery(heap: Records, count: int, time: int, order: int, request: int) -> None:
    """Add a request that leaves the tokenizer at a time; ``count`` are there already."""
    place = count
    while place > 0:
        above = (place - 1) >> 1
        other = heap[above]
        if other.time < time or (other.time == time and other.order < order):
            break
        heap[place].time, heap[place].order, heap[place].request = other.time, other.order, other.request
        place = above
    heap[place].time, heap[place].order, heap[place].request = time, order, request


@compiled
def pop_delivery(heap: Records, count: int) -> int:
    """Take the first of ``count`` requests out."""
    taken = heap[0].request
    last = heap[count - 1]
    time, order, request = last.time, last.order, last.request
    count -= 1
    place = 0
    while True:
        below = 2 * place + 1
        if below >= count:
            break
        if below + 1 < count and (
            heap[below + 1].time < heap[below].time
            or (heap[below + 1].time == heap[below].time and heap[below + 1].order < heap[below].order)
        ):
            below += 1
        under = heap[below]
        if time < under.time or (time == under.time and order < under.order):
            break
        heap[place].time, heap[place].order, heap[place].request = under.time, under.order, under.request
        place = below
    heap[place].time, heap[place].order, heap[place].request = time, order, request
    return taken
