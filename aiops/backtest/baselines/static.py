"""Static: the smallest constant numbers of replicas that reach a given attainment, found by search."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from math import floor

from aiops.backtest.replay import Replay, World, alone, hold, hold_while
from aiops.model.refs import ModelRef, PoolRef
from aiops.simulate.spec import FactorySpec

MOST_REPLICAS = 32


@dataclass(frozen=True)
class StaticFleet:
    """The replicas found for one model, and what came of them; ``runs`` is how many simulated spans it took."""

    replicas: dict[PoolRef, int]
    replay: Replay
    runs: int


def smallest_static(
    world: World,
    spec: FactorySpec,
    duration: timedelta,
    attainment_ratio: float,
    on_run: Callable[[ModelRef, tuple[int, ...]], None] = lambda *_: None,
) -> StaticFleet:
    """Find the fewest GPUs that, held constant, reach an attainment over the span.

    For each number of prefill replicas the fewest decode replicas are found by halving, until prefill alone costs more
    than the best pair. More replicas never serve worse, so nothing smaller is missed. Raises ValueError where
    32 replicas a pool do not reach it.
    """
    search = _Search(alone(world, spec), spec, duration, attainment_ratio, on_run)
    best = search.single() if len(spec.pools) == 1 else search.pair()
    run = None if best is None else search.seen[best]
    if best is None or run is None:
        raise ValueError(f"{MOST_REPLICAS} replicas a pool of {spec.ref} do not reach {attainment_ratio:.4f}")
    return StaticFleet(search.named(best), run, len(search.seen))


class _Search:
    def __init__(
        self,
        world: World,
        spec: FactorySpec,
        duration: timedelta,
        attainment_ratio: float,
        on_run: Callable[[ModelRef, tuple[int, ...]], None],
    ) -> None:
        self.world, self.spec, self.duration = world, spec, duration
        self.goal, self.on_run = attainment_ratio, on_run
        self.gpus = [world.policies.variants[pool.variant or pool.profile].gpus for pool in spec.pools]
        self.seen: dict[tuple[int, ...], Replay | None] = {}
        self.most_misses: int | None = None

    def named(self, counts: tuple[int, ...]) -> dict[PoolRef, int]:
        return {
            PoolRef(self.spec.namespace, "Deployment", pool.name): count
            for pool, count in zip(self.spec.pools, counts, strict=True)
        }

    def reaches(self, counts: tuple[int, ...]) -> bool:
        if counts not in self.seen:
            self.on_run(self.spec.ref, counts)
            self.seen[counts] = self._run(counts)
        return self.seen[counts] is not None

    def _run(self, counts: tuple[int, ...]) -> Replay | None:
        """Run a span; None where it misses the goal. All runs have the same load, so later ones may be given up."""
        if self.most_misses is None:
            run: Replay | None = hold(self.world, self.duration, self.named(counts))
        else:
            run = hold_while(self.world, self.duration, self.named(counts), self.most_misses)
        if run is None:
            return None
        requests = run.fate.requests
        self.most_misses = floor((1 - self.goal) * requests.requests + 1e-6)
        return run if requests.hit_ratio is not None and requests.hit_ratio >= self.goal else None

    def single(self) -> tuple[int, ...] | None:
        count = _fewest(lambda n: self.reaches((n,)), MOST_REPLICAS)
        return None if count is None else (count,)

    def pair(self) -> tuple[int, ...] | None:
        """Walk the edge between pairs that reach the goal and pairs that do not: prefill up, decode down."""
        first = _fewest(lambda n: self.reaches((n, MOST_REPLICAS)), MOST_REPLICAS)
        best: tuple[int, int] | None = None
        most = MOST_REPLICAS
        for prefill in () if first is None else range(first, MOST_REPLICAS + 1):
            if best is not None and (most == 1 or self._cost((prefill, 1)) >= self._cost(best)):
                break
            decode = self._fewest_decode(prefill, most)
            if decode is not None:
                most = decode
                best = min(best or (prefill, decode), (prefill, decode), key=self._cost)
        return best

    def _fewest_decode(self, prefill: int, most: int) -> int | None:
        return _fewest(lambda n: self.reaches((prefill, n)), most)

    def _cost(self, counts: tuple[int, ...]) -> int:
        return sum(count * gpus for count, gpus in zip(counts, self.gpus, strict=True))


def _fewest(reaches: Callable[[int], bool], most: int) -> int | None:
    """Find the smallest number up to ``most`` that reaches the goal, by halving; None where that many do not."""
    if not reaches(most):
        return None
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle) else (middle, high)
    return high
