"""An engine in time: what a batch takes, what comes out of it, and how many further ones are like it.

While nobody joins, leaves or lacks a block, each batch is the one before with one token more a request, and takes as
much longer as the one before did. Such batches are not looked at one by one: the engine skips that many looks at once.
"""

from aiops.simulate.kernel.blocks import free_blocks, register, release, take_new
from aiops.simulate.kernel.compiled import compiled
from aiops.simulate.kernel.layout import (
    BATCH_REQUESTS,
    BATCH_TOKENS,
    COMPLETED,
    DECODE,
    ENDED,
    HOLDING,
    ITL_AT,
    NEVER,
    PREFILL,
    RUNNING,
    RUNNING_LIST,
    STEP_AT,
    TTFT_AT,
    WAITING,
    Fleet,
    Ints,
    Record,
)
from aiops.simulate.kernel.outcomes import free_request
from aiops.simulate.kernel.queues import take_out


@compiled
def duration(fleet: Fleet, number: int, row: int, count: int) -> tuple[int, int, int]:
    """Give what a batch takes, by how much the next one like it would take longer, and for how many that holds.

    The two last only for a batch of decodes alone; else 0. The formula is ``StepLaw``'s.
    """
    engine, requests, laws = fleet.engines[number], fleet.requests, fleet.laws
    pool = fleet.pools[engine.pool]
    decodes, contexts, tokens, pairs = 0, 0, 0, 0
    for i in range(count):
        request = requests[fleet.places[number, BATCH_REQUESTS + row, i]]
        scheduled = fleet.places[number, BATCH_TOKENS + row, i] >> 1
        tokens += scheduled
        if scheduled == 1:
            decodes += 1
            contexts += request.computed
        else:
            pairs += scheduled * (2 * (request.computed - scheduled) + scheduled)
    time, growth, left = laws[pool.host_at + count], 0, 0
    at_zero = laws[pool.decode_at + decodes * pool.pieces]
    if decodes < count:
        time += max(laws[pool.chunk_at + tokens], at_zero if decodes > 0 else 0) - (at_zero if decodes > 0 else 0)
        time += int(pool.pair * pairs / 2)
    if decodes > 0:
        piece = 0
        while piece < pool.pieces - 1 and contexts >= laws[pool.knots_at + piece] * decodes:
            piece += 1
        growth = laws[pool.context_at + decodes * pool.pieces + piece]
        time += laws[pool.decode_at + decodes * pool.pieces + piece] + growth * contexts
        if decodes == count:
            left = NEVER
            if piece < pool.pieces - 1:  # until the mean context reaches the next knot
                left = laws[pool.knots_at + piece] - 1 - contexts // decodes
    if engine.slow != 1024:
        return (
            max(1, _slowed(engine, pool, laws, time, growth, contexts, decodes == count)),
            ((growth * engine.slow >> 10) * decodes if decodes == count else 0),
            left,
        )
    return max(1, time), growth * decodes if decodes == count else 0, left


@compiled
def _slowed(engine: Record, pool: Record, laws: Ints, time: int, growth: int, contexts: int, alone: bool) -> int:
    # The part that grows is slowed by itself, so that it still grows by the same amount each step.
    if not alone:
        return time * engine.slow >> 10
    return ((time - growth * contexts) * engine.slow >> 10) + (growth * engine.slow >> 10) * contexts


@compiled
def bucket(bounds: Ints, start: int, value: int) -> int:
    """Give the histogram column that counts a value: the first bound not below it."""
    place = start
    while value > bounds[place]:
        place += 1
    return place


@compiled
def give_token(fleet: Fleet, number: int, request: Record, now: int, itl_bucket: int, itl: int) -> tuple[int, int]:
    """Count a token of a request at a time; the histogram column of the last interval is reused where it fits."""
    engine = fleet.engines[number]
    engine.generated += 1
    if request.first_token < 0:
        request.first_token = now
        engine.first_tokens += 1
        engine.ttft_sum += now - request.queued
        fleet.counts[number, bucket(fleet.bounds, TTFT_AT, now - request.queued)] += 1
        engine.computed += request.prompt - request.cached if request.remote == 0 else 0
        engine.cached += request.cached
    else:
        interval = now - request.last_token
        if interval != itl:
            itl, itl_bucket = interval, bucket(fleet.bounds, ITL_AT, interval)
        engine.itl_sum += interval
        fleet.counts[number, itl_bucket] += 1
    request.last_token = now
    return itl_bucket, itl


