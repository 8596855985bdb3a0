"""Lets a model's faults happen at their times, and notes whom they hit."""

from collections import Counter
from collections.abc import Callable, Sequence
from math import prod

from aiops.simulate.cluster import Cluster, Pool
from aiops.simulate.faults.spec import (
    CacheFlush,
    ColdNewReplica,
    CrashLoop,
    Fault,
    KvThrash,
    MetricGap,
    NodeLoss,
    Rollout,
    ScrapeLoss,
    ShortResidency,
    SlowReplica,
    SlowStart,
    SlowTransfer,
    StuckRouting,
    StuckStart,
)
from aiops.simulate.faults.truth import Window, truth
from aiops.simulate.fleet import LinkSettings
from aiops.simulate.replicas import Replica, ReplicaState
from aiops.simulate.spec import FactorySpec

_BACKOFF_S = (0.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0)  # the kubelet's
_HOLD_S = 1.0  # how often blocks that have become free are taken

Undo = Callable[[], None]


class Injection:
    """The faults of one model. What a fault does ends with it, though not always what came of it."""

    def __init__(self, spec: FactorySpec, pools: Sequence[Pool], cluster: Cluster, links: LinkSettings) -> None:
        self._spec = spec
        self._pools = {pool.ref.name: pool for pool in pools}
        self._cluster = cluster
        self._links = links
        self._hit: dict[int, tuple[str, ...]] = {}
        self._factors: dict[Replica | Pool, list[float]] = {}
        self._unread: Counter[Replica] = Counter()
        self._gaps = 0
        for number, fault in enumerate(spec.faults):
            self._plan(number, fault)

    @property
    def gateway_answers(self) -> bool:
        """Whether the gateway's metrics can be read."""
        return not self._gaps

    def answers(self, replica: Replica) -> bool:
        """Whether a live replica's metrics can be read."""
        return not self._gaps and not self._unread[replica]

    def truth(self) -> tuple[Window, ...]:
        """Label everything, with the names of the replicas that were hit so far."""
        return truth(self._spec, self._hit)

    def _plan(self, number: int, fault: Fault) -> None:
        pool = self._pools[self._spec.pool_named(fault.pool).name]

        def begin() -> None:
            targets = pool.oldest_ready()
            if fault.replica is not None:
                targets = targets[fault.replica : fault.replica + 1]
            undo = self._begin(fault, pool, targets)
            if isinstance(fault, ColdNewReplica):
                targets = pool.replicas[-1:]
            self._hit[number] = tuple(target.name for target in targets)
            if undo is not None:
                self._cluster.at(fault.end_s, undo)

        self._cluster.at(fault.at_s, begin)

    def _begin(self, fault: Fault, pool: Pool, targets: list[Replica]) -> Undo | None:
        """Let a fault happen to what serves; give what ends it, where something must."""
        match fault:
            case SlowReplica(times=times):
                return self._slow_down(targets, times)
            case StuckRouting(share=share):
                return self._stick(pool, targets, share)
            case CacheFlush():
                self._flush(targets)
            case ShortResidency(every=every):
                self._flush_on(targets, every.total_seconds(), fault.at_s, fault.end_s)
            case KvThrash(share=share):
                self._hold(targets, share, fault.at_s, fault.end_s)
            case SlowTransfer(times=times):
                return self._slow_link(times)
            case MetricGap():
                return self._blind_all()
            case ScrapeLoss():
                return self._blind(targets)
            case _:
                return self._begin_in_cluster(fault, pool, targets)
        return None

    def _begin_in_cluster(self, fault: Fault, pool: Pool, targets: list[Replica]) -> Undo | None:
        """Let a fault happen to pods and nodes."""
        match fault:
            case ColdNewReplica():
                pool.wanted += 1
                pool.add_ready(fault.at_s)
            case SlowStart(times=times):
                return self._slow_starts(pool, times)
            case StuckStart():
                pool.starts_stuck_until_s = max(pool.starts_stuck_until_s, fault.end_s)
            case CrashLoop(lives=lives):
                for target in targets:
                    self._crash(target, lives.total_seconds(), fault.at_s, fault.end_s, 0)
            case NodeLoss(eviction=eviction):
                self._lose_node(targets, eviction.total_seconds(), fault.at_s, fault.end_s)
            case Rollout(surge=surge):
                pool.roll_out(surge, fault.at_s)
        return None

    def _slow_down(self, targets: list[Replica], times: float) -> Undo:
        for target in targets:
            target.pool.slow_down(target, self._with_factor(target, times))

        def undo() -> None:
            for target in targets:
                target.pool.slow_down(target, self._without_factor(target, times))

        return undo

    def _with_factor(self, what: Replica | Pool, times: float) -> float:
        self._factors.setdefault(what, []).append(times)
        return prod(self._factors[what])

    def _without_factor(self, what: Replica | Pool, times: float) -> float:
        self._factors[what].remove(times)
        return prod(self._factors[what])

    def _stick(self, pool: Pool, targets: list[Replica], share: float) -> Undo:
        stuck = (targets[0], share) if targets else None

        def undo() -> None:
            if pool.stuck is stuck:
                pool.stuck = None
                pool.cling()

        pool.stuck = stuck
        pool.cling()
        return undo

    def _flush(self, targets: list[Replica]) -> None:
        for target in targets:
            if target.live:
                self._cluster.fleet.flush(target.engine)

    def _flush_on(self, targets: list[Replica], every_s: float, now_s: float, end_s: float) -> None:
        self._flush(targets)
        if now_s + every_s < end_s:
            self._cluster.at(now_s + every_s, lambda: self._flush_on(targets, every_s, now_s + every_s, end_s))

    def _slow_starts(self, pool: Pool, times: float) -> Undo:
        pool.start_times = self._with_factor(pool, times)

        def undo() -> None:
            pool.start_times = self._without_factor(pool, times)

        return undo

    def _hold(self, targets: list[Replica], share: float, now_s: float, end_s: float) -> None:
        """Keep blocks from requests; as long as they use more than their share, each that becomes free is taken."""
        fleet, held = self._cluster.fleet, Counter[tuple[Replica, int]]()

        def top_up(at_s: float) -> None:
            for target in targets:
                if target.live:
                    wanted = round(share * fleet.pools[target.pool.number].engines.blocks)
                    place = target, target.incarnation
                    held[place] += fleet.hold_blocks(target.engine, wanted - held[place])
            if at_s + _HOLD_S < end_s:
                self._cluster.at(at_s + _HOLD_S, lambda: top_up(at_s + _HOLD_S))

        def let_go() -> None:
            for (target, incarnation), blocks in held.items():
                if target.live and target.incarnation == incarnation:
                    fleet.give_blocks(target.engine, blocks)

        top_up(now_s)
        self._cluster.at(end_s, let_go)

    def _slow_link(self, times: float) -> Undo:
        links, fleet = self._links, self._cluster.fleet
        fleet.set_link(round(links.transfer_ps_per_token * times), round(links.transfer_latency_ps * times))
        return lambda: fleet.set_link(links.transfer_ps_per_token, links.transfer_latency_ps)

    def _blind_all(self) -> Undo:
        def change(by: int) -> None:
            self._gaps += by

        change(1)
        return lambda: change(-1)

    def _blind(self, targets: list[Replica]) -> Undo:
        self._unread.update(targets)
        return lambda: self._unread.subtract(targets)

    def _crash(self, target: Replica, lives_s: float, now_s: float, end_s: float, times: int) -> None:
        """Let a container die and start anew, until the fault has ended."""
        if not target.live:
            return
        target.pool.fall(target, now_s)
        up_s = now_s + _BACKOFF_S[min(times, len(_BACKOFF_S) - 1)]

        def rise() -> None:
            target.pool.rise(target, up_s)
            next_s = target.ready_at_s + lives_s
            if target.state is ReplicaState.STARTING and next_s < end_s:
                self._cluster.at(next_s, lambda: self._crash(target, lives_s, next_s, end_s, times + 1))

        self._cluster.at(up_s, rise)

    def _lose_node(self, targets: list[Replica], eviction_s: float, now_s: float, end_s: float) -> None:
        nodes = [target.node for target in targets if target.node is not None]
        lost = [
            replica
            for pool in self._pools.values()
            for replica in pool.replicas
            if replica.node is not None and any(replica.node is node for node in nodes)
        ]
        for node in nodes:
            node.up = False
        for replica in lost:
            replica.pool.fall(replica, now_s)

        def evict() -> None:
            for replica in lost:
                replica.pool.evict(replica, now_s + eviction_s)

        def restore() -> None:
            for node in nodes:
                node.up = True
            for replica in lost:
                replica.pool.rise(replica, end_s)
            self._cluster.bind_pending(end_s)

        if now_s + eviction_s < end_s:
            self._cluster.at(now_s + eviction_s, evict)
        self._cluster.at(end_s, restore)
