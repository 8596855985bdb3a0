"""The records of requests: taken when one arrives, told and given back when it has ended."""

from aiops.simulate.kernel.compiled import compiled
from aiops.simulate.kernel.keys import forget_names
from aiops.simulate.kernel.layout import FREE, QUEUED, Fleet, Record


@compiled
def take_request(fleet: Fleet) -> int:
    """Take a free record; the caller has made sure that there is one."""
    world = fleet.world[0]
    number = world.free_request
    request = fleet.requests[number]
    world.free_request = request.next
    world.free_requests -= 1
    request.state, request.engine, request.partner = QUEUED, -1, -1
    request.keys, request.key_count, request.held, request.registered = -1, 0, 0, 0
    request.computed, request.outputs, request.placeholders, request.fresh = 0, 0, 0, 0
    request.flying, request.dropped, request.wants_fetch, request.remote = 0, 0, 0, 0
    request.next, request.previous, request.later, request.earlier = -1, -1, -1, -1
    request.queued, request.scheduled, request.first_token, request.last_token = -1, -1, -1, -1
    request.done_at, request.cached, request.preemptions, request.status = -1, 0, 0, -1
    request.entry_engine, request.entry_scheduled, request.entry_cached = -1, -1, 0
    return number


@compiled
def free_request(fleet: Fleet, number: int) -> None:
    """Give a record back."""
    world, request = fleet.world[0], fleet.requests[number]
    forget_names(fleet, request)
    request.state = FREE
    request.next = world.free_request
    world.free_request = number
    world.free_requests += 1


@compiled
def tell(fleet: Fleet, request: Record, kind: int, finish: int) -> None:
    """Write down what came of a request; the caller has made sure that there is room."""
    world = fleet.world[0]
    outcome = fleet.outcomes[world.done]
    world.done += 1
    outcome.number, outcome.kind = request.number, kind
    outcome.arrival, outcome.prompt, outcome.output = request.arrival, request.prompt, request.output
    outcome.queued, outcome.joined, outcome.finish = request.queued, request.scheduled, finish
    outcome.first_token, outcome.preemptions = request.first_token, request.preemptions
    served = fleet.engines[request.engine].incarnation if request.engine >= 0 else -1
    if request.entry_engine >= 0:  # the second half of a pair
        outcome.engine, outcome.decode_engine = request.entry_engine, served
        outcome.scheduled, outcome.cached = request.entry_scheduled, request.entry_cached
    else:
        outcome.engine, outcome.decode_engine = served, -1
        outcome.scheduled, outcome.cached = request.scheduled, request.cached
