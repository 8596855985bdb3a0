"""An engine that went as Kubernetes says is none that was lost: it blinds nobody."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from aiops.model.cluster import ClusterView, PodView, TargetView
from aiops.model.refs import PoolRef
from aiops.observe.fleet import serves_no_more
from aiops.observe.identity import Pod

AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SERVES = PodView("chat-7d9f8b6c5d-bbbbb", "7d9f8b6c5d", AT, scheduled_at=AT, ready_at=AT)
POD = Pod("llm", "chat-7d9f8b6c5d-ccccc")


def view(*pods: PodView, name: str = "chat", problem: str = "") -> ClusterView:
    target = TargetView(PoolRef("llm", "Deployment", name), 2, "7", pods=(SERVES, *pods))
    return ClusterView(AT, targets=(target,), problem=problem)


@pytest.mark.parametrize(
    ("seen", "no_more"),
    [
        pytest.param(view(replace(SERVES, name=POD.name)), False, id="it is ready and does not answer"),
        pytest.param(view(replace(SERVES, name=POD.name, deleting_since=AT)), True, id="it leaves"),
        pytest.param(view(replace(SERVES, name=POD.name, ready_at=None)), True, id="it is not ready"),
        pytest.param(view(), True, id="it is gone"),
        pytest.param(view(name="other"), False, id="it is of no target"),
        pytest.param(view(problem="the API server does not answer"), False, id="the cluster is not seen"),
        pytest.param(None, False, id="no cluster is connected"),
    ],
)
def test_an_engine_is_lost_unless_kubernetes_says_that_it_went(seen: ClusterView | None, no_more: bool) -> None:
    assert serves_no_more(POD, seen) is no_more


def test_a_pod_of_another_namespace_is_another_one() -> None:
    assert not serves_no_more(replace(POD, namespace="elsewhere"), view())
