"""One model in virtual time: its load, its pools, and the events between them."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from heapq import heappop, heappush

from aiops.model.policy import Objectives
from aiops.model.profile import CapacityProfile
from aiops.model.refs import PoolRef, Role
from aiops.simulate.cluster import Pool, Replica, ReplicaState
from aiops.simulate.counters import read_counters
from aiops.simulate.engine import EngineSettings
from aiops.simulate.ledger import Ledger
from aiops.simulate.request import Request
from aiops.simulate.router import Router
from aiops.simulate.spec import FactorySpec, PoolSpec
from aiops.simulate.timing import StepTimes
from aiops.simulate.workload import Workload

_UNCOUNTED = 2000  # ended requests of an engine, kept one by one until they are this many


class ServedModel:
    """A model's part of the factory. Times are seconds since the factory's start.

    Nothing that the fleet does changes what arrives, so two runs of a seed see the same requests.
    """

    def __init__(
        self,
        spec: FactorySpec,
        profiles: Mapping[str, CapacityProfile],
        seed: int,
        start: datetime,
        objectives: Objectives,
    ) -> None:
        self.ref = spec.ref
        self.ledger = Ledger(objectives)
        self.pools = tuple(_build_pool(spec, pool, profiles, seed) for pool in spec.pools)
        self._workload = Workload(spec.workload, seed, str(spec.ref), start)
        self._entry = next(pool for pool in self.pools if pool.role is not Role.DECODE)
        self._decode = next((pool for pool in self.pools if pool.role is Role.DECODE), None)
        self._pull_s = spec.transfer.latency.total_seconds()
        self._pull_s_per_token = spec.transfer.seconds_per_token
        self._sources: dict[Request, Replica] = {}  # who holds the KV of a prompt that is to be decoded elsewhere
        # A heap of (when, number, replica, request). With a request: its KV arrives at the replica. Without: the
        # replica becomes ready if it is still starting, else its step ends; an event that was overtaken has another
        # number than the one its engine waits for.
        self._events: list[tuple[float, int, Replica, Request | None]] = []
        self._number = 0

    def run_until(self, until_s: float) -> None:
        """Let everything happen that happens up to a time."""
        events, workload = self._events, self._workload
        while True:
            if events and events[0][0] <= workload.next_s:
                if events[0][0] > until_s:
                    return
                now_s, number, replica, request = heappop(events)
                if request is not None:
                    self._kv_arrives(request, replica, now_s)
                elif replica.engine.event == number:
                    self._step_ends(replica, now_s)
                elif replica.state is ReplicaState.STARTING:
                    self._becomes_ready(replica, now_s)
            elif workload.next_s <= until_s:
                self._arrives(workload.take())
            else:
                return

    def stop_arrivals(self) -> None:
        """Let no further request arrive."""
        self._workload.stop()

    def scale(self, pool: Pool, wanted: int, now_s: float) -> None:
        """Set the wanted replicas of one of the model's pools."""
        for ready_at_s, replica in pool.scale(wanted, now_s):
            self._number += 1
            heappush(self._events, (ready_at_s, self._number, replica, None))

    def mark(self, now_s: float) -> None:
        """Note the counters, for rates over the last minutes."""
        self.ledger.mark(now_s)
        for pool in self.pools:
            for replica in pool.replicas:
                if len(replica.engine.ended) > _UNCOUNTED:
                    replica.engine.request_histograms()
                if replica.live:
                    replica.marks.append(read_counters(replica.engine, now_s))

    def in_flight(self) -> Iterator[Request]:
        """Go through all requests that have arrived and not ended, each once."""
        for pool in self.pools:
            yield from pool.queue
            for replica in pool.replicas:
                yield from replica.engine.requests()
        for _, _, _, request in self._events:
            if request is not None:
                yield request

    def _arrives(self, request: Request) -> None:
        self.ledger.arrived += 1
        entry = self._entry
        replica = entry.router.pick(entry.ready, request.key)
        if replica is None:
            entry.queue.append(request)
        else:
            self._expect(replica, replica.engine.submit(request, request.arrival_s))

    def _step_ends(self, replica: Replica, now_s: float) -> None:
        engine = replica.engine
        for request in engine.end_step(now_s):
            if engine.decodes or request.output == 1:
                self.ledger.finish(request, now_s)
            else:
                self._sources[request] = replica
                self._route_to_decode(request, now_s)
        if engine.waiting and not engine.computes:
            self._pull(replica, engine.start_pulls(), now_s)
        self._expect(replica, engine.begin_step(now_s))
        if replica.state is ReplicaState.DRAINING:
            replica.pool.remove_drained(replica, now_s)

    def _route_to_decode(self, request: Request, now_s: float) -> None:
        if self._decode is None:  # FactorySpec pairs each prefill pool with a decode pool
            raise ValueError(f"{self.ref} has a prefill pool and none for decode")
        replica = self._decode.router.pick(self._decode.ready, request.key)
        if replica is None:
            self._decode.queue.append(request)
        else:
            self._pull(replica, replica.engine.submit_computed(request, now_s), now_s)

    def _pull(self, replica: Replica, requests: list[Request], now_s: float) -> None:
        for request in requests:
            self._number += 1
            arrives_s = now_s + self._pull_s + self._pull_s_per_token * request.prompt
            heappush(self._events, (arrives_s, self._number, replica, request))

    def _kv_arrives(self, request: Request, replica: Replica, now_s: float) -> None:
        source = self._sources.pop(request)
        self._expect(source, source.engine.release(request, now_s))
        source.pool.remove_drained(source, now_s)
        self._expect(replica, replica.engine.join(request, now_s))

    def _becomes_ready(self, replica: Replica, now_s: float) -> None:
        pool = replica.pool
        pool.become_ready(replica, now_s)
        queued = list(pool.queue)
        pool.queue.clear()
        for request in queued:
            if pool.role is Role.DECODE:
                self._route_to_decode(request, now_s)
            else:
                self._expect(replica, replica.engine.submit(request, now_s))

    def _expect(self, replica: Replica, ends_s: float | None) -> None:
        """Wait for the end of a step; any other end that was expected of the replica is void."""
        if ends_s is not None:
            self._number += 1
            replica.engine.event = self._number
            heappush(self._events, (ends_s, self._number, replica, None))


def _build_pool(spec: FactorySpec, pool: PoolSpec, profiles: Mapping[str, CapacityProfile], seed: int) -> Pool:
    profile = profiles.get(pool.profile)
    if profile is None:
        raise ValueError(f"pool {pool.name!r} names profile {pool.profile!r}; there are {sorted(profiles)}")
    load = spec.workload
    if load is not None and load.longest > profile.kv_tokens:
        raise ValueError(
            f"the longest request, {load.longest} tokens, does not fit into the {profile.kv_tokens} KV tokens of "
            f"profile {pool.profile!r}: lower the max of inputTokens or outputTokens"
        )
    settings = EngineSettings(
        model=spec.model,
        role=pool.role,
        times=StepTimes(profile, spec.max_model_len),
        kv_tokens=profile.kv_tokens,
        max_num_seqs=profile.limits.max_num_seqs,
        max_num_batched_tokens=profile.limits.max_num_batched_tokens,
        max_model_len=spec.max_model_len,
        prefix_share=load.prefix_share if load else 0.0,
        warmup_tokens=load.warmup_tokens if load else 1,
    )
    ref = PoolRef(spec.namespace, "Deployment", pool.name)
    built = Pool(
        ref, pool.variant or pool.profile, profile.tensor_parallel, settings, Router(spec.router), spec.cold_start, seed
    )
    built.fill(pool.replicas)
    return built
