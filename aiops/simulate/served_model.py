"""One model in virtual time: its load, its pools, and what happens to its replicas."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from heapq import heappop, heappush
from itertools import count

from aiops.model.policy import Objectives
from aiops.model.profile import CapacityProfile
from aiops.model.refs import PoolRef, Role
from aiops.simulate.cluster import Pool, Replica
from aiops.simulate.fleet import Source, VirtualFleet
from aiops.simulate.histogram import FleetHistograms
from aiops.simulate.kernel.layout import Records
from aiops.simulate.ledger import Ledger
from aiops.simulate.load import Load
from aiops.simulate.load.columns import no_requests
from aiops.simulate.requests import PS, RequestBatch
from aiops.simulate.settings import link_settings, pool_settings, profile_of
from aiops.simulate.spec import FactorySpec

_DRAWN_S = 600.0  # how far ahead of the present requests are drawn, in batches of bounded size
_MARKS = 6  # counters every 15 s, for rates over a minute
_ROLES = (Role.BOTH, Role.PREFILL, Role.DECODE)


class ServedModel:
    """A model's part of the factory. Times are seconds since the factory's start.

    Nothing that the fleet does changes what arrives, so two runs of a seed see the same requests. ``source`` replaces
    the load; ``shared`` tells whether it has shared content.
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
    ) -> None:
        self.ref = spec.ref
        self.ledger = Ledger(objectives)
        self._load = Load(spec.workload, seed, str(spec.ref), start)
        self._drawn_ps = 0
        self._batches: Iterator[RequestBatch] = iter(())
        pools = sorted(spec.pools, key=lambda pool: _ROLES.index(pool.role))
        found = [profile_of(pool, profiles) for pool in pools]
        shared = shared or (spec.workload is not None and spec.workload.shares)
        self.fleet = VirtualFleet(
            [pool_settings(spec, pool, profile, shared=shared) for pool, profile in zip(pools, found, strict=True)],
            link_settings(spec, found[0]),
            source or self._draw,
            seed=seed,
        )
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self.pools = tuple(
            Pool(
                PoolRef(spec.namespace, "Deployment", pool.name), pool.variant or pool.profile,
                profile.tensor_parallel, self.fleet, number, spec.cold_start, spec.router.affinity, seed, self.at,
            )
            for number, (pool, profile) in enumerate(zip(pools, found, strict=True))
        )  # fmt: skip
        for pool, described in zip(self.pools, pools, strict=True):
            pool.fill(described.replicas)
        self.marks: list[tuple[float, Records]] = []
        self.histograms = FleetHistograms(spec.max_model_len)
        self.on_outcomes: Callable[[Records], None] = self.histograms.take
        self.last_end_s = 0.0

    def at(self, when_s: float, action: Callable[[], None]) -> None:
        """Have something done at a time; what is due at the same time is done in the order of asking."""
        heappush(self._agenda, (when_s, next(self._order), action))

    def run_until(self, until_s: float) -> None:
        """Let everything happen that happens up to a time."""
        while self._agenda and self._agenda[0][0] <= until_s:
            when_s, _, action = heappop(self._agenda)
            self._advance(when_s)
            action()
        self._advance(until_s)
        for pool in self.pools:
            pool.remove_drained()

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

    def replicas(self) -> list[Replica]:
        """Give all replicas of all pools."""
        return [replica for pool in self.pools for replica in pool.replicas]

    @property
    def served(self) -> bool:
        """Whether all that will ever arrive has ended."""
        return self.fleet.exhausted and not self.fleet.in_flight

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
