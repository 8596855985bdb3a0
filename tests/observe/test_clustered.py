"""What the metrics and the cluster say, put together."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from aiops.model.cluster import ClusterView, PodView, TargetView
from aiops.model.refs import ModelRef, PoolRef, Role
from aiops.model.snapshot import ModelSnapshot, PoolSnapshot, ReplicaSample, Snapshot
from aiops.observe.clustered import ClusteredObserver, merged

AT = datetime(2026, 3, 3, 9, 0, tzinfo=UTC)
POOL = PoolRef("llm", "Deployment", "chat")
COUNTED = PoolSnapshot(
    POOL, Role.BOTH, "v", 2, current_inferred=True, replicas=(ReplicaSample("a"), ReplicaSample("b"))
)


def pod(name: str, age: timedelta, ready: timedelta | None = None, **said: object) -> PodView:
    ready_at = None if ready is None else AT - ready
    return PodView(name, "r1", AT - age, scheduled_at=AT - age, ready_at=ready_at, **said)  # type: ignore[arg-type]


PODS = (
    pod("old", timedelta(hours=5), timedelta(hours=4, minutes=58)),
    pod("new", timedelta(seconds=100), timedelta(seconds=10)),
    pod("coming", timedelta(seconds=30)),
    pod("stuck", timedelta(minutes=30), pending_reason="waiting for nvidia.com/gpu: 4"),
    pod("going", timedelta(hours=5), timedelta(hours=4), deleting_since=AT),
    pod("again", timedelta(hours=1), timedelta(seconds=5), restarts=3),
    pod("crashing", timedelta(hours=1), restarts=9),
)
VIEW = ClusterView(AT, (TargetView(POOL, 6, "17", PODS),))


def test_the_cluster_says_what_is_asked_for_what_comes_and_what_goes() -> None:
    pool = merged(COUNTED, VIEW, AT - timedelta(seconds=15))

    assert (pool.current, pool.current_inferred, pool.draining, pool.ready) == (6, False, 1, 2)
    assert [(one.name, one.reason) for one in pool.starting] == [
        ("coming", ""),
        ("stuck", "waiting for nvidia.com/gpu: 4"),
    ]
    assert pool.target is VIEW.targets[0]


@pytest.mark.parametrize(
    ("since", "starts"),
    [
        pytest.param(AT - timedelta(seconds=15), (90.0,), id="ended since the last look"),
        pytest.param(AT - timedelta(seconds=5), (), id="told by the last look"),
        pytest.param(None, (), id="the first look: old news"),
    ],
)
def test_a_start_teaches_once_and_a_restart_teaches_nothing(since: datetime | None, starts: tuple[float, ...]) -> None:
    assert merged(COUNTED, VIEW, since).cold_starts_s == starts


def test_a_target_whose_scalers_may_not_be_listed_is_not_ours() -> None:
    rule = "may not list horizontalpodautoscalers in namespace llm"
    pool = merged(COUNTED, replace(VIEW, forbidden=(rule,)), None)

    assert pool.target is not None
    assert rule in pool.target.scaled_by


def test_without_the_right_to_read_a_target_its_count_is_told_but_nobody_acts_on_it() -> None:
    pool = merged(COUNTED, ClusterView(AT, forbidden=("may not list deployments in namespace llm",)), None)

    assert (pool.current, pool.current_inferred) == (2, True)
    assert pool.target is not None
    assert "may not list deployments" in pool.target.scaled_by


@pytest.mark.parametrize(
    "view",
    [
        pytest.param(ClusterView(AT, problem="the API server does not answer"), id="a lost API server"),
        pytest.param(ClusterView(AT, missing=(POOL,)), id="a target that is not there"),
    ],
)
def test_without_the_cluster_nobody_knows_how_many_are_asked_for(view: ClusterView) -> None:
    pool = merged(COUNTED, view, AT)

    assert (pool.current, pool.current_inferred, pool.ready) == (None, False, 2)


def test_starts_that_end_while_the_cluster_is_not_seen_are_told_after() -> None:
    class Metrics:
        def observe(self, view: ClusterView | None = None) -> Snapshot:
            return Snapshot(AT, (ModelSnapshot(ModelRef("llm", "m"), (COUNTED,)),))

    early = replace(VIEW, at=AT - timedelta(minutes=5), targets=())
    views = iter([early, ClusterView(AT - timedelta(minutes=1), problem="gone"), VIEW])
    observer = ClusteredObserver(Metrics(), lambda: next(views))
    pools = [observer.observe().models[0].pools[0] for _ in range(3)]

    assert [pool.current for pool in pools] == [None, None, 6]
    assert pools[2].cold_starts_s == (90.0,)
