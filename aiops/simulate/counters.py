"""What an engine has counted so far, and what it counted in the last minutes."""

from typing import NamedTuple

from aiops.simulate.kernel.layout import Records
from aiops.simulate.requests import PS


class Counters(NamedTuple):
    """Cumulative counts of one engine since it became ready, at ``at_s`` seconds since the factory's start."""

    at_s: float
    queried_tokens: float = 0.0
    hit_tokens: float = 0.0
    prompt_tokens: float = 0.0
    generated_tokens: float = 0.0
    finished: float = 0.0
    preemptions: float = 0.0
    ttft_sum_s: float = 0.0
    ttft_count: float = 0.0
    itl_sum_s: float = 0.0
    itl_count: float = 0.0

    def since(self, earlier: "Counters") -> "Counters":
        """Give what was added since an earlier look; ``at_s`` becomes the seconds between the two."""
        return Counters(*(now - then for now, then in zip(self, earlier, strict=True)))


def read_counters(engines: Records, number: int, at_s: float, *, prefill: bool) -> Counters:
    """Read an engine's counters from its settled record; ``prefill``: its one token a request makes no interval."""
    engine = engines[number]
    generated, first_tokens = float(engine["generated"]), float(engine["first_tokens"])
    return Counters(
        at_s=at_s,
        queried_tokens=float(engine["queries"]),
        hit_tokens=float(engine["hits"]),
        prompt_tokens=float(engine["computed"] + engine["cached"] + engine["pulled"]),
        generated_tokens=generated,
        finished=float(engine["finished"]),
        preemptions=float(engine["preemptions"]),
        ttft_sum_s=float(engine["ttft_sum"]) / PS,
        ttft_count=first_tokens,
        itl_sum_s=float(engine["itl_sum"]) / PS,
        itl_count=0.0 if prefill else generated - first_tokens,
    )
