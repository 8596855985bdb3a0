"""Looks at all models through one Prometheus, once a cycle."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil

from aiops.model.cluster import ClusterView
from aiops.model.demand import TokenDemand
from aiops.model.policy import PolicySet, PoolSpec, ScalingPolicy
from aiops.model.refs import ModelRef, PoolRef, Role
from aiops.model.snapshot import Latency, ModelSnapshot, PoolSnapshot, SignalHealth, SignalState, Snapshot
from aiops.observe import queries
from aiops.observe.catalogue import ITL, RUNNING, TTFT, WAITING, Metric
from aiops.observe.demand import Member, read_demand
from aiops.observe.engines import Answers, Engine, EngineHistograms, Window, read_timelines, scrape_interval_s
from aiops.observe.fleet import Fleet, read_fleet
from aiops.observe.gateway import Gateways
from aiops.observe.identity import Group, Naming
from aiops.observe.latency import Histogram, read_histogram, read_latency, snapped
from aiops.observe.pools import pool_of
from aiops.observe.prometheus import PrometheusClient, PrometheusError
from aiops.observe.queries import Now, Over
from aiops.observe.signals import signal_health, stray_health, why_unseen
from aiops.observe.sizes import read_sizes

_LOOK_S = 240
"""How far back single scrapes are read: four of the slowest pace that is supported, one a minute."""
_SCRAPES_PER_WINDOW = 4
_LOST_RATIO = 0.1
"""More engines lost than this, and what is left says too little about the model."""


@dataclass(frozen=True, slots=True)
class PrometheusObserver:
    """Observes through Prometheus: the same number of queries each time, whatever is served.

    ``window`` is what rates are taken over; it grows to four scrapes where engines are scraped more slowly.
    """

    client: PrometheusClient
    policies: Callable[[], PolicySet]
    now: Callable[[], datetime]
    window: timedelta = timedelta(minutes=1)

    def observe(self, view: ClusterView | None = None) -> Snapshot:
        """Take one frozen snapshot. A Prometheus that cannot be believed gives a blind one, never an error.

        ``view`` is what Kubernetes says of the same pods, where it is asked: an engine that went as it should is none
        that was lost.
        """
        at, policies = self.now(), self.policies().policies
        naming = Naming(policy.ref for policy in policies)
        matchers, deadline = self.client.access.matchers, self.client.deadline()
        window_s = max(1, ceil(self.window.total_seconds()))
        asked = queries.now(matchers, max(_LOOK_S, window_s + _LOOK_S // 4))
        count = len(asked)
        try:
            present = self.client.ask(asked, at, deadline)
            timelines = read_timelines(present[Now.LOAD], naming)
            pace_s = scrape_interval_s(timelines)
            length_s = max(window_s, min(ceil(_SCRAPES_PER_WINDOW * (pace_s or 0.0)), _LOOK_S))
            asked_over = queries.over(matchers, length_s)
            count += len(asked_over)
            answers = Answers(present, self.client.ask(asked_over, at, deadline))
        except PrometheusError as error:
            return Snapshot(
                at, tuple(_unseen(policy, str(error)) for policy in policies), blind=str(error), queries=count
            )
        fleet = read_fleet(answers, timelines, naming, Window(at.timestamp(), float(length_s), pace_s), view)
        histograms, gateways = EngineHistograms(answers, naming), Gateways(answers)
        managed = {policy.ref for policy in policies}
        return Snapshot(
            at=at,
            models=tuple(_Look(policy, fleet, histograms, gateways, view).model() for policy in policies),
            unmanaged=tuple(sorted(set(fleet.engines) - managed)),
            queries=count,
        )


def _unseen(policy: ScalingPolicy, why: str) -> ModelSnapshot:
    pools = tuple(PoolSnapshot(policy.pool_ref(pool), pool.role, pool.variant, None) for pool in policy.spec.pools)
    return ModelSnapshot(policy.ref, pools, blind=why)


@dataclass(frozen=True, slots=True)
class _Look:
    """One policy's view of the fleet."""

    policy: ScalingPolicy
    fleet: Fleet
    histograms: EngineHistograms
    gateways: Gateways
    view: ClusterView | None

    @property
    def ref(self) -> ModelRef:
        return self.policy.ref

    def model(self) -> ModelSnapshot:
        """Give the model's snapshot, blind where its numbers may not be used."""
        placed = [
            (engine, pool_of(engine.pod, engine.group, self.policy, self.fleet.cluster))
            for engine in self.fleet.engines.get(self.ref, ())
        ]
        members: list[Member] = [(engine, pool.role) for engine, pool in placed if pool is not None]
        strays = [engine for engine, pool in placed if pool is None]
        ttft, itl = self._latencies(members)
        objectives = self.policy.spec.objectives
        signals = signal_health(self.ref, self.fleet, self.policy) + stray_health(strays)
        signals = _told(signals, TTFT, snapped(ttft, objectives.ttft))
        signals = _told(signals, ITL, snapped(itl, objectives.itl))
        blind = self._blind(members, strays, signals)
        return ModelSnapshot(
            ref=self.ref,
            pools=tuple(
                self._pool(pool, [engine for engine, other in placed if other is pool], bool(blind))
                for pool in self.policy.spec.pools
            ),
            demand=None if blind else self._demand(members),
            latency=read_latency(ttft, itl, objectives) if members else Latency(),
            signals=signals,
            blind=blind,
        )

    def _pool(self, pool: PoolSpec, engines: list[Engine], blind: bool) -> PoolSnapshot:
        target = self.policy.pool_ref(pool)
        asked = self._asked(target)
        # What a blind look counts may be a part: better not known than too low.
        counted = None if blind else len(engines)
        return PoolSnapshot(
            pool=target,
            role=pool.role,
            variant=pool.variant,
            current=counted if asked is None else asked,
            current_inferred=asked is None,
            replicas=tuple(engine.sample for engine in engines),
        )

    def _asked(self, target: PoolRef) -> int | None:
        """Give ``spec.replicas``: by Kubernetes where it is asked, else by kube-state-metrics.

        There a LeaderWorkerSet keeps its leaders in a StatefulSet of its own name.
        """
        known = self.view.target(target) if self.view is not None else None
        if known is not None:
            return known.replicas
        kind = "StatefulSet" if target.kind == "LeaderWorkerSet" else target.kind
        return self.fleet.cluster.replicas.get(replace(target, kind=kind))

    def _blind(self, members: list[Member], strays: list[Engine], signals: tuple[SignalHealth, ...]) -> str:
        if not self.fleet.engines.get(self.ref):
            asked = [self._asked(self.policy.pool_ref(pool)) for pool in self.policy.spec.pools]
            return "" if set(asked) == {0} else why_unseen(self.ref, self.fleet, self.policy)[1]
        clusters = self.fleet.clusters.get(self.ref, ())
        if len(clusters) > 1:
            return (
                f"its series come from several clusters ({', '.join(clusters)}), and adding them up would be wrong: "
                f'give a matcher such as cluster="{clusters[0]}"'
            )
        if not members:
            return stray_health(strays)[0].detail
        lost = len(self.fleet.lost.get(self.ref, ()))
        for signal in signals:
            if signal.signal == RUNNING.name and lost > _LOST_RATIO * (lost + len(members)):
                return signal.detail
            if signal.signal in (RUNNING.name, WAITING.name) and signal.state is SignalState.ABSENT:
                return f"{signal.signal}: {signal.detail}"
        return ""

    def _demand(self, members: list[Member]) -> TokenDemand | None:
        sizes = read_sizes(self.histograms, self.ref, _where_requests_end(members))
        return read_demand(members, self.gateways.load(self.policy), sizes, self.fleet.window)

    def _latencies(self, members: list[Member]) -> tuple[Histogram | None, Histogram | None]:
        """Read TTFT and ITL where users feel them: TTFT at the router if there is one, else where decoding is done."""
        groups = _where_requests_end(members)
        ttft = read_histogram(self.gateways.ttft_buckets(self.policy)) or read_histogram(
            self.histograms.of(Over.TTFT_BUCKETS, self.ref, groups)
        )
        return ttft, read_histogram(self.histograms.of(Over.ITL_BUCKETS, self.ref, groups))


def _where_requests_end(members: list[Member]) -> frozenset[Group]:
    """Give the pods through which every request passes once: a prefill pod serves the same ones, with one token."""
    return frozenset(engine.group for engine, role in members if role is not Role.PREFILL)


def _told(signals: tuple[SignalHealth, ...], metric: Metric, note: str) -> tuple[SignalHealth, ...]:
    """Add a remark to what is said of one metric."""
    if not note:
        return signals
    return tuple(
        replace(one, detail="; ".join(filter(None, (one.detail, note)))) if one.signal == metric.name else one
        for one in signals
    )
