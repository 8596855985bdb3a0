"""YAML that people wrote: read with the line of each value, and refused rather than guessed at."""

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 1_048_576  # a ConfigMap holds no more, and parsing more would stall the loop for seconds
_MAX_VALUES = 200_000  # thousands of policies; far more than that means aliases that multiply
_MAX_DIGITS = 100  # PyYAML reads numbers of other bases in quadratic time
_TAG = "tag:yaml.org,2002:"
_SCALARS = frozenset({"str", "timestamp", "null", "bool", "int", "float"})

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in a file; both count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a file: where, under which key, and what to do about it.

    ``place`` is the key's path, such as ``spec.pools[0].max``; empty for the file as a whole.
    """

    file: Path
    message: str
    mark: Mark | None = None
    place: str = ""

    def __str__(self) -> str:
        line = f":{self.mark.line}" if self.mark else ""
        return f"{self.file}{line}: {f'{self.place}: ' if self.place else ''}{self.message}"


@dataclass(frozen=True)
class Document:
    """One YAML document as plain values, with the place of each.

    ``marks`` are keyed by path from the root, which itself is the empty path.
    """

    file: Path
    value: Any
    marks: dict[KeyPath, Mark]
    problems: tuple[Problem, ...] = ()

    def problem(self, path: KeyPath, message: str) -> Problem:
        """Make a problem of the value at ``path``, or of the nearest value above it that the file holds."""
        known, mark = self._place(path)
        return Problem(self.file, message, mark, written(known))

    def where(self, path: KeyPath) -> str:
        """Give the file and line of that value."""
        return f"{self.file}:{self._place(path)[1].line}"

    def _place(self, path: KeyPath) -> tuple[KeyPath, Mark]:
        # A value that stands alone in its mapping is taken for what the path names: a model that unfolds {p95: 2s} into
        # a percentile and a bound speaks of keys that the file does not hold.
        known = next(path[:n] for n in range(len(path), -1, -1) if path[:n] in self.marks)
        value = self.value
        for part in known:
            value = value[part]
        alone = (*known, *value) if known != path and isinstance(value, dict) and len(value) == 1 else known
        return known, self.marks[alone]


def written(path: KeyPath) -> str:
    """Write a path as people do.

    >>> written(("spec", "pools", 0, "max"))
    'spec.pools[0].max'
    """
    text = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part if part.isprintable() else repr(part)}" for part in path
    )
    return text.removeprefix(".")


def read_documents(file: Path) -> tuple[tuple[Document, ...], tuple[Problem, ...]]:
    """Read the documents of a file, empty ones left out, and what kept any of it from being read.

    Keys are always text. Duplicate keys, NaN and infinities, tags, aliases that multiply beyond bounds, and files that
    are empty, too large or not UTF-8 are problems; nothing is raised for what a file holds.
    """
    try:
        text = _text(file)
        documents = tuple(_documents(file, text))
    except _UnreadableError as error:
        return (), (Problem(file, str(error), error.mark),)
    if not documents:
        return (), (Problem(file, "the file is empty or holds only comments"),)
    return documents, tuple(problem for document in documents for problem in document.problems)


class _UnreadableError(Exception):
    def __init__(self, message: str, mark: Mark | None = None) -> None:
        super().__init__(message)
        self.mark = mark


def _text(file: Path) -> str:
    try:
        if not file.exists():
            raise _UnreadableError("there is no such file")
        if not file.is_file():
            raise _UnreadableError("this is not a regular file")
        with file.open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise _UnreadableError(f"the file cannot be read: {error.strerror or error}") from error
    if len(data) > MAX_BYTES:
        raise _UnreadableError(f"the file is larger than {MAX_BYTES // 1024} KiB; split it, a folder is read as one")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _UnreadableError(
            f"byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8", Mark(line, 1)
        ) from error


def _documents(file: Path, text: str) -> Iterator[Document]:
    try:
        for node in yaml.compose_all(text, Loader=yaml.SafeLoader):
            document = _Walk(file).document(node)
            if document.value is not None:
                yield document
    except yaml.reader.ReaderError as error:
        mark = Mark(text.count("\n", 0, error.position) + 1, 1)
        raise _UnreadableError(f"character U+{ord(text[error.position]):04X} may not stand in YAML", mark) from error
    except yaml.MarkedYAMLError as error:
        raise _UnreadableError(_syntax(error), _mark(error.problem_mark or error.context_mark)) from error
    except RecursionError as error:
        raise _UnreadableError("the file is nested too deeply") from error


def _syntax(error: yaml.MarkedYAMLError) -> str:
    what = error.problem or error.context or "it cannot be parsed"
    if r"'\t'" in what:
        return "a tab indents this line; YAML allows only spaces there"
    return f"this is not YAML: {f'{error.context}, ' if error.context and error.problem else ''}{what}"


def _mark(mark: Any) -> Mark:  # noqa: ANN401  # PyYAML's marks come in two classes without a common base
    return Mark(mark.line + 1, mark.column + 1)


class _Walk:
    """Turns one composed node tree into plain values, counting as aliases are followed."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._loader = yaml.SafeLoader("")  # reads numbers as YAML writes them
        self._values = 0
        self._marks: dict[KeyPath, Mark] = {}
        self._problems: dict[Mark, Problem] = {}

    def document(self, node: yaml.Node) -> Document:
        value = self._value(node, (), _mark(node.start_mark))
        return Document(self._file, value, self._marks, tuple(self._problems.values()))

    def _value(self, node: yaml.Node, path: KeyPath, mark: Mark) -> Any:  # noqa: ANN401  # whatever the file holds
        self._count(mark)
        self._marks[path] = mark
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
            return {
                key: self._value(value, (*path, key), place) for key, (place, value) in self._pairs(node, path).items()
            }
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
            return [self._value(item, (*path, i), _mark(item.start_mark)) for i, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and node.tag.removeprefix(_TAG) in _SCALARS:
            return self._scalar(node, path, mark)
        self._wrong(path, mark, f"the tag {node.tag.replace(_TAG, '!!')} is not supported; remove it")
        return None

    def _pairs(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, tuple[Mark, yaml.Node]]:
        pairs: dict[str, tuple[Mark, yaml.Node]] = {}
        merged: list[yaml.Node] = []
        for key, value in node.value:
            mark = _mark(key.start_mark)
            self._count(mark)
            if key.tag == f"{_TAG}merge":
                merged += value.value if isinstance(value, yaml.SequenceNode) else [value]
            elif not isinstance(key, yaml.ScalarNode):
                self._wrong(path, mark, "a key must be text")
            elif key.value in pairs:
                first = pairs[key.value][0].line
                self._wrong((*path, key.value), mark, f"this key stands twice; the first is on line {first}")
            else:
                pairs[key.value] = (mark, value)
        # `<<` gives what the mapping does not say itself, and an earlier source wins over a later one.
        for source in merged:
            mark = _mark(source.start_mark)
            self._count(mark)
            if isinstance(source, yaml.MappingNode):
                for key, pair in self._pairs(source, path).items():
                    pairs.setdefault(key, pair)
            else:
                self._wrong(path, mark, "<< takes a mapping, or a list of them")
        return pairs

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath, mark: Mark) -> str | float | bool | None:
        if node.tag.removeprefix(_TAG) in ("str", "timestamp"):  # no key takes a date, and a name may look like one
            return str(node.value)
        value: float | bool | None = math.nan
        if len(node.value) <= _MAX_DIGITS:
            with suppress(ValueError):
                value = self._loader.construct_object(node)
        if isinstance(value, float) and not math.isfinite(value):
            self._wrong(path, mark, f"{shown(node.value)} is no finite number")
            return None
        return value

    def _count(self, mark: Mark) -> None:
        self._values += 1
        if self._values > _MAX_VALUES:
            raise _UnreadableError("too many values (each use of an alias counts anew); split the file", mark)

    def _wrong(self, path: KeyPath, mark: Mark, message: str) -> None:
        # An anchored value is walked once for each alias, and told once.
        self._problems.setdefault(mark, Problem(self._file, message, mark, written(path)))


def shown(value: object) -> str:
    """Write a value for a message: on one line, and not without end."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