@compiled
def update(fleet: Fleet, number: int, row: int, count: int, now: int) -> int:
    """Take a batch as done: tokens come out, requests end. Give how many ended; the batch's first places name them."""
    engine, requests = fleet.engines[number], fleet.requests
    pool = fleet.pools[engine.pool]
    ended, left, tokens, itl_bucket, itl = 0, 0, 0, 0, -1
    _land(fleet, number, row, count)
    for i in range(count):
        chosen = fleet.places[number, BATCH_REQUESTS + row, i]
        code = fleet.places[number, BATCH_TOKENS + row, i]
        tokens += code >> 1
        if chosen < 0 or not code & 1:
            continue
        request = requests[chosen]
        if request.state in (ENDED, HOLDING):
            continue
        if request.dropped > 0:
            request.dropped -= 1
            continue
        request.outputs += 1
        if pool.role != PREFILL:
            itl_bucket, itl = give_token(fleet, number, request, now, itl_bucket, itl)
        if pool.asynchronous and request.state == RUNNING:
            _know_token(fleet, number, request)
        if request.outputs >= request.limit:
            if request.state == WAITING:
                take_out(fleet.queues[2 * number], requests, chosen)
            else:
                left += 1
            _end(fleet, number, chosen, now)
            fleet.places[number, BATCH_REQUESTS + row, ended] = chosen
            ended += 1
    engine.steps += 1
    engine.step_tokens += tokens
    fleet.counts[number, bucket(fleet.bounds, STEP_AT, tokens)] += 1
    if left:
        close_ranks(fleet, number)
    return ended


@compiled
def _land(fleet: Fleet, number: int, row: int, count: int) -> None:
    """Take a batch's requests out of the air; blocks of one that has ended were kept until now."""
    for i in range(count):
        chosen = fleet.places[number, BATCH_REQUESTS + row, i]
        request = fleet.requests[chosen]
        request.flying -= 1
        if request.state == ENDED and request.flying == 0:
            release(fleet.engines[number], fleet.nodes[number], fleet.arena, request)
            free_request(fleet, chosen)
            fleet.places[number, BATCH_REQUESTS + row, i] = -1


@compiled
def _know_token(fleet: Fleet, number: int, request: Record) -> None:
    """Let a token that was scheduled before it was known count as known: its block may be full now."""
    engine = fleet.engines[number]
    pool = fleet.pools[engine.pool]
    request.placeholders -= 1
    if pool.caching:
        full = (request.computed - request.placeholders) // pool.block_tokens
        if full > request.registered:
            register(engine, fleet.nodes[number], fleet.table[number], fleet.arena, request, full)


@compiled
def _end(fleet: Fleet, number: int, chosen: int, now: int) -> None:
    engine, request = fleet.engines[number], fleet.requests[chosen]
    pool = fleet.pools[engine.pool]
    request.done_at = now
    engine.finished += 1
    if pool.role == PREFILL:
        engine.ttft_sum += now - request.queued
        fleet.counts[number, bucket(fleet.bounds, TTFT_AT, now - request.queued)] += 1
        engine.computed += request.prompt - request.cached
        engine.cached += request.cached
        engine.generated += 1
        engine.first_tokens += 1
        request.first_token = now
        request.state = HOLDING
        return
    request.status = COMPLETED
    request.state = ENDED
    if not (pool.role == DECODE and pool.asynchronous and request.flying > 0):
        release(engine, fleet.nodes[number], fleet.arena, request)


@compiled
def close_ranks(fleet: Fleet, number: int) -> None:
    """Take those out of the running list that run no more."""
    engine, kept = fleet.engines[number], 0
    running = fleet.places[number, RUNNING_LIST]
    for i in range(engine.running):
        chosen = running[i]
        if fleet.requests[chosen].state == RUNNING:
            running[kept] = chosen
            kept += 1
    engine.running = kept


