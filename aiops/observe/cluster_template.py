"""What the manifest of a target says of its replicas and its engines."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiops.model.refs import PoolRef

Json = dict[str, Any]

_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True, slots=True)
class ReplicasOwner:
    """Who owns ``spec.replicas`` of an object, as managedFields tell: by which kind of write."""

    manager: str
    operation: str
    subresource: str = ""


@dataclass(frozen=True, slots=True)
class Template:
    """What a target's own manifest says. ``replicas_applied``: kubectl keeps ``spec.replicas`` as a file has it.

    ``labels`` are those of the object and of its pods, ``selector`` the nodes' labels that its pods ask for, ``flags``
    the engine's, without their dashes: ``max-num-seqs``. Of a LeaderWorkerSet it is the leader's.
    """

    pool: PoolRef
    replicas_owners: tuple[ReplicasOwner, ...] = ()
    replicas_applied: bool = False
    grace_s: float = 30.0
    images: tuple[str, ...] = ()
    flags: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    selector: Mapping[str, str] = field(default_factory=dict)


def read_template(pool: PoolRef, item: Json) -> Template:
    """Read the manifest of a Deployment, StatefulSet or LeaderWorkerSet. Raises KeyError for what is none."""
    metadata, spec = item["metadata"], item["spec"]
    workers = spec.get("leaderWorkerTemplate")
    template = spec["template"] if workers is None else workers.get("leaderTemplate") or workers["workerTemplate"]
    pods = template["spec"]
    containers = pods.get("containers") or ()
    return Template(
        pool=pool,
        replicas_owners=tuple(_replicas_owners(metadata)),
        replicas_applied=_replicas_applied((metadata.get("annotations") or {}).get(_APPLIED, "")),
        grace_s=float(pods.get("terminationGracePeriodSeconds", 30)),
        images=tuple(str(one.get("image", "")) for one in containers),
        flags=_flags(containers),
        labels={**(metadata.get("labels") or {}), **((template.get("metadata") or {}).get("labels") or {})},
        selector=pods.get("nodeSelector") or {},
    )


def _replicas_owners(metadata: Json) -> Iterable[ReplicasOwner]:
    for entry in metadata.get("managedFields") or ():
        if "f:replicas" in ((entry.get("fieldsV1") or {}).get("f:spec") or {}):
            yield ReplicasOwner(entry["manager"], entry.get("operation", ""), entry.get("subresource", ""))


def _replicas_applied(text: str) -> bool:
    """Whether the file that was applied last, which kubectl keeps as JSON, says how many replicas there shall be."""
    try:
        return "replicas" in json.loads(text)["spec"]
    except (ValueError, KeyError, TypeError):
        return False


def _flags(containers: Iterable[Json]) -> Mapping[str, str]:
    """Read flags as vLLM takes them, ``--a-b=1`` and ``--a_b 1``, also from the line of a shell."""
    stated = [part for one in containers for part in (*(one.get("command") or ()), *(one.get("args") or ()))]
    words = [word for part in stated for word in str(part).split()]
    found: dict[str, str] = {}
    for word, following in zip(words, [*words[1:], ""], strict=False):
        if word.startswith("--"):
            name, given, value = word.removeprefix("--").partition("=")
            found[name.replace("_", "-")] = value if given else "" if following.startswith("-") else following
    return found
