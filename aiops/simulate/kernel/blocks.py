"""An engine's KV blocks: free ones, held ones, and those that can be hit. Source: ``vllm/v1/core/block_pool.py``.

vLLM's queue of free blocks has those without a key in front (the last freed is the first taken) and those with a key
behind, in the order of their release. So the ones in front are a number here and the ones behind a ring, where a block
that is hit leaves a gap. Blocks that are nobody else's content can never be hit once their request has ended; a run of
them is one entry of the ring, taken from its end.
"""

import numpy as np

from aiops.simulate.kernel.ahead import ask_for
from aiops.simulate.kernel.compiled import compiled, inlined
from aiops.simulate.kernel.layout import Cache, Fleet, Ints, Record, Records

_GAP, _RUN = -1, -2  # entries of the ring that are no node: nothing, and blocks that nobody can hit
_AHEAD = 16  # how many blocks before its use memory is asked for


@inlined
def cache_of(fleet: Fleet, number: int) -> Cache:
    """Give an engine's part of what holds blocks."""
    return Cache(fleet.engines[number], fleet.nodes[number], fleet.table[number], fleet.ring[number], fleet.arena)


@compiled
def free_blocks(engine: Record) -> int:
    """Count the blocks that nobody holds, hittable ones included."""
    return engine.keyless + engine.keyed_free


@compiled
def _mask(ring: Records) -> int:
    """Give the mask that makes any number a place in an array."""
    return np.uint32(len(ring) - 1)  # type: ignore[return-value]  # unsigned, so that no place is checked for its sign


@compiled
def _home(arena: Ints, keys: int, block: int) -> int:
    """Give the place of a request's block in a hash table of 2**31 slots; a smaller one has it at the remainder.

    Eight blocks in a row are side by side, because they are asked for, added and removed together.
    """
    return ((arena[keys + (block & ~7)] << 3) | (block & 7)) & 0x7FFFFFFF


@compiled
def find(cache: Cache, keys: int, block: int) -> int:
    """Give the node registered first under the key of a request's block, or -1."""
    nodes, table, key = cache.nodes, cache.table, cache.arena[keys + block]
    home, mask = _home(cache.arena, keys, block), _mask(table)
    slot = home & mask
    while table[slot].node >= 0:
        if table[slot].home == home and nodes[table[slot].node].key == key:
            return table[slot].node
        slot = (slot + 1) & mask
    return -1


@compiled
def register(cache: Cache, request: Record, full: int) -> None:
    """Give the request's first ``full`` blocks their keys, as far as they have none."""
    engine, nodes, table, arena = cache.engine, cache.nodes, cache.table, cache.arena
    keys, count = request.keys, request.key_count
    for block in range(request.registered, min(full, count)):
        if block + _AHEAD < count:
            ask_for(table, _home(arena, keys, block + _AHEAD) & _mask(table))
        number = engine.spare_node
        node = nodes[number]
        engine.spare_node = node.next
        node.key, node.twin, node.held = arena[keys + block], -1, 1
        _insert(cache, _home(arena, keys, block), number)
        arena[keys + count + block] = number
    request.registered = max(request.registered, full)


