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
    names = fleet.arena[request.keys : request.keys + request.key_count]
    block, begin, chain = 0, 0, 0
    for piece in range(first, last):
        end = begin + arrivals.piece_tokens[piece]
        chain = mix(chain, arrivals.piece_id[piece])
        block = _name_stretch(names, block, chain, begin, end, block_tokens)
        chain, begin = mix(chain, end - begin), end
    _name_stretch(names, block, mix(chain, request.own_id ^ _OWN), begin, public, block_tokens)


@compiled
def _name_stretch(names: Ints, first: int, chain: int, begin: int, end: int, block_tokens: int) -> int:
    """Name the blocks from ``first`` on that end within a stretch of content; give the one after them."""
    after = min(len(names), end // block_tokens)
    for block in range(first, after):
        names[block] = mix(chain, (block + 1) * block_tokens - begin)
    return max(first, after)


@compiled
def name_all(fleet: Fleet, request: Record, block_tokens: int) -> None:
    """Give a request the keys of all of its blocks, because after a preemption it may hit its own."""
    count = (request.prompt + request.limit) // block_tokens
    if count <= request.key_count:
        return
    arena, old, known = fleet.arena, request.keys, request.key_count
    start = take_piece(arena, fleet.world[0], 2 * count)
    for block in range(known):
        arena[start + block] = arena[old + block]
        arena[start + count + block] = arena[old + known + block]
    # Nobody else ever has this content, so where it begins within the block does not matter.
    chain = mix(arena[old + known - 1] if known > 0 else 0, request.own_id ^ _OWN)
    for block in range(known, count):
        arena[start + block] = mix(chain, block)
    if known > 0:
        give_piece(arena, old, 2 * known)
    request.keys, request.key_count = start, count


@compiled
def forget_names(fleet: Fleet, request: Record) -> None:
    """Give the keys' place back."""
    if request.key_count > 0:
        give_piece(fleet.arena, request.keys, 2 * request.key_count)
        request.key_count = 0
