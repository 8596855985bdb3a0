"""What a model says of a file's value, in terms of the file: line, key and the nearest valid one."""

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from aiops.observe.marked_yaml import Document, KeyPath, Problem, shown

M = TypeVar("M", bound=BaseModel)
_MOST_NAMES = 16


def check(kind: type[M], document: Document, value: object) -> tuple[M | None, tuple[Problem, ...]]:
    """Read ``value``, which stands in ``document``, as ``kind``; every misfit is one problem at its line.

    ``value`` may hold more than the file does (defaults of a preset): a misfit there is told at the nearest key above.
    """
    try:
        return kind.model_validate(value, by_alias=True, by_name=False), ()
    except ValidationError as error:
        return None, tuple(_problems(kind, document, error.errors(include_url=False)))


def nearest(value: str, names: Iterable[str]) -> str:
    """End a message about an unknown name: with the name that was meant, else with those that exist.

    >>> nearest("stabilisation", ["per", "stabilization"])
    "; did you mean 'stabilization'?"
    """
    known = list(names)
    if close := get_close_matches(value, known, n=1):
        return f"; did you mean {close[0]!r}?"
    more = ", ..." if len(known) > _MOST_NAMES else ""
    return f"; known are {', '.join(known[:_MOST_NAMES])}{more}" if known else ""


def _problems(kind: type[BaseModel], document: Document, errors: list[ErrorDetails]) -> Iterator[Problem]:
    told = {problem.mark for problem in document.problems}  # such a value was left out, and is missed here again
    for error in errors:
        path = error["loc"]
        # A list whose items are wrong is not also too short.
        if error["type"] == "too_short" and any(e["loc"][: len(path)] == path for e in errors if e is not error):
            continue
        problem = document.problem(path[:-1] if error["type"] == "missing" else path, _message(kind, path, error))
        if problem.mark not in told:
            yield problem


def _message(kind: type[BaseModel], path: KeyPath, error: ErrorDetails) -> str:
    value, context = error["input"], error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden":
            return f"unknown key{nearest(str(path[-1]), _keys(kind, path[:-1]))}"
        case "missing":
            return f"the key {path[-1]!r} is missing"
        case _ if value is None:
            return "nothing is written under this key; fill it in or remove it"
        case "value_error":
            return str(context["error"])
        case "enum" | "literal_error":
            choices = re.findall("'([^']*)'", context["expected"])
            return f"{shown(value)} is not known here{nearest(str(value), choices)}"
        case "model_type" | "dict_type":
            return f"{shown(value)} is not a mapping; write its keys below it: {', '.join(_keys(kind, path))}"
        case "tuple_type":
            return f"{shown(value)} is not a list; write each item after a dash"
        case "string_type":
            return f"{shown(value)} is not text; put it in quotes"
        case "too_short":
            return f"the list is empty; it needs at least {context['min_length']}"
        case _:
            return f"{shown(value)} {error['msg'].removeprefix('Input ')}"


@cache
def _schema(kind: type[BaseModel]) -> dict[str, Any]:
    return kind.model_json_schema(by_alias=True)


def _keys(kind: type[BaseModel], path: KeyPath) -> list[str]:
    schema = _schema(kind)
    node = schema
    for part in path:
        properties = node.get("properties", {})
        node = (
            node.get("items", {}) if isinstance(part, int) else properties.get(part, node.get("additionalProperties"))
        )
        node = _resolved(schema, node if isinstance(node, dict) else {})
    return list(node.get("properties", {}))


def _resolved(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    for choice in node.get("anyOf", [node]):
        if "$ref" in choice:
            found: dict[str, Any] = schema["$defs"][choice["$ref"].rsplit("/", 1)[-1]]
            return found
    return node