@compiled
def skippable(fleet: Fleet, number: int, left: int) -> int:
    """Say how many looks would find the same: a batch of all who run, a token each, and nobody ends."""
    engine, most = fleet.engines[number], left
    pool = fleet.pools[engine.pool]
    size = pool.block_tokens
    # What may be computed without an output known: one step ahead, with async scheduling two.
    ahead = 0 if not pool.asynchronous or not pool.foreseen else 1
    for i in range(engine.running):
        request = fleet.requests[fleet.places[number, RUNNING_LIST, i]]
        most = min(most, request.limit - request.outputs - 1 - ahead)
        if not pool.foreseen:
            most = min(most, pool.max_model_len - 1 - request.computed)
    if most <= 0:
        return 0
    free = free_blocks(engine)
    if _blocks_for(fleet, number, most, size) <= free:
        return most
    low, high = 0, most  # low fits, high does not
    while high - low > 1:
        middle = (low + high) >> 1
        if _blocks_for(fleet, number, middle, size) <= free:
            low = middle
        else:
            high = middle
    return low


@compiled
def _blocks_for(fleet: Fleet, number: int, steps: int, size: int) -> int:
    engine, blocks = fleet.engines[number], 0
    for i in range(engine.running):
        request = fleet.requests[fleet.places[number, RUNNING_LIST, i]]
        blocks += -(-(request.computed + steps) // size) - request.held
    return blocks


@compiled
def look_time(engine: Record, skip: int) -> int:
    """Give when an engine looks up, were it to skip that many looks: the end of the batch executing then."""
    return engine.end + skip * engine.follows + engine.growth * (skip * (skip - 1) // 2)


@compiled
def looks_before(engine: Record, time: int) -> int:
    """Give the fewest skips after which the engine's look is not before a time; at most those it may skip."""
    low, high = -1, engine.skip  # looks at low are before, at high not (or the last one)
    while high - low > 1:
        middle = (low + high) >> 1
        if look_time(engine, middle) < time:
            low = middle
        else:
            high = middle
    return high


@compiled
def pass_before(fleet: Fleet, number: int, time: int) -> None:
    """Take the skipped looks before a time as past."""
    engine = fleet.engines[number]
    if engine.skip > 0:
        looks = looks_before(engine, time)
        if looks > 0:
            pass_looks(fleet, number, looks)


@compiled
def pass_looks(fleet: Fleet, number: int, looks: int) -> None:
    """Take that many skipped looks as past: a token each for all who run, at the time of each look."""
    engine = fleet.engines[number]
    pool = fleet.pools[engine.pool]
    first, last, size = engine.end, look_time(engine, looks - 1), pool.block_tokens
    itl_bucket, itl, blocks = 0, -1, 0
    nodes, table = fleet.nodes[number], fleet.table[number]
    for i in range(engine.running):
        request = fleet.requests[fleet.places[number, RUNNING_LIST, i]]
        itl_bucket, itl = give_token(fleet, number, request, first, itl_bucket, itl)
        request.last_token = last
        request.outputs += looks
        request.computed += looks
        more = -(-request.computed // size) - request.held
        request.held += more
        blocks += more
    take_new(engine, nodes, table, blocks)
    if pool.caching:
        for i in range(engine.running):
            request = fleet.requests[fleet.places[number, RUNNING_LIST, i]]
            full = min(request.computed, request.prompt + request.outputs) // size
            if full > request.registered:
                register(engine, nodes, table, fleet.arena, request, full)
    _count_passed(fleet, number, looks, last - first)
    engine.end, engine.follows = look_time(engine, looks), engine.follows + looks * engine.growth
    engine.skip -= looks


@compiled
def _count_passed(fleet: Fleet, number: int, looks: int, span: int) -> None:
    engine, counts, bounds = fleet.engines[number], fleet.counts, fleet.bounds
    size = engine.running
    engine.steps += looks
    engine.step_tokens += looks * size
    counts[number, bucket(bounds, STEP_AT, size)] += looks
    engine.generated += (looks - 1) * size
    engine.itl_sum += span * size
    if looks < 2:
        return
    low = bucket(bounds, ITL_AT, engine.follows)
    if low == bucket(bounds, ITL_AT, engine.follows + (looks - 2) * engine.growth):
        counts[number, low] += (looks - 1) * size
        return
    for step in range(looks - 1):
        counts[number, bucket(bounds, ITL_AT, engine.follows + step * engine.growth)] += size
