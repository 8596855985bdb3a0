"""A model at zero has no engine that tells of it: Kubernetes does, with or without kube-state-metrics."""

from collections.abc import Iterator
from datetime import datetime

import pytest

from aiops.model.cluster import ClusterView, TargetView
from tests import parts
from tests.observe.world import look, only, policy

pytestmark = [pytest.mark.real, pytest.mark.slow]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus that scrapes nothing."""
    with parts.prometheus(tmp_path_factory.mktemp("prometheus"), []) as started:
        yield started


@pytest.mark.parametrize(
    ("replicas", "blind"),
    [
        pytest.param(0, False, id="none are asked for, and none are there"),
        pytest.param(1, True, id="one is asked for, and cannot be seen"),
        pytest.param(None, True, id="Kubernetes is not asked"),
    ],
)
def test_no_engine_is_no_blindness_where_none_should_be(url: str, replicas: int | None, blind: bool) -> None:
    stated, at = policy("llm", "m"), datetime.now().astimezone()
    (pool,) = stated.spec.pools
    view = None if replicas is None else ClusterView(at, (TargetView(stated.pool_ref(pool), replicas, "1"),))

    assert bool(only(look(url, at, stated, view=view)).blind) is blind
