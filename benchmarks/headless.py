"""A day of the demo's factory: the loop beside the smallest constant fleet with at least its attainment, per seed.

python benchmarks/headless.py [SEEDS] [HOURS] [day|flat]: five seeds, 24 hours and the day curve unless given; two
processes. On the flat load, always the day's mean, a constant fleet is the right one: there the loop loses.
"""

import json
import statistics
import sys
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

from joblib import Parallel, delayed

from aiops.backtest.baselines.static import smallest_static
from aiops.backtest.demo_world import demo_world
from aiops.backtest.replay import World, replay

HISTORY = timedelta(days=3)


def flat(world: World) -> World:
    """The same mean load without its day curve."""
    specs = [
        spec.model_copy(update={"workload": spec.workload and spec.workload.model_copy(update={"night_ratio": 1.0})})
        for spec in world.specs
    ]
    return replace(world, specs=tuple(specs))


def day(seed: int, hours: float, load: str) -> dict[str, Any]:
    world, span = demo_world(seed, HISTORY), timedelta(hours=hours)
    if load == "flat":
        world = flat(world)
    began = time.perf_counter()
    run = replay(world, span)
    wall_s = time.perf_counter() - began
    requests = run.fate.requests.requests
    row: dict[str, Any] = {"seed": seed, "wall_s": round(wall_s, 1), "requests": requests, "models": {}}
    for spec, fate, cost in zip(world.specs, run.fate.models, run.cost.models, strict=True):
        goal = fate.requests.hit_ratio
        if goal is None:
            raise SystemExit(f"nothing arrived for {spec.ref} in {hours:g} h; give more hours")
        static = smallest_static(world, spec, span, goal)
        pools = static.replay.cost.models[0].pools
        row["models"][str(spec.ref)] = {
            "attainment_ratio": goal,
            "replica_hours": sum(pool.replica_hours for pool in cost.pools),
            "gpu_hours": sum(pool.gpu_hours for pool in cost.pools),
            "static_attainment_ratio": static.replay.fate.models[0].requests.hit_ratio,
            "static_replica_hours": sum(pool.replica_hours for pool in pools),
            "static_gpu_hours": sum(pool.gpu_hours for pool in pools),
            "static_replicas": {pool.name: count for pool, count in static.replicas.items()},
        }
    for key in ("replica_hours", "gpu_hours", "static_replica_hours", "static_gpu_hours"):
        row[key] = sum(model[key] for model in row["models"].values())
    row["attainment_ratio"] = run.fate.requests.hit_ratio
    row["replica_hours_ratio_to_static"] = row["replica_hours"] / row["static_replica_hours"]
    return row


def main() -> None:
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    hours = float(sys.argv[2]) if len(sys.argv) > 2 else 24.0
    load = sys.argv[3] if len(sys.argv) > 3 else "day"
    rows = Parallel(n_jobs=2)(delayed(day)(seed, hours, load) for seed in range(1, seeds + 1))

    def spread(key: str) -> dict[str, float]:
        values = [row[key] for row in rows]
        return {"mean": statistics.mean(values), "least": min(values), "most": max(values)}

    hours_keys = ("replica_hours", "gpu_hours", "static_replica_hours", "replica_hours_ratio_to_static")
    keys = ("attainment_ratio", *hours_keys, "wall_s")
    print(
        json.dumps(
            {"load": load, "hours": hours, "summary": {key: spread(key) for key in keys}, "seeds": rows}, indent=2
        )
    )


if __name__ == "__main__":
    main()
