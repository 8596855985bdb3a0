"""A fleet that takes every step one by one: one pool, or one that prefills and one that decodes."""

import heapq
from collections.abc import Hashable
from dataclasses import dataclass
from functools import partial

from aiops.simulate.requests import RequestBatch
from aiops.simulate.step_law import StepLaw
from tests.simulate.twin.engine import PlainEngine, PlainTotals
from tests.simulate.twin.scheduler import PlainSettings
from tests.simulate.twin.sequence import Sequence, Update
from tests.simulate.twin.steps import StepTimes

ARRIVAL, FETCHED, TICK = 0, 1, 2
"""What happens at one instant happens in this order."""
SIDES = {"both": "local", "prefill": "send", "decode": "fetch"}


@dataclass(frozen=True, slots=True)
class PlainPool:
    """Engines of one kind. ``role``: both, prefill or decode; ``router``: least_loaded or round_robin."""

    role: str
    engines: int
    router: str
    settings: PlainSettings
    law: StepLaw


@dataclass(slots=True)
class PlainOutcome:
    """What became of the request with this place in the batch; -1 stands for what never was.

    ``engine`` counts within the pool where requests arrive; ``preemptions`` are those of both sides.
    """

    number: int
    status: str = "refused"
    engine: int = -1
    scheduled_ps: int = -1
    first_token_ps: int = -1
    finish_ps: int = -1
    cached_tokens: int = 0
    preemptions: int = 0


@dataclass(frozen=True, slots=True)
class PlainRun:
    """All outcomes in the order of the batch, and the totals of every engine: those that prefill first."""

    outcomes: list[PlainOutcome]
    engines: list[PlainTotals]


@dataclass(frozen=True, slots=True)
class Content:
    """What a request asks: the prompt's tokens, and where its own content goes on when the answer begins."""

    prompt: list[Hashable]
    own_id: int
    own_tokens: int
    output_tokens: int

    def answer(self, place: int) -> Hashable:
        return (True, self.own_id, self.own_tokens + place)


def read_contents(batch: RequestBatch) -> list[Content]:
    """Spell the columns out: a token is (whether it is own content, the content's id, its place in that)."""
    offsets, ids, sizes = (column.tolist() for column in (batch.piece_offsets, batch.piece_ids, batch.piece_tokens))
    contents = []
    for number, (total, output, own) in enumerate(
        zip(batch.prompt_tokens.tolist(), batch.output_tokens.tolist(), batch.own_ids.tolist(), strict=True)
    ):
        pieces = range(offsets[number], offsets[number + 1])
        prompt: list[Hashable] = [(False, ids[piece], place) for piece in pieces for place in range(sizes[piece])]
        own_tokens = total - len(prompt)
        if own_tokens < 0:
            raise ValueError(f"request {number}: its pieces are longer than its prompt")
        prompt += [(True, own, place) for place in range(own_tokens)]
        contents.append(Content(prompt, own, own_tokens, output))
    return contents


