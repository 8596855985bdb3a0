"""Which pods of a Deployment leave first, told to the ReplicaSet controller by their deletion costs."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from kubernetes.client import ApiClient

from aiops.act.kubernetes_api import FIELD_MANAGER, KubernetesApi
from aiops.act.kubernetes_errors import API_ERRORS, Failure, Rule, read_error

ANNOTATION = "controller.kubernetes.io/pod-deletion-cost"
_STRATEGIC = "application/strategic-merge-patch+json"
# Names and annotations are all that is needed of ten thousand pods.
_METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_LEAST, _MOST = -(2**31), 2**31 - 1

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class PodCost:
    """What it costs to lose a pod, against its peers; the lowest goes first. A pod without a cost counts as 0."""

    pod: str
    cost: int


@dataclass(frozen=True, slots=True)
class Marked:
    """What came of marking or clearing.

    ``problem`` says why not all pods show what was asked, and then the scale-down must not lean on it; ``forbidden``
    that it is for want of a right, so asking again would not help. ``written`` is how many pods were patched; ``left``
    are pods whose cost others wrote, which was left as it is.
    """

    written: int = 0
    left: tuple[str, ...] = ()
    problem: str = ""
    forbidden: bool = False


@dataclass(frozen=True, slots=True)
class _Shown:
    """What a pod shows: its cost, and whether aiops wrote it."""

    cost: str | None
    own: bool


class _StoppedError(Exception):
    """Why the work was broken off."""

    def __init__(self, why: str, *, forbidden: bool = False) -> None:
        super().__init__(why)
        self.forbidden = forbidden


class DeletionCosts:
    """Writes and clears the deletion costs of pods: nothing else of them, and no cost that somebody else wrote.

    Annotate, see it, scale, clear: ``mark`` returns once the API server shows what was asked, and ``clear`` takes the
    costs away again, but not before the pods are seen to leave: the ReplicaSet controller chooses them some moments
    after the scale was written. What a crash left is found by ``managedFields`` and cleared by ``clear`` without names.
    Refusals are told, never raised. ``may_write`` and ``writes_off`` are asked before each write, as ``ScaleActuator``
    does; ``timeout_s`` bounds each request.
    """

    def __init__(
        self,
        api: ApiClient,
        *,
        may_write: Callable[[], bool],
        writes_off: Callable[[], str] = lambda: "",
        timeout_s: float = 4.0,
    ) -> None:
        self._api = KubernetesApi(api, timeout_s)
        self._may_write, self._writes_off = may_write, writes_off

    def mark(self, namespace: str, costs: Sequence[PodCost], formerly: Collection[str] = ()) -> Marked:
        """Give pods their costs; only those that differ are patched. Pods that are gone are passed over.

        A cost of 0 is written too: a pod without one counts as 0 for the ReplicaSet controller, but nobody sees why.
        Pods that were marked ``formerly`` and are given no cost now lose theirs, if aiops wrote it.
        """
        wild = [cost for cost in costs if not _LEAST <= cost.cost <= _MOST]
        if wild:
            return Marked(problem=f"deletion cost {wild[0].cost} of pod {wild[0].pod} is no 32-bit number")
        wanted = {cost.pod: str(cost.cost) for cost in costs}

        def asked(shown: dict[str, _Shown]) -> dict[str, str | None]:
            stale = {name: None for name in formerly if name in shown and shown[name].own}
            return {**stale, **{name: cost for name, cost in wanted.items() if name in shown}}

        return self._bring(namespace, asked)

    def clear(self, namespace: str, pods: Sequence[str] | None = None) -> Marked:
        """Take the costs that aiops wrote from these pods; None: from all pods of the namespace, after a crash."""

        def wanted(shown: dict[str, _Shown]) -> dict[str, str | None]:
            return {name: None for name in (shown if pods is None else pods) if name in shown and shown[name].own}

        return self._bring(namespace, wanted)

    def _bring(self, namespace: str, wanted: Callable[[dict[str, _Shown]], Mapping[str, str | None]]) -> Marked:
        written = 0
        left: tuple[str, ...] = ()
        try:
            shown = self._shown(namespace)
            asked = wanted(shown)
            differ = [name for name, cost in asked.items() if shown[name].cost != cost]
            left = tuple(name for name in differ if shown[name].cost is not None and not shown[name].own)
            for name in differ:
                if name not in left:
                    written += self._patch(namespace, name, asked[name])
            if written:
                self._must_show(namespace, {name: cost for name, cost in asked.items() if name not in left})
        except _StoppedError as stopped:
            return Marked(written, left, str(stopped), stopped.forbidden)
        return Marked(written, left)

    def _must_show(self, namespace: str, asked: dict[str, str | None]) -> None:
        shown = self._shown(namespace)
        missing = [name for name, cost in asked.items() if name in shown and shown[name].cost != cost]
        if missing:
            raise _StoppedError(f"{len(missing)} pods of {namespace} do not show their deletion cost yet: {missing[0]}")

    def _shown(self, namespace: str) -> dict[str, _Shown]:
        def listed() -> list[dict[str, Any]]:
            pods = self._api.resource("Pod", "")
            answer = pods.get(namespace=namespace, header_params={"Accept": _METADATA_ONLY})
            items: list[dict[str, Any]] = answer.to_dict()["items"]
            return items

        items = self._call(namespace, "list", f"the pods of {namespace}", listed)
        return {item["metadata"]["name"]: _shown(item["metadata"]) for item in items or []}

    def _patch(self, namespace: str, name: str, cost: str | None) -> bool:
        off = self._writes_off()
        if off:
            raise _StoppedError(f"writing is switched off: {off}")
        if not self._may_write():
            raise _StoppedError("this process does not hold the Lease, so it writes nothing")
        patched = self._call(
            namespace,
            "patch",
            f"pod {namespace}/{name}",
            lambda: self._api.resource("Pod", "").patch(
                name=name,
                namespace=namespace,
                body={"metadata": {"annotations": {ANNOTATION: cost}}},
                content_type=_STRATEGIC,
                field_manager=FIELD_MANAGER,
            ),
        )
        return patched is not None

    def _call(self, namespace: str, verb: str, subject: str, call: Callable[[], Answer]) -> Answer | None:
        try:
            return call()
        except API_ERRORS as error:
            told = read_error(error, Rule("", "pods", verb, namespace), subject)
            if told.failure is Failure.GONE:
                return None
            raise _StoppedError(told.sentence, forbidden=told.failure is Failure.FORBIDDEN) from error


def _shown(metadata: dict[str, Any]) -> _Shown:
    cost = (metadata.get("annotations") or {}).get(ANNOTATION)
    return _Shown(cost, cost is not None and _wrote(metadata.get("managedFields") or []))


def _wrote(managed_fields: list[dict[str, Any]]) -> bool:
    """Whether aiops wrote the cost, as the API server keeps it."""
    return any(
        entry.get("manager") == FIELD_MANAGER
        and f"f:{ANNOTATION}" in entry.get("fieldsV1", {}).get("f:metadata", {}).get("f:annotations", {})
        for entry in managed_fields
    )
