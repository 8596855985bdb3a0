"""vLLM 0.32's scheduler in plain Python: what runs in a step, what is admitted, and who has to give way."""

from bisect import insort
from dataclasses import dataclass

from tests.simulate.twin.blocks import BlockPool
from tests.simulate.twin.sequence import Admission, Entry, Sequence, Step, Update


@dataclass(frozen=True, slots=True)
class PlainSettings:
    """One engine's limits, by vLLM's names; ``usable_blocks`` does not count the placeholder block.

    ``ends_by``: ``length``, where the scheduler knows how many tokens come, or ``stop``, where it does not.
    """

    block_size: int = 16
    usable_blocks: int = 1000
    max_num_seqs: int = 128
    max_num_batched_tokens: int = 2048
    max_model_len: int = 1 << 20
    long_prefill_token_threshold: int = 0
    long_prefill_token_threshold_adaptive: bool = False
    watermark: float = 0.0
    reserve_full_isl: bool = True
    prefix_caching: bool = True
    async_scheduling: bool = True
    ends_by: str = "length"


@dataclass(slots=True)
class Counters:
    """Sums since the start: tokens looked up in the cache and found, at first admissions and at later ones."""

    queries: int = 0
    hits: int = 0
    queries_again: int = 0
    hits_again: int = 0
    preemptions: int = 0


