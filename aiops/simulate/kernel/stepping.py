"""An engine in time: what a batch takes, what comes out of it, and how many further ones are like it.

While nobody joins, leaves or lacks a block, each batch is the one before with one token more a request, and takes as
much longer as the one before did. Such batches are not looked at one by one: the engine skips that many looks at once.
"""

from aiops.simulate.kernel.blocks import cache_of, free_blocks, register, release, take_new
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
def duration(engine: Record, pool: Record, laws: Ints, count: int) -> tuple[int, int, int]:
    """Give what the batch made last takes, by how much the next one like it would take longer, and for how many that
    holds.

    The two last only for a batch of decodes alone; else 0. The formula is ``StepLaw``'s.
    """
    decodes, contexts = engine.singles, engine.contexts
    time, growth, left = laws[pool.host_at + count], 0, 0
    if decodes < count:
        at_zero = laws[pool.decode_at + decodes * pool.pieces] if decodes > 0 else 0
        time += max(laws[pool.chunk_at + engine.tokens], at_zero) - at_zero
        time += int(pool.pair * engine.pairs / 2)
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
        # The part that grows is slowed by itself, so that it still grows by the same amount each step.
        alike = growth * contexts if decodes == count else 0
        time = ((time - alike) * engine.slow >> 10) + (growth * engine.slow >> 10) * (
            contexts if decodes == count else 0
        )
        growth = growth * engine.slow >> 10
    return max(1, time), growth * decodes if decodes == count else 0, left


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
    batch, codes = fleet.places[number, BATCH_REQUESTS + row], fleet.places[number, BATCH_TOKENS + row]
    ended, tokens, itl_bucket, itl = 0, 0, 0, -1
    for i in range(count):
        request = requests[batch[i]]
        request.flying -= 1
        if request.state >= HOLDING:
            if request.state == ENDED and request.flying == 0:
                _let_land(fleet, number, batch[i])
            continue
        if not codes[i] & 1:
            continue
        if request.dropped > 0:
            request.dropped -= 1
            continue
        request.outputs += 1
        # vLLM's count of a step's tokens: a prompt's computed ones all with its first token.
        tokens += 1 + (request.prompt - request.cached if request.first_token < 0 and request.remote == 0 else 0)
        if pool.role != PREFILL:
            itl_bucket, itl = give_token(fleet, number, request, now, itl_bucket, itl)
        if pool.asynchronous and request.state == RUNNING:
            _know_token(fleet, number, request)
        if request.outputs >= request.limit:
            batch[ended] = batch[i]
            ended += 1
    engine.steps += 1
    fleet.counts[number, bucket(fleet.bounds, STEP_AT, tokens)] += 1
    if ended > 0:
        _end_all(fleet, number, batch, ended, now)
    return ended


@compiled
def _let_land(fleet: Fleet, number: int, chosen: int) -> None:
    """Forget a request that ended while a batch held it; some keep their blocks until then."""
    release(cache_of(fleet, number), fleet.requests[chosen])
    free_request(fleet, chosen)


@compiled
def _end_all(fleet: Fleet, number: int, batch: Ints, ended: int, now: int) -> None:
    """End the requests in a batch's first places."""
    for i in range(ended):
        if fleet.requests[batch[i]].state == WAITING:
            take_out(fleet.queues[2 * number], fleet.requests, batch[i])
        _end(fleet, number, batch[i], now)
    close_ranks(fleet, number)


@compiled
def _know_token(fleet: Fleet, number: int, request: Record) -> None:
    """Let a token that was scheduled before it was known count as known: its block may be full now."""
    engine = fleet.engines[number]
    pool = fleet.pools[engine.pool]
    request.placeholders -= 1
    sure = request.computed - request.placeholders
    if pool.caching and sure >= (request.registered + 1) * pool.block_tokens:
        full = sure // pool.block_tokens
        register(cache_of(fleet, number), request, full)


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
        release(cache_of(fleet, number), request)


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
    engine = fleet.engines[number]
    pool = fleet.pools[engine.pool]
    # With async scheduling the last token is scheduled a look before it comes out.
    most = min(left, engine.nearest - 1 - pool.asynchronous)
    if most <= 0:
        return 0
    size, free = pool.block_tokens, free_blocks(engine)
    if engine.running * (most // size + 1) <= free or _blocks_for(fleet, number, most, size) <= free:
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
    cache = cache_of(fleet, number)
    for i in range(engine.running):
        request = fleet.requests[fleet.places[number, RUNNING_LIST, i]]
        itl_bucket, itl = give_token(fleet, number, request, first, itl_bucket, itl)
        request.last_token = last
        request.outputs += looks
        request.computed += looks
        more = -(-request.computed // size) - request.held
        request.held += more
        blocks += more
    take_new(cache, blocks)
    if pool.caching:
        for i in range(engine.running):
            request = fleet.requests[fleet.places[number, RUNNING_LIST, i]]
            full = min(request.computed, request.prompt + request.outputs) // size
            if full > request.registered:
                register(cache, request, full)
    _count_passed(fleet, number, looks, last - first)
    engine.end, engine.follows = look_time(engine, looks), engine.follows + looks * engine.growth
    engine.skip -= looks
    engine.contexts += looks * engine.running
    engine.nearest -= looks
    leave(fleet, number)
    show(fleet, number)


@compiled
def leave(fleet: Fleet, number: int) -> None:
    """Remember how long the queues are that a schedule leaves."""
    engine = fleet.engines[number]
    engine.left_waiting, engine.left_fetching = fleet.queues[2 * number].count, fleet.queues[2 * number + 1].count


@compiled
def show(fleet: Fleet, number: int) -> None:
    """Let the gauges show the present state, but the queues as the last schedule left them: who came since, came in
    the middle of a step.
    """
    engine = fleet.engines[number]
    engine.shown_running, engine.shown_waiting = engine.running, engine.left_waiting
    engine.shown_fetching = engine.left_fetching
    engine.shown_used = fleet.pools[engine.pool].usable_blocks - free_blocks(engine)


@compiled
def _count_passed(fleet: Fleet, number: int, looks: int, span: int) -> None:
    engine, counts, bounds = fleet.engines[number], fleet.counts, fleet.bounds
    size = engine.running
    engine.steps += looks
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
