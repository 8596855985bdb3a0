"""Snapshots, states and cycles as JSON and back: what a recording, the journal and the API all speak."""

from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")


_adapters: dict[type, TypeAdapter[Any]] = {}  # building one takes milliseconds, and the kinds are few


def _adapter(kind: type) -> TypeAdapter[Any]:
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


def encode(value: object) -> bytes:
    """Write a frozen dataclass as compact JSON. Decoding gives an equal value."""
    return _adapter(type(value)).dump_json(value)


def to_plain(value: object) -> Any:  # noqa: ANN401  # JSON has no narrower type
    """Give a frozen dataclass as dicts, lists, strings and numbers."""
    return _adapter(type(value)).dump_python(value, mode="json")


def decode(kind: type[T], text: bytes | str) -> T:
    """Read what :func:`encode` wrote.

    Raises ValueError that names the first place that does not fit.
    """
    try:
        return cast(T, _adapter(kind).validate_json(text))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise ValueError(f"this is no recorded {kind.__name__}: at {place}, {first['msg']}") from error
