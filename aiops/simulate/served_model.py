"""One model in virtual time: its load, its pools, and what happens to its replicas."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from heapq import heappop, heappush
from itertools import count

from aiops.model.policy import Objectives
from aiops.model.profile import CapacityProfile
from aiops.model.refs import PoolRef, Role
from aiops.simulate.cluster import Cluster, Pool, PoolSetup, Replica
from aiops.simulate.faults.injection import Injection
from aiops.simulate.fleet import Source, VirtualFleet
from aiops.simulate.histogram import FleetHistograms
from aiops.simulate.kernel.layout import Records
from aiops.simulate.ledger import Ledger
from aiops.simulate.load import Load
from aiops.simulate.load.columns import no_requests
from aiops.simulate.nodes import Inventory
from aiops.simulate.requests import PS, RequestBatch
from aiops.simulate.settings import link_settings, pool_settings, profile_of
from aiops.simulate.spec import FactorySpec, PoolSpec

_DRAWN_S = 600.0  # how far ahead of the present requests are drawn, in batches of bounded size
_MARKS = 6  # counters every 15 s, for rates over a minute
_ROLES = (Role.BOTH, Role.PREFILL, Role.DECODE)


class ServedModel:
    """A model's part of the factory. Times are seconds since the factory's start.

    Nothing that the fleet does changes what arrives, so two runs of a seed see the same requests. ``source`` replaces
    the load; ``shared`` tells whether it has shared content. ``pool_kind`` is what its pools are.
    """

    def __init__(
        self,
        spec: FactorySpec,
        profiles: Mapping[str, CapacityProfile],
        seed: int,
        start: datetime,
        objectives: Objectives,
        source: Source | None = None,
        *,
        shared: bool = False,
        pool_kind: type[Pool] = Pool,
    ) -> None:
        self.ref = spec.ref
        self.ledger = Ledger(objectives)
        self._load = Load(spec.workload, seed, str(spec.ref), start)
        self._drawn_ps = 0
        self._batches: Iterator[RequestBatch] = iter(())
        pools = sorted(spec.pools, key=lambda pool: _ROLES.index(pool.role))
        found = [profile_of(pool, profiles) for pool in pools]
        shared = shared or (spec.workload is not None and spec.workload.shares)
        links = link_settings(spec, found[0])
        self.fleet = VirtualFleet(
            [pool_settings(spec, pool, profile, shared=shared) for pool, profile in zip(pools, found, strict=True)],
            links,
            source or self._draw,
            seed=seed,
        )
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._changed_s: float | None = None
        self.on_change: Callable[[float], None] = lambda _: None
        self.inventory = Inventory([node for described in spec.nodes for node in described.nodes])
        self._cluster = Cluster(self.fleet, self.inventory, self.at, self._note_change)
        self.pools = tuple(
            pool_kind(_setup(spec, pool, profile, self.inventory), self._cluster, number, seed)
            for number, (pool, profile) in enumerate(zip(pools, found, strict=True))
        )
        for pool, described in zip(self.pools, pools, strict=True):
            pool.fill(described.replicas)
        self.faults = Injection(spec, self.pools, self._cluster, links)
        self._plan_scaling(spec)
        self.marks: list[tuple[float, Records]] = []
        self.histograms = FleetHistograms(spec.max_model_len)
        self.on_outcomes: Callable[[Records], None] = self.histograms.take
        self.last_end_s = 0.0

    def at(self, when_s: float, action: Callable[[], None]) -> None:
        """Have something done at a time; what is due at the same time is done in the order of asking."""
        heappush(self._agenda, (when_s, next(self._order), action))

    def run_until(self, until_s: float) -> None:
        """Let everything happen up to a time; ``on_change`` is told each time at which replicas changed."""
        self._tell_change()
        while self._agenda and self._agenda[0][0] <= until_s:
            when_s, _, action = heappop(self._agenda)
            self._advance(when_s)
            action()
            if not self._agenda or self._agenda[0][0] > when_s:
                self._tell_change()
        self._advance(until_s)

    def stop_arrivals(self) -> None:
        """Let no further request arrive."""
        self.fleet.stop_arrivals()

    def mark(self, now_s: float) -> None:
        """Note the counters, for rates over the last minutes."""
        self.settle()
        self.ledger.mark(now_s, self.fleet.arrived)
        self.marks.append((now_s, self.fleet.engines.copy()))
        del self.marks[:-_MARKS]

    def settle(self) -> None:
        """Bring the engines' records to the present, so that they can be read."""
        self.fleet.settle()

    @property
    def engine_names(self) -> list[str]:
        """Name the replica of every engine that there has been, by incarnation."""
        return self._cluster.names

    def replicas(self) -> list[Replica]:
        """Give all replicas of all pools."""
        return [replica for pool in self.pools for replica in pool.replicas]

    @property
    def served(self) -> bool:
        """Whether all that will ever arrive has ended."""
        return self.fleet.exhausted and not self.fleet.in_flight

    def _note_change(self, now_s: float) -> None:
        self._changed_s = now_s

    def _tell_change(self) -> None:
        if self._changed_s is not None:
            when_s, self._changed_s = self._changed_s, None
            self.on_change(when_s)

    def _plan_scaling(self, spec: FactorySpec) -> None:
        pools = {pool.ref.name: pool for pool in self.pools}
        for move in spec.scale:
            pool, at_s = pools[spec.pool_named(move.pool).name], move.at.total_seconds()
            self.at(at_s, lambda pool=pool, wanted=move.replicas, at_s=at_s: pool.scale(wanted, at_s))  # type: ignore[misc]

    def _advance(self, until_s: float) -> None:
        self.fleet.advance(round(until_s * PS))
        self.take_outcomes()

    def take_outcomes(self) -> None:
        """Count what ended since the last time, and hand it on."""
        ended, self.fleet.outcomes = self.fleet.outcomes, []
        for rows in ended:
            self.ledger.take(rows)
            self.last_end_s = max(self.last_end_s, int(rows["finish"].max()) / PS, int(rows["arrival"].max()) / PS)
            self.on_outcomes(rows)

    def _draw(self) -> tuple[RequestBatch, int] | None:
        batch = next(self._batches, None)
        if batch is not None:
            return batch, int(batch.arrival_ps[-1])
        known_ps, self._drawn_ps = self._drawn_ps, self._drawn_ps + round(_DRAWN_S * PS)
        self._batches = self._load.batches(self._drawn_ps)
        return no_requests(), known_ps


def _setup(spec: FactorySpec, pool: PoolSpec, profile: CapacityProfile, inventory: Inventory) -> PoolSetup:
    if inventory.largest is not None and profile.tensor_parallel > inventory.largest:
        raise ValueError(
            f"a replica of pool {pool.name!r} needs {profile.tensor_parallel} GPUs on one node, and the largest node "
            f"has {inventory.largest}"
        )
    return PoolSetup(
        ref=PoolRef(spec.namespace, pool.kind, pool.name),
        variant=pool.variant or pool.profile,
        gpus=profile.tensor_parallel,
        cold_start=pool.cold_start or spec.cold_start,
        grace_s=spec.termination_grace_period.total_seconds(),
        affinity=spec.router.affinity,
    )
