"""Makes a fleet's arrays, and larger ones where they have become too small."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from aiops.model.refs import Role
from aiops.simulate.histogram import ITL_S, STEP_TOKENS, TTFT_S
from aiops.simulate.kernel.layout import (
    ARENA_CLASSES,
    BOTH,
    COLUMNS,
    DECODE,
    DELIVERY,
    ENGINE,
    ENTRY,
    HEAP,
    ITL_AT,
    NEVER,
    NODE,
    OUTCOME,
    PLACE,
    POOL,
    PREFILL,
    QUEUE,
    REQUEST,
    STEP_AT,
    TIMES,
    TTFT_AT,
    WORLD,
    Fleet,
    Ints,
    Records,
)
from aiops.simulate.requests import PS

if TYPE_CHECKING:
    from aiops.simulate.fleet import LinkSettings, PoolSettings

_ROLES = {Role.BOTH: BOTH, Role.PREFILL: PREFILL, Role.DECODE: DECODE}
_ENGINES, _REQUESTS = 8, 1024  # to begin with


def build(pools: "Sequence[PoolSettings]", links: "LinkSettings", seed: int) -> Fleet:
    """Make the arrays of a fleet without engines."""
    caching = any(pool.engines.prefix_caching for pool in pools)
    blocks = max(pool.engines.blocks for pool in pools) if caching else 1
    slots = 1 << int(2 * blocks - 1).bit_length()
    seats = max(pool.engines.max_num_seqs for pool in pools)
    longest = max(-(-pool.engines.max_model_len // pool.engines.block_size) for pool in pools)
    records, laws = _pools(pools, seed)
    world = _world(pools, links)
    # A look may preempt all who run, and each then needs the keys of all of its blocks.
    world["arena_margin"] = (seats + 4) * (4 << int(longest).bit_length()) if caching else 0
    arena = np.full(ARENA_CLASSES + 2 * int(world["arena_margin"][0]), -1, np.int64)
    fleet = Fleet(
        world=world,
        pools=records,
        engines=np.zeros(_ENGINES, ENGINE),
        requests=np.zeros(0, REQUEST),
        queues=_empty(np.zeros(2 * _ENGINES + len(pools), QUEUE)),
        ready=np.zeros((len(pools), _ENGINES), np.int64),
        places=np.zeros((_ENGINES, 5, seats), np.int64),
        nodes=np.zeros((_ENGINES, blocks), NODE),
        table=np.zeros((_ENGINES, slots), ENTRY),
        ring=np.zeros((_ENGINES, slots), ENTRY),
        arena=arena,
        events=_idle_events(_ENGINES),
        deliveries=np.zeros(0, DELIVERY),
        outcomes=np.zeros(0, OUTCOME),
        laws=laws,
        bounds=_bounds(),
        counts=np.zeros((_ENGINES, COLUMNS), np.int64),
    )
    return _with_requests(fleet, _REQUESTS)


def grow_room(fleet: Fleet) -> Fleet:
    """Make room for more requests and keys, where there is little left."""
    world = fleet.world[0]
    if world["free_requests"] < 2:
        fleet = _with_requests(fleet, 2 * len(fleet.requests))
    if world["arena_top"] + world["arena_margin"] > len(fleet.arena):
        fleet = fleet._replace(arena=np.concatenate([fleet.arena, np.full_like(fleet.arena, -1)]))
    if world["deliveries"] == len(fleet.deliveries):
        fleet = fleet._replace(deliveries=np.concatenate([fleet.deliveries, np.zeros_like(fleet.deliveries)]))
    return fleet


def grow_engines(fleet: Fleet) -> Fleet:
    """Make room for twice as many engines."""
    before = len(fleet.engines)
    pools = len(fleet.pools)
    queues = _empty(np.zeros(4 * before + pools, QUEUE))
    queues[: 2 * before] = fleet.queues[: 2 * before]
    queues[4 * before :] = fleet.queues[2 * before :]
    events = _idle_events(2 * before)
    events[TIMES, :before] = fleet.events[TIMES, :before]
    events[TIMES, 2 * before : 3 * before] = fleet.events[TIMES, before:]
    order = np.argsort(events[TIMES], kind="stable")
    events[HEAP], events[PLACE, order] = order, np.arange(4 * before)
    return fleet._replace(
        engines=_doubled(fleet.engines),
        queues=queues,
        ready=np.concatenate([fleet.ready, np.zeros_like(fleet.ready)], axis=1),
        places=_doubled(fleet.places),
        nodes=_doubled(fleet.nodes),
        table=_doubled(fleet.table),
        ring=_doubled(fleet.ring),
        events=events,
        counts=_doubled(fleet.counts),
    )


def clear_engine(fleet: Fleet, number: int, pool: int, blocks: int) -> None:
    """Make an engine's records those of one that has just started."""
    engine = fleet.engines[number]
    fleet.engines[number] = np.zeros((), ENGINE)
    engine["alive"], engine["pool"], engine["slow"] = 1, pool, 1024
    for field in ("releasing", "awake", "last_look"):
        engine[field] = -1
    engine["keyless"] = blocks
    engine["idle_since"] = fleet.world[0]["now"]
    nodes = fleet.nodes[number]
    nodes["next"][:-1], nodes["next"][-1] = np.arange(1, len(nodes)), -1
    fleet.table[number]["node"] = -1
    fleet.counts[number] = 0
    _empty(fleet.queues[2 * number : 2 * number + 2])