class Scheduler:
    """Requests and blocks of one engine. ``schedule`` begins a step, ``update`` takes in what an earlier one made.

    ``side`` is ``local``, ``fetch`` (its blocks may be filled by another engine) or ``send`` (its blocks are pulled by
    another one).
    """

    def __init__(self, settings: PlainSettings, policy: str = "fcfs", side: str = "local") -> None:
        self.settings = settings
        self.by_priority = policy == "priority"
        self.side = side
        self.pool = BlockPool(settings.usable_blocks, settings.block_size)
        self.running: list[Sequence] = []
        self.waiting: list[Sequence] = []
        self.fetching: list[Sequence] = []
        self.held: list[Sequence] = []
        self.freed_late: list[Sequence] = []
        self.counters = Counters()

    @property
    def unfinished(self) -> int:
        return len(self.running) + len(self.waiting) + len(self.fetching)

    def add(self, sequence: Sequence) -> None:
        self._enqueue(self.waiting, sequence)

    def abort(self, sequence: Sequence) -> None:
        if sequence.ended:
            return
        sequence.ended = True
        if sequence in self.fetching:
            self.fetching.remove(sequence)
            if sequence.fetched:
                self._free(sequence)
            return
        (self.running if sequence in self.running else self.waiting).remove(sequence)
        self._free(sequence)

    def report_fetched(self, sequence: Sequence) -> None:
        sequence.fetched = True
        if sequence.ended:
            self._free(sequence)

    def report_pulled(self, sequence: Sequence) -> None:
        self.held.remove(sequence)
        self._free(sequence)

    def schedule(self) -> Step:
        step = Step()
        cap = self._chunk_cap()
        budget = self._serve_running(step, self.settings.max_num_batched_tokens, cap)
        if not step.preempted:
            self._admit(step, budget, cap)
        for sequence, tokens in step.tokens.items():
            before = sequence.computed
            sequence.computed += tokens
            yields = sequence.computed >= len(sequence.tokens) + sequence.placeholders
            if self.settings.async_scheduling:
                sequence.placeholders += yields
            sequence.in_flight += 1
            step.entries.append(Entry(sequence, tokens, before, yields, sequence.preemptions))
        return step

    def update(self, step: Step) -> Update:
        update = Update()
        for entry in step.entries:
            entry.sequence.in_flight -= 1
        late, self.freed_late = self.freed_late, []
        for sequence in late:
            self._free(sequence)
        for entry in step.entries:
            sequence, same_life = entry.sequence, entry.lives == entry.sequence.preemptions
            if not entry.yields or sequence.ended or (self.side == "send" and not same_life):
                continue
            sequence.append()
            update.made.append(sequence)
            if self.settings.async_scheduling and same_life:
                sequence.placeholders -= 1
                self._register(sequence, sequence.computed - sequence.placeholders)
            if self._is_over(sequence):
                self._end(sequence)
                update.ended.append(sequence)
        return update

    def _chunk_cap(self) -> int:
        """How many tokens one request may get in this step: no one's prompt may crowd out the others."""
        limit, count = self.settings.long_prefill_token_threshold, self.unfinished
        if limit == 0 or count <= 1:
            return self.settings.max_num_batched_tokens
        if self.settings.long_prefill_token_threshold_adaptive:
            return max(limit, self.settings.max_num_batched_tokens // count)
        return limit

    def _serve_running(self, step: Step, budget: int, cap: int) -> int:
        """Part A: the running ones in list order; gives what is left of the budget."""
        place = 0
        while place < len(self.running) and budget > 0:
            sequence = self.running[place]
            tokens = min(self._wanted(sequence), cap, budget)
            if tokens <= 0:
                place += 1
                continue
            need = self.pool.blocks_for(sequence.computed + tokens) - len(sequence.blocks)
            while need > len(self.pool.free):
                victim = max(self.running, key=lambda each: each.rank) if self.by_priority else self.running[-1]
                if self._is_pinned(victim):
                    return budget
                if victim in step.tokens:
                    budget += step.tokens.pop(victim)
                    place -= 1
                self._preempt(victim)
                step.preempted.append(victim)
                if victim is sequence:
                    return budget
            self._allocate(sequence, tokens)
            step.tokens[sequence] = tokens
            budget -= tokens
            place += 1
        return budget

    def _wanted(self, sequence: Sequence) -> int:
        computed, coming = sequence.computed, sequence.placeholders
        if coming > 0 and computed + 2 - coming >= sequence.prompt + sequence.max_tokens:
            return 0
        return min(len(sequence.tokens) + coming - computed, self.settings.max_model_len - 1 - computed)

    def _admit(self, step: Step, budget: int, cap: int) -> None:
        """Part B: holders of blocks first, then the others, until the first that does not fit."""
        for head in [each for each in self.fetching if each.fetched]:
            if budget <= 0 or len(self.running) >= self.settings.max_num_seqs:
                return
            if head.computed == len(head.tokens):
                self._register(head, head.computed)
                head.computed = len(head.tokens) - 1
            tokens = min(len(head.tokens) - head.computed, cap, budget)
            if not self._fits(head, len(head.blocks), 0, head.computed + tokens):
                return
            self.fetching.remove(head)
            self._start(step, head, tokens)
            budget -= tokens
        while self.waiting and budget > 0 and len(self.running) < self.settings.max_num_seqs:
            head = self.waiting[0]
            hit = self._lookup(head)
            cached = len(hit) * self.pool.size
            fetch = head.fetches and not head.fetched
            tokens = head.prompt - cached if fetch else min(len(head.tokens) - cached, cap, budget)
            parked = sum(self.pool.references[block] == 0 for block in hit)
            if not self._fits(head, len(hit), parked + (self._kept() if fetch else 0), cached + tokens):
                return
            self.waiting.pop(0)
            self.pool.share(hit)
            head.blocks, head.registered, head.computed = hit, len(hit), cached
            self._count(head, cached)
            if fetch:
                head.blocks += self.pool.take(self.pool.blocks_for(head.prompt) - len(hit))
                head.computed = head.prompt
                self._enqueue(self.fetching, head)
                step.fetches.append((head, tokens))
            else:
                self._start(step, head, tokens)
                budget -= tokens

    def _start(self, step: Step, head: Sequence, tokens: int) -> None:
        self._allocate(head, tokens)
        self.running.append(head)
        step.admissions.append(Admission(head, head.computed, head.admitted))
        head.admitted = True
        step.tokens[head] = tokens

    def _fits(self, head: Sequence, blocks: int, taken: int, upto: int) -> bool:
        """Whether a head that begins with ``blocks`` can be given the rest, with ``taken`` of the free ones gone."""
        room = len(self.pool.free) - taken + blocks
        if self.running:
            room -= int(self.settings.watermark * (self.pool.usable + 1))
        whole = min(len(head.tokens), self.settings.max_model_len) if self.settings.reserve_full_isl else 0
        return self.pool.blocks_for(max(whole, upto)) <= room

    def _kept(self) -> int:
        """Blocks that running requests with a part of their prompt left still need; only fetches leave them alone."""
        return sum(
            max(0, self.pool.blocks_for(len(each.tokens)) - len(each.blocks))
            for each in self.running
            if each.computed < each.prompt
        )

    def _lookup(self, head: Sequence) -> list[int]:
        if not self.settings.prefix_caching:
            return []
        full = (len(head.tokens) - 1) // self.pool.size
        return self.pool.lookup(self._key(head, place) for place in range(full))

    def _key(self, sequence: Sequence, place: int) -> int:
        size, keys = self.pool.size, sequence.keys
        while len(keys) <= place:
            begin = len(keys) * size
            keys.append(self.pool.key(keys[-1] if keys else 0, tuple(sequence.tokens[begin : begin + size])))
        return keys[place]

    def _allocate(self, sequence: Sequence, tokens: int) -> None:
        upto = sequence.computed + tokens
        sequence.blocks += self.pool.take(max(0, self.pool.blocks_for(upto) - len(sequence.blocks)))
        self._register(sequence, min(upto, len(sequence.tokens)))

    def _register(self, sequence: Sequence, upto: int) -> None:
        """Let others find the full blocks of the first ``upto`` tokens."""
        if not self.settings.prefix_caching:
            return
        for place in range(sequence.registered, upto // self.pool.size):
            self.pool.register(sequence.blocks[place], self._key(sequence, place))
            sequence.registered = place + 1

    def _count(self, head: Sequence, cached: int) -> None:
        if not self.settings.prefix_caching:
            return
        if head.admitted:
            self.counters.queries_again += len(head.tokens)
            self.counters.hits_again += cached
        else:
            self.counters.queries += len(head.tokens)
            self.counters.hits += cached

    def _is_pinned(self, sequence: Sequence) -> bool:
        """Whether a batch under way may write to blocks that a transfer could be given."""
        return self.side == "fetch" and self.settings.async_scheduling and sequence.in_flight > 0

    def _preempt(self, victim: Sequence) -> None:
        self.running.remove(victim)
        self._free(victim)
        victim.computed = victim.placeholders = 0
        victim.preemptions += 1
        self.counters.preemptions += 1
        if self.by_priority:
            self._enqueue(self.waiting, victim)
        else:
            self.waiting.insert(0, victim)

    def _is_over(self, sequence: Sequence) -> bool:
        return (
            sequence.outputs >= sequence.max_tokens
            or sequence.outputs == sequence.stops_after
            or len(sequence.tokens) >= self.settings.max_model_len
        )

    def _end(self, sequence: Sequence) -> None:
        sequence.ended = True
        (self.running if sequence in self.running else self.waiting).remove(sequence)
        if sequence.hands_over:
            self.held.append(sequence)
        else:
            self._free(sequence)

    def _free(self, sequence: Sequence) -> None:
        if self._is_pinned(sequence):
            self.freed_late.append(sequence)
            return
        self.pool.release(sequence.blocks)
        sequence.blocks, sequence.registered = [], 0

    def _enqueue(self, queue: list[Sequence], sequence: Sequence) -> None:
        if self.by_priority:
            insort(queue, sequence, key=lambda each: each.rank)
        else:
            queue.append(sequence)
