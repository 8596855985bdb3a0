"""One engine in time: when its batches end, when it schedules, when it sleeps."""

from collections import deque
from dataclasses import dataclass

from tests.simulate.twin.scheduler import PlainSettings, Scheduler
from tests.simulate.twin.sequence import Sequence, Step, Update
from tests.simulate.twin.steps import StepTimes


@dataclass(slots=True)
class PlainTotals:
    """An engine's sums since the start.

    ``steps`` with at least one token; ``queries`` and ``hits`` of the prefix cache in tokens, at first admissions only
    (a fetch counts when it starts); ``generated_tokens``: all that came out, a prefill engine's one included;
    ``prompt_tokens`` computed, again after a preemption, without cached ones; ``peak_used_blocks`` after a schedule.
    """

    steps: int = 0
    preemptions: int = 0
    queries: int = 0
    hits: int = 0
    generated_tokens: int = 0
    prompt_tokens: int = 0
    used_blocks: int = 0
    peak_used_blocks: int = 0


class PlainEngine:
    """A scheduler, the batches in flight with their durations, and the reports that its next tick will take in."""

    def __init__(self, settings: PlainSettings, times: StepTimes, side: str) -> None:
        self.scheduler = Scheduler(settings, side=side)
        self.times = times
        self.depth = 2 if settings.async_scheduling else 1
        self.batches: deque[tuple[Step, int]] = deque()
        self.reports: list[Sequence] = []
        self.tick_ps: int | None = None
        self.prompts_ahead = 0
        self.link_free_ps = 0
        self._totals = PlainTotals()

    def wake(self, now_ps: int) -> None:
        """Look for work now if asleep; a busy engine looks when its batch ends."""
        if not self.batches:
            self.tick_ps = now_ps

    def submit(self, sequence: Sequence, now_ps: int) -> None:
        self.scheduler.add(sequence)
        self.prompts_ahead += sequence.prompt
        self.wake(now_ps)

    def report(self, sequence: Sequence, now_ps: int) -> None:
        """Tell of an ended transfer: into the blocks of one that waits here, or out of those of one that left."""
        self.reports.append(sequence)
        self.wake(now_ps)

    def end_batch(self) -> Update:
        """Take in what the batch made that ends now; nothing for an engine that slept."""
        if not self.batches:
            return Update()
        update = self.scheduler.update(self.batches.popleft()[0])
        self._totals.generated_tokens += len(update.made)
        self.prompts_ahead -= sum(each.prompt for each in update.ended)
        return update

    def take_reports(self) -> None:
        reports, self.reports = self.reports, []
        for sequence in reports:
            if sequence.hands_over:
                self.scheduler.report_pulled(sequence)
            else:
                self.scheduler.report_fetched(sequence)

    def begin(self, now_ps: int) -> list[Step]:
        """Schedule until enough batches are in flight or there is nothing to do; gives what was decided."""
        steps, totals = [], self._totals
        while len(self.batches) < self.depth:
            step = self.scheduler.schedule()
            steps.append(step)
            totals.peak_used_blocks = max(totals.peak_used_blocks, self.scheduler.pool.used)
            if not step.entries:
                # An empty step takes no time, and one that took a lone request's blocks away has looked at nobody else.
                if step.preempted and not self.batches:
                    continue
                break
            totals.steps += 1
            for entry in step.entries:
                totals.prompt_tokens += max(0, min(entry.before + entry.tokens, entry.sequence.prompt) - entry.before)
            self.batches.append((step, self.times.duration_ps(step.entries)))
        self.tick_ps = now_ps + self.batches[0][1] if self.batches else None
        return steps

    def totals(self) -> PlainTotals:
        counters = self.scheduler.counters
        self._totals.preemptions = counters.preemptions
        self._totals.queries, self._totals.hits = counters.queries, counters.hits
        self._totals.used_blocks = self.scheduler.pool.used
        return self._totals
