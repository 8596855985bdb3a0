"""What an engine has counted so far, readable in the middle of a run of steps."""

from dataclasses import dataclass
from typing import NamedTuple

from aiops.simulate.engine import Engine


class Counters(NamedTuple):
    """Cumulative counts of one engine since it became ready, at ``at_s`` seconds since the factory's start."""

    at_s: float
    queried_tokens: float = 0.0
    hit_tokens: float = 0.0
    prompt_tokens: float = 0.0
    generated_tokens: float = 0.0
    finished: float = 0.0
    ttft_sum_s: float = 0.0
    ttft_count: float = 0.0
    itl_sum_s: float = 0.0
    itl_count: float = 0.0

    def since(self, earlier: "Counters") -> "Counters":
        """Give what was added since an earlier look; ``at_s`` becomes the seconds between the two."""
        return Counters(*(now - then for now, then in zip(self, earlier, strict=True)))


@dataclass(frozen=True, slots=True)
class Progress:
    """What the run under way has brought so far: whole steps alone, and nothing of it is in the counters yet."""

    steps: int = 0
    batch: int = 0
    intervals: int = 0
    step_mean_s: float = 0.0
    first_tokens_s: tuple[float, ...] = ()


def progress(engine: Engine, now_s: float) -> Progress:
    """Look into the run under way without disturbing it."""
    steps = engine.steps_done(now_s)
    if not steps:
        return Progress()
    batch = len(engine.decoding)
    first_tokens_s = tuple(engine.began_s + engine.first_step_s - request.queued_s for request in engine.joined)
    return Progress(steps, batch, steps * batch - len(first_tokens_s), engine.run_s(steps) / steps, first_tokens_s)


def read_counters(engine: Engine, now_s: float) -> Counters:
    """Read an engine's counters, the whole steps of the run under way included."""
    under_way = progress(engine, now_s)
    return Counters(
        at_s=now_s,
        queried_tokens=engine.queried_tokens,
        hit_tokens=engine.hit_tokens,
        prompt_tokens=engine.computed_tokens + engine.cached_tokens + engine.pulled_tokens,
        generated_tokens=engine.generated_tokens + under_way.steps * under_way.batch,
        finished=engine.finished,
        ttft_sum_s=engine.ttft_sum_s + sum(under_way.first_tokens_s),
        ttft_count=sum(engine.ttft_counts) + len(under_way.first_tokens_s),
        itl_sum_s=engine.itl_sum_s + under_way.intervals * under_way.step_mean_s,
        itl_count=sum(engine.itl_counts) + under_way.intervals,
    )