@compiled
def look_up(cache: Cache, request: Record, block_tokens: int) -> tuple[int, int]:
    """Find the longest run of a request's keys from its start: how many blocks, and how many of them are free now.

    Takes nothing, but notes the blocks in the request's list, which holds none while it waits.
    """
    table, arena, keys = cache.table, cache.arena, request.keys
    most = min(request.key_count, (request.prompt + request.outputs - 1) // block_tokens)
    hits, unheld = 0, 0
    while hits < most:
        if hits + _AHEAD < most:
            ask_for(table, _home(arena, keys, hits + _AHEAD) & _mask(table))
        number = find(cache, keys, hits)
        if number < 0:
            break
        if cache.nodes[number].held == 0:
            unheld += 1
        arena[keys + request.key_count + hits] = number
        hits += 1
    return hits, unheld


@compiled
def take_hits(cache: Cache, request: Record, hits: int) -> None:
    """Hold the first ``hits`` blocks that the look-up noted."""
    for block in range(hits):
        node = cache.nodes[cache.arena[request.keys + request.key_count + block]]
        if node.held == 0:
            cache.ring[node.place].node = _GAP
            cache.engine.keyed_free -= 1
        node.held += 1
    request.held, request.registered = hits, hits


@compiled
def take_new(cache: Cache, count: int) -> None:
    """Take blocks for new content from the front of the queue; what they held can be hit no more."""
    engine, ring = cache.engine, cache.ring
    plain = min(count, engine.keyless)
    engine.keyless -= plain
    count -= plain
    engine.keyed_free -= count
    while count > 0:
        entry = ring[engine.oldest & _mask(ring)]
        if entry.node == _RUN and entry.home > count:
            entry.home -= count
            return
        engine.oldest += 1
        if entry.node == _RUN:
            count -= entry.home
        elif entry.node >= 0:
            coming = ring[(engine.oldest + _AHEAD) & _mask(ring)]
            ask_for(cache.table, coming.home & _mask(cache.table))
            ask_for(cache.nodes, max(coming.node, 0))
            _forget(cache, entry.home, entry.node)
            count -= 1


@compiled
def release(cache: Cache, request: Record) -> None:
    """Free a request's blocks from the last to the first: those without a key to the front, the others to the end."""
    engine, nodes, arena = cache.engine, cache.nodes, cache.arena
    keys, count = request.keys, request.key_count
    engine.keyless += request.held - request.registered
    if engine.newest + request.registered + 1 - engine.oldest > len(cache.ring):
        _close_gaps(cache)
    if request.registered > count:
        _append(cache, request.registered - count, _RUN)
        engine.keyed_free += request.registered - count
    for block in range(min(request.registered, count) - 1, -1, -1):
        number = arena[keys + count + block]
        ask_for(nodes, arena[keys + count + max(block - _AHEAD, 0)])
        nodes[number].held -= 1
        if nodes[number].held == 0:
            nodes[number].place = _append(cache, _home(arena, keys, block), number)
            engine.keyed_free += 1
    request.held, request.registered = 0, 0


@compiled
def flush(cache: Cache) -> None:
    """Forget all that can be hit and is free, as a restart or a reset of the prefix cache does."""
    free = free_blocks(cache.engine)
    take_new(cache, free)
    cache.engine.keyless = free


@compiled
def _append(cache: Cache, home: int, number: int) -> int:
    engine, ring = cache.engine, cache.ring
    place = engine.newest & _mask(ring)
    ring[place].home, ring[place].node = home, number
    engine.newest += 1
    return place


@compiled
def _close_gaps(cache: Cache) -> None:
    """Move the ring's entries up, so that it has room at its end."""
    engine, nodes, ring = cache.engine, cache.nodes, cache.ring
    end, engine.newest = engine.newest, engine.oldest
    for i in range(engine.oldest, end):
        home, number = ring[i & _mask(ring)].home, ring[i & _mask(ring)].node
        if number != _GAP:
            place = _append(cache, home, number)
            if number != _RUN:
                nodes[number].place = place


@compiled
def _insert(cache: Cache, home: int, number: int) -> None:
    nodes, table, mask = cache.nodes, cache.table, _mask(cache.table)
    slot = home & mask
    while table[slot].node >= 0:
        last = table[slot].node
        if table[slot].home == home and nodes[last].key == nodes[number].key:
            while nodes[last].twin >= 0:  # equal blocks are kept, and found in the order of their registration
                last = nodes[last].twin
            nodes[last].twin = number
            return
        slot = (slot + 1) & mask
    table[slot].home, table[slot].node = home, number


@inlined
def _forget(cache: Cache, home: int, number: int) -> None:
    """Take a node out of the hash table, and away."""
    nodes, table, mask = cache.nodes, cache.table, _mask(cache.table)
    node, slot = nodes[number], home & mask
    while table[slot].node != number and (table[slot].home != home or nodes[table[slot].node].key != node.key):
        slot = (slot + 1) & mask
    before = table[slot].node
    if before != number:
        while nodes[before].twin != number:
            before = nodes[before].twin
        nodes[before].twin = node.twin
    elif node.twin >= 0:
        table[slot].node = node.twin
    else:
        _close_gap(table, slot, mask)
    node.next = cache.engine.spare_node
    cache.engine.spare_node = number


@compiled
def _close_gap(table: Records, gap: int, mask: int) -> None:
    """Empty a slot; move later entries up, so that no search ends before them (Knuth, volume 3, 6.4, algorithm R)."""
    slot = gap
    while True:
        slot = (slot + 1) & mask
        if table[slot].node < 0:
            break
        if ((slot - table[slot].home) & mask) >= ((slot - gap) & mask):
            table[gap].home, table[gap].node = table[slot].home, table[slot].node
            gap = slot
    table[gap].node = -1
