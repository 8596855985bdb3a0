"""What happens to a fleet, in the order of time: arrivals, transfers' reports, looks of engines, clients that leave."""

from aiops.simulate.kernel.agenda import pop_delivery, push_delivery, set_time
from aiops.simulate.kernel.blocks import cache_of, release
from aiops.simulate.kernel.compiled import compiled, entry
from aiops.simulate.kernel.interventions import let_go, time_out_first, wake
from aiops.simulate.kernel.keys import name_prompt
from aiops.simulate.kernel.layout import (
    BATCH_REQUESTS,
    COMPLETED,
    DECODE,
    DELIVERED,
    FETCHED,
    FETCHING,
    FOR_EVER,
    HEAP,
    HOLDING,
    MORE_ARRIVALS,
    MORE_ROOM,
    NEVER,
    PREFILL,
    PREFILLED,
    QUEUED,
    REACHED,
    REFUSED,
    RESERVED,
    TIMES,
    WAITING,
    Arrivals,
    Fleet,
    Record,
)
from aiops.simulate.kernel.line import join_line, leave_line, take_place
from aiops.simulate.kernel.outcomes import free_request, take_request, tell
from aiops.simulate.kernel.queues import push_back, take_out
from aiops.simulate.kernel.routing import pick, takes_more
from aiops.simulate.kernel.scheduling import schedule
from aiops.simulate.kernel.stepping import duration, leave, look_time, pass_looks, show, skippable, update


@entry
def advance(fleet: Fleet, arrivals: Arrivals, until: int) -> int:
    """Let everything happen that happens up to a time; REACHED, or what is needed before it can go on.

    Up to ``FOR_EVER`` the time is then that of the last that happened. ``arrivals.cursor`` [2] is the time up to which
    arrivals are known, once the batch is used up.
    """
    world, times, heap = fleet.world[0], fleet.events[TIMES], fleet.events[HEAP]
    engines, cursor, count = len(fleet.engines), arrivals.cursor, len(arrivals.arrival)
    while True:
        if _lacks_room(fleet):
            return MORE_ROOM
        due = times[heap[0]]
        if world.deliveries > 0:
            due = min(due, fleet.deliveries[0].time)
        if world.deadline_head >= 0:
            due = min(due, fleet.requests[world.deadline_head].arrival + world.timeout)
        arrival = arrivals.arrival[cursor[0]] if cursor[0] < count else cursor[2]
        if arrival <= due and arrival <= until:
            if cursor[0] == count:
                return MORE_ARRIVALS
            world.now = arrival
            _arrive(fleet, arrivals, cursor[0])
            cursor[0] += 1
            continue
        if due > until:
            if until < FOR_EVER:
                world.now = until
            return REACHED
        world.now = due
        if world.deadline_head >= 0 and fleet.requests[world.deadline_head].arrival + world.timeout == due:
            time_out_first(fleet, due)
        elif world.deliveries > 0 and fleet.deliveries[0].time == due:
            chosen = pop_delivery(fleet.deliveries, world.deliveries)
            world.deliveries -= 1
            deliver(fleet, chosen, due)
        elif heap[0] < engines:
            _report(fleet, heap[0], due)
        else:
            look(fleet, heap[0] - engines, due)


@compiled
def _lacks_room(fleet: Fleet) -> bool:
    world = fleet.world[0]
    return (
        world.free_requests < 2
        or world.done + fleet.places.shape[2] + 4 > len(fleet.outcomes)
        or world.arena_top + world.arena_margin > len(fleet.arena)
        or world.deliveries == len(fleet.deliveries)
    )


@compiled
def _arrive(fleet: Fleet, arrivals: Arrivals, i: int) -> None:
    world, now = fleet.world[0], arrivals.arrival[i]
    world.now = now
    chosen = take_request(fleet)
    request, pool = fleet.requests[chosen], fleet.pools[world.entry]
    request.number, request.arrival = arrivals.cursor[1] + i, now
    request.prompt, request.output = arrivals.prompt[i], arrivals.output[i]
    request.own_id, request.own_public = arrivals.own_id[i], arrivals.own_public[i]
    if request.own_public:
        world.sessions = 1
    request.limit = 1 if pool.role == PREFILL else request.output
    queued = fleet.queues[2 * len(fleet.engines) + world.entry].count
    full = queued >= pool.max_queued and would_wait(fleet, world.entry)
    if full or not _can_be_served(fleet, request):
        tell(fleet, request, REFUSED, -1)
        free_request(fleet, chosen)
        return
    if pool.caching:
        name_prompt(fleet, arrivals, i, request, pool.block_tokens)
    if world.decode >= 0:
        other = take_request(fleet)
        partner, decode = fleet.requests[other], fleet.pools[world.decode]
        partner.number, partner.arrival, partner.prompt = request.number, now, request.prompt
        partner.output, partner.limit = request.output, request.output
        partner.own_id, partner.own_public, partner.wants_fetch = request.own_id, request.own_public, 1
        partner.state = RESERVED
        if decode.caching:
            name_prompt(fleet, arrivals, i, partner, decode.block_tokens)
        request.partner = other
    world.in_flight += 1
    join_line(fleet, chosen)
    _enter(fleet, world.entry, chosen, now)


