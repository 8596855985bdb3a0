"""Lists are read object by object, however their answer is cut into pieces."""

import json
from typing import Any

import pytest

from aiops.observe.cluster_items import ItemStream, ListError

ITEMS: list[dict[str, Any]] = [
    {"metadata": {"name": "ä ü €"}, "spec": {"items": [1, {"a": "]"}], "text": 'a " and ] and }'}},
    {"metadata": {"name": "b"}, "empty": {}},
    {},
]


def typed(items: Any, token: str = "") -> str:
    metadata = {"resourceVersion": "7"} | ({"continue": token} if token else {})
    return json.dumps({"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": items}, ensure_ascii=False)


def custom(items: Any, token: str = "") -> str:
    """As definitions of users are told: the names in order, and what comes behind the objects counts too."""
    stated = json.loads(typed(items, token))
    return json.dumps(dict(sorted(stated.items())), ensure_ascii=False, separators=(",", ":"))


def fed(text: str, size: int) -> tuple[list[dict[str, Any]], str]:
    stream, raw = ItemStream(), text.encode()
    found = [item for begin in range(0, len(raw), size) for item in stream.feed(raw[begin : begin + size])]
    return found, stream.end()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 10_000])
@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        pytest.param(typed(ITEMS), (ITEMS, ""), id="the last page"),
        pytest.param(typed(ITEMS, "more"), (ITEMS, "more"), id="a page before others"),
        pytest.param(custom(ITEMS, "more"), (ITEMS, "more"), id="a page of custom objects"),
        pytest.param(typed([]), ([], ""), id="no object"),
        pytest.param(custom([]), ([], ""), id="no custom object"),
        pytest.param(typed(None), ([], ""), id="null for no object"),
        pytest.param(typed(ITEMS) + "\n", (ITEMS, ""), id="a line's end behind"),
        pytest.param(json.dumps(json.loads(typed(ITEMS, "more")), indent=2), (ITEMS, "more"), id="written prettily"),
    ],
)
def test_a_list_is_read_whole(text: str, wanted: tuple[list[dict[str, Any]], str], size: int) -> None:
    assert fed(text, size) == wanted


def test_an_object_is_given_as_soon_as_it_is_there() -> None:
    first, rest = typed(ITEMS).split(', {"metadata": {"name": "b"}')
    stream = ItemStream()

    assert stream.feed(first.encode()) == ITEMS[:1]
    assert stream.feed((', {"metadata": {"name": "b"}' + rest).encode()) == ITEMS[1:]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("<html>sign in</html>", id="a page of a proxy"),
        pytest.param("[]", id="no object at all"),
        pytest.param('{"kind": "Status"}', id="no list"),
        pytest.param(typed(ITEMS)[:-60], id="cut within an object"),
        pytest.param(typed(ITEMS)[:-1], id="cut before its end"),
        pytest.param(typed(ITEMS)[:20], id="cut before its objects"),
        pytest.param(typed([{}, 5]), id="a number among the objects"),
    ],
)
def test_what_is_no_whole_list_is_an_error(text: str) -> None:
    with pytest.raises(ListError):
        fed(text, 7)


def test_bytes_that_are_no_text_are_an_error() -> None:
    with pytest.raises(ListError):
        ItemStream().feed(b'{"items": [{"a": "\xff')
