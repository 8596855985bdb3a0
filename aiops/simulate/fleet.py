"""A fleet of engines in virtual time: the compiled inner loop behind plain calls.

Engines are numbers, times whole picoseconds since the start. What the fleet does is deterministic, and cutting a run
into shorter ones changes nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from aiops.model.refs import Role
from aiops.simulate.kernel.arrays import build, clear_engine, grow_engines, grow_room
from aiops.simulate.kernel.entries import (
    CALL_GATEWAY,
    CHANGE_SPEED,
    FAIL,
    FLUSH,
    HOLD_BLOCKS,
    LOOK_NEXT,
    SETTLE,
    SETTLE_ALL,
    intervene,
)
from aiops.simulate.kernel.events import advance
from aiops.simulate.kernel.layout import (
    ENDED,
    FOR_EVER,
    FREE,
    HOLDING,
    LEAST_LOADED,
    MORE_ARRIVALS,
    MORE_ROOM,
    NEVER,
    RANDOM,
    RESERVED,
    ROUND_ROBIN,
    SCORED,
    Arrivals,
    Ints,
    Records,
)
from aiops.simulate.requests import RequestBatch, plain_batch
from aiops.simulate.step_law import StepLaw

FULL_SPEED = 1024
"""An engine's ``slow`` at the speed of its law; twice as much makes its steps take twice as long."""


class RouterKind(StrEnum):
    """How a request finds its replica."""

    LEAST_LOADED = "least_loaded"
    """The least pending work: requests, or prompt tokens where the role is prefill."""
    ROUND_ROBIN = "round_robin"
    """Each in turn."""
    RANDOM = "random"
    """Any, each as likely."""
    SCORED = "scored"
    """The highest weighted sum of prefix match, short queue and free KV, as llm-d's endpoint picker chooses."""


