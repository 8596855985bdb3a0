"""aiops' own metrics: one registry a loop, read by Prometheus, the dashboards and the alerts."""

import time
from collections.abc import Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from aiops.act.families import POOL, Gauges, Latest, fill, pool_specs
from aiops.model.cycle import Cycle
from aiops.model.decision import Outcome
from aiops.model.policy import PolicySet
from aiops.model.refs import PoolRef

_DURATION_BUCKETS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0)


class Emitter(Collector):
    """The metrics of one loop.

    Gauges are made from the newest cycle at each scrape, so a model or pool that is gone leaves with it; counters only
    grow. Nothing here can see that the loop has stopped: the gauges then keep their last values, and
    ``aiops_loop_last_success_timestamp_seconds`` is what tells. It moves with each cycle that saw the world, and is 0
    before the first; a blind cycle does not move it.
    """

    def __init__(self, version: str, interval_s: float) -> None:
        # Each counter would otherwise bring a second family with its birth time, which nobody reads.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client leaves it untyped
        self._version, self._interval_s = version, interval_s
        self._latest: Latest | None = None
        self._last_success_s = 0.0
        self._policy_load_failed = False
        self._stage, self._stage_began_s = "", 0.0
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._duration = Histogram(
            "aiops_loop_duration_seconds",
            "Seconds that one stage of a cycle took.",
            ("stage",),
            buckets=_DURATION_BUCKETS_S,
            registry=self._registry,
        )
        self._errors = Counter(
            "aiops_loop_errors", "Stages of the loop that failed.", ("stage",), registry=self._registry
        )
        self._decisions = Counter(
            "aiops_decisions",
            "Decisions, once for each reason that applied: summing over reasons counts a decision several times.",
            (*POOL, "direction", "reason"),
            registry=self._registry,
        )
        self._scale_events = Counter(
            "aiops_scale_events",
            "Changes of a pool's replicas that aiops carried out.",
            (*POOL, "direction"),
            registry=self._registry,
        )

    def record(self, cycle: Cycle, policies: PolicySet, leads: bool = True) -> None:
        """Take over a cycle. A process that does not lead exports no desired replicas, so that no two can disagree."""
        seen: dict[PoolRef, frozenset[str]] = dict(self._latest.limits_seen) if self._latest else {}
        for decision in cycle.decisions:
            limits = {reason.value for reason in decision.reasons if reason.limit}
            seen[decision.pool] = seen.get(decision.pool, frozenset()) | limits
        latest = Latest(cycle, policies, leads, seen, pool_specs(policies))
        for decision in cycle.decisions:
            labels = latest.labels(decision.ref, decision.pool, decision.role)
            # A number that is kept asked for while the metrics cannot be believed is a hold, wherever it points.
            direction = decision.direction if decision.acts else "hold"
            for reason in decision.reasons:
                self._decisions.labels(*labels, direction, reason.value).inc()
        if not cycle.blind:
            self._last_success_s = cycle.at.timestamp()
        # One assignment: a scrape in another thread sees the old cycle or the new one, never half of each.
        self._latest = latest

    def outcome(self, outcome: Outcome) -> None:
        """Count what came of a decision: a change that was applied, or an error of the stage ``act``."""
        if not outcome.applied:
            self.error("act")
            return
        decisions = self._latest.cycle.decisions if self._latest else ()
        decision = next((decision for decision in decisions if decision.pool == outcome.pool), None)
        if self._latest is not None and decision is not None and decision.change:
            labels = self._latest.labels(decision.ref, decision.pool, decision.role)
            self._scale_events.labels(*labels, decision.direction).inc()

    def stage(self, name: str) -> None:
        """Time the loop: told as each stage begins, and with an empty name when the turn is over."""
        now_s = time.perf_counter()
        if self._stage:
            self._duration.labels(self._stage).observe(now_s - self._stage_began_s)
        self._stage, self._stage_began_s = name, now_s

    def error(self, stage: str = "") -> None:
        """Count a failure of a stage; of the one under way unless it is named."""
        self._errors.labels(stage or self._stage or "observe").inc()

    def policy_load(self, failed: bool) -> None:
        """Say whether the policy files on disk are broken and the last good ones in use."""
        self._policy_load_failed = failed

    def expose(self) -> bytes:
        """Give all metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Give the gauges of the newest cycle; prometheus_client calls this at each scrape."""
        gauges = Gauges()
        latest = self._latest
        gauges.set("aiops_build_info", (self._version,), 1)
        gauges.set("aiops_leader", (), latest is not None and latest.leads)
        gauges.set("aiops_loop_interval_seconds", (), self._interval_s)
        gauges.set("aiops_loop_last_success_timestamp_seconds", (), self._last_success_s)
        gauges.set("aiops_policy_load_failed", (), self._policy_load_failed)
        if latest is not None:
            fill(gauges, latest)
        yield from gauges.families()
