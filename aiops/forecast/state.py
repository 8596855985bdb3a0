"""What is remembered of one series between cycles: bounded, frozen, and JSON as it stands."""

from dataclasses import dataclass, field

from aiops.forecast.conformal import Errors
from aiops.forecast.history import History
from aiops.forecast.member import MemberState
from aiops.model.forecast import Window


@dataclass(frozen=True, slots=True)
class Origin:
    """One forecast whose window has not ended: what it said, to be judged when it has.

    ``members`` are the members' window maxima (None: no opinion), ``point`` the ensemble's before the intervals are
    put around it; ``last`` is the last value at the time, ``spread`` the unit of errors below and above the point.
    """

    at_s: float
    last: float
    members: tuple[float | None, ...]
    point: float
    low: float
    middle: float
    high: float
    spread: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Score:
    """Exponentially decayed sums over the windows that ended.

    ``errors``, ``last_errors`` (of the last value) and ``windows`` (what they overlap counts once) are per member, each
    over the windows on which it had an opinion; the others judge the ensemble's median and q90, ``last_error`` is that
    of the last value. ``points`` counts windows, undecayed.
    """

    errors: tuple[float, ...]
    last_errors: tuple[float, ...]
    windows: tuple[float, ...]
    error: float = 0.0
    last_error: float = 0.0
    actual: float = 0.0
    covered: float = 0.0
    weight: float = 0.0
    points: int = 0


@dataclass(frozen=True, slots=True)
class WindowState:
    """What is known about forecasting one window; windows that cover the same bins are one.

    ``window`` is the one asked for last, ``unasked_since_s`` since when nobody asks for it (None: it is asked for);
    ``made_s`` and ``judged_s`` are when the last origin was made, and made that was judged last.
    """

    window: Window
    first_bin: int
    last_bin: int
    score: Score
    errors: Errors = field(default_factory=Errors)
    origins: tuple[Origin, ...] = ()
    made_s: float | None = None
    judged_s: float | None = None
    unasked_since_s: float | None = None


@dataclass(frozen=True, slots=True)
class SeriesState:
    """All that is remembered of one series.

    ``end_s`` is the end of the last bin in Unix seconds, ``seen_s`` of the last that was measured; ``recent`` holds the
    last bins (a gap is None), as many as the longest window needs; ``typical`` is the mean value over about a day;
    ``members`` are (name, memory) pairs; ``censored_s`` is the end of the last bin that saturation cut; ``history`` is
    the long past that the members share.
    """

    bin_s: float
    end_s: float | None = None
    seen_s: float | None = None
    censored_s: float | None = None
    points: int = 0
    last: float = 0.0
    typical: float = 0.0
    recent: tuple[float | None, ...] = ()
    members: tuple[tuple[str, MemberState], ...] = ()
    windows: tuple[WindowState, ...] = ()
    history: History = field(default_factory=History)