@compiled
def _can_be_served(fleet: Fleet, request: Record) -> bool:
    """Whether a request fits into the engines that it will meet; the last token is never stored."""
    for number in range(len(fleet.pools)):
        pool = fleet.pools[number]
        output = 1 if pool.role == PREFILL else request.output
        if request.prompt + output > pool.max_model_len:
            return False
        if -(-(request.prompt + output - 1) // pool.block_tokens) > pool.usable_blocks:
            return False
    return True


@compiled
def _enter(fleet: Fleet, pool: int, chosen: int, now: int) -> None:
    """Let a request come to a pool, behind those that wait at its gateway."""
    queue = fleet.queues[2 * len(fleet.engines) + pool]
    if queue.count == 0:
        route(fleet, pool, chosen, now)
        return
    fleet.requests[chosen].state = QUEUED
    push_back(queue, fleet.requests, chosen)
    call_gateway(fleet, pool, now)


@compiled
def route(fleet: Fleet, pool: int, chosen: int, now: int) -> None:
    """Send a request to an engine of a pool, or let it wait at the gateway."""
    world, request = fleet.world[0], fleet.requests[chosen]
    number = pick(fleet, pool, request, now)
    if number < 0:
        request.state = QUEUED
        push_back(fleet.queues[2 * len(fleet.engines) + pool], fleet.requests, chosen)
        return
    engine = fleet.engines[number]
    request.engine = number
    engine.load += request.prompt if fleet.pools[pool].role == PREFILL else 1
    delay = world.http_fixed + world.http_per_token * request.prompt
    if delay == 0 or fleet.pools[pool].role == DECODE:
        deliver(fleet, chosen, now)
        return
    request.state = DELIVERED
    engine.coming += 1
    push_delivery(fleet.deliveries, world.deliveries, now + delay, request.number, chosen)
    world.deliveries += 1


@compiled
def deliver(fleet: Fleet, chosen: int, now: int) -> None:
    """Put a request into its engine's queue."""
    request = fleet.requests[chosen]
    if request.status >= 0:  # its client has left meanwhile
        free_request(fleet, chosen)
        return
    if request.state == DELIVERED:
        fleet.engines[request.engine].coming -= 1
    request.state, request.queued = WAITING, now
    queue = fleet.queues[2 * request.engine]
    push_back(queue, fleet.requests, chosen)
    # Behind others that are blocked it changes nothing, unless their number caps what each may have.
    if queue.count == 1 or fleet.pools[fleet.engines[request.engine].pool].long_prefill > 0:
        wake(fleet, request.engine, now)


@compiled
def look(fleet: Fleet, number: int, now: int) -> None:
    """Take what ended, let engines elsewhere know, and start what follows."""
    engine = fleet.engines[number]
    pool = fleet.pools[engine.pool]
    if engine.skip > 0:
        pass_looks(fleet, number, engine.skip)
    if engine.flying > 0:
        ended = update(fleet, number, engine.row, engine.count0, now)
        row, engine.row = engine.row, 1 - engine.row
        engine.count0, engine.even0 = engine.count1, engine.even1
        engine.flying -= 1
        if engine.flying > 0:
            engine.end = now + engine.follows
        if ended > 0:
            _conclude(fleet, number, row, ended, now)
    if engine.releasing >= 0:
        _release_pulled(fleet, number)
    show(fleet, number)
    steady = _start_async(fleet, number, now) if pool.asynchronous else _start(fleet, number, now)
    leave(fleet, number)
    if engine.flying == 0:
        engine.busy += now - engine.awake if engine.awake >= 0 else 0
        engine.awake = -1
        set_time(fleet.events, len(fleet.engines) + number, NEVER)
    else:
        if engine.awake < 0:
            engine.awake = now
        engine.skip = skippable(fleet, number, steady) if steady > 0 else 0
        set_time(fleet.events, len(fleet.engines) + number, look_time(engine, engine.skip))
    if fleet.queues[2 * len(fleet.engines) + engine.pool].count > 0:
        call_gateway(fleet, engine.pool, now)  # fewer may wait here now


@compiled
def _start(fleet: Fleet, number: int, now: int) -> int:
    """Start the next batch; give how many more like it may follow unlooked at, as far as time is concerned."""
    engine = fleet.engines[number]
    engine.count0, changed = schedule(fleet, number, now, engine.row)
    while engine.count0 == 0 and changed:  # a lone request gave its blocks away, so there is room now
        engine.count0, changed = schedule(fleet, number, now, engine.row)
    if engine.count0 == 0:
        return 0
    time, engine.growth, left = duration(engine, fleet.pools[engine.pool], fleet.laws, engine.count0)
    engine.flying, engine.end, engine.follows = 1, now + time, time + engine.growth
    engine.even0 = _even(engine, engine.count0)
    return left if not changed and _steady(fleet, number) else 0


@compiled
def _start_async(fleet: Fleet, number: int, now: int) -> int:
    """The same with a batch in advance: its outputs are not known when the next one is made."""
    engine, left = fleet.engines[number], 0
    changed = True
    while engine.flying < 2:
        row = engine.row if engine.flying == 0 else 1 - engine.row
        count, changed = schedule(fleet, number, now, row)
        while count == 0 and changed and engine.flying == 0:
            count, changed = schedule(fleet, number, now, row)
        if count == 0:
            return 0
        time, engine.growth, left = duration(engine, fleet.pools[engine.pool], fleet.laws, count)
        if engine.flying == 0:
            engine.end, engine.count0, engine.even0 = now + time, count, _even(engine, count)
        else:
            engine.follows, engine.count1, engine.even1 = time, count, _even(engine, count)
        engine.flying += 1
    return left if not changed and engine.even1 and _steady(fleet, number) else 0


@compiled
def _even(engine: Record, count: int) -> bool:
    """Whether the batch made last holds all who run, each with one token that comes out."""
    return count == engine.running and engine.yielding == count


@compiled
def _steady(fleet: Fleet, number: int) -> bool:
    """Whether the executing batch is still one of all who run, and would be so again."""
    engine = fleet.engines[number]
    if fleet.world[0].sessions and fleet.queues[2 * number].count > 0:
        return False  # what runs may turn into a hit for the one that waits
    return engine.even0 and engine.count0 == engine.running


@compiled
def _conclude(fleet: Fleet, number: int, row: int, ended: int, now: int) -> None:
    world, engine = fleet.world[0], fleet.engines[number]
    for i in range(ended):
        chosen = fleet.places[number, BATCH_REQUESTS + row, i]
        request = fleet.requests[chosen]
        if request.state == HOLDING:
            engine.load -= request.prompt
            engine.holding += 1
            _hand_over(fleet, chosen, now)
            continue
        engine.load -= 1
        tell(fleet, request, COMPLETED, now)
        leave_line(fleet, chosen)
        world.in_flight -= 1
        if request.flying == 0:
            free_request(fleet, chosen)
    if engine.load == 0 and engine.holding == 0:
        engine.idle_since = now
    call_gateway(fleet, engine.pool, now)


@compiled
def call_gateway(fleet: Fleet, pool: int, now: int) -> None:
    """Send those on who wait at the gateway, as far as engines take them."""
    queue = fleet.queues[2 * len(fleet.engines) + pool]
    left = queue.count
    while left > 0:
        chosen = queue.head
        if would_wait(fleet, pool):
            return
        take_out(queue, fleet.requests, chosen)
        route(fleet, pool, chosen, now)
        left -= 1


@compiled
def would_wait(fleet: Fleet, number: int) -> bool:
    """Whether no engine of a pool takes a request now."""
    for i in range(fleet.pools[number].ready):  # noqa: SIM110  a generator does not compile
        if takes_more(fleet, number, fleet.ready[number, i]):
            return False
    return True


@compiled
def _hand_over(fleet: Fleet, chosen: int, now: int) -> None:
    """Send a request whose prompt is computed to a decode engine; its blocks stay until they have been pulled."""
    request = fleet.requests[chosen]
    tell(fleet, request, PREFILLED, now)
    partner = fleet.requests[request.partner]
    partner.partner = chosen
    partner.entry_engine, partner.entry_scheduled = fleet.engines[request.engine].incarnation, request.scheduled
    partner.entry_cached = request.cached
    take_place(fleet, chosen, request.partner)
    _enter(fleet, fleet.world[0].decode, request.partner, now)


@compiled
def _report(fleet: Fleet, number: int, now: int) -> None:
    """Tell a decode engine that a prompt's KV has come, and the prefill engine that it may forget it."""
    requests = fleet.requests
    chosen = fleet.queues[2 * number + 1].head
    following = NEVER
    while chosen >= 0:
        after = requests[chosen].next
        if requests[chosen].state == FETCHING:
            if requests[chosen].done_at > now:
                following = requests[chosen].done_at
                break
            _arrive_whole(fleet, number, chosen, now)
        chosen = after
    set_time(fleet.events, number, following)
    wake(fleet, number, now)


@compiled
def _arrive_whole(fleet: Fleet, number: int, chosen: int, now: int) -> None:
    request = fleet.requests[chosen]
    if request.partner >= 0:
        let_go(fleet, request.partner, now)
        request.partner = -1
    request.state = FETCHED
    if request.status >= 0:  # its client has left meanwhile
        take_out(fleet.queues[2 * number + 1], fleet.requests, chosen)
        release(cache_of(fleet, number), request)
        free_request(fleet, chosen)


@compiled
def _release_pulled(fleet: Fleet, number: int) -> None:
    engine, chosen = fleet.engines[number], fleet.engines[number].releasing
    while chosen >= 0:
        request = fleet.requests[chosen]
        following = request.next
        release(cache_of(fleet, number), request)
        engine.holding -= 1
        free_request(fleet, chosen)
        chosen = following
    engine.releasing = -1
    if engine.load == 0 and engine.holding == 0:
        engine.idle_since = fleet.world[0].now
