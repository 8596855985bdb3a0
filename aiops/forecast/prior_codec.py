"""The prior as bytes: a line of JSON, then the arrays, little-endian, one after another. No pickle, no library's types.

The line tells version, heads, shapes, horizons, card and the arrays' SHA-256, so that a damaged file is known as such.
"""

import json
from collections.abc import Mapping
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from aiops.model.prior import Prior, Trees

VERSION = 1
_MAGIC = "aiops-prior"


def digest(heads: Mapping[str, Trees]) -> str:
    """Give the SHA-256 of all heads' numbers."""
    return sha256(_payload(heads)).hexdigest()


def encode(prior: Prior) -> bytes:
    """Write a prior; the same prior gives the same bytes."""
    heads = [
        {"name": name, "base": trees.base, "trees": len(trees.leaf), "leaves": trees.leaf.shape[1]}
        for name, trees in prior.heads.items()
    ]
    told = {
        "format": _MAGIC,
        "version": VERSION,
        "sha256": digest(prior.heads),
        "horizons": prior.horizons,
        "features": prior.features,
        "heads": heads,
        "card": dict(prior.card),
    }
    return json.dumps(told, sort_keys=True).encode() + b"\n" + _payload(prior.heads)


def decode(written: bytes) -> Prior:
    """Read a prior; ValueError that says what is wrong where it is none, of another version, cut short or damaged."""
    line, _, payload = written.partition(b"\n")
    try:
        told = json.loads(line)
    except ValueError:
        raise ValueError("no prior: the first line is not JSON") from None
    if not isinstance(told, dict) or told.get("format") != _MAGIC:
        raise ValueError(f"no prior: the first line does not name the format {_MAGIC}")
    if told.get("version") != VERSION:
        raise ValueError(f"a prior of version {told.get('version')}, and this aiops reads version {VERSION}")
    if sha256(payload).hexdigest() != told["sha256"]:
        raise ValueError("a damaged prior: its numbers do not have the SHA-256 that its first line tells")
    heads, start = {}, 0
    for head in told["heads"]:
        trees, start = _read(head, payload, start)
        heads[head["name"]] = trees
    return Prior(heads, tuple(told["horizons"]), told["features"], told["card"], told["sha256"])


def _payload(heads: Mapping[str, Trees]) -> bytes:
    return b"".join(
        trees.feature.astype("u1").tobytes()
        + trees.threshold.astype("<f4").tobytes()
        + trees.leaf.astype("<f4").tobytes()
        for trees in heads.values()
    )


def _read(head: Mapping[str, float], payload: bytes, start: int) -> tuple[Trees, int]:
    count, leaves = int(head["trees"]), int(head["leaves"])

    def take(kind: str, columns: int) -> NDArray[np.generic]:
        nonlocal start
        array = np.frombuffer(payload, kind, count * columns, start).reshape(count, columns)
        start += array.nbytes
        return array

    feature = take("u1", leaves - 1).astype(np.int32)
    threshold = take("<f4", leaves - 1).astype(np.float32)
    leaf = take("<f4", leaves).astype(np.float32)
    return Trees(float(head["base"]), feature, threshold, leaf), start
