"""Which model, pod and owner a series is about, whatever the scrape did to its labels."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aiops.model.refs import ModelRef
from aiops.observe.queries import OWNED_POD, ROLE_LABELS


@dataclass(frozen=True, slots=True, order=True)
class Pod:
    """A pod by namespace and name; the scraped address where no pod is named."""

    namespace: str
    name: str

    @classmethod
    def of(cls, labels: Mapping[str, str]) -> "Pod":
        """Read it from a series' labels."""
        name = labels.get("exported_pod") or labels.get("pod") or labels.get("instance", "")
        return cls(namespace_of(labels), name)


@dataclass(frozen=True, slots=True)
class Group:
    """Pods of one owner, as far as pod names and role labels tell: what histograms are added up by."""

    workload: str
    roles: tuple[str, ...]

    @classmethod
    def of(cls, labels: Mapping[str, str]) -> "Group":
        """Read it from a series' labels; the label ``workload`` where the query made one, else the pod's name."""
        workload = labels.get("workload") or workload_of(labels.get("exported_pod") or labels.get("pod", ""))
        return cls(workload, tuple(labels.get(label, "") for label in ROLE_LABELS))

    @property
    def role(self) -> str:
        """What a label says that the pods do; empty where none does."""
        return next((role for role in self.roles if role), "")


def namespace_of(labels: Mapping[str, str]) -> str:
    """Give the namespace that the exporter itself named, or else the one that the scrape added."""
    return labels.get("exported_namespace") or labels.get("namespace", "")


def workload_of(pod: str) -> str:
    """Give the owner's name that a pod's name contains; empty where it is not made that way."""
    made = re.fullmatch(OWNED_POD, pod)
    return (made[1] or made[2]) if made else ""


class Naming:
    """Finds the model that a series is about.

    A series without any namespace counts for the only policy that names its model: a Prometheus outside of a cluster
    adds none.
    """

    def __init__(self, refs: Iterable[ModelRef]) -> None:
        self._namespaces: dict[str, list[str]] = {}
        for ref in refs:
            self._namespaces.setdefault(ref.model, []).append(ref.namespace)

    def ref(self, labels: Mapping[str, str]) -> ModelRef | None:
        """Give the model; None where the series names none."""
        model = labels.get("model_name")
        if not model:
            return None
        namespace = namespace_of(labels)
        wanted = self._namespaces.get(model, [])
        return ModelRef(wanted[0] if not namespace and len(wanted) == 1 else namespace, model)

    def place(self, labels: Mapping[str, str]) -> tuple[ModelRef, Pod] | None:
        """Give the engine: its model and its pod; None where the series names no model."""
        ref = self.ref(labels)
        return None if ref is None else (ref, Pod.of(labels))
