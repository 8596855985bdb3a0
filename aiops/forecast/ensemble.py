"""The members together: learned from bin by bin, weighted by trailing error, with conformal intervals."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import repeat
from math import exp, isfinite, sqrt

from aiops.forecast import conformal
from aiops.forecast.bins import DAY_S, grid, span
from aiops.forecast.change import Shift, rescaled, shift
from aiops.forecast.history import with_bin
from aiops.forecast.last_value import LastValue
from aiops.forecast.prior import PriorMember
from aiops.forecast.state import SeriesState, Standing, WindowState
from aiops.forecast.weights import bias, log_ratios, scatter_ratio, skilled, together, weights
from aiops.forecast.windows import PHASES, Outlook, asked_for, cold, due, judged, phase_of, skill, with_origin
from aiops.model.forecast import Forecast, ForecastBasis, ForecastSkill, Window
from aiops.model.forecaster import Forecaster

LARGEST = 1e18
"""A larger value, as a negative one, is nonsense and counts as a gap."""
MOST_RECENT = 1500
"""Bins kept to judge windows by: a day of minutes. A longer window keeps the default interval."""
CAUGHT_UP_BINS = 1500
"""The end of a long history that is told to members which catch up: a day of minutes."""
_SMALL_RATIO = 0.02  # of the typical value: below it, a factor says little
CALIBRATED_BINS = 3000
"""The end of a long history from which weights and intervals learn; members learn from all of it."""


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Forecasts one series at a time from its state; itself it remembers nothing."""

    members: tuple[Forecaster, ...]
    prior: PriorMember | None = None
    """The member that tells how sure it is; errors are then counted in what it expects of them."""
    by_the_clock: bool = True
    """Whether errors are also told apart by the sixth of the hour in which a forecast is made."""

    @property
    def _expected(self) -> tuple[float, ...]:
        return tuple([member.expected_error_ratio for member in self.members])

    def learn(
        self,
        state: SeriesState,
        at_s: float,
        value: float | None,
        windows: Sequence[Window],
        censored: bool = False,
    ) -> SeriesState:
        """Learn one closed bin that ended at ``at_s`` (Unix seconds), and keep the intervals of ``windows`` calibrated.

        None, as any value that is negative, not finite or above 1e18, is a gap; so are bins that were skipped. A bin at
        or before the last (or less than half a bin after it) is ignored. A window asked for the first time starts cold;
        one no longer asked for is forgotten after six hours. A censored bin teaches the intervals nothing, and the
        levels only where it is above the last value: demand was at least that.
        """
        return self._learned(state, at_s, value, windows, censored, whole=True)

    def _learned(
        self,
        state: SeriesState,
        at_s: float,
        value: float | None,
        windows: Sequence[Window],
        censored: bool,
        *,
        whole: bool,
    ) -> SeriesState:
        state = self._own(state)
        books = asked_for(state.windows, windows, state.bin_s, at_s, len(self.members))
        new = self._remembered(state, at_s, value, _longest(books), censored, whole=whole)
        if new is state:
            return state
        books = tuple([self._ranked(judged(book, new, at_s), at_s, new.typical) for book in books])
        if new.seen_s == at_s and not censored:
            books = tuple(
                [
                    with_origin(book, at_s, new.last, self._outlook(book, new, at_s, 0))
                    if due(book, new.bin_s, at_s)
                    else book
                    for book in books
                ]
            )
        return replace(new, windows=books)

    def learn_history(
        self,
        state: SeriesState,
        ends_s: Sequence[float],
        values: Sequence[float | None],
        windows: Sequence[Window],
    ) -> SeriesState:
        """Learn many closed bins, oldest first, as :meth:`learn` would, but fast.

        Members learn from all bins, those that catch up from the last 1,500; weights and intervals from the last 3,000.
        Raises ValueError where ``ends_s`` and ``values`` differ in length.
        """
        if len(ends_s) != len(values):
            raise ValueError(f"{len(ends_s)} ends and {len(values)} values: each bin has one of both")
        old = max(0, len(ends_s) - CALIBRATED_BINS)
        for at_s, value in zip(ends_s[:old], values[:old], strict=True):
            state = self._remembered(self._own(state), at_s, value, 1, False, whole=False)
        late = len(ends_s) - CAUGHT_UP_BINS
        for i in range(old, len(ends_s)):
            state = self._learned(state, ends_s[i], values[i], windows, False, whole=i >= late)
        return state

    def predict(
        self, state: SeriesState, series: str, made_at: datetime, windows: Sequence[Window]
    ) -> tuple[Forecast, ...]:
        """Forecast the maximum of a series over each window from ``made_at`` (with its time zone), in their order.

        Until a bin is over, the forecast stays the same. The longer ago the last measured bin, the wider the interval.
        Before the first point the basis is NONE, and there are no quantiles.
        """
        state = self._own(state)
        if state.seen_s is None:
            return tuple(Forecast(series, made_at, window, (), basis=ForecastBasis.NONE) for window in windows)
        late = max(0, int((made_at.timestamp() - state.seen_s) // state.bin_s))
        books = {(book.first_bin, book.last_bin): book for book in state.windows}
        forecasts = []
        for window in windows:
            book = books.get(span(window, state.bin_s)) or cold(window, state.bin_s, len(self.members))
            outlook = self._outlook(book, state, state.seen_s, late)
            counted = [
                (member.name, share) for member, share in zip(self.members, outlook.weights, strict=True) if share
            ]
            if outlook.point != outlook.joined:
                counted = [(LastValue().name, 1.0)]
            quantiles = tuple(zip(conformal.LEVELS, outlook.quantiles, strict=True))
            forecasts.append(Forecast(series, made_at, window, quantiles, tuple(counted), _basis(book, outlook)))
        return tuple(forecasts)

    def skills(self, state: SeriesState, series: str) -> tuple[ForecastSkill, ...]:
        """Say how well each window that is asked for was forecast lately; recent windows count more."""
        return tuple(skill(book, series) for book in state.windows if book.unasked_since_s is None)

    def _own(self, state: SeriesState) -> SeriesState:
        """Take over a state of other members: what they share stays, and every window starts cold."""
        names = [member.name for member in self.members]
        if [name for name, _ in state.members] == names:
            return state
        known = dict(state.members)
        return replace(state, members=tuple([(name, known.get(name, ())) for name in names]), windows=())

    def _remembered(
        self, state: SeriesState, at_s: float, value: float | None, longest: int, censored: bool, *, whole: bool
    ) -> SeriesState:
        """Take a bin into the members and the ``longest`` last values; the same state where the bin is not new.

        Unless ``whole``, those that catch up learn nothing.
        """
        steps = 1 if state.end_s is None else round((at_s - state.end_s) / state.bin_s)
        if steps < 1:
            return state
        if value is not None and not (isfinite(value) and 0.0 <= value <= LARGEST):
            value = None
        gap = repeat(None, min(steps - 1, longest))
        recent = (*state.recent, *gap, None if censored else value)[-longest:]
        censored_s = at_s if censored else state.censored_s
        if censored and value is not None and value <= state.last:
            value = None
        history = with_bin(state.history, value, at_s, state.bin_s)
        if value is None:
            return replace(state, end_s=at_s, recent=recent, censored_s=censored_s, history=history)
        found = shift(history) if history.closed_at(at_s, state.bin_s) else None
        if found is not None:
            state, history = self._moved(state, found), rescaled(history, found)
        share = max(1.0 / (state.points + 1.0), 1.0 - exp(-state.bin_s / DAY_S))
        return SeriesState(
            bin_s=state.bin_s,
            end_s=at_s,
            seen_s=at_s,
            censored_s=censored_s,
            points=state.points + 1,
            last=value,
            typical=state.typical + share * (value - state.typical),
            recent=recent,
            members=tuple(
                [
                    (name, member.learn(memory, value, at_s, state.bin_s, history))
                    if whole or not member.catches_up
                    else (name, memory)
                    for member, (name, memory) in zip(self.members, state.members, strict=True)
                ]
            ),
            windows=state.windows,
            history=history,
            shift=state.shift,
        )

    def _moved(self, state: SeriesState, found: Shift) -> SeriesState:
        """Carry what is remembered of the level over to a new one."""
        members = [
            (name, member.moved(memory, found.ratio))
            for member, (name, memory) in zip(self.members, state.members, strict=True)
        ]
        return replace(state, members=tuple(members), typical=found.ratio * state.typical, shift=found)

    def _outlook(self, book: WindowState, state: SeriesState, seen_s: float, late: int) -> Outlook:
        """Forecast one window from ``late`` bins after ``seen_s``, the end of the last that was measured."""
        ahead = grid(book.first_bin + late, book.last_bin + late)
        values: list[float | None] = []
        for member, (_, memory) in zip(self.members, state.members, strict=True):
            path = member.path(memory, seen_s, state.bin_s, ahead, state.history)
            values.append(None if path is None else max(path))
        standing = self._standing_at(book, seen_s, state.typical)
        shares = weights(values, standing.logs)
        joined = together(values, shares, _SMALL_RATIO * state.typical)
        joined = state.last if joined is None else joined
        floor = conformal.FLOOR_RATIO * state.typical
        if standing.bias:
            joined = max(0.0, (joined + floor) * exp(standing.bias) - floor)
        point = joined if standing.skilled else state.last
        spread = self._spread(state, seen_s, book.last_bin + late)
        offsets = book.errors.offsets
        if not offsets:
            offsets = conformal.expected_offsets() if spread else conformal.cold_offsets(book.last_bin * state.bin_s)
        down, up = spread or conformal.PLAIN
        unit = (standing.scatter_ratio * down, standing.scatter_ratio * up)
        widening = sqrt(1.0 + late / book.last_bin)
        quantiles = conformal.quantiles(point, offsets, floor, widening, unit)
        if conformal.is_calm(quantiles[conformal.HIGH], state.last) and book.errors.calm_offsets:
            quantiles = conformal.quantiles(point, book.errors.calm_offsets, floor, widening, unit)
        return Outlook(tuple(values), shares, joined, point, unit, standing.bias, standing.scatter_ratio, quantiles)

    def _ranked(self, book: WindowState, at_s: float, typical: float) -> WindowState:
        standing = self._standing_at(book, at_s, typical)
        return book if standing is book.standing else replace(book, standing=standing)

    def _standing_at(self, book: WindowState, at_s: float, typical: float) -> Standing:
        """Give what the scores of a window come to at a time of the hour; the one that is kept, as long as it holds."""
        place = phase_of(at_s) if self.by_the_clock else PHASES
        if book.standing is not None and book.standing.place == place:
            return book.standing
        return Standing(
            place,
            log_ratios(book.score, book.phases[place].leanings, self._expected, typical),
            bias(book.phases, place),
            scatter_ratio(book.phases, place),
            skilled(book.score, typical),
        )

    def _spread(self, state: SeriesState, seen_s: float, ahead: int) -> tuple[float, float] | None:
        # The prior has learned how ten-minute means scatter; shorter bins scatter more, and always alike. Counted in
        # its spread, their errors would widen the far tail severalfold whenever it expects a restless hour.
        if self.prior is None or state.bin_s < state.history.slot_s:
            return None
        memory = dict(state.members).get(self.prior.name, ())
        return self.prior.spread(memory, seen_s, state.bin_s, ahead, state.history)


def _basis(book: WindowState, outlook: Outlook) -> ForecastBasis:
    if not book.errors.offsets:
        return ForecastBasis.COLD
    return ForecastBasis.HISTORY if outlook.point == outlook.joined else ForecastBasis.LAST_VALUE


def _longest(books: Sequence[WindowState]) -> int:
    return min(max([book.last_bin for book in books], default=1), MOST_RECENT)
