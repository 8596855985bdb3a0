"""What NVIDIA's DCGM exporter shows of a node's GPUs.

Utilization, power and energy come from how long the engine on a GPU ran steps; what power.py infers is said to be
inferred. Temperatures, PCIe and NVLink traffic and SM occupancy are not simulated and not shown.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256

from aiops.model.refs import Role
from aiops.simulate.cluster import Pool, Replica
from aiops.simulate.exposition.pods import all_nodes, all_pods, uid
from aiops.simulate.exposition.text import Kind, family, page
from aiops.simulate.factory import Factory
from aiops.simulate.kernel.layout import Record, Records
from aiops.simulate.ledger import MARK_S
from aiops.simulate.power import Board, GpuPower, board_of, gpu_power, prompt_seconds
from aiops.simulate.requests import PS

CONTAINER = "vllm"
_KV_SHARE = 0.92  # of a GPU's memory; vLLM's default, all of it taken when the engine starts
_DRIVER = "580.95.05"


@dataclass(frozen=True, slots=True)
class _Work:
    """What an engine did up to a time: seconds in which it ran steps, and those of them that went into prompts."""

    at_s: float
    busy_s: float = 0.0
    prompt_s: float = 0.0


@dataclass(slots=True)
class _Gpu:
    """A GPU of a node, who has it, and its energy so far."""

    board: Board
    power: GpuPower
    seen_s: float
    pod: Replica | None = None
    incarnation: int = -1
    active_j: float = 0.0
    energy_j: float = 0.0


class Gpus:
    """The GPUs of a factory, with energy counters from when this is made.

    ``watts`` are the peaks of replicas by the variants' names; the board's own where one is missing. A counter misses
    what a replica did between the last look and its end.
    """

    def __init__(self, factory: Factory, watts: Mapping[str, float] | None = None) -> None:
        self._factory = factory
        self._watts = watts or {}
        self._nodes: dict[str, list[_Gpu]] = {}
        self._looked: tuple[object, ...] = ()
        self._look()

    def exposition(self, node: str) -> str:
        """Write what a scrape of a node's exporter answers at the factory's present time."""
        self._look()
        return page(self._lines(node))

    def _look(self) -> None:
        """Bring all GPUs up to the present; once, however many nodes are scraped at the same time."""
        stamp = self._factory.now_s, tuple((pod.replica, pod.host, pod.replica.live) for pod in all_pods(self._factory))
        if stamp == self._looked:
            return
        self._looked = stamp
        for model in self._factory.models:
            model.settle()
        now_s, known, self._nodes = self._factory.now_s, self._nodes, {}
        for each in all_nodes(self._factory):
            pool = each.pool
            made = (_Gpu(board_of(pool.variant), self._power(pool), now_s) for _ in range(each.node.gpus))
            self._nodes[each.name] = known.get(each.name) or list(made)
        self._hand_out()
        for each in all_nodes(self._factory):
            for gpu in self._nodes[each.name]:
                self._count(gpu, now_s, up=each.node.up)

    def _hand_out(self) -> None:
        """Give the GPUs of pods that are gone to others; a pod keeps those that it has."""
        pods = [pod for pod in all_pods(self._factory) if pod.host]
        there = {pod.replica for pod in pods}
        for gpus in self._nodes.values():
            for gpu in gpus:
                gpu.pod = gpu.pod if gpu.pod in there else None
        for pod in pods:
            gpus = self._nodes[pod.host]
            if any(gpu.pod is pod.replica for gpu in gpus):
                continue
            for gpu in [gpu for gpu in gpus if gpu.pod is None][: pod.pool.gpus]:
                gpu.pod, gpu.incarnation = pod.replica, -1
                gpu.board, gpu.power = board_of(pod.pool.variant), self._power(pod.pool)

    def _power(self, pool: Pool) -> GpuPower:
        return gpu_power(pool.variant, pool.gpus, self._watts.get(pool.variant))

    def _count(self, gpu: _Gpu, now_s: float, *, up: bool) -> None:
        gpu.energy_j += gpu.power.idle_w * (now_s - gpu.seen_s) if up else 0.0
        gpu.seen_s = now_s
        if gpu.pod is None or not gpu.pod.live:
            return
        work = _work(gpu.pod, gpu.pod.pool.fleet.engines, now_s)
        active_j = gpu.power.active_j(work.busy_s, work.prompt_s)
        known = gpu.incarnation == gpu.pod.incarnation
        gpu.energy_j += active_j - gpu.active_j if known else active_j
        gpu.incarnation, gpu.active_j = gpu.pod.incarnation, active_j

    def _lines(self, node: str) -> Iterator[str]:
        gpus = self._nodes.get(node, [])
        labels = [_labels(node, number, gpu) for number, gpu in enumerate(gpus)]
        ratios = [self._ratios(gpu) for gpu in gpus]
        used = [_KV_SHARE * gpu.board.memory_mib if gpu.pod and gpu.pod.live else 0.0 for gpu in gpus]
        columns: tuple[tuple[str, Kind, str, list[float]], ...] = (
            ("DEV_GPU_UTIL", "gauge", _UTIL, [round(100 * busy) for busy, _ in ratios]),
            ("PROF_GR_ENGINE_ACTIVE", "gauge", _ACTIVE, [busy for busy, _ in ratios]),
            ("PROF_PIPE_TENSOR_ACTIVE", "gauge", _TENSOR, [prompt for _, prompt in ratios]),
            ("PROF_DRAM_ACTIVE", "gauge", _DRAM, [busy - prompt for busy, prompt in ratios]),
            ("DEV_POWER_USAGE", "gauge", _POWER, [g.power.watts(*each) for g, each in zip(gpus, ratios, strict=True)]),
            ("DEV_TOTAL_ENERGY_CONSUMPTION", "counter", _ENERGY, [1000 * gpu.energy_j for gpu in gpus]),
            ("DEV_FB_USED", "gauge", _USED, used),
            ("DEV_FB_FREE", "gauge", _FREE, [g.board.memory_mib - mib for g, mib in zip(gpus, used, strict=True)]),
            ("DEV_SM_CLOCK", "gauge", _CLOCK, [float(gpu.board.clock_mhz) for gpu in gpus]),
            ("DEV_XID_ERRORS", "gauge", _XID, [0.0 for _ in gpus]),
            ("DEV_ROW_REMAP_FAILURE", "gauge", _REMAP, [0.0 for _ in gpus]),
        )
        for name, kind, meaning, values in columns:
            yield from family(f"DCGM_FI_{name}", kind, meaning, zip(labels, values, strict=True))

    def _ratios(self, gpu: _Gpu) -> tuple[float, float]:
        """Give the shares of the latest scrape interval that were busy, and busy with prompts."""
        if gpu.pod is None or not gpu.pod.live:
            return 0.0, 0.0
        now_s = self._factory.now_s
        now, before = _work(gpu.pod, gpu.pod.pool.fleet.engines, now_s), self._before(gpu.pod, now_s)
        seconds = now_s - before.at_s
        if seconds <= 0:
            return 0.0, 0.0
        busy = min(1.0, (now.busy_s - before.busy_s) / seconds)
        return busy, min(busy, (now.prompt_s - before.prompt_s) / seconds)

    def _before(self, pod: Replica, now_s: float) -> _Work:
        for at_s, engines in reversed(self._factory.model_of(pod).marks):
            known = at_s >= pod.ready_at_s and pod.engine < len(engines)
            if at_s <= now_s - MARK_S and known and engines[pod.engine]["incarnation"] == pod.incarnation:
                return _work(pod, engines, at_s)
        return _Work(pod.ready_at_s)


_UTIL = "Share of time in which a step ran, in percent."
_ACTIVE = "Share of time in which a step ran."
_TENSOR = "Inferred: share of time spent on prompts; how full the pipe was in it is not simulated."
_DRAM = "Inferred: share of time spent on decode; how much of the bandwidth it took is not simulated."
_POWER = "Power in W, inferred from what the time was spent on."
_ENERGY = "Energy in mJ, the integral of that power."
_USED = "Memory in use in MiB: what vLLM takes by default, from the moment when the engine is ready."
_FREE = "Memory not in use in MiB."
_CLOCK = "Clock of the multiprocessors in MHz; the highest, no throttling is simulated."
_XID = "The latest XID error; none is simulated."
_REMAP = "Whether remapping of rows has failed; none is simulated."


def _work(pod: Replica, engines: Records, at_s: float) -> _Work:
    engine: Record = engines[pod.engine]
    running_ps = round(at_s * PS) - int(engine["awake"]) if engine["awake"] >= 0 else 0
    busy_s = (int(engine["busy"]) + running_ps) / PS
    pool = pod.pool.fleet.pools[pod.pool.number]
    if pool.role is Role.PREFILL:
        return _Work(at_s, busy_s, busy_s)
    return _Work(at_s, busy_s, prompt_seconds(pool.engines.law, int(engine["computed"]), busy_s))


def _labels(node: str, number: int, gpu: _Gpu) -> dict[str, str]:
    labels = {
        "gpu": str(number),
        "UUID": f"GPU-{uid(node, str(number))}",
        "pci_bus_id": f"00000000:{int(sha256(node.encode()).hexdigest()[:1], 16) + 16 * number:02X}:00.0",
        "device": f"nvidia{number}",
        "modelName": gpu.board.name,
        "hostname": node,
        "DCGM_FI_DRIVER_VERSION": _DRIVER,
    }
    if gpu.pod is None:
        return labels
    return {**labels, "container": CONTAINER, "namespace": gpu.pod.pool.ref.namespace, "pod": gpu.pod.name}
