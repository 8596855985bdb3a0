"""Who else sets replicas: which scaler owns which target, and who wrote the number last."""

from datetime import UTC, datetime
from typing import Any

import pytest

from aiops.model.refs import PoolRef
from aiops.observe.cluster_owners import last_writer, read_autoscaler, read_scaled_object, scaled_by

CHAT = PoolRef("llm", "Deployment", "chat")
GROUPS = "leaderworkerset.x-k8s.io"


def autoscaler(target: dict[str, str], **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": "one", "namespace": "llm", **metadata}, "spec": {"scaleTargetRef": target}}


@pytest.mark.parametrize(
    ("item", "pool", "group", "wanted"),
    [
        pytest.param(
            autoscaler({"apiVersion": "apps/v1", "kind": "Deployment", "name": "chat"}),
            CHAT,
            "apps",
            "HorizontalPodAutoscaler llm/one",
            id="an autoscaler of the target",
        ),
        pytest.param(
            autoscaler({"kind": "Deployment", "name": "chat"}),
            CHAT,
            "apps",
            "HorizontalPodAutoscaler llm/one",
            id="an autoscaler that names no API group",
        ),
        pytest.param(
            autoscaler({"apiVersion": f"{GROUPS}/v2", "kind": "LeaderWorkerSet", "name": "huge"}),
            PoolRef("llm", "LeaderWorkerSet", "huge"),
            GROUPS,
            "HorizontalPodAutoscaler llm/one",
            id="an autoscaler that names another version",
        ),
        pytest.param(
            autoscaler({"apiVersion": "apps.example/v1", "kind": "Deployment", "name": "chat"}),
            CHAT,
            "apps",
            "",
            id="an autoscaler of another group's kind",
        ),
        pytest.param(
            autoscaler({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "chat"}),
            CHAT,
            "apps",
            "",
            id="an autoscaler of another kind",
        ),
        pytest.param(
            autoscaler({"apiVersion": "apps/v1", "kind": "Deployment", "name": "chat"}, namespace="other"),
            CHAT,
            "apps",
            "",
            id="an autoscaler in another namespace",
        ),
        pytest.param(
            autoscaler(
                {"apiVersion": "apps/v1", "kind": "Deployment", "name": "chat"},
                ownerReferences=[{"kind": "ScaledObject", "name": "keda-chat", "uid": "1"}],
            ),
            CHAT,
            "apps",
            "ScaledObject llm/keda-chat",
            id="an autoscaler that KEDA made",
        ),
    ],
)
def test_an_autoscaler_owns_the_target_that_it_names(
    item: dict[str, Any], pool: PoolRef, group: str, wanted: str
) -> None:
    assert scaled_by(pool, group, [read_autoscaler(item)]) == wanted


@pytest.mark.parametrize(
    ("target", "owns"),
    [
        pytest.param({"name": "chat"}, True, id="a name alone is a Deployment's"),
        pytest.param({"apiVersion": "apps/v1", "kind": "Deployment", "name": "chat"}, True, id="all is named"),
        pytest.param({"kind": "StatefulSet", "name": "chat"}, False, id="another kind"),
        pytest.param({"name": "other"}, False, id="another name"),
    ],
)
def test_a_scaled_object_owns_the_target_that_it_names(target: dict[str, str], owns: bool) -> None:
    scaler = read_scaled_object(autoscaler(target))

    assert scaled_by(CHAT, "apps", [scaler]) == ("ScaledObject llm/one" if owns else "")


def wrote(manager: str, time: str | None, *fields: str, subresource: str = "") -> dict[str, Any]:
    entry: dict[str, Any] = {"manager": manager, "fieldsV1": {"f:spec": {field: {} for field in fields}}}
    entry |= {"time": time} if time else {}
    return entry | ({"subresource": subresource} if subresource else {})


EIGHT, NINE = datetime(2026, 3, 1, 8, tzinfo=UTC), datetime(2026, 3, 1, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("entries", "wanted"),
    [
        pytest.param([], ("", None), id="nobody is named"),
        pytest.param(
            [wrote("helm", "2026-03-01T08:00:00Z", "f:replicas", "f:template")], ("helm", EIGHT), id="one wrote all"
        ),
        pytest.param(
            [
                wrote("helm", "2026-03-01T09:00:00Z", "f:template"),
                wrote("kubectl-edit", "2026-03-01T08:00:00Z", "f:replicas"),
            ],
            ("kubectl-edit", EIGHT),
            id="who wrote other fields later is not named",
        ),
        pytest.param(
            [
                wrote("helm", "2026-03-01T08:00:00Z", "f:template"),
                wrote("kubectl-scale", None, "f:replicas", subresource="scale"),
            ],
            ("kubectl-scale", None),
            id="through scale, of which no time is kept",
        ),
        pytest.param(
            [
                wrote("argocd", "2026-03-01T08:00:00Z", "f:replicas"),
                wrote("helm", "2026-03-01T09:00:00Z", "f:replicas"),
                wrote("aiops", None, "f:replicas", subresource="scale"),
            ],
            ("helm", NINE),
            id="of several who wrote the same number, the last one with a time",
        ),
        pytest.param(
            [{"manager": "kubelet", "time": "2026-03-01T08:00:00Z", "fieldsV1": {"f:status": {"f:replicas": {}}}}],
            ("", None),
            id="replicas in the status are another thing",
        ),
    ],
)
def test_the_last_writer_of_replicas_is_named(
    entries: list[dict[str, Any]], wanted: tuple[str, datetime | None]
) -> None:
    assert last_writer({"managedFields": entries}) == wanted
