"""The arrays that hold a fleet, and what their fields mean. Times are picoseconds; -1 is nothing, nobody, never.

A fleet serves one model. ``Fleet`` is a bundle of arrays: records of pools, engines and requests, and per engine its
batch lists, its block pool and its histograms. All state is in them, so a compiled function needs nothing else.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Record = Any
"""A row of one of the record arrays below; its fields are attributes in compiled code alone."""
Records = NDArray[Any]
Ints = NDArray[np.int64]

# What a request is at.
FREE, QUEUED, DELIVERED, WAITING, RUNNING, FETCHING, FETCHED, HOLDING, ENDED, RESERVED = range(10)
# How it ended.
COMPLETED, FAILED, REFUSED, TIMED_OUT, PREFILLED = range(5)
# What a pool does.
BOTH, PREFILL, DECODE = range(3)
# How a pool's router chooses.
LEAST_LOADED, ROUND_ROBIN, RANDOM, SCORED = range(4)
# Why the inner loop returns.
REACHED, MORE_ARRIVALS, MORE_ROOM = range(3)

NEVER = np.iinfo(np.int64).max
FOR_EVER = NEVER - 1


def _record(fields: str) -> np.dtype[np.void]:
    return np.dtype([(field, np.int64) for field in fields.split()])


WORLD = np.dtype(
    [
        ("now", np.int64),
        ("entry", np.int64),  # the pool that requests come to
        ("decode", np.int64),  # the pool that prompts are handed to, or -1
        ("free_request", np.int64),  # the head of the list of free records
        ("free_requests", np.int64),
        ("done", np.int64),  # outcomes not yet taken away
        ("arena_top", np.int64),
        ("in_flight", np.int64),
        ("deadline_head", np.int64),  # requests in flight in the order of their arrival
        ("deadline_tail", np.int64),
        ("timeout", np.int64),  # from arrival on; NEVER where clients wait for ever
        ("transfer_latency", np.int64),
        ("transfer_per_token", np.int64),
        ("http_fixed", np.int64),
        ("http_per_token", np.int64),
        ("deliveries", np.int64),  # requests in the tokenizer
        ("arena_margin", np.int64),  # what one look at an engine may need at most
        ("sessions", np.int64),  # whether any request's own content is public
    ]
)

POOL = np.dtype(
    [
        ("role", np.int64),
        ("router", np.int64),
        ("turn", np.int64),
        ("ready", np.int64),  # how many engines take requests
        ("max_queued", np.int64),  # at the gateway; more are refused
        ("hold_waiting", np.int64),  # flow control: an engine with this many waiting takes no more; NEVER for off
        ("block_tokens", np.int64),
        ("usable_blocks", np.int64),
        ("max_seqs", np.int64),
        ("max_batched", np.int64),
        ("max_model_len", np.int64),
        ("long_prefill", np.int64),
        ("long_prefill_adaptive", np.int64),
        ("watermark_blocks", np.int64),
        ("reserve_full", np.int64),
        ("caching", np.int64),
        ("asynchronous", np.int64),
        ("foreseen", np.int64),  # 1: answers end at a length known in advance; 0: at a stop token
        ("stuck_engine", np.int64),  # a fault: this one gets ``stuck_share`` of the requests whatever the router says
        ("stuck_share", np.float64),
        ("weight_prefix", np.float64),
        ("weight_queue", np.float64),
        ("weight_kv", np.float64),
        ("pair", np.float64),  # the step law's float; its tables begin at …
        ("host_at", np.int64),
        ("chunk_at", np.int64),
        ("decode_at", np.int64),
        ("context_at", np.int64),
        ("knots_at", np.int64),
        ("pieces", np.int64),
        ("seed", np.int64),
    ]
)

ENGINE = _record(
    "alive pool ready slow load incarnation coming "
    # Time: when it looks up next, when the executing batch ends, what the one after takes, by how much each further
    # one grows, how many looks are skipped because nothing would change, which row of the batch lists is executing.
    "end follows growth skip flying row count0 count1 "
    # The batch made last: its tokens, how many of its requests have one token, and how many of these tokens come out;
    # what the step law asks of it: contexts of the single tokens, pairs of the others; the least outputs still to come
    # of one of the requests. Of the executing and of the following batch: whether all who run have a token come out.
    "tokens singles yielding contexts pairs nearest even0 even1 "
    "running holding link_free releasing last_look awake idle_since "
    # Blocks: how many are free without a key and with one; where the latter begin and end in the ring; spare nodes.
    "keyless keyed_free oldest newest spare_node peak_used "
    # Counters, all growing.
    "queries hits remote_queries preemptions computed cached pulled generated first_tokens finished "
    "steps busy ttft_sum itl_sum transfers transfer_wait resumed_queries resumed_hits "
    # What its gauges show: the state after its last update, with the queues as the schedule before that left them.
    "shown_running shown_waiting shown_fetching shown_used left_waiting left_fetching"
)

REQUEST = _record(
    # What each token asks for, side by side: the scheduler's view (computed tokens, output tokens, placeholders for
    # those under way, batches that hold it), its blocks, and when it last got a token.
    "state prompt limit computed outputs placeholders flying held registered dropped last_token first_token "
    "fresh wants_fetch partner remote done_at next previous later earlier "
    # Keys: where in the arena, and how many.
    "keys key_count "
    # What is told of it.
    "number engine arrival output own_id own_public "
    "queued scheduled cached preemptions status entry_engine entry_scheduled entry_cached"
)

NODE = np.dtype(
    [("key", np.int64), ("twin", np.int32), ("held", np.int32), ("place", np.int32), ("next", np.int32)]
)  # fmt: skip

# Engines go by their incarnation here: the how many-eth they are of all that the fleet has ever had, from 0 on.
OUTCOME = _record(
    "number kind engine decode_engine arrival queued scheduled joined first_token finish "
    "prompt output cached preemptions"
)

DELIVERY = _record("time order request")
QUEUE = _record("head tail count")
ENTRY = np.dtype([("home", np.int32), ("node", np.int32)])

# Rows of ``Fleet.places``.
RUNNING_LIST, BATCH_REQUESTS, BATCH_TOKENS = 0, 1, 3  # the last two have two rows each
# Columns of ``Fleet.counts`` and ``Fleet.bounds``: where each histogram begins, and how many bounds it has.
TTFT_AT, ITL_AT, STEP_AT, COLUMNS = 0, 24, 48, 64
# Rows of ``Fleet.events``.
TIMES, HEAP, PLACE = range(3)
ARENA_CLASSES = 40  # the arena's first words: heads of the lists of free pieces, by power of two


class Fleet(NamedTuple):
    """All arrays of a fleet. Few, because each one is handed from function to function."""

    world: Records  # 1
    pools: Records
    engines: Records
    requests: Records
    queues: Records  # of each engine: who waits, whose KV is on its way; then of each pool: who is at the gateway
    ready: Ints  # pool x engines that take requests, oldest first
    places: Ints  # engine x 5 x seats: the running list in order of admission, and two batches; see the rows above
    nodes: Records  # engine x blocks that have a key
    table: Records  # engine x slots of a hash table from keys to nodes; an entry has the slot that it would like best
    ring: Records  # engine x the free blocks with a key in the order of their release, gaps between them
    arena: Ints  # the keys and blocks of requests
    events: Ints  # 3 x (2 x engines): first the transfers' reports, then the engines' looks; see the rows above
    deliveries: Records  # a heap
    outcomes: Records
    laws: Ints  # the step laws' tables, end to end; where each begins is in its pool
    bounds: Ints  # of the histograms
    counts: Ints  # engine x histogram buckets


class Cache(NamedTuple):
    """What of a fleet holds an engine's blocks."""

    engine: Record
    nodes: Records
    table: Records
    ring: Records
    arena: Ints


class Arrivals(NamedTuple):
    """A ``RequestBatch`` as the inner loop reads it; ``cursor`` [0] is the next one, [1] the number of the first."""

    arrival: Ints
    prompt: Ints
    output: Ints
    own_id: Ints
    own_public: NDArray[np.bool_]
    piece_offset: Ints
    piece_id: Ints
    piece_tokens: Ints
    cursor: Ints
