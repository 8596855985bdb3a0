"""One replica's engine: continuous batching in virtual time, from a capacity profile.

A step decodes one token for each running sequence and computes chunks of prompts under the token budget. While no
prompt is being computed, many steps are taken at once, up to the next finish: with the batch fixed, step times grow
linearly with the context (up to the next row of the profile's table), so their sum is an arithmetic series. An arrival
cuts such a run at the end of the step under way.

Simplified against vLLM, and to be replaced here: decodes come before chunks in the budget, a request reserves the KV of
its whole length at admission (so nothing is ever preempted), and the prefix cache is a warm-up curve without blocks.
"""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from math import inf

from aiops.model.refs import Role
from aiops.simulate.histogram import ITL_S, STEP_TOKENS, TTFT_S, EndedRow, RequestHistograms
from aiops.simulate.request import Request
from aiops.simulate.timing import StepTimes

BLOCK_TOKENS = 16  # prefix hits come in whole blocks
FLOOR_S = 1e-6  # a decode table extrapolated downwards never makes time stand still


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What the engines of a pool share."""

    model: str
    role: Role
    times: StepTimes
    kv_tokens: int
    max_num_seqs: int
    max_num_batched_tokens: int
    max_model_len: int
    prefix_share: float = 0.0
    warmup_tokens: int = 1


class Engine:
    """The state of one engine. The caller keeps the time and calls :meth:`end_step` at ``ends_s``.

    ``load`` is the pending work that routers compare: requests, or prompt tokens where the role is prefill. The
    counters only ever grow, as vLLM's do; ``ended`` holds the requests that are in no histogram yet.
    """

    __slots__ = (
        "_histograms", "began_s", "cached_tokens", "chunks", "clock", "computed_tokens", "computes",
        "context_sum", "decodes", "decoding", "ended", "ends_s", "event", "finished", "first_step_s",
        "generated_tokens", "held_tokens", "hit_tokens", "itl_counts", "itl_sum_s", "joined", "joining", "load",
        "prefilling", "pull_tokens", "pulled_tokens", "pulling", "pulling_tokens", "queried_tokens",
        "reserved_tokens", "settings", "step_counts", "step_growth_s", "step_tokens_sum", "steps",
        "ttft_counts", "ttft_sum_s", "waiting", "warm_tokens",
    )  # fmt: skip

    def __init__(self, settings: EngineSettings, *, warm: bool = False) -> None:
        self.settings = settings
        self.computes = settings.role is not Role.DECODE
        self.decodes = settings.role is not Role.PREFILL
        self.event = 0  # the number of the step end that the caller waits for; older ones are void
        self.waiting: deque[Request] = deque()
        self.prefilling: list[Request] = []
        self.pulling = 0  # requests whose KV is under way
        self.joining: list[Request] = []  # pulled, and in the batch from the next step on
        self.decoding: list[tuple[int, int, Request]] = []  # a heap on (clock at the last token, id)
        self.clock = 0  # steps taken so far
        self.context_sum = 0
        self.reserved_tokens = 0
        self.held_tokens = 0  # prompts computed here that no decode replica has pulled yet
        self.pulling_tokens = 0  # of those and of the joining
        self.load = 0
        # The step, or the run of pure decode steps, that is under way.
        self.began_s = 0.0
        self.ends_s = inf
        self.steps = 0
        self.first_step_s = 0.0
        self.step_growth_s = 0.0
        self.chunks: list[tuple[Request, int]] = []
        self.joined: list[Request] = []
        # Counters. Those of prompt tokens by source count at the first token, lookups at admission.
        self.warm_tokens = settings.warmup_tokens if warm else 0
        self.queried_tokens = self.hit_tokens = self.pull_tokens = 0
        self.computed_tokens = self.cached_tokens = self.pulled_tokens = 0
        self.generated_tokens = self.finished = 0
        self.ttft_counts, self.ttft_sum_s = [0] * (len(TTFT_S) + 1), 0.0
        self.itl_counts, self.itl_sum_s = [0] * (len(ITL_S) + 1), 0.0
        self.step_counts, self.step_tokens_sum = [0] * (len(STEP_TOKENS) + 1), 0
        self.ended: list[EndedRow] = []
        self._histograms = RequestHistograms(settings.max_model_len)

    # What is in it.

    @property
    def empty(self) -> bool:
        """Whether nothing is left to do and nobody will come for a prompt's KV."""
        return not self.load and not self.held_tokens

    @property
    def running(self) -> int:
        """The requests in the batch."""
        return len(self.decoding) + len(self.prefilling)

    @property
    def deferred(self) -> int:
        """The requests whose KV is under way; vLLM counts them as waiting."""
        return self.pulling + len(self.joining)

    def kv_used_tokens(self, now_s: float) -> int:
        """Give the tokens whose KV is stored."""
        decoding = self.context_sum + self.steps_done(now_s) * len(self.decoding)
        partial = sum(request.computed for request in self.prefilling)
        return decoding + partial + self.held_tokens + self.pulling_tokens

    def requests(self) -> Iterator[Request]:
        """Go through the requests here, those being pulled excepted."""
        yield from self.waiting
        yield from self.prefilling
        yield from self.joining
        for _, _, request in self.decoding:
            yield request

    def request_histograms(self) -> RequestHistograms:
        """Give the histograms of the requests that ended here, all of them counted."""
        if self.ended:
            self._histograms.observe(self.ended)
            self.ended = []
        return self._histograms

    # What the caller does to it. Each gives the new end of the step under way, or None where that did not change.

    def submit(self, request: Request, now_s: float) -> float | None:
        """Queue a request whose prompt is to be computed here."""
        request.queued_s = now_s
        self.load += 1 if self.decodes else request.prompt
        self.waiting.append(request)
        # Behind others it changes nothing: they are blocked, or the step under way is the last of its run.
        return self._look_sooner(now_s) if len(self.waiting) == 1 else None

    def submit_computed(self, request: Request, now_s: float) -> list[Request]:
        """Queue a request whose prompt was computed elsewhere; give those whose KV is to be pulled now."""
        request.queued_s = now_s
        self.load += 1
        self.waiting.append(request)
        return self.start_pulls()

    def start_pulls(self) -> list[Request]:
        """Take waiting requests in, as far as their KV fits; the caller lets each join when its KV has arrived."""
        started = []
        settings, waiting = self.settings, self.waiting
        while waiting and len(self.decoding) + self.deferred < settings.max_num_seqs:
            request = waiting[0]
            if self.reserved_tokens + request.prompt + request.output > settings.kv_tokens:
                break
            waiting.popleft()
            self.reserved_tokens += request.prompt + request.output
            self.pulling += 1
            self.pulling_tokens += request.prompt
            self.queried_tokens += request.prompt
            self.pull_tokens += request.prompt
            started.append(request)
        return started

    def join(self, request: Request, now_s: float) -> float | None:
        """Let a request whose KV has arrived decode from the next step on."""
        self.pulling -= 1
        self.joining.append(request)
        return self._look_sooner(now_s)

    def release(self, request: Request, now_s: float) -> float | None:
        """Free the KV of a prompt that was computed here and has been pulled."""
        self.held_tokens -= request.prompt
        self.reserved_tokens -= request.prompt
        return self.begin_step(now_s) if self.ends_s == inf and self.waiting else None

    def begin_step(self, now_s: float) -> float | None:
        """Plan the next step, or the run of decode steps up to the next finish; None where there is nothing to do."""
        decoding = self.decoding
        if self.joining:
            self._take_in_joining(now_s)
        batch = len(decoding)
        chunk_s = self._plan_chunks(now_s, batch) if self.computes and (self.waiting or self.prefilling) else 0.0
        self.began_s = now_s
        if batch:
            context = self.context_sum / batch
            times = self.settings.times
            piece = bisect_right(times.knots, context)
            at_zero, slope = times.lines[batch][piece]
            step_s = at_zero + slope * context
            self.first_step_s = (step_s if step_s > FLOOR_S else FLOOR_S) + chunk_s
            self.step_growth_s = slope
            steps = 1 if self.chunks else decoding[0][0] - self.clock
            if times.knots[piece] - context < steps:  # from the knot on, steps grow along another line
                steps = int(times.knots[piece] - context) + 1
            self.steps = steps
            self.ends_s = now_s + steps * self.first_step_s + slope * (steps * (steps - 1) / 2)
        elif self.chunks:
            self.steps, self.first_step_s, self.step_growth_s = 1, chunk_s, 0.0
            self.ends_s = now_s + chunk_s
        else:
            self.steps, self.ends_s = 0, inf
            return None
        return self.ends_s

    def end_step(self, now_s: float) -> list[Request]:
        """Take the steps under way as done; give the requests that leave: answered, or (prefill) to be pulled."""
        steps, decoding = self.steps, self.decoding
        self.clock = clock = self.clock + steps
        self.ends_s = inf
        left: list[Request] = []
        tokens = steps * len(decoding)
        if tokens:
            self.context_sum += tokens
            self.generated_tokens += tokens
            mean_s = (now_s - self.began_s) / steps
            intervals = tokens - self._count_joined() if self.joined else tokens
            self.itl_counts[bisect_left(ITL_S, mean_s)] += intervals
            self.itl_sum_s += mean_s * intervals
            while decoding and decoding[0][0] <= clock:
                left.append(self._finish(heappop(decoding)[2], now_s))
        if self.chunks:
            tokens += self._end_chunks(now_s, left)
        self.step_counts[bisect_left(STEP_TOKENS, tokens / steps)] += steps
        self.step_tokens_sum += tokens
        return left

    def steps_done(self, now_s: float) -> int:
        """Give how many whole steps of the run under way have ended."""
        if not self.steps:
            return 0
        elapsed_s = now_s - self.began_s
        done = min(self.steps - 1, int(elapsed_s / self.first_step_s))
        while done > 0 and self.run_s(done) > elapsed_s:  # steps lengthen, so the guess is a little high
            done -= 1
        return done

    def run_s(self, steps: int) -> float:
        """Give what the first ``steps`` steps of the run under way take."""
        return steps * self.first_step_s + self.step_growth_s * (steps * (steps - 1) / 2)

    def _look_sooner(self, now_s: float) -> float | None:
        """Start a step if none is under way, or end a run of decode steps with the present one."""
        if self.ends_s == inf:
            return self.begin_step(now_s)
        if self.steps > 1:
            steps = self.steps_done(now_s) + 1
            if steps < self.steps:
                self.steps = steps
                self.ends_s = self.began_s + self.run_s(steps)
                return self.ends_s
        return None

    def _plan_chunks(self, now_s: float, batch: int) -> float:
        """Choose this step's chunks, prompts begun before first; give the seconds that they add to the step."""
        settings = self.settings
        prefill_s, chunks = settings.times.prefill_s, self.chunks
        budget = settings.max_num_batched_tokens - batch
        seconds, begins = 0.0, False
        for request in self.prefilling:
            if budget <= 0:
                break
            chunk = min(request.prompt - request.computed, budget)
            seconds += prefill_s[request.computed + chunk] - prefill_s[request.computed]
            budget -= chunk
            chunks.append((request, chunk))
        while self.waiting and budget > 0 and batch + len(self.prefilling) < settings.max_num_seqs:
            request = self.waiting[0]
            needed = request.prompt + request.output if self.decodes else request.prompt
            if self.reserved_tokens + needed > settings.kv_tokens:
                break
            self.waiting.popleft()
            self.reserved_tokens += needed
            self._look_up(request)
            request.scheduled_s = now_s
            self.prefilling.append(request)
            begins = True
            chunk = min(request.prompt - request.computed, budget)
            seconds += prefill_s[request.computed + chunk] - prefill_s[request.computed]
            budget -= chunk
            chunks.append((request, chunk))
        # A step has one fixed cost: the decode batch carries it, else the first chunk of a prompt does.
        return seconds + prefill_s[0] if begins and not batch else seconds

    def _look_up(self, request: Request) -> None:
        """Count the prefix cache's hits for a request that is being admitted; its last token is always computed."""
        settings = self.settings
        self.queried_tokens += request.prompt
        if settings.prefix_share:
            served = self.warm_tokens + self.computed_tokens + self.cached_tokens
            share = settings.prefix_share * min(1.0, served / settings.warmup_tokens)
            request.cached = min(int(share * request.prompt), request.prompt - 1) // BLOCK_TOKENS * BLOCK_TOKENS
            request.computed = request.cached
            self.hit_tokens += request.cached

    def _take_in_joining(self, now_s: float) -> None:
        for request in self.joining:
            request.scheduled_s = now_s
            self.pulling_tokens -= request.prompt
            self.context_sum += request.prompt + 1
            self.pulled_tokens += request.prompt
            heappush(self.decoding, (self.clock + request.output - 1, request.id, request))
        self.joined, self.joining = self.joining, []

    def _count_joined(self) -> int:
        """Count the first tokens that this engine made for the requests that joined at the last step's begin."""
        joined, self.joined = self.joined, []
        for request in joined:
            request.engine_first_s = self.began_s + self.first_step_s
            self._count_first_token(request)
        return len(joined)

    def _count_first_token(self, request: Request) -> None:
        ttft_s = request.engine_first_s - request.queued_s
        self.ttft_counts[bisect_left(TTFT_S, ttft_s)] += 1
        self.ttft_sum_s += ttft_s

    def _end_chunks(self, now_s: float, left: list[Request]) -> int:
        """Move the chunks' requests on, those that leave into ``left``; give the tokens computed and generated."""
        tokens = 0
        for request, chunk in self.chunks:
            tokens += chunk
            request.computed += chunk
            if request.computed < request.prompt:
                continue
            tokens += 1
            self.prefilling.remove(request)
            self.generated_tokens += 1
            self.cached_tokens += request.cached
            self.computed_tokens += request.prompt - request.cached
            request.first_token_s = request.engine_first_s = now_s
            self._count_first_token(request)
            if not self.decodes:
                left.append(self._finish_prefill(request, now_s))
                continue
            self.context_sum += request.prompt + 1
            if request.output > 1:
                heappush(self.decoding, (self.clock + request.output - 1, request.id, request))
            else:
                left.append(self._finish(request, now_s))
        self.chunks = []
        return tokens

    def _finish(self, request: Request, now_s: float) -> Request:
        tokens = request.prompt + request.output
        self.context_sum -= tokens
        self.reserved_tokens -= tokens
        self.load -= 1
        if not self.computes:
            return self._end(request, now_s, generated=request.output - 1, computed=0)
        return self._end(request, now_s, generated=request.output, computed=request.prompt - request.cached)

    def _finish_prefill(self, request: Request, now_s: float) -> Request:
        self.load -= request.prompt
        if request.output > 1:
            self.held_tokens += request.prompt
        else:
            self.reserved_tokens -= request.prompt
        return self._end(request, now_s, generated=1, computed=request.prompt - request.cached)

    def _end(self, request: Request, now_s: float, generated: int, computed: int) -> Request:
        times_s = (request.queued_s, request.scheduled_s, request.engine_first_s, now_s)
        self.ended.append((*times_s, request.prompt, generated, computed))
        self.finished += 1
        return request
