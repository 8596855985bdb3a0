"""What comes from outside an engine while it runs: a look in the middle, clients that leave, replicas that die."""

from aiops.simulate.kernel.agenda import set_time
from aiops.simulate.kernel.blocks import cache_of, flush, release
from aiops.simulate.kernel.compiled import compiled
from aiops.simulate.kernel.layout import (
    BATCH_REQUESTS,
    DECODE,
    DELIVERED,
    ENDED,
    FAILED,
    FETCHED,
    FETCHING,
    FREE,
    HOLDING,
    NEVER,
    PREFILL,
    QUEUED,
    RUNNING,
    TIMED_OUT,
    TIMES,
    WAITING,
    Fleet,
)
from aiops.simulate.kernel.line import leave_line
from aiops.simulate.kernel.outcomes import free_request, tell
from aiops.simulate.kernel.queues import take_out
from aiops.simulate.kernel.stepping import close_ranks, duration, leave, look_time, looks_before, pass_before, show


@compiled
def settle(fleet: Fleet, number: int, now: int) -> None:
    """Take the looks that an engine skipped up to now as past, so that its records are those of this moment."""
    pass_before(fleet, number, now + 1)


@compiled
def settle_all(fleet: Fleet, now: int) -> None:
    """Settle all engines."""
    for number in range(len(fleet.engines)):
        settle(fleet, number, now)


@compiled
def look_next(fleet: Fleet, number: int, now: int) -> None:
    """Let an engine look at the end of its step under way, or now, because something about it has changed."""
    engine, item = fleet.engines[number], len(fleet.engines) + number
    if engine.flying == 0:
        set_time(fleet.events, item, now)
        return
    pass_before(fleet, number, now)
    engine.skip = 0
    set_time(fleet.events, item, look_time(engine, 0))


@compiled
def change_speed(fleet: Fleet, number: int, slow: int, now: int) -> None:
    """Let an engine's steps take longer or shorter from its next one on, the one scheduled in advance included."""
    engine = fleet.engines[number]
    settle(fleet, number, now)
    engine.slow = slow
    if engine.flying == 0:
        return
    look_next(fleet, number, now)
    if engine.flying == 2:
        engine.follows, engine.growth, _ = duration(engine, fleet.pools[engine.pool], fleet.laws, engine.count1)


@compiled
def drop(fleet: Fleet, chosen: int, kind: int, now: int) -> None:
    """End a request wherever it is, and tell of it; what a batch or a transfer still names goes back after that."""
    world, request = fleet.world[0], fleet.requests[chosen]
    number, state, second = request.engine, request.state, request.entry_engine >= 0
    leave_line(fleet, chosen)
    world.in_flight -= 1
    request.status = kind
    if state == QUEUED:
        pool = world.decode if second else world.entry
        take_out(fleet.queues[2 * len(fleet.engines) + pool], fleet.requests, chosen)
    else:
        _leave_engine(fleet, chosen, now)
    tell(fleet, request, kind, -1)
    if request.partner >= 0 and not second:
        free_request(fleet, request.partner)
    elif request.partner >= 0 and state != FETCHING:
        let_go(fleet, request.partner, now)
        request.partner = -1
    if state in (DELIVERED, FETCHING):
        return
    request.state = ENDED
    if state == RUNNING:
        close_ranks(fleet, number)
    if state != QUEUED:
        pool_of = fleet.pools[fleet.engines[number].pool]
        if not (pool_of.role == DECODE and pool_of.asynchronous and request.flying > 0):
            release(cache_of(fleet, number), request)
    if request.flying == 0:
        free_request(fleet, chosen)


@compiled
def _leave_engine(fleet: Fleet, chosen: int, now: int) -> None:
    request = fleet.requests[chosen]
    number, state = request.engine, request.state
    look_next(fleet, number, now)
    engine = fleet.engines[number]
    engine.load -= request.prompt if fleet.pools[engine.pool].role == PREFILL else 1
    if state == DELIVERED:
        engine.coming -= 1
    elif state == WAITING:
        take_out(fleet.queues[2 * number], fleet.requests, chosen)
    elif state == FETCHED:
        take_out(fleet.queues[2 * number + 1], fleet.requests, chosen)
    if engine.load == 0 and engine.holding == 0:
        engine.idle_since = now


