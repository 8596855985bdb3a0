"""This package's simulator on a task, by library call; a first fleet of few requests warms it up, timed apart.

With a number of threads as a second argument: as many fleets at once, each in a thread of its own, fed from the file
and emptied as they go; then the result is a digest of what each told.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import yaml
from simulator_peers.constants import KINDS, profile
from simulator_peers.protocol import Moment, Result, Task, task, tell

from aiops.model.profile import CapacityProfile
from aiops.model.refs import Role
from aiops.simulate.fleet import EngineSettings, LinkSettings, PoolSettings, RouterKind, RouterSettings, VirtualFleet
from aiops.simulate.kernel.layout import COMPLETED, PREFILLED
from aiops.simulate.load.columns import cut
from aiops.simulate.requests import PS, RequestBatch
from aiops.simulate.step_law import step_law
from aiops.simulate.tables.request_csv import read_requests

WARM_UP = 500
SPAN_S = 60


def read(told: Task, limit: int) -> list[RequestBatch]:
    batches, left = list[RequestBatch](), limit
    for batch in read_requests(Path(told.requests), told.segment_tokens):
        batches.append(cut(batch, 0, min(left, len(batch))))
        left -= len(batches[-1])
        if not left:
            break
    return batches


def fleet_of(told: Task, batches: Iterable[RequestBatch]) -> VirtualFleet:
    times = yaml.safe_load(Path(told.profile).read_text()) if told.profile else profile(told)
    most, budget = told.max_num_seqs, told.max_num_batched_tokens
    engines = EngineSettings(
        law=step_law(CapacityProfile.model_validate(times), most, budget),
        kv_tokens=told.kv_blocks * told.block_tokens,
        max_num_seqs=most,
        max_num_batched_tokens=budget,
        max_model_len=65_536,
        block_size=told.block_tokens,
        prefix_caching=told.prefix_cache,
        async_scheduling=told.asynchronous,
    )
    router = RouterSettings(kind=RouterKind(KINDS[told.router]))
    prefill, decode = told.prefill_replicas, told.replicas - told.prefill_replicas
    sizes = {Role.PREFILL: prefill, Role.DECODE: decode} if prefill else {Role.BOTH: decode}
    pools = [PoolSettings(role=role, engines=engines, router=router) for role in sizes]
    per_token_ps = round(told.kv_bytes_per_token / told.transfer_bytes_per_s * PS)
    coming = ((batch, int(batch.arrival_ps[-1])) for batch in batches)
    fleet = VirtualFleet(pools, LinkSettings(transfer_ps_per_token=per_token_ps), lambda: next(coming, None))
    for pool, count in enumerate(sizes.values()):
        for _ in range(count):
            fleet.open(fleet.add_engine(pool))
    return fleet


def simulated(told: Task, batches: list[RequestBatch]) -> tuple[VirtualFleet, Moment, Moment]:
    """Run a fleet; give it, and the moments before and after."""
    fleet = fleet_of(told, batches)
    ready = Moment()
    fleet.run_out()
    return fleet, ready, Moment()


def streamed(told: Task) -> str:
    """Run a fleet that holds no more than what is in flight; give a digest of its outcomes in their order."""
    left, over = told.limit, False

    def batches() -> Iterator[RequestBatch]:
        nonlocal left, over
        for batch in read_requests(Path(told.requests), told.segment_tokens):
            part = cut(batch, 0, min(left, len(batch)))
            left -= len(part)
            yield part
            if not left:
                break
        over = True

    fleet, digest = fleet_of(told, batches()), sha256()
    while not over or fleet.in_flight:
        fleet.advance(fleet.now_ps + SPAN_S * PS)
        for ended in fleet.outcomes:
            digest.update(ended.tobytes())
        fleet.outcomes.clear()
    return digest.hexdigest()


def measured(told: Task) -> Result:
    """Run the whole task after the warm-up."""
    cold = Moment()
    simulated(told, read(told, min(WARM_UP, told.limit)))
    began = Moment()
    batches = read(told, told.limit)
    fleet, ready, over = simulated(told, batches)
    ended = np.concatenate(fleet.outcomes)
    ended = ended[ended["kind"] != PREFILLED]  # the first half of a request that another row tells of
    done = ended[ended["kind"] == COMPLETED]
    longer = done[done["output"] > 1]
    between_ps = (longer["finish"] - longer["first_token"]) / (longer["output"] - 1)
    prompt_tokens = sum(int(batch.prompt_tokens.sum()) for batch in batches)
    fleet.settle()
    return Result(
        package="aiops",
        requests=len(ended),
        completed=len(done),
        set_up_s=ready.wall_s - began.wall_s,
        simulate_s=over.wall_s - ready.wall_s,
        simulate_cpu_s=over.cpu_s - ready.cpu_s,
        ttft_mean_s=float((done["first_token"] - done["arrival"]).mean()) / PS,
        latency_mean_s=float((done["finish"] - done["arrival"]).mean()) / PS,
        tpot_mean_s=float(between_ps.mean()) / PS,
        steps=int(fleet.engines["steps"].sum()),
        cached_ratio=int(done["cached"].sum()) / prompt_tokens if told.prefix_cache else None,
        notes=[f"imported already; first fleet of {WARM_UP} requests: {began.wall_s - cold.wall_s:.2f} s"],
    )


def main() -> None:
    if len(sys.argv) > 2:
        with ThreadPoolExecutor(int(sys.argv[2])) as threads:
            print(json.dumps(list(threads.map(streamed, [task()] * int(sys.argv[2])))))
    else:
        tell(measured(task()))


if __name__ == "__main__":
    main()
