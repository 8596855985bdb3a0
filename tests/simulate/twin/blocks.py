"""The block pool: which blocks are free, in what order they are given out, and what content they hold."""

from collections import OrderedDict
from collections.abc import Hashable, Iterable


class BlockPool:
    """Blocks 1…usable, each of ``size`` tokens; a block is used while its count of references is above 0.

    A full block may have a key, which stands for all content up to its end. It keeps the key while it is free, until
    it is given out for something else: so the free queue is the cache too.
    """

    def __init__(self, usable: int, size: int) -> None:
        self.usable = usable
        self.size = size
        self.free: OrderedDict[int, None] = OrderedDict.fromkeys(range(1, usable + 1))
        self.references = [0] * (usable + 1)
        self.key_of: list[int | None] = [None] * (usable + 1)
        self.holders: dict[int, dict[int, None]] = {}
        self._keys: dict[tuple[int, tuple[Hashable, ...]], int] = {}

    @property
    def used(self) -> int:
        return self.usable - len(self.free)

    def blocks_for(self, tokens: int) -> int:
        return -(-tokens // self.size)

    def key(self, parent: int, tokens: tuple[Hashable, ...]) -> int:
        """The number of a block's content after that of the block before it (0: none); the same for the same."""
        return self._keys.setdefault((parent, tokens), len(self._keys) + 1)

    def lookup(self, keys: Iterable[int]) -> list[int]:
        """The blocks of the longest run of these keys that are present; for each the one registered first."""
        found = []
        for key in keys:
            if key not in self.holders:
                break
            found.append(next(iter(self.holders[key])))
        return found

    def register(self, block: int, key: int) -> None:
        self.key_of[block] = key
        self.holders.setdefault(key, {})[block] = None

    def share(self, blocks: Iterable[int]) -> None:
        """Take blocks for the content they hold."""
        for block in blocks:
            if self.references[block] == 0:
                del self.free[block]
            self.references[block] += 1

    def take(self, count: int) -> list[int]:
        """Take blocks for new content, from the front of the queue; what they held is forgotten."""
        taken = [self.free.popitem(last=False)[0] for _ in range(count)]
        for block in taken:
            self.references[block] = 1
            key = self.key_of[block]
            if key is not None:
                del self.holders[key][block]
                if not self.holders[key]:
                    del self.holders[key]
                self.key_of[block] = None
        return taken

    def release(self, blocks: list[int]) -> None:
        """Give a request's blocks back, from its last to its first: keyless ones are reused first, the others last."""
        keyless = []
        for block in reversed(blocks):
            self.references[block] -= 1
            if self.references[block]:
                continue
            if self.key_of[block] is None:
                keyless.append(block)
            else:
                self.free[block] = None
        for block in reversed(keyless):
            self.free[block] = None
            self.free.move_to_end(block, last=False)