@compiled
def time_out_first(fleet: Fleet, now: int) -> None:
    """End the request that has waited longest, because its client has left."""
    drop(fleet, fleet.world[0].deadline_head, TIMED_OUT, now)


@compiled
def let_go(fleet: Fleet, holder: int, now: int) -> None:
    """Let a prefill engine free a prompt's blocks at its next look."""
    requests, number = fleet.requests, fleet.requests[holder].engine
    last = fleet.engines[number].releasing
    requests[holder].next = -1
    if last < 0:
        fleet.engines[number].releasing = holder
    else:
        while requests[last].next >= 0:
            last = requests[last].next
        requests[last].next = holder
    wake(fleet, number, now)


@compiled
def wake(fleet: Fleet, number: int, now: int) -> None:
    """Let an engine look: now if it sleeps, else at the end of the step under way."""
    engine, item = fleet.engines[number], len(fleet.engines) + number
    if engine.flying == 0:
        if fleet.events[TIMES, item] > now:
            set_time(fleet.events, item, now)
    elif engine.skip > 0:
        skip = looks_before(engine, now)
        if skip < engine.skip:
            engine.skip = skip
            set_time(fleet.events, item, look_time(engine, skip))


@compiled
def fail_engine(fleet: Fleet, number: int, now: int) -> None:
    """Let an engine die: all requests in it fail, and decode engines compute what they were to pull from it."""
    engine, requests = fleet.engines[number], fleet.requests
    settle_all(fleet, now)  # others wake because of it, after all that has happened by now
    for row in range(2):
        count = engine.count0 if row == engine.row else engine.count1
        if engine.flying > (0 if row == engine.row else 1):
            for i in range(count):
                requests[fleet.places[number, BATCH_REQUESTS + row, i]].flying = 0
    engine.flying, engine.skip, engine.releasing = 0, 0, -1
    for chosen in range(len(requests)):
        request = requests[chosen]
        if request.state == FREE or request.engine != number:
            continue
        if request.state == HOLDING:
            _lose_prompt(fleet, chosen, now)
        elif request.state == ENDED:
            release(cache_of(fleet, number), request)
            free_request(fleet, chosen)
        elif request.state == FETCHING:
            if request.status < 0:
                drop(fleet, chosen, FAILED, now)
            if request.partner >= 0:
                let_go(fleet, request.partner, now)
            take_out(fleet.queues[2 * number + 1], requests, chosen)
            release(cache_of(fleet, number), request)
            free_request(fleet, chosen)
        elif request.status < 0:
            drop(fleet, chosen, FAILED, now)
    engine.load, engine.holding, engine.link_free, engine.idle_since = 0, 0, now, now
    if engine.awake >= 0:
        engine.busy += now - engine.awake
        engine.awake = -1
    set_time(fleet.events, number, NEVER)
    set_time(fleet.events, len(fleet.engines) + number, NEVER)
    flush(cache_of(fleet, number))
    leave(fleet, number)
    show(fleet, number)


@compiled
def _lose_prompt(fleet: Fleet, holder: int, now: int) -> None:
    """Forget a prompt that was to be pulled; who waits for it computes it again, who is pulling it has it already."""
    for chosen in range(len(fleet.requests)):
        request = fleet.requests[chosen]
        if request.state != FREE and request.entry_engine >= 0 and request.partner == holder:
            request.partner = -1
            if request.state in (QUEUED, WAITING):
                request.wants_fetch = 0
            if request.state == WAITING:
                wake(fleet, request.engine, now)  # it may find room now
    held = fleet.requests[holder]
    release(cache_of(fleet, held.engine), held)
    free_request(fleet, holder)
