"""A line of the requests in flight, in the order of their arrival, kept only where clients leave after a time."""

from aiops.simulate.kernel.compiled import compiled
from aiops.simulate.kernel.layout import NEVER, Fleet


@compiled
def join_line(fleet: Fleet, chosen: int) -> None:
    """Put a request at the end of the line."""
    world = fleet.world[0]
    if world.timeout == NEVER:
        return
    fleet.requests[chosen].earlier = world.deadline_tail
    if world.deadline_tail >= 0:
        fleet.requests[world.deadline_tail].later = chosen
    else:
        world.deadline_head = chosen
    world.deadline_tail = chosen


@compiled
def leave_line(fleet: Fleet, chosen: int) -> None:
    """Take a request out of the line."""
    world, request = fleet.world[0], fleet.requests[chosen]
    if world.timeout == NEVER:
        return
    if request.earlier >= 0:
        fleet.requests[request.earlier].later = request.later
    else:
        world.deadline_head = request.later
    if request.later >= 0:
        fleet.requests[request.later].earlier = request.earlier
    else:
        world.deadline_tail = request.earlier
    request.earlier, request.later = -1, -1


@compiled
def take_place(fleet: Fleet, chosen: int, other: int) -> None:
    """Put the second half of a pair where the first stood."""
    world, request, heir = fleet.world[0], fleet.requests[chosen], fleet.requests[other]
    if world.timeout == NEVER:
        return
    heir.earlier, heir.later = request.earlier, request.later
    if heir.earlier >= 0:
        fleet.requests[heir.earlier].later = other
    else:
        world.deadline_head = other
    if heir.later >= 0:
        fleet.requests[heir.later].earlier = other
    else:
        world.deadline_tail = other
    request.earlier, request.later = -1, -1