def _with_requests(fleet: Fleet, count: int) -> Fleet:
    before, world = len(fleet.requests), fleet.world[0]
    requests = np.zeros(count, REQUEST)
    requests[:before] = fleet.requests
    requests["next"][before:] = np.arange(before + 1, count + 1)
    requests["next"][-1] = world["free_request"]
    world["free_request"] = before
    world["free_requests"] += count - before
    # Whatever ends or is sent to the tokenizer at once, all of it included, finds room.
    outcomes = np.zeros(count + 4 * fleet.places.shape[2] + 8, OUTCOME)
    deliveries = np.zeros(count, DELIVERY)
    deliveries[: world["deliveries"]] = fleet.deliveries[: world["deliveries"]]
    return fleet._replace(requests=requests, outcomes=outcomes, deliveries=deliveries)


def _world(pools: "Sequence[PoolSettings]", links: "LinkSettings") -> Records:
    world = np.zeros(1, WORLD)
    roles = [pool.role for pool in pools]
    world["entry"] = next(i for i, role in enumerate(roles) if role is not Role.DECODE)
    world["decode"] = next((i for i, role in enumerate(roles) if role is Role.DECODE), -1)
    world["free_request"] = world["deadline_head"] = world["deadline_tail"] = -1
    world["arena_top"] = ARENA_CLASSES
    world["timeout"] = NEVER if links.timeout_ps is None else links.timeout_ps
    world["transfer_latency"], world["transfer_per_token"] = links.transfer_latency_ps, links.transfer_ps_per_token
    world["http_fixed"], world["http_per_token"] = links.http_ps, links.http_ps_per_token
    return world


def _pools(pools: "Sequence[PoolSettings]", seed: int) -> tuple[Records, Ints]:
    records, tables, top = np.zeros(len(pools), POOL), [], 0
    for i, pool in enumerate(pools):
        record, engines, router = records[i], pool.engines, pool.router
        record["role"], record["router"], record["turn"] = _ROLES[pool.role], pool.router_code, -1
        record["max_queued"] = NEVER if router.max_queued is None else router.max_queued
        record["hold_waiting"] = NEVER if router.hold_waiting is None else router.hold_waiting
        record["block_tokens"], record["usable_blocks"] = engines.block_size, engines.blocks
        record["max_seqs"], record["max_batched"] = engines.max_num_seqs, engines.max_num_batched_tokens
        record["max_model_len"] = engines.max_model_len
        record["long_prefill"] = engines.long_prefill_token_threshold
        record["long_prefill_adaptive"] = engines.long_prefill_token_threshold_adaptive
        record["watermark_blocks"] = int(engines.watermark * (engines.blocks + 1))
        record["reserve_full"], record["caching"] = engines.reserve_full_isl, engines.prefix_caching
        record["asynchronous"] = engines.async_scheduling
        # A prefill engine is asked for one token, so it knows the end of every answer.
        record["foreseen"] = not engines.stop_tokens or pool.role is Role.PREFILL
        record["stuck_engine"], record["seed"] = -1, seed * 1_000_003 + i
        record["weight_prefix"], record["weight_queue"] = router.prefix_weight, router.queue_weight
        record["weight_kv"], record["pair"] = router.kv_weight, engines.law.pair
        record["pieces"] = engines.law.decode.shape[1]
        for name in ("host", "chunk", "decode", "context", "knots"):
            table = np.ascontiguousarray(getattr(engines.law, name), np.int64).ravel()
            record[f"{name}_at"] = top
            top += len(table)
            tables.append(table)
    return records, np.concatenate(tables)


def _bounds() -> Ints:
    bounds = np.full(COLUMNS, NEVER, np.int64)
    for start, values, unit in ((TTFT_AT, TTFT_S, PS), (ITL_AT, ITL_S, PS), (STEP_AT, STEP_TOKENS, 1)):
        bounds[start : start + len(values)] = np.rint(np.array(values) * unit)
    return bounds


def _empty(queues: Records) -> Records:
    queues["head"] = queues["tail"] = -1
    queues["count"] = 0
    return queues


def _idle_events(engines: int) -> Ints:
    events = np.full((3, 2 * engines), NEVER, np.int64)
    events[HEAP] = events[PLACE] = np.arange(2 * engines)
    return events


def _doubled(array: Records) -> Records:
    return np.concatenate([array, np.zeros_like(array)])
