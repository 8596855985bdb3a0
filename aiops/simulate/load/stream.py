"""A load: the requests of one model in the order of their arrival."""

from collections.abc import Iterator
from datetime import datetime
from math import floor, log2

import numpy as np

from aiops.simulate.load.arrivals import Gaps
from aiops.simulate.load.columns import CLOCK_END_S, cut, joined, merged, no_requests
from aiops.simulate.load.crowd import Crowd
from aiops.simulate.load.demand import read_demand
from aiops.simulate.load.events import BatchJob
from aiops.simulate.load.laws import LengthSpec
from aiops.simulate.load.lengths import Lengths
from aiops.simulate.load.prefixes import NoPrefixes, prefixes_of
from aiops.simulate.load.rates import Bends, Rate, bends_of, bent, day_rate, job_rate
from aiops.simulate.load.sessions import Sessions
from aiops.simulate.load.sources import Draws, SingleRequests, Source
from aiops.simulate.load.spec import LoadSpec
from aiops.simulate.load.traces import Replay
from aiops.simulate.requests import PS, RequestBatch

_AT_ONCE = 65_536  # requests, about
_ID_ROOM = 2**40  # own ids of each source


class Load:
    """The requests of one model from a start on, drawn piece by piece and read in any pieces.

    The same seed, name, spec and start make the same requests, however they are read and whatever becomes of them.
    Memory holds what is drawn at once (tens of thousands of requests), the turns that conversations under way still
    have to come, and a window of the clients' table. Without a spec nothing arrives.

    Raises OSError where a table cannot be read, ValueError where it is not of its kind.
    """

    def __init__(self, spec: LoadSpec | None, seed: int, name: str, start: datetime) -> None:
        self._sources = [] if spec is None else _sources(spec, Draws(seed, name), start)
        highest = sum(source.highest for source in self._sources)
        # Powers of two, so that the ends of pieces are exact; never set by who reads, or the draws would differ.
        self._piece_s = 2.0 ** min(12, max(-6, floor(log2(_AT_ONCE / max(highest, 1e-3)))))
        self._pieces = 0
        self._rest = no_requests()

    def batches(self, until_ps: int) -> Iterator[RequestBatch]:
        """Give what arrives before a time and was not given yet, in batches of bounded size, none of them empty.

        Raises ValueError where the time is beyond the clock's end.
        """
        if until_ps > CLOCK_END_S * PS:
            raise ValueError(f"a load lasts {CLOCK_END_S / 86_400:.0f} days at most, not until {until_ps / PS:.0f} s")
        while True:
            due = int(np.searchsorted(self._rest.arrival_ps, until_ps))
            batch, self._rest = cut(self._rest, 0, due), cut(self._rest, due, len(self._rest))
            if len(batch):
                yield batch
            if len(self._rest) or self._pieces * self._piece_s * PS >= until_ps or not self._sources:
                return
            self._pieces += 1
            self._rest = merged([source.until(self._pieces * self._piece_s) for source in self._sources])

    def next_batch(self, until_ps: int) -> RequestBatch:
        """Give what arrives before a time and was not given yet, all at once."""
        return joined(list(self.batches(until_ps)))

    def stop(self) -> None:
        """Let nothing arrive any more."""
        self._sources, self._rest = [], no_requests()


def _sources(spec: LoadSpec, draws: Draws, start: datetime) -> list[Source]:
    bends = bends_of(spec.events)
    main = _main_source(spec, draws, start, bends)
    jobs = [event for event in spec.events if isinstance(event, BatchJob)]
    return [main, *(_job(job, draws, number) for number, job in enumerate(jobs, start=1))]


def _main_source(spec: LoadSpec, draws: Draws, start: datetime, bends: Bends) -> Source:
    if spec.trace is not None:
        return Replay(spec.trace, draws.of("jitter"), first_id=0)
    prefixes = prefixes_of(spec, draws.of("prefixes"))
    if spec.clients is not None:
        caps = tuple(np.inf if each is None else float(each.max) for each in (spec.input_tokens, spec.output_tokens))
        return Crowd(spec.clients, (caps[0], caps[1]), draws, bends, prefixes, first_id=0)
    table = None if spec.demand is None else read_demand(spec.demand)
    rate = bent(day_rate(spec, start) if table is None else table.rate, bends.rate)
    if spec.sessions is not None:
        return Sessions(spec, spec.sessions, rate, draws, bends, first_id=0)
    inputs, outputs = spec.input_tokens or LengthSpec(), spec.output_tokens or LengthSpec()
    if table is not None and not (inputs.complete and outputs.complete) and not table.says_lengths:
        raise ValueError("the windows of demand say not everywhere how long requests are: give inputTokens a mean")
    return SingleRequests(
        rate,
        Gaps(spec.arrivals, draws.of("arrivals")),
        Lengths(inputs, draws.of("inputs"), bends.inputs, None if table is None else table.mean_input),
        Lengths(outputs, draws.of("outputs"), bends.outputs, None if table is None else table.mean_output),
        prefixes,
        first_id=0,
    )


def _job(job: BatchJob, draws: Draws, number: int) -> Source:
    begin_s = job.at.total_seconds()
    rate: Rate = job_rate(job.requests_per_s, begin_s, begin_s + job.duration.total_seconds())
    return SingleRequests(
        rate,
        Gaps(job.arrivals, draws.of(f"job {number} arrivals")),
        Lengths(job.input_tokens, draws.of(f"job {number} inputs")),
        Lengths(job.output_tokens, draws.of(f"job {number} outputs")),
        NoPrefixes(),
        first_id=number * _ID_ROOM,
    )