_ROUTERS = {
    RouterKind.LEAST_LOADED: LEAST_LOADED,
    RouterKind.ROUND_ROBIN: ROUND_ROBIN,
    RouterKind.RANDOM: RANDOM,
    RouterKind.SCORED: SCORED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """How the engines of a pool are set up, in vLLM's words and with its defaults.

    ``kv_tokens`` is the size of the KV cache. ``stop_tokens``: answers end at a stop token, which the scheduler cannot
    foresee, instead of at a length that it knows.
    """

    law: StepLaw
    kv_tokens: int
    max_num_seqs: int
    max_num_batched_tokens: int
    max_model_len: int
    block_size: int = 16
    prefix_caching: bool = True
    async_scheduling: bool = True
    long_prefill_token_threshold: int = 0
    long_prefill_token_threshold_adaptive: bool = False
    watermark: float = 0.0
    reserve_full_isl: bool = True
    stop_tokens: bool = False

    @property
    def blocks(self) -> int:
        """The blocks that requests can have."""
        return self.kv_tokens // self.block_size


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterSettings:
    """How a pool's requests find an engine.

    The weights are those of ``RouterKind.SCORED``. Flow control: an engine with ``hold_waiting`` requests waiting gets
    none, they wait at the gateway; at most ``max_queued`` do, more are refused. None is no limit.
    """

    kind: RouterKind = RouterKind.LEAST_LOADED
    prefix_weight: float = 3.0
    queue_weight: float = 2.0
    kv_weight: float = 2.0
    hold_waiting: int | None = None
    max_queued: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings:
    """A pool of a fleet."""

    role: Role
    engines: EngineSettings
    router: RouterSettings = RouterSettings()

    @property
    def router_code(self) -> int:
        """The router's kind as the inner loop knows it."""
        return _ROUTERS[self.router.kind]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSettings:
    """What lies around the engines, in picoseconds: KV transfers, the API server, and clients' patience."""

    transfer_latency_ps: int = 0
    transfer_ps_per_token: int = 0
    http_ps: int = 0
    http_ps_per_token: int = 0
    timeout_ps: int | None = None


Source = Callable[[], tuple[RequestBatch, int] | None]
"""Gives the next requests and the time up to which there are no others, or None once there will be none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """An engine's gauges as vLLM has them: the state after its last update, not that in the middle of a step.

    Requests in the batch, those that wait for a place there and those whose KV is on its way, and the share of the KV
    cache that is held, 0 to 1.
    """

    running: int
    waiting: int
    fetching: int
    kv_usage_ratio: float


class VirtualFleet:
    """Pools of engines that serve one model: one pool of both roles, or prefill and decode."""

    def __init__(
        self, pools: Sequence[PoolSettings], links: LinkSettings, source: Source | None = None, *, seed: int = 0
    ) -> None:
        roles = [pool.role for pool in pools]
        if sorted(roles) not in ([Role.BOTH], sorted([Role.PREFILL, Role.DECODE])):
            raise ValueError(
                f"a fleet has one pool of role both, or one prefill and one decode, not {[*map(str, roles)]}"
            )
        self.pools = tuple(pools)
        self._fleet = build(self.pools, links, seed)
        self._source = source
        self._taken = 0
        self._added = 0
        self._arrivals = self._no_arrivals(0 if source else NEVER)
        self._spare: list[int] = list(range(len(self._fleet.engines)))
        self.outcomes: list[Records] = []

    @property
    def now_ps(self) -> int:
        """The virtual time."""
        return int(self._fleet.world[0]["now"])

    @property
    def engines(self) -> Records:
        """The engines' records, by number; see ``kernel.layout.ENGINE``. Read after :meth:`settle`."""
        return self._fleet.engines

    @property
    def counts(self) -> Ints:
        """The engines' histograms, by number; see ``kernel.layout``."""
        return self._fleet.counts

    @property
    def in_flight(self) -> int:
        """How many requests have arrived and not ended."""
        return int(self._fleet.world[0]["in_flight"])

    @property
    def requests(self) -> Records:
        """The records of requests, those of nobody included; see ``kernel.layout.REQUEST``."""
        return self._fleet.requests

    @property
    def arrived(self) -> int:
        """How many requests have arrived so far."""
        return self._taken + int(self._arrivals.cursor[0])

    @property
    def exhausted(self) -> bool:
        """Whether nothing more will arrive."""
        return int(self._arrivals.cursor[2]) == NEVER and int(self._arrivals.cursor[0]) == len(self._arrivals.arrival)

    def live_requests(self) -> Records:
        """Give the records of the requests in flight, each once."""
        requests = self._fleet.requests
        gone = np.isin(requests["state"], (FREE, HOLDING, ENDED, RESERVED))
        return requests[~gone & (requests["status"] < 0)]

    def waiting(self, number: int) -> int:
        """Count who waits in an engine's queue, those whose KV is on its way excepted."""
        return int(self._fleet.queues[2 * number]["count"])

    def fetching(self, number: int) -> int:
        """Count the requests whose KV is on its way to an engine."""
        return int(self._fleet.queues[2 * number + 1]["count"])

    def queued(self, pool: int) -> int:
        """Count who waits at the gateway for a pool."""
        return int(self._fleet.queues[2 * len(self.engines) + pool]["count"])

    def shown(self, number: int) -> "Shown":
        """Give what an engine's gauges show, once it is settled."""
        engine = self.engines[number]
        return Shown(
            running=int(engine["shown_running"]),
            waiting=int(engine["shown_waiting"]),
            fetching=int(engine["shown_fetching"]),
            kv_usage_ratio=int(engine["shown_used"]) / self.pools[engine["pool"]].engines.blocks,
        )

    def used_blocks(self, number: int) -> int:
        """Count the blocks that requests hold in an engine."""
        engine = self.engines[number]
        return int(self.pools[engine["pool"]].engines.blocks - engine["keyless"] - engine["keyed_free"])

    def advance(self, until_ps: int) -> None:
        """Let everything happen that happens up to a time; what ended is added to ``outcomes``."""
        while True:
            reached = advance(self._fleet, self._arrivals, until_ps)
            if reached == MORE_ARRIVALS:
                self._next_batch()
            elif reached == MORE_ROOM:
                self._take_outcomes()
                self._fleet = grow_room(self._fleet)
            else:
                self._take_outcomes()
                return

    def run_out(self) -> None:
        """Let all that will ever arrive be answered. Raises ValueError where something cannot be."""
        self.advance(FOR_EVER)
        if self.in_flight:
            raise ValueError(f"{self.in_flight} requests can never be answered: no engine is ready for them")

    def stop_arrivals(self) -> None:
        """Let nothing arrive from now on."""
        self._taken, self._source = self.arrived, None
        self._arrivals = self._no_arrivals(NEVER)

    def settle(self) -> None:
        """Bring the engines' records to the present."""
        self._intervene(SETTLE_ALL, -1)

    def add_engine(self, pool: int) -> int:
        """Add an engine that takes no requests yet; give its number, which goes to another once it is removed."""
        if not self._spare:
            before = len(self._fleet.engines)
            self._fleet = grow_engines(self._fleet)
            self._spare = list(range(before, len(self._fleet.engines)))
        number = self._spare.pop(0)
        clear_engine(self._fleet, number, pool, self.pools[pool].engines.blocks)
        self._fleet.engines[number]["incarnation"] = self._added
        self._added += 1
        return number

    def open(self, number: int) -> None:
        """Let an engine take requests, those first that wait at the gateway."""
        engine, fleet = self._fleet.engines[number], self._fleet
        if engine["ready"]:
            return
        pool = fleet.pools[engine["pool"]]
        fleet.ready[engine["pool"], pool["ready"]] = number
        pool["ready"] += 1
        engine["ready"] = 1
        self._call_gateway(int(engine["pool"]))

    def close(self, number: int) -> None:
        """Let an engine take no further requests; it goes on with those it has."""
        engine, fleet = self._fleet.engines[number], self._fleet
        if not engine["ready"]:
            return
        pool = fleet.pools[engine["pool"]]
        ready = fleet.ready[engine["pool"], : pool["ready"]]
        ready[: len(ready) - 1] = ready[ready != number]
        pool["ready"] -= 1
        engine["ready"] = 0

    def remove_engine(self, number: int) -> None:
        """Take an engine away; the requests that it still has fail."""
        self.close(number)
        self.fail_engine(number)
        self._fleet.engines[number]["alive"] = 0
        self._spare.append(number)

    def fail_engine(self, number: int) -> None:
        """Let all requests of an engine fail and its cache be lost."""
        self._intervene(FAIL, number)
        self._take_outcomes()
        self._call_gateway(int(self._fleet.engines[number]["pool"]))

    def set_speed(self, number: int, times_slower: float) -> None:
        """Let an engine's steps take so many times longer, from its next one on."""
        self._intervene(CHANGE_SPEED, number, round(times_slower * FULL_SPEED))

    def stick(self, pool: int, number: int, share: float) -> None:
        """Send a share of a pool's requests to one engine, whatever the router says; none with share 0."""
        self._fleet.pools[pool]["stuck_engine"] = number if share else -1
        self._fleet.pools[pool]["stuck_share"] = share

    def flush(self, number: int) -> None:
        """Let an engine forget the blocks of its prefix cache that no request holds."""
        self._intervene(SETTLE, number)
        self._intervene(FLUSH, number)

    def hold_blocks(self, number: int, count: int) -> int:
        """Keep up to so many of an engine's free KV blocks from its requests; give how many were free."""
        self._intervene(SETTLE, number)
        engine = self._fleet.engines[number]
        held = min(count, int(engine["keyless"] + engine["keyed_free"]))
        self._intervene(HOLD_BLOCKS, number, held)
        self._intervene(LOOK_NEXT, number)
        return held

    def give_blocks(self, number: int, count: int) -> None:
        """Let an engine's requests have blocks again that :meth:`hold_blocks` kept from them."""
        self._intervene(SETTLE, number)
        self._fleet.engines[number]["keyless"] += count
        self._intervene(LOOK_NEXT, number)

    def set_link(self, ps_per_token: int, latency_ps: int) -> None:
        """Set what KV transfers take that start from now on."""
        self._fleet.world[0]["transfer_per_token"] = ps_per_token
        self._fleet.world[0]["transfer_latency"] = latency_ps

    def idle(self, number: int) -> bool:
        """Whether an engine has nothing left to do and nobody will come for its KV."""
        return not self.engines[number]["load"] and not self.engines[number]["holding"]

    def _intervene(self, deed: int, number: int, value: int = 0) -> None:
        intervene(self._fleet, deed, number, value, self.now_ps)

    def _call_gateway(self, pool: int) -> None:
        if self.queued(pool):
            self.settle()  # what has happened by now has happened for a router too
            self._intervene(CALL_GATEWAY, pool)

    def _take_outcomes(self) -> None:
        world = self._fleet.world[0]
        if world["done"]:
            self.outcomes.append(self._fleet.outcomes[: world["done"]].copy())
            world["done"] = 0

    def _next_batch(self) -> None:
        self._taken += len(self._arrivals.arrival)
        drawn = self._source() if self._source else None
        self._arrivals = self._coming(*drawn) if drawn else self._no_arrivals(NEVER)

    def _no_arrivals(self, until_ps: int) -> Arrivals:
        nothing = np.zeros(0, np.int64)
        return self._coming(plain_batch(nothing, nothing, nothing), until_ps)

    def _coming(self, batch: RequestBatch, until_ps: int) -> Arrivals:
        return Arrivals(
            batch.arrival_ps,
            batch.prompt_tokens,
            batch.output_tokens,
            batch.own_ids,
            batch.own_public,
            batch.piece_offsets,
            batch.piece_ids,
            batch.piece_tokens,
            np.array([0, self._taken, until_ps], dtype=np.int64),
        )


def one_batch(batch: RequestBatch) -> Source:
    """Make a source of the requests of one batch."""
    batches = iter([(batch, int(batch.arrival_ps[-1]) if len(batch) else 0)])
    return lambda: next(batches, None)
