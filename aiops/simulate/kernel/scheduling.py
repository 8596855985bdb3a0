"""What an engine does in its next step. Source: ``vllm/v1/core/sched/scheduler.py`` (0.32), first come first served.

Each step tries to bring every request's computed tokens up to its known ones: running requests in list order, the last
admitted preempted where blocks lack; then, if nobody was preempted, those that wait, up to the first that cannot go.
"""

from aiops.simulate.kernel.agenda import set_time
from aiops.simulate.kernel.blocks import cache_of, free_blocks, look_up, register, release, take_hits, take_new
from aiops.simulate.kernel.compiled import compiled
from aiops.simulate.kernel.keys import name_all
from aiops.simulate.kernel.layout import (
    BATCH_REQUESTS,
    BATCH_TOKENS,
    DECODE,
    FETCHED,
    FETCHING,
    NEVER,
    PREFILL,
    RUNNING,
    RUNNING_LIST,
    TIMES,
    WAITING,
    Fleet,
    Record,
)
from aiops.simulate.kernel.queues import push_back, push_front, take_out


@compiled
def schedule(fleet: Fleet, number: int, now: int, row: int) -> tuple[int, bool]:
    """Fill one of an engine's two batches: how many requests it holds, and whether anybody joined or left.

    Takes blocks, admits, preempts, starts fetches; what was scheduled counts as computed at once. What the batch is
    made of is noted in the engine.
    """
    engine = fleet.engines[number]
    pool = fleet.pools[engine.pool]
    among = engine.running + fleet.queues[2 * number].count + fleet.queues[2 * number + 1].count
    cap = NEVER
    if pool.long_prefill > 0 and among > 1:
        cap = pool.long_prefill
        if pool.long_prefill_adaptive:
            cap = max(cap, pool.max_batched // among)
    engine.tokens, engine.singles, engine.yielding = 0, 0, 0
    engine.contexts, engine.pairs, engine.nearest = 0, 0, NEVER
    count, budget, preempted = _run_on(fleet, number, row, cap)
    admitted = 0
    if preempted == 0 and among > engine.running:
        while budget > 0 and engine.running < pool.max_seqs:
            tokens = _admit_next(fleet, number, now, row, count, min(cap, budget))
            if tokens < 0:
                break
            if tokens > 0:
                count += 1
                budget -= tokens
            admitted += 1
    if pool.role == DECODE and engine.tokens > engine.singles:
        for i in range(count):
            fleet.requests[fleet.places[number, BATCH_REQUESTS + row, i]].fresh = 0
    return count, admitted + preempted > 0


@compiled
def _run_on(fleet: Fleet, number: int, row: int, cap: int) -> tuple[int, int, int]:
    """Schedule who is running: the requests in the batch, the budget left, and how many were preempted."""
    engine, requests = fleet.engines[number], fleet.requests
    pool = fleet.pools[engine.pool]
    running = fleet.places[number, RUNNING_LIST]
    batch, codes = fleet.places[number, BATCH_REQUESTS + row], fleet.places[number, BATCH_TOKENS + row]
    size, longest, foreseen = pool.block_tokens, pool.max_model_len - 1, pool.foreseen
    budget, count, preempted, i = pool.max_batched, 0, 0, 0
    plain, contexts, nearest = 0, 0, NEVER
    while i < engine.running and budget > 0:
        request = requests[running[i]]
        i += 1
        known = request.prompt + request.outputs
        ahead = request.placeholders
        if foreseen and ahead > 0 and request.computed + 2 - ahead >= request.prompt + request.limit:
            continue  # its last token is under way
        left = known + ahead - request.computed
        if left == 1 and request.computed < longest and not _fills_block(request, known, size, pool.caching):
            # As nearly always, a decode that needs no block.
            request.computed += 1
            request.placeholders += pool.asynchronous
            request.flying += 1
            contexts += request.computed
            nearest = min(nearest, request.limit - request.outputs)
            batch[count], codes[count] = running[i - 1], 3
            count, budget, plain = count + 1, budget - 1, plain + 1
            continue
        tokens = min(left, cap, budget, longest - request.computed)
        if tokens <= 0:
            continue
        needed = -(-(request.computed + tokens) // size) - request.held
        while needed > free_blocks(engine) and engine.running >= i:
            victim = running[engine.running - 1]
            if pool.role == DECODE and pool.asynchronous and requests[victim].flying > 0:
                break  # its blocks may still be written; it goes one step later
            _preempt(fleet, number, victim)
            preempted += 1
        if needed > free_blocks(engine) or engine.running < i:
            break  # it waits for that victim, or was its own
        _put_in_batch(fleet, number, row, count, running[i - 1], tokens, needed)
        count += 1
        budget -= tokens
    engine.tokens, engine.singles, engine.yielding = (
        engine.tokens + plain,
        engine.singles + plain,
        engine.yielding + plain,
    )
    engine.contexts, engine.nearest = engine.contexts + contexts, min(engine.nearest, nearest)
    return count, budget, preempted


@compiled
def _fills_block(request: Record, known: int, size: int, caching: int) -> bool:
    """Whether a further token needs a new block, or fills one that then gets its key."""
    if request.computed >= request.held * size:
        return True
    return caching != 0 and min(request.computed + 1, known) >= (request.registered + 1) * size


@compiled
def _put_in_batch(fleet: Fleet, number: int, row: int, place: int, chosen: int, tokens: int, blocks: int) -> None:
    engine, request = fleet.engines[number], fleet.requests[chosen]
    pool = fleet.pools[engine.pool]
    if blocks > 0:
        take_new(cache_of(fleet, number), blocks)
        request.held += blocks
    request.computed += tokens
    known = request.prompt + request.outputs
    if pool.caching:
        full = min(request.computed, known) // pool.block_tokens
        if full > request.registered:
            register(cache_of(fleet, number), request, full)
    yields = 1 if request.computed >= known + request.placeholders else 0
    if yields and pool.asynchronous:
        request.placeholders += 1
    request.flying += 1
    fleet.places[number, BATCH_REQUESTS + row, place] = chosen
    fleet.places[number, BATCH_TOKENS + row, place] = 2 * tokens + yields
    engine.tokens += tokens
    engine.nearest = min(engine.nearest, request.limit - request.outputs)
    if tokens == 1:
        engine.singles += 1
        engine.yielding += yields
        engine.contexts += request.computed
    else:
        engine.pairs += tokens * (2 * (request.computed - tokens) + tokens)
        request.fresh = tokens


@compiled
def _preempt(fleet: Fleet, number: int, victim: int) -> None:
    """Send the last of the running list back to the front of those that wait; it computes everything again."""
    engine, request = fleet.engines[number], fleet.requests[victim]
    pool = fleet.pools[engine.pool]
    cache = cache_of(fleet, number)
    if pool.caching and (request.prompt + request.limit) // pool.block_tokens > request.key_count:
        named, full = request.key_count, request.registered
        name_all(fleet, request, pool.block_tokens)
        request.registered = min(named, full)
        register(cache, request, full)
    release(cache, request)
    if pool.role == PREFILL:
        request.dropped += request.placeholders  # a producer computes the token in flight again
    request.computed, request.placeholders = 0, 0
    request.preemptions += 1
    request.wants_fetch = 0
    request.state = WAITING
    engine.running -= 1
    engine.preemptions += 1
    push_front(fleet.queues[2 * number], fleet.requests, victim)


@compiled
def _admit_next(fleet: Fleet, number: int, now: int, row: int, place: int, most: int) -> int:
    """Look at the head of those that wait: the tokens it got, 0 if its fetch was started, -1 if nobody can go."""
    requests = fleet.requests
    chosen = fleet.queues[2 * number + 1].head
    while chosen >= 0 and requests[chosen].state != FETCHED:
        chosen = requests[chosen].next
    if chosen >= 0:
        return _admit_fetched(fleet, number, now, row, place, chosen)
    chosen = fleet.queues[2 * number].head
    if chosen < 0:
        return -1
    engine, request = fleet.engines[number], requests[chosen]
    pool = fleet.pools[engine.pool]
    size, known = pool.block_tokens, request.prompt + request.outputs
    hits, unheld = 0, 0
    if pool.caching:
        hits, unheld = look_up(cache_of(fleet, number), request, size)
    kept = pool.watermark_blocks if engine.running > 0 else 0
    room = free_blocks(engine) + hits - unheld - kept
    if request.wants_fetch:
        if -(-request.prompt // size) > room - _promised(fleet, number):
            return -1
        _start_fetch(fleet, number, now, chosen, hits)
        return 0
    tokens = min(known - hits * size, most)
    if pool.reserve_full and -(-min(known, pool.max_model_len) // size) > room:
        return -1
    whole = -(-(hits * size + tokens) // size)
    if whole > room:
        return -1
    take_out(fleet.queues[2 * number], requests, chosen)
    if hits > 0:
        take_hits(cache_of(fleet, number), request, hits)
    request.computed = hits * size
    _count_look_up(engine, request, known, hits * size)
    _join(fleet, number, now, chosen)
    _put_in_batch(fleet, number, row, place, chosen, tokens, whole - hits)
    return tokens


@compiled
def _admit_fetched(fleet: Fleet, number: int, now: int, row: int, place: int, chosen: int) -> int:
    """Let a request whose KV has arrived run: its last prompt token is computed here."""
    engine, request = fleet.engines[number], fleet.requests[chosen]
    pool = fleet.pools[engine.pool]
    if pool.caching:
        full = request.prompt // pool.block_tokens
        register(cache_of(fleet, number), request, full)
    kept = pool.watermark_blocks if engine.running > 0 else 0
    if kept > free_blocks(engine):
        return -1
    take_out(fleet.queues[2 * number + 1], fleet.requests, chosen)
    request.computed = request.prompt - 1
    request.wants_fetch = 0
    engine.pulled += request.remote
    _join(fleet, number, now, chosen)
    _put_in_batch(fleet, number, row, place, chosen, 1, 0)
    return 1


@compiled
def _join(fleet: Fleet, number: int, now: int, chosen: int) -> None:
    engine, request = fleet.engines[number], fleet.requests[chosen]
    fleet.places[number, RUNNING_LIST, engine.running] = chosen
    engine.running += 1
    request.state = RUNNING
    if request.scheduled < 0:
        request.scheduled = now


@compiled
def _start_fetch(fleet: Fleet, number: int, now: int, chosen: int, hits: int) -> None:
    """Take the blocks of a whole prompt and let its KV come; it takes no seat and no budget until it is there."""
    engine, request, world = fleet.engines[number], fleet.requests[chosen], fleet.world[0]
    size = fleet.pools[engine.pool].block_tokens
    take_out(fleet.queues[2 * number], fleet.requests, chosen)
    if hits > 0:
        take_hits(cache_of(fleet, number), request, hits)
    blocks = -(-request.prompt // size) - hits
    take_new(cache_of(fleet, number), blocks)
    request.held += blocks
    request.remote = request.prompt - hits * size
    request.computed = request.prompt
    request.state = FETCHING
    _count_look_up(engine, request, request.prompt, hits * size)
    engine.remote_queries += request.remote
    begin = max(now, engine.link_free)
    engine.link_free = begin + request.remote * world.transfer_per_token
    request.done_at = engine.link_free + world.transfer_latency
    if fleet.events[TIMES, number] == NEVER:
        set_time(fleet.events, number, request.done_at)
    engine.transfers += 1
    engine.transfer_wait += request.done_at - now
    push_back(fleet.queues[2 * number + 1], fleet.requests, chosen)


@compiled
def _count_look_up(engine: Record, request: Record, known: int, hit: int) -> None:
    if request.preemptions > 0:
        engine.resumed_queries += known
        engine.resumed_hits += hit
        return
    engine.queries += known
    engine.hits += hit
    request.cached = hit


@compiled
def _promised(fleet: Fleet, number: int) -> int:
    """Count the blocks that prompts computed only in part will still need."""
    engine, blocks = fleet.engines[number], 0
    size = fleet.pools[engine.pool].block_tokens
    for i in range(engine.running):
        request = fleet.requests[fleet.places[number, RUNNING_LIST, i]]
        if request.computed - request.fresh < request.prompt:
            blocks += max(0, -(-(request.prompt + request.outputs) // size) - request.held)
    return blocks
