"""Which engine gets a request. What a router sees is the present state of the pool's ready engines."""

from aiops.simulate.kernel.blocks import cache_of, find, free_blocks
from aiops.simulate.kernel.compiled import compiled
from aiops.simulate.kernel.keys import mix
from aiops.simulate.kernel.layout import RANDOM, ROUND_ROBIN, SCORED, Cache, Fleet, Record
from aiops.simulate.kernel.stepping import pass_before

_SHARE = 2.0**-63


@compiled
def takes_more(fleet: Fleet, pool: int, number: int) -> bool:
    """Whether flow control lets an engine have another request, those in the tokenizer counted as waiting."""
    return fleet.queues[2 * number].count + fleet.engines[number].coming < fleet.pools[pool].hold_waiting


@compiled
def pick(fleet: Fleet, number: int, request: Record, now: int) -> int:
    """Choose an engine of a pool, or -1 where none takes a request now. Ties go round."""
    pool = fleet.pools[number]
    count, ready = pool.ready, fleet.ready[number]
    if count == 0:
        return -1
    draw = mix(pool.seed, request.number)
    if pool.stuck_engine >= 0 and draw * _SHARE < pool.stuck_share and fleet.engines[pool.stuck_engine].ready:
        return pool.stuck_engine
    pool.turn = (pool.turn + 1) % count
    first = draw % count if pool.router == RANDOM else pool.turn
    if pool.router == SCORED:
        return _best_score(fleet, number, request, now)
    best, least = -1, 0
    for i in range(count):
        chosen = ready[(first + i) % count]
        if not takes_more(fleet, number, chosen):
            continue
        if pool.router in (RANDOM, ROUND_ROBIN):
            return chosen
        load = fleet.engines[chosen].load
        if best < 0 or load < least:
            best, least = chosen, load
    return best


@compiled
def _best_score(fleet: Fleet, number: int, request: Record, now: int) -> int:
    """Choose by the weighted sum of prefix match, short queue and free KV, each 0 to 1, as llm-d's picker does."""
    pool, ready = fleet.pools[number], fleet.ready[number]
    longest, shortest = 0, fleet.queues[2 * ready[0]].count
    for i in range(pool.ready):
        waiting = fleet.queues[2 * ready[i]].count
        longest, shortest = max(longest, waiting), min(shortest, waiting)
    best, highest = -1, -1.0
    for i in range(pool.ready):
        chosen = ready[(pool.turn + i) % pool.ready]
        if not takes_more(fleet, number, chosen):
            continue
        pass_before(fleet, chosen, now)  # so that its blocks are those of this moment
        waiting = fleet.queues[2 * chosen].count
        score = pool.weight_kv * free_blocks(fleet.engines[chosen]) / pool.usable_blocks
        score += pool.weight_queue * ((longest - waiting) / (longest - shortest) if longest > shortest else 1.0)
        if request.key_count > 0 and pool.weight_prefix > 0:
            matched = _matched(cache_of(fleet, chosen), request)
            score += pool.weight_prefix * matched * pool.block_tokens / request.prompt
        if score > highest:
            best, highest = chosen, score
    return best


@compiled
def _matched(cache: Cache, request: Record) -> int:
    """Count the request's leading blocks that an engine holds, by halving: a beginning without its end is usual, an
    end without its beginning is not."""
    low, high = 0, request.key_count + 1
    while high - low > 1:
        middle = (low + high) >> 1
        if find(cache, request.keys, middle - 1) >= 0:
            low = middle
        else:
            high = middle
    return low