class Router:
    """Picks among a pool's engines, looking at each from the place after the last look's first one."""

    def __init__(self, pool: PlainPool) -> None:
        times = StepTimes(pool.law)
        self.pool = pool
        self.engines = [PlainEngine(pool.settings, times, SIDES[pool.role]) for _ in range(pool.engines)]
        self.turn = -1

    def pick(self) -> int:
        count = len(self.engines)
        self.turn = (self.turn + 1) % count
        if self.pool.router == "round_robin":
            return self.turn
        return min(((self.turn + step) % count for step in range(count)), key=self.load)

    def load(self, place: int) -> int:
        engine = self.engines[place]
        return engine.prompts_ahead if self.pool.role == "prefill" else engine.scheduler.unfinished

    def can_take(self, prompt: int, output: int) -> bool:
        """Whether a request can be served to its end here; the last token's content is never stored."""
        settings = self.pool.settings
        blocks = -(-(prompt + output - 1) // settings.block_size)
        return prompt + output <= settings.max_model_len and blocks <= settings.usable_blocks


class PlainFleet:
    """Arrivals, transfers and ticks in the order of time, each one on its own."""

    def __init__(
        self, pools: list[PlainPool], batch: RequestBatch, transfer_latency_ps: int, transfer_ps_per_token: int
    ) -> None:
        by_role = {pool.role: Router(pool) for pool in pools}
        if len(by_role) != len(pools) or set(by_role) not in ({"both"}, {"prefill", "decode"}):
            raise ValueError("a fleet is one pool for both, or one that prefills and one that decodes")
        self.entry = by_role.get("both") or by_role["prefill"]
        self.decode = by_role.get("decode")
        self.engines = self.entry.engines + (self.decode.engines if self.decode else [])
        self.contents = read_contents(batch)
        self.outcomes = [PlainOutcome(number) for number in range(len(batch))]
        self.arrivals = batch.arrival_ps.tolist()
        self.arrived = 0
        self.fetches: list[tuple[int, int, Sequence, PlainEngine]] = []
        self.fetches_started = 0
        self.pulled_from: dict[int, tuple[Sequence, PlainEngine]] = {}
        self.transfer_latency_ps = transfer_latency_ps
        self.transfer_ps_per_token = transfer_ps_per_token

    def run(self) -> PlainRun:
        while (event := self.next_event()) is not None:
            now_ps, kind, place = event
            if kind == ARRIVAL:
                self.arrive(now_ps)
            elif kind == FETCHED:
                self.end_fetch(now_ps)
            else:
                self.tick(self.engines[place], now_ps)
        stalled = [place for place, engine in enumerate(self.engines) if engine.scheduler.unfinished]
        if stalled:
            raise RuntimeError(f"the fleet stalls: engines {stalled} have requests, and nothing more will happen")
        return PlainRun(self.outcomes, [engine.totals() for engine in self.engines])

    def next_event(self) -> tuple[int, int, int] | None:
        coming = [(engine.tick_ps, TICK, i) for i, engine in enumerate(self.engines) if engine.tick_ps is not None]
        if self.arrived < len(self.arrivals):
            coming.append((self.arrivals[self.arrived], ARRIVAL, 0))
        if self.fetches:
            coming.append((self.fetches[0][0], FETCHED, 0))
        return min(coming, default=None)

    def arrive(self, now_ps: int) -> None:
        number = self.arrived
        self.arrived += 1
        content, outcome = self.contents[number], self.outcomes[number]
        prompt, output = len(content.prompt), content.output_tokens
        served = self.entry.can_take(prompt, 1 if self.decode else output)
        if not served or (self.decode and not self.decode.can_take(prompt, output)):
            return
        outcome.engine = self.entry.pick()
        self.entry.engines[outcome.engine].submit(self.sequence(number, self.entry), now_ps)

    def sequence(self, number: int, router: Router) -> Sequence:
        content, settings, role = self.contents[number], router.pool.settings, router.pool.role
        foreseen = settings.ends_by == "length"
        return Sequence(
            number=number,
            tokens=list(content.prompt),
            max_tokens=1 if role == "prefill" else content.output_tokens if foreseen else settings.max_model_len,
            answer=partial(Content.answer, content),
            stops_after=None if foreseen or role == "prefill" else content.output_tokens,
            fetches=role == "decode",
            hands_over=role == "prefill",
        )

    def tick(self, engine: PlainEngine, now_ps: int) -> None:
        self.take_tokens(engine, engine.end_batch(), now_ps)
        engine.take_reports()
        for step in engine.begin(now_ps):
            for admission in step.admissions:
                if not admission.resumed and not admission.sequence.fetches:
                    outcome = self.outcomes[admission.sequence.number]
                    outcome.scheduled_ps, outcome.cached_tokens = now_ps, admission.cached
            for sequence, tokens in step.fetches:
                self.begin_fetch(engine, sequence, tokens, now_ps)

    def take_tokens(self, engine: PlainEngine, update: Update, now_ps: int) -> None:
        for sequence in update.made:
            if sequence.outputs == 1 and not sequence.hands_over:
                self.outcomes[sequence.number].first_token_ps = now_ps
        for sequence in update.ended:
            outcome = self.outcomes[sequence.number]
            outcome.preemptions += sequence.preemptions
            if self.decode and sequence.hands_over:
                self.pulled_from[sequence.number] = (sequence, engine)
                chosen = self.decode.engines[self.decode.pick()]
                chosen.submit(self.sequence(sequence.number, self.decode), now_ps)
            else:
                outcome.status, outcome.finish_ps = "completed", now_ps

    def begin_fetch(self, engine: PlainEngine, sequence: Sequence, tokens: int, now_ps: int) -> None:
        """Queue a transfer on the engine's link; it is over a latency after its last token has passed."""
        engine.link_free_ps = max(now_ps, engine.link_free_ps) + tokens * self.transfer_ps_per_token
        done_ps = engine.link_free_ps + self.transfer_latency_ps
        heapq.heappush(self.fetches, (done_ps, self.fetches_started, sequence, engine))
        self.fetches_started += 1

    def end_fetch(self, now_ps: int) -> None:
        _, _, sequence, engine = heapq.heappop(self.fetches)
        engine.report(sequence, now_ps)
        pulled, prefiller = self.pulled_from.pop(sequence.number)
        prefiller.report(pulled, now_ps)


def run_fleet(
    pools: list[PlainPool], batch: RequestBatch, transfer_latency_ps: int = 0, transfer_ps_per_token: int = 0
) -> PlainRun:
    """Serve a batch from an empty fleet until everything has ended; raises RuntimeError if that never comes."""
    return PlainFleet(pools, batch, transfer_latency_ps, transfer_ps_per_token).run()


def run_plain(
    pools: list[PlainPool], batch: RequestBatch, transfer_latency_ps: int = 0, transfer_ps_per_token: int = 0
) -> list[PlainOutcome]:
    """The outcomes of ``run_fleet``."""
    return run_fleet(pools, batch, transfer_latency_ps, transfer_ps_per_token).outcomes
