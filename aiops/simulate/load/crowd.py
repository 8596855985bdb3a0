"""Requests drawn from the tables of many clients."""

import numpy as np

from aiops.simulate.load.clients import read_client_rates, read_lengths, request_shares, tokens_on
from aiops.simulate.load.columns import Floats, HeldBack, prefixed_batch, to_ps
from aiops.simulate.load.lengths import whole_tokens
from aiops.simulate.load.prefixes import Prefixes
from aiops.simulate.load.rates import Bends, Rate, bent, growth
from aiops.simulate.load.sources import Draws
from aiops.simulate.load.spec import ClientsSpec
from aiops.simulate.requests import PS, Ints, RequestBatch

_ONE = Rate(np.ones_like, np.empty(0), 1.0)


class Crowd:
    """The requests of all clients, a window of their table at a time.

    Where it is not known how long a client's requests are, they are as long as anyone's at any time of the table.
    """

    def __init__(
        self,
        spec: ClientsSpec,
        caps: tuple[float, float],
        draws: Draws,
        bends: Bends,
        prefixes: Prefixes,
        first_id: int,
    ) -> None:
        self._rates = read_client_rates(spec.trace)
        self._lines = read_lengths(spec.lengths)
        self._anyone = np.cumsum(request_shares(self._rates, self._lines))[:-1]
        self._scale = spec.scale
        self._caps = caps
        self._bends = bends
        self._factor = bent(_ONE, bends.rate)
        self._arrivals, self._sizes = draws.of("arrivals"), draws.of("sizes")
        self._prefixes = prefixes
        self._held = HeldBack()
        self._next_id = first_id
        self.highest = float(self._rates.total.max()) * spec.scale * self._factor.highest
        self._begins_s = self._rates.begins_s - spec.origin.total_seconds()
        self._next_window = int(np.searchsorted(self._begins_s + self._rates.width_s, 0.0, side="right"))

    def until(self, end_s: float) -> RequestBatch:
        """Draw the windows that begin next; give the requests that are due."""
        while self._next_window < len(self._begins_s) and self._begins_s[self._next_window] < end_s:
            self._held.add(self._window(self._next_window))
            self._next_window += 1
        return self._held.take(round(end_s * PS))

    def _window(self, window: int) -> RequestBatch:
        rates, begin_s = self._rates, float(self._begins_s[window])
        every = slice(int(rates.offsets[window]), int(rates.offsets[window + 1]))
        knots, grown = growth(self._factor, begin_s, begin_s + rates.width_s)
        due = rates.requests_per_s[every] * self._scale * float(grown[-1])
        counts = np.floor(due + self._arrivals.random(len(due))).astype(np.int64)
        at_s = np.interp(self._parts(every, counts) * grown[-1], grown, knots)
        order = np.argsort(at_s, kind="stable")
        order = order[np.searchsorted(at_s[order], 0.0) :]
        rows = self._lines.rows_of(rates.client[every], float(rates.begins_s[window]))
        return self._sized(at_s[order], np.repeat(rows, counts)[order])

    def _parts(self, every: slice, counts: Ints) -> Floats:
        """Place so many requests of each client between 0 and 1, behind one another.

        The gaps go round a circle that is turned by a random angle, so that no place is likelier than another.
        """
        used = counts > 0
        counts = counts[used]
        if not len(counts):
            return np.empty(0)
        shape = np.repeat(self._rates.shape[every][used], counts)
        weibull = np.repeat(self._rates.weibull[every][used], counts)
        gaps = np.empty(len(shape))
        gaps[~weibull] = self._arrivals.standard_gamma(shape[~weibull])
        gaps[weibull] = self._arrivals.standard_exponential(int(weibull.sum())) ** (1 / shape[weibull])
        gaps += 1e-300  # gaps that are all 0 have no proportions
        begins = np.cumsum(counts) - counts
        # Made to sum to 1 first: the clients' scales differ by more than a sum over all could hold.
        gaps /= np.repeat(np.add.reduceat(gaps, begins), counts)
        upto = np.cumsum(gaps)
        before = np.repeat(upto[begins] - gaps[begins] - self._arrivals.random(len(counts)), counts)
        return np.asarray((upto - before) % 1.0)

    def _sized(self, at_s: Floats, rows: Ints) -> RequestBatch:
        unknown = rows < 0
        rows[unknown] = np.searchsorted(self._anyone, self._sizes.random(int(unknown.sum())), side="right")
        count, lines = len(at_s), self._lines
        prompts = np.sum([tokens_on(line, rows, self._sizes.random(count)) for line in lines.inputs], axis=0)
        answers = tokens_on(lines.output, rows, self._sizes.random(count))
        begun = self._prefixes.draw(whole_tokens(prompts, at_s, self._bends.inputs, self._caps[0]))
        batch = prefixed_batch(
            to_ps(at_s),
            begun.prompt_tokens,
            whole_tokens(answers, at_s, self._bends.outputs, self._caps[1]),
            self._next_id,
            begun.prefix_tokens,
            begun.prefix_ids,
        )
        self._next_id += count
        return batch
