"""Who else sets the replicas of a target: other scalers that own it, and whoever wrote the number last."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aiops.model.refs import PoolRef

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Scaler:
    """Another scaler, and the target that it names. ``group`` is None where it names no API group."""

    told: str
    namespace: str
    group: str | None
    kind: str
    name: str

    def owns(self, target: PoolRef, group: str) -> bool:
        """Whether it sets the replicas of a target of an API group."""
        names = (self.namespace, self.kind, self.name) == (target.namespace, target.kind, target.name)
        return names and self.group in (None, group)


def read_autoscaler(item: Json) -> Scaler:
    """Read a HorizontalPodAutoscaler (autoscaling/v2); one that KEDA made is told as its ScaledObject."""
    metadata, target = item["metadata"], item["spec"]["scaleTargetRef"]
    made_by = next(
        (one["name"] for one in metadata.get("ownerReferences") or () if one["kind"] == "ScaledObject"), None
    )
    kind, name = ("HorizontalPodAutoscaler", metadata["name"]) if made_by is None else ("ScaledObject", made_by)
    stated = target.get("apiVersion")
    return Scaler(
        told=f"{kind} {metadata['namespace']}/{name}",
        namespace=metadata["namespace"],
        group=_group(stated) if stated else None,
        kind=target["kind"],
        name=target["name"],
    )


def read_scaled_object(item: Json) -> Scaler:
    """Read a ScaledObject (keda.sh/v1alpha1); a paused one owns its target too, for it may go on at any time."""
    metadata, target = item["metadata"], item["spec"]["scaleTargetRef"]
    return Scaler(
        told=f"ScaledObject {metadata['namespace']}/{metadata['name']}",
        namespace=metadata["namespace"],
        group=_group(target.get("apiVersion") or "apps/v1"),
        kind=target.get("kind") or "Deployment",
        name=target["name"],
    )


def scaled_by(target: PoolRef, group: str, scalers: Iterable[Scaler]) -> str:
    """Name the scalers that own a target; empty where none does."""
    return " and ".join(sorted({scaler.told for scaler in scalers if scaler.owns(target, group)}))


def last_writer(metadata: Json) -> tuple[str, datetime | None]:
    """Give who wrote ``spec.replicas`` last, and when; empty where nobody is named.

    The time is that of the writer's last change to any of its fields, which is all that managedFields keep; of whoever
    writes through ``scale`` Kubernetes keeps none. Several are named only where they wrote the same number.
    """
    writers = [
        entry
        for entry in metadata.get("managedFields") or ()
        if "f:replicas" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
    ]
    if not writers:
        return "", None
    last = max(writers, key=lambda entry: (entry.get("time") or "", entry["manager"]))
    return last["manager"], datetime.fromisoformat(last["time"]) if last.get("time") else None


def _group(api_version: str) -> str:
    return api_version.partition("/")[0] if "/" in api_version else ""
