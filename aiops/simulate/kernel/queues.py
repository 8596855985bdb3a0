"""Queues of requests, linked through their records: two of each engine, and one of each pool at the gateway."""

from aiops.simulate.kernel.compiled import compiled
from aiops.simulate.kernel.layout import Record, Records


@compiled
def push_back(queue: Record, requests: Records, number: int) -> None:
    """Put a request at the end."""
    requests[number].next, requests[number].previous = -1, queue.tail
    if queue.tail >= 0:
        requests[queue.tail].next = number
    else:
        queue.head = number
    queue.tail = number
    queue.count += 1


@compiled
def push_front(queue: Record, requests: Records, number: int) -> None:
    """Put a request before all others."""
    requests[number].previous, requests[number].next = -1, queue.head
    if queue.head >= 0:
        requests[queue.head].previous = number
    else:
        queue.tail = number
    queue.head = number
    queue.count += 1


@compiled
def take_out(queue: Record, requests: Records, number: int) -> None:
    """Take a request out, wherever it stands."""
    before, after = requests[number].previous, requests[number].next
    if before >= 0:
        requests[before].next = after
    else:
        queue.head = after
    if after >= 0:
        requests[after].previous = before
    else:
        queue.tail = before
    queue.count -= 1
