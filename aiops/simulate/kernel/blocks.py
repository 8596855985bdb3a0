"""An engine's KV blocks: free ones, held ones, and those that can be hit. Source: ``vllm/v1/core/block_pool.py``.

vLLM's queue of free blocks has those without a key in front (the last freed is the first taken) and those with a key
behind, in the order of their release. So the ones in front are a number here and the ones behind a list. Blocks that
are nobody else's content can never be hit once their request has ended; a request's run of them is one node with a
count, taken from its end.
"""

from aiops.simulate.kernel.compiled import compiled
from aiops.simulate.kernel.layout import Ints, Record, Records


@compiled
def free_blocks(engine: Record) -> int:
    """Count the blocks that nobody holds, hittable ones included."""
    return engine.keyless + engine.keyed_free


@compiled
def home(arena: Ints, keys: int, block: int) -> int:
    """Give the place of a request's block in a hash table of 2**31 slots; a smaller one has it at the remainder.

    Eight blocks in a row are side by side, because they are asked for, added and removed together.
    """
    return ((arena[keys + (block & ~7)] << 3) | (block & 7)) & 0x7FFFFFFF


@compiled
def find(nodes: Records, table: Records, arena: Ints, keys: int, block: int) -> int:
    """Give the node registered first under the key of a request's block, or -1."""
    key, place, mask = arena[keys + block], home(arena, keys, block), len(table) - 1
    slot = place & mask
    while table[slot].node >= 0:
        if table[slot].home == place and nodes[table[slot].node].key == key:
            return table[slot].node
        slot = (slot + 1) & mask
    return -1


@compiled
def register(engine: Record, nodes: Records, table: Records, arena: Ints, request: Record, full: int) -> None:
    """Give the request's first ``full`` blocks their keys, as far as they have none."""
    for block in range(request.registered, min(full, request.key_count)):
        number = _take_node(engine, nodes)
        node = nodes[number]
        node.key, node.home = arena[request.keys + block], home(arena, request.keys, block)
        node.held, node.run = 1, 0
        _insert(nodes, table, number)
        arena[request.keys + request.key_count + block] = number
    request.registered = max(request.registered, full)


@compiled
def look_up(nodes: Records, table: Records, arena: Ints, request: Record, block_tokens: int) -> tuple[int, int]:
    """Find the longest run of a request's keys from its start: how many blocks, and how many of them are free now.

    Takes nothing, but notes the blocks in the request's list, which holds none while it waits.
    """
    most = min(request.key_count, (request.prompt + request.outputs - 1) // block_tokens)
    hits, unheld = 0, 0
    while hits < most:
        number = find(nodes, table, arena, request.keys, hits)
        if number < 0:
            break
        if nodes[number].held == 0:
            unheld += 1
        arena[request.keys + request.key_count + hits] = number
        hits += 1
    return hits, unheld


@compiled
def take_hits(engine: Record, nodes: Records, arena: Ints, request: Record, hits: int) -> None:
    """Hold the first ``hits`` blocks that the look-up noted."""
    for block in range(hits):
        number = arena[request.keys + request.key_count + block]
        if nodes[number].held == 0:
            _unlink(engine, nodes, number)
            engine.keyed_free -= 1
        nodes[number].held += 1
    request.held, request.registered = hits, hits


@compiled
def take_new(engine: Record, nodes: Records, table: Records, count: int) -> None:
    """Take blocks for new content from the front of the queue; what they held can be hit no more."""
    plain = min(count, engine.keyless)
    engine.keyless -= plain
    count -= plain
    while count > 0:
        number = engine.oldest
        node = nodes[number]
        if node.run > count:
            node.run -= count
            engine.keyed_free -= count
            return
        taken = max(node.run, 1)
        _unlink(engine, nodes, number)
        if node.run == 0:
            _remove(nodes, table, number)
        _give_node(engine, nodes, number)
        engine.keyed_free -= taken
        count -= taken


@compiled
def release(engine: Record, nodes: Records, arena: Ints, request: Record) -> None:
    """Free a request's blocks from the last to the first: those without a key to the front, the others to the end."""
    engine.keyless += request.held - request.registered
    private = request.registered - request.key_count
    if private > 0:
        number = _take_node(engine, nodes)
        nodes[number].run, nodes[number].held = private, 0
        _append(engine, nodes, number)
        engine.keyed_free += private
    for block in range(min(request.registered, request.key_count) - 1, -1, -1):
        number = arena[request.keys + request.key_count + block]
        nodes[number].held -= 1
        if nodes[number].held == 0:
            _append(engine, nodes, number)
            engine.keyed_free += 1
    request.held, request.registered = 0, 0


@compiled
def flush(engine: Record, nodes: Records, table: Records) -> None:
    """Forget all that can be hit and is free, as a restart or a reset of the prefix cache does."""
    while engine.oldest >= 0:
        number = engine.oldest
        blocks = max(nodes[number].run, 1)
        _unlink(engine, nodes, number)
        if nodes[number].run == 0:
            _remove(nodes, table, number)
        _give_node(engine, nodes, number)
        engine.keyed_free -= blocks
        engine.keyless += blocks


@compiled
def _take_node(engine: Record, nodes: Records) -> int:
    number = engine.spare_node
    engine.spare_node = nodes[number].next
    nodes[number].twin = -1
    return number


@compiled
def _give_node(engine: Record, nodes: Records, number: int) -> None:
    nodes[number].next = engine.spare_node
    engine.spare_node = number


@compiled
def _append(engine: Record, nodes: Records, number: int) -> None:
    node = nodes[number]
    node.next, node.previous = -1, engine.newest
    if engine.newest >= 0:
        nodes[engine.newest].next = number
    else:
        engine.oldest = number
    engine.newest = number


@compiled
def _unlink(engine: Record, nodes: Records, number: int) -> None:
    before, after = nodes[number].previous, nodes[number].next
    if before >= 0:
        nodes[before].next = after
    else:
        engine.oldest = after
    if after >= 0:
        nodes[after].previous = before
    else:
        engine.newest = before


@compiled
def _insert(nodes: Records, table: Records, number: int) -> None:
    place, mask = nodes[number].home, len(table) - 1
    slot = place & mask
    while table[slot].node >= 0:
        last = table[slot].node
        if table[slot].home == place and nodes[last].key == nodes[number].key:
            while nodes[last].twin >= 0:  # equal blocks are kept, and found in the order of their registration
                last = nodes[last].twin
            nodes[last].twin = number
            return
        slot = (slot + 1) & mask
    table[slot].home, table[slot].node = place, number


@compiled
def _remove(nodes: Records, table: Records, number: int) -> None:
    node, mask = nodes[number], len(table) - 1
    slot = node.home & mask
    while table[slot].home != node.home or nodes[table[slot].node].key != node.key:
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
