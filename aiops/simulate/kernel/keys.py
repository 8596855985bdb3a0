"""What a block's content is called, and where a request keeps the names of its blocks.

A key is a hash chained over all content from the prompt's start, so equal keys are equal beginnings. Names of content
are numbers: a piece's id with a place in it, or the request's own id with a place in it.
"""

from aiops.simulate.kernel.compiled import compiled
from aiops.simulate.kernel.layout import Arrivals, Fleet, Ints, Record

_OWN = 0x5DEECE66D  # tells own content from a piece of the same number


@compiled
def mix(key: int, value: int) -> int:
    """Chain a value to a key; a 63-bit hash (after Stafford's mixer), never negative."""
    mixed = (key ^ (value + 0x1E3779B97F4A7C15)) * 0x3F58476D1CE4E5B9
    mixed = (mixed ^ (mixed >> 30)) * 0x14D049BB133111EB
    return (mixed ^ (mixed >> 27)) & 0x7FFFFFFFFFFFFFFF


@compiled
def take_piece(arena: Ints, world: Record, words: int) -> int:
    """Take a piece of the arena for that many words, of two equal halves: keys, then the blocks that hold them."""
    power = 1
    while (1 << power) < words:
        power += 1
    head = arena[power]
    if head >= 0:
        arena[power] = arena[head]
        return head
    start = world.arena_top
    world.arena_top += 1 << power
    return start


@compiled
def give_piece(arena: Ints, start: int, words: int) -> None:
    """Give a piece back."""
    power = 1
    while (1 << power) < words:
        power += 1
    arena[start] = arena[power]
    arena[power] = start


@compiled
def name_prompt(fleet: Fleet, arrivals: Arrivals, i: int, request: Record, block_tokens: int) -> None:
    """Give an arriving request the keys of those of its blocks that another request may hit."""
    first, last = arrivals.piece_offset[i], arrivals.piece_offset[i + 1]
    shared = 0
    for piece in range(first, last):
        shared += arrivals.piece_tokens[piece]
    public = request.prompt + request.limit if request.own_public else shared
    request.key_count = public // block_tokens
    if request.key_count == 0:
        return
    request.keys = take_piece(fleet.arena, fleet.world[0], 2 * request.key_count)
    arena, key, piece, within = fleet.arena, 0, first, 0
    for block in range(request.key_count):
        left = block_tokens
        while left > 0 and piece < last:
            used = min(left, arrivals.piece_tokens[piece] - within)
            key = mix(mix(key, arrivals.piece_id[piece]), (within << 16) + used)
            left -= used
            within += used
            if within == arrivals.piece_tokens[piece]:
                piece += 1
                within = 0
        if left > 0:
            key = _own_key(key, request.own_id, (block + 1) * block_tokens - left - shared, left)
        arena[request.keys + block] = key


@compiled
def name_all(fleet: Fleet, request: Record, block_tokens: int) -> None:
    """Give a request the keys of all of its blocks, because after a preemption it may hit its own."""
    count = (request.prompt + request.limit) // block_tokens
    if count <= request.key_count:
        return
    arena, old, known = fleet.arena, request.keys, request.key_count
    start = take_piece(arena, fleet.world[0], 2 * count)
    key = 0
    for block in range(known):
        key = arena[old + block]
        arena[start + block] = key
        arena[start + count + block] = arena[old + known + block]
    for block in range(known, count):
        # Nobody else ever has this content, so where it begins within the block does not matter.
        key = _own_key(key, request.own_id, block, 0)
        arena[start + block] = key
    if known > 0:
        give_piece(arena, old, 2 * known)
    request.keys, request.key_count = start, count


@compiled
def forget_names(fleet: Fleet, request: Record) -> None:
    """Give the keys' place back."""
    if request.key_count > 0:
        give_piece(fleet.arena, request.keys, 2 * request.key_count)
        request.key_count = 0


@compiled
def _own_key(key: int, own_id: int, place: int, tokens: int) -> int:
    return mix(mix(key, own_id ^ _OWN), (place << 16) + tokens)
