"""What demand is expected to be."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from aiops.model.interpolate import interpolate


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A span of the future, in seconds from the time a forecast is made; a point where both ends are equal."""

    start_s: float
    end_s: float

    def __post_init__(self) -> None:
        if not 0 <= self.start_s <= self.end_s:
            raise ValueError(f"a window runs forward from now, not from {self.start_s} s to {self.end_s} s")


REQUESTS, INPUT_TOKENS, OUTPUT_TOKENS = "req_per_s", "input_tok_per_s", "output_tok_per_s"
"""The series that people see, by the names of the columns in which they are read and written."""
NEAR, FAR = Window(600, 600), Window(1800, 1800)
"""What people see ahead of them: 10 and 30 minutes."""


class ForecastBasis(StrEnum):
    """What a forecast stands on."""

    NONE = "none"
    """No point has been seen: nothing is forecast, and nobody may plan on it."""
    COLD = "cold"
    """Too short a history to know the errors: the interval is a wide default."""
    LAST_VALUE = "last_value"
    """The forecasters were worse than repeating the last value lately, so that is told; the interval is calibrated."""
    HISTORY = "history"
    """The interval is calibrated on the forecaster's own trailing errors."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """Quantiles of the maximum of one series over a window (its value, where the window is a point).

    The maximum of quantiles is not the quantile of the maximum, so the window belongs to the forecast.
    ``quantiles`` are (level, value) pairs, levels ascending in 0..1, values ascending and not negative; ``weights`` say
    how much each member counted and sum to 1.
    """

    series: str
    made_at: datetime
    window: Window
    quantiles: tuple[tuple[float, float], ...]
    weights: tuple[tuple[str, float], ...] = ()
    basis: ForecastBasis = ForecastBasis.HISTORY

    def quantile(self, level: float) -> float | None:
        """Interpolate the value at a level; None where nothing is forecast. Outside the levels the ends hold."""
        if not self.quantiles:
            return None
        levels = [point for point, _ in self.quantiles]
        return interpolate(min(max(level, levels[0]), levels[-1]), levels, [value for _, value in self.quantiles])


class ShiftKind(StrEnum):
    """What about demand moved to another level."""

    LEVEL = "level"
    """Requests."""
    TOKENS_PER_REQUEST = "tokens_per_request"
    MIX = "mix"
    """Output tokens against input tokens."""


@dataclass(frozen=True, slots=True)
class DemandShift:
    """Demand became ``ratio`` times what it was from ``since`` on; the forecast took its past over to that level."""

    kind: ShiftKind
    ratio: float
    since: datetime
    noticed_at: datetime

    @property
    def sentence(self) -> str:
        """What happened, for people."""
        moved = {
            ShiftKind.LEVEL: "requests moved to",
            ShiftKind.TOKENS_PER_REQUEST: "tokens a request moved to",
            ShiftKind.MIX: "output tokens against input tokens moved to",
        }[self.kind]
        return (
            f"{moved} {self.ratio:.2g} times their level at {self.since:%d %b %H:%M} UTC; "
            "the forecast keeps the shape of the day and forgets the old level"
        )


@dataclass(frozen=True, slots=True)
class ForecastSkill:
    """How a series was forecast lately, at one window: what the forecaster knows of itself.

    ``wape_ratio`` is Σ|error| ÷ Σ|actual|, ``skill_ratio`` is 1 − error ÷ error of the last value (negative: worse than
    naive), ``coverage_ratio`` the share of actuals at or below q90; None until enough windows have ended.
    """

    series: str
    window: Window
    wape_ratio: float | None
    skill_ratio: float | None
    coverage_ratio: float | None
    points: int
