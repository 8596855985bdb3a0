"""What is remembered of one series between cycles: bounded, frozen, and JSON as it stands."""

from dataclasses import dataclass, field

from aiops.forecast.change import Shift
from aiops.forecast.conformal import Errors
from aiops.model.forecast import Window
from aiops.model.forecaster import History, MemberState


@dataclass(frozen=True, slots=True)
class Origin:
    """One forecast whose window has not ended: what it said, to be judged when it has.

    ``members`` are the members' window maxima (None: no opinion), ``joined`` is theirs together, and ``point`` what the
    intervals were put around: ``joined``, unless it had no skill. ``last`` is the last value at the time, ``spread``
    the unit of errors below and above the point.
    """

    at_s: float
    last: float
    members: tuple[float | None, ...]
    joined: float
    point: float
    low: float
    middle: float
    high: float
    spread: tuple[float, float] = (1.0, 1.0)
    bias: float = 0.0
    """What the phase of the hour added to the log of ``joined``."""
    scatter_ratio: float = 1.0
    """What it multiplied the spread by."""


@dataclass(frozen=True, slots=True)
class Score:
    """Exponentially decayed sums over the windows that ended.

    ``errors``, ``last_errors`` (of the last value) and ``windows`` (what they overlap counts once) are per member, each
    over the windows on which it had an opinion; ``joined_error`` is that of the members together, ``last_error`` that
    of the last value; the others judge the median and q90 that were told. ``points`` counts windows, undecayed.
    """

    errors: tuple[float, ...]
    last_errors: tuple[float, ...]
    windows: tuple[float, ...]
    error: float = 0.0
    joined_error: float = 0.0
    last_error: float = 0.0
    actual: float = 0.0
    covered: float = 0.0
    weight: float = 0.0
    points: int = 0


@dataclass(frozen=True, slots=True)
class Phase:
    """Exponentially decayed sums over the windows of which the origin lay in one sixth of the hour, or in any.

    ``errors``, ``last_errors`` and ``windows`` are those of :class:`Score`. ``bias`` sums the log ratios of actuals to
    the members together, ``scatter`` how far actuals were from the point, as absolute log ratios in units of the spread
    that was expected, and ``weight`` counts them; ``seen_s`` is the last origin. ``leanings`` say, per member, by how
    much the log of its error ratio is more here than in the whole hour, as far as that was known then.
    """

    errors: tuple[float, ...]
    last_errors: tuple[float, ...]
    windows: tuple[float, ...]
    leanings: tuple[float, ...]
    bias: float = 0.0
    scatter: float = 0.0
    weight: float = 0.0
    seen_s: float | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """What the scores of a window come to for forecasts made in one sixth of the hour, ``place``.

    ``logs`` are the members' error ratios (:func:`aiops.forecast.weights.log_ratios`); ``bias`` is added to the log of
    what they say together, ``scatter_ratio`` multiplies the spread; ``skilled`` says whether they count at all.
    """

    place: int
    logs: tuple[float, ...]
    bias: float
    scatter_ratio: float
    skilled: bool


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
    phases: tuple[Phase, ...]
    """Those of the sixths of the hour, and last that of the whole hour."""
    standing: Standing | None = None
    """None where it is to be drawn anew: after each forecast that was judged."""
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
    shift: Shift | None = None
    """The last shift of its level that was noticed."""
