"""A simulated token factory: models served by vLLM-like fleets in virtual time."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from aiops.model.policy import Objectives
from aiops.model.profile import CapacityProfile
from aiops.model.refs import ModelRef, PoolRef
from aiops.simulate.cluster import Pool, Replica
from aiops.simulate.fleet import Source
from aiops.simulate.ledger import MARK_S
from aiops.simulate.served_model import ServedModel
from aiops.simulate.spec import FactorySpec
from aiops.simulate.summary import FactorySummary, summarize


class Factory:
    """Models, their fleets and their load, deterministic in the seed; what arrives never depends on what is scaled.

    ``profiles`` are keyed by the names that the pools give; ``objectives`` by model, the policy's defaults where one
    is missing. ``source`` replaces the load of a single model; ``shared`` tells whether its requests share content.
    The hour of ``start`` (UTC) sets where in the day the load begins. Models know nothing of each other, so they may
    run on several ``threads``, with the same result. ``pool_kind`` is what their pools are.
    """

    def __init__(
        self,
        specs: Sequence[FactorySpec],
        profiles: Mapping[str, CapacityProfile],
        seed: int,
        start: datetime,
        objectives: Mapping[ModelRef, Objectives] | None = None,
        *,
        source: Source | None = None,
        shared: bool = False,
        threads: int = 1,
        pool_kind: type[Pool] = Pool,
    ) -> None:
        refs = [spec.ref for spec in specs]
        if len(set(refs)) < len(refs):
            raise ValueError(f"two models of the factory have the same name: {[*map(str, refs)]}")
        if source is not None and len(refs) > 1:
            raise ValueError(f"requests from outside go to one model, and the factory has {len(refs)}")
        promised = objectives or {}
        self.start = start
        self.models = tuple(
            ServedModel(
                spec,
                profiles,
                seed,
                start,
                promised.get(spec.ref, Objectives()),
                source=source,
                shared=shared,
                pool_kind=pool_kind,
            )
            for spec in specs
        )
        self._now_s = 0.0
        self._marks = 0
        self._threads = ThreadPoolExecutor(threads) if threads > 1 else None

    @property
    def now(self) -> datetime:
        """The virtual time."""
        return self.time(self._now_s)

    @property
    def now_s(self) -> float:
        """The virtual time in seconds since the start."""
        return self._now_s

    def time(self, seconds: float) -> datetime:
        """Give the virtual time at some seconds since the start."""
        return self.start + timedelta(seconds=seconds)

    def advance(self, until: datetime) -> None:
        """Let the factory run up to a time; the past is no error and does nothing."""
        until_s = (until - self.start).total_seconds()
        while self._now_s < until_s:
            mark_s = (self._marks + 1) * MARK_S
            self._now_s = min(mark_s, until_s)
            self._run_models(self._now_s)
            if self._now_s == mark_s:
                self._marks += 1
                for model in self.models:
                    model.mark(mark_s)

    def _run_models(self, until_s: float) -> None:
        if self._threads is None:
            for model in self.models:
                model.run_until(until_s)
        else:
            for done in [self._threads.submit(model.run_until, until_s) for model in self.models]:
                done.result()

    def run_out(self, limit: timedelta) -> None:
        """Let nothing more arrive, and run until all requests are answered or the limit is reached."""
        for model in self.models:
            model.stop_arrivals()
        last = self.now + limit
        while self.now < last and any(model.fleet.in_flight for model in self.models):
            self.advance(min(last, self.now + timedelta(seconds=MARK_S)))

    def pool(self, ref: PoolRef) -> Pool:
        """Find a pool. Raises ValueError where there is none of that name."""
        for model in self.models:
            for pool in model.pools:
                if pool.ref == ref:
                    return pool
        known = sorted(str(pool.ref) for model in self.models for pool in model.pools)
        raise ValueError(f"the factory has no pool {ref}; it has {known}")

    def price(self, ref: PoolRef) -> None:
        """Set what it costs to delete each replica of a pool, as an annotation would. ValueError as above."""
        self.pool(ref).price()

    def scale(self, ref: PoolRef, replicas: int) -> None:
        """Set the wanted replicas of a pool, now. Raises ValueError where there is no such pool or number."""
        if replicas < 0:
            raise ValueError(f"{ref} cannot have {replicas} replicas; ask for 0 or more")
        self.pool(ref).scale(replicas, self._now_s)
        for model in self.models:
            model.take_outcomes()  # a pod without grace has cut its streams

    def model_of(self, replica: Replica) -> ServedModel:
        """Give the model that a replica serves."""
        return next(model for model in self.models if replica.pool in model.pools)

    def live_replicas(self) -> Iterator[tuple[Pool, Replica]]:
        """Go through the replicas whose engines answer, ready and draining, with their pools."""
        for model in self.models:
            for pool in model.pools:
                for replica in pool.replicas:
                    if replica.live:
                        yield pool, replica

    def summary(self) -> FactorySummary:
        """Add up what happened so far."""
        return summarize(self.models, self._now_s)
