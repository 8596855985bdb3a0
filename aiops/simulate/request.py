"""One request on its way through the factory."""

from math import inf


class Request:
    """A prompt to be answered with ``output`` tokens; mutable, as millions pass through the inner loop.

    Times are seconds since the factory's start; ``key`` in 0..1 is what a router may cling to. ``first_token_s`` is
    when the client got its first token: it comes out of the prefill replica where roles are apart, and decode goes on
    from there; infinite until then. ``queued_s``, ``scheduled_s`` and ``engine_first_s`` belong to the engine that has
    it now. ``computed`` counts the prompt tokens whose KV is there, ``cached`` those of them that were hits.
    """

    __slots__ = (
        "arrival_s",
        "cached",
        "computed",
        "engine_first_s",
        "first_token_s",
        "id",
        "key",
        "output",
        "prompt",
        "queued_s",
        "scheduled_s",
    )

    def __init__(self, number: int, arrival_s: float, prompt: int, output: int, key: float = 0.0) -> None:
        self.id = number
        self.arrival_s = arrival_s
        self.prompt = prompt
        self.output = output
        self.key = key
        self.first_token_s = inf
        self.queued_s = arrival_s
        self.scheduled_s = arrival_s
        self.engine_first_s = arrival_s
        self.computed = 0
        self.cached = 0
