"""A day of the demo's factory: the loop beside the smallest constant fleet with at least its attainment, per seed.

python benchmarks/headless.py [SEEDS] [HOURS]: five seeds and 24 hours unless given; two processes.
"""

import json
import statistics
import sys
import time
from datetime import timedelta
from typing import Any

from joblib import Parallel, delayed

from aiops.backtest.baselines.static import smallest_static
from aiops.backtest.demo_world import demo_world
from aiops.backtest.replay import replay

HISTORY = timedelta(days=3)


def day(seed: int, hours: float) -> dict[str, Any]:
    world, span = demo_world(seed, HISTORY), timedelta(hours=hours)
    began = time.perf_counter()
    run = replay(world, span)
    wall_s = time.perf_counter() - began
    requests = run.fate.requests.requests
    row: dict[str, Any] = {"seed": seed, "wall_s": round(wall_s, 1), "requests": requests, "models": {}}
    for spec, fate, cost in zip(world.specs, run.fate.models, run.cost.models, strict=True):
        goal = fate.requests.hits / fate.requests.requests
        static = smallest_static(world, spec, span, goal)
        pools = static.replay.cost.models[0].pools
        row["models"][str(spec.ref)] = {
            "attainment_ratio": goal,
            "replica_hours": sum(pool.replica_hours for pool in cost.pools),
            "gpu_hours": sum(pool.gpu_hours for pool in cost.pools),
            "static_attainment_ratio": static.replay.fate.models[0].requests.attainment_ratio,
            "static_replica_hours": sum(pool.replica_hours for pool in pools),
            "static_gpu_hours": sum(pool.gpu_hours for pool in pools),
            "static_replicas": {pool.name: count for pool, count in static.replicas.items()},
        }
    for key in ("replica_hours", "gpu_hours", "static_replica_hours", "static_gpu_hours"):
        row[key] = sum(model[key] for model in row["models"].values())
    row["attainment_ratio"] = run.fate.requests.hits / requests
    row["replica_hours_ratio_to_static"] = row["replica_hours"] / row["static_replica_hours"]
    return row


def main() -> None:
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    hours = float(sys.argv[2]) if len(sys.argv) > 2 else 24.0
    rows = Parallel(n_jobs=2)(delayed(day)(seed, hours) for seed in range(1, seeds + 1))

    def spread(key: str) -> dict[str, float]:
        values = [row[key] for row in rows]
        return {"mean": statistics.mean(values), "least": min(values), "most": max(values)}

    hours_keys = ("replica_hours", "gpu_hours", "static_replica_hours", "replica_hours_ratio_to_static")
    keys = ("attainment_ratio", *hours_keys, "wall_s")
    print(json.dumps({"hours": hours, "summary": {key: spread(key) for key in keys}, "seeds": rows}, indent=2))


if __name__ == "__main__":
    main()
