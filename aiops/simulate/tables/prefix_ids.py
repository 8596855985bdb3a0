"""The ids of prompts' leading segments, out of a column of text."""

import numpy as np
from numpy.typing import NDArray

from aiops.simulate.kernel.compiled import compiled, entry
from aiops.simulate.requests import Ints

_SPACE, _MINUS, _ZERO = 32, 45, 48


def parse_ids(text: NDArray[np.uint8], bounds: NDArray[np.int32]) -> tuple[Ints, Ints]:
    """Split cells at their spaces: the ids of all cells in a row, and where each cell's begin (one more than cells).

    Cell ``i`` is ``text[bounds[i]:bounds[i + 1]]``. An id that is an integer of at most 18 digits stands for itself;
    any other is hashed to 63 bits, the same in every file.
    """
    cells = len(bounds) - 1
    offsets = np.zeros(cells + 1, np.int64)
    # An id and the space after it take two bytes, but for the last of a cell.
    ids = np.empty((int(bounds[-1]) - int(bounds[0]) + cells) // 2, np.int64)
    text.flags.writeable = bounds.flags.writeable = False  # of one type each, so that one compilation serves
    return ids[: _fill(text, bounds, ids, offsets)].copy(), offsets


@entry
def _fill(text: NDArray[np.uint8], bounds: NDArray[np.int32], ids: Ints, offsets: Ints) -> int:
    count = 0
    for cell in range(len(bounds) - 1):
        at, end = bounds[cell], bounds[cell + 1]
        while at < end:
            begin = at
            while at < end and text[at] > _SPACE:
                at += 1
            if at > begin:
                ids[count] = _id(text, begin, at)
                count += 1
            at += 1
        offsets[cell + 1] = count
    return count


@compiled
def _id(text: NDArray[np.uint8], begin: int, end: int) -> np.int64:
    first = begin + 1 if text[begin] == _MINUS else begin
    if first == end or end - first > 18:
        return _hashed(text, begin, end)
    number = np.int64(0)
    for i in range(first, end):
        digit = np.int64(text[i]) - _ZERO
        if digit < 0 or digit > 9:
            return _hashed(text, begin, end)
        number = number * 10 + digit
    return number if first == begin else -number


@compiled
def _hashed(text: NDArray[np.uint8], begin: int, end: int) -> np.int64:
    # FNV-1a, whose last bytes reach too few bits, and then the finalizer of SplitMix64.
    mixed = np.uint64(14695981039346656037)
    for i in range(begin, end):
        mixed = (mixed ^ np.uint64(text[i])) * np.uint64(1099511628211)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.int64((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(1))
