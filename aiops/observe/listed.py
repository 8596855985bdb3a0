"""Many names in one sentence."""

from collections.abc import Iterable

_SHOWN = 5


def listed(names: Iterable[str]) -> str:
    """Write the first few of them, and how many more there are.

    >>> listed("abcdefg")
    'a, b, c, d, e and 2 more'
    """
    all_names = list(names)
    more = len(all_names) - _SHOWN
    return ", ".join(all_names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
