"""The objects of a list, one by one while its answer arrives: 10,000 pods never lie in memory at once."""

import json
import re
from codecs import getincrementaldecoder
from typing import Any

_ITEMS = re.compile(r'"items"\s*:\s*\[')
_BETWEEN = re.compile(r"[\s,]*")
_DECODE = json.JSONDecoder().raw_decode


class ListError(ValueError):
    """What arrived is no list of objects."""


class ItemStream:
    """Reads the JSON of one list in pieces. After the last one, ``end`` gives the token for the next page."""

    def __init__(self) -> None:
        self._decoder = getincrementaldecoder("utf-8")()
        self._text = ""
        self._head: str | None = None
        self._closed = False

    def feed(self, chunk: bytes) -> list[dict[str, Any]]:
        """Take the next piece and give the objects that it completes. Raises ListError."""
        try:
            self._text += self._decoder.decode(chunk)
        except UnicodeDecodeError as error:
            raise ListError(str(error)) from error
        if self._head is None and not self._found_items():
            return []
        return self._completed() if not self._closed else []

    def _found_items(self) -> bool:
        begin = _ITEMS.search(self._text)
        if begin is None:
            return False
        self._head, self._text = self._text[: begin.end()], self._text[begin.end() :]
        return True

    def _completed(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        position = 0
        while True:
            gap = _BETWEEN.match(self._text, position)
            position = gap.end() if gap else position
            if self._text[position : position + 1] == "]":
                self._closed = True
                break
            try:
                item, position = _DECODE(self._text, position)
            except json.JSONDecodeError:
                # Half an object: the rest of it comes with the next piece, or never, which ``end`` tells.
                break
            if not isinstance(item, dict):
                raise ListError(f"{type(item).__name__} among the objects of a list")
            found.append(item)
        self._text = self._text[position:]
        return found

    def end(self) -> str:
        """Give the token that continues the list; empty where it is complete. Raises ListError where it broke off."""
        try:
            envelope = json.loads((self._head or "") + self._text)
        except ValueError as error:
            raise ListError(f"a list that breaks off: {error}") from error
        if not isinstance(envelope, dict) or "items" not in envelope:
            raise ListError("no list of objects")
        return str((envelope.get("metadata") or {}).get("continue") or "")
