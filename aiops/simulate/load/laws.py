"""How long requests are and how unevenly they come, as the YAML says it."""

import re
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class ArrivalKind(StrEnum):
    """The family of the times between arrivals."""

    POISSON = "poisson"
    GAMMA = "gamma"
    WEIBULL = "weibull"


class ArrivalSpec(_Part):
    """The times between arrivals: their family and ``cv``, standard deviation over mean at a constant rate."""

    kind: ArrivalKind = ArrivalKind.POISSON
    cv: float = Field(default=1.0, ge=0.05, le=30)

    @model_validator(mode="after")
    def _poisson_is_one(self) -> "ArrivalSpec":
        if self.kind is ArrivalKind.POISSON and self.cv != 1.0:
            raise ValueError(f"poisson arrivals have a cv of 1, not {self.cv:g}: write kind: gamma or kind: weibull")
        return self


class LengthSpec(_Part):
    """Token counts, at least 1 and at most ``max``: lognormal, by percentiles or fixed.

    Lognormal: ``mean`` (arithmetic) and ``spread``, the standard deviation of the logarithm. ``percentiles`` are named
    as in ``{p5: 40, p50: 300, p99: 4000}`` and joined by straight lines in the logarithm, which go on beyond the
    outermost two. Without any of the three the mean is the load table's.
    """

    mean: float | None = Field(default=None, gt=0)
    spread: float = Field(default=0.0, ge=0, le=3)
    max: int = Field(default=16384, ge=1)
    percentiles: dict[str, float] | None = Field(default=None, min_length=2)
    fixed: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _one_law(self) -> "LengthSpec":
        given = {"mean": self.mean, "percentiles": self.percentiles, "fixed": self.fixed}
        laws = [name for name, value in given.items() if value is not None]
        if len(laws) > 1:
            raise ValueError(f"lengths follow one law, not {' and '.join(laws)} at once")
        if self.percentiles is not None:
            self._check(self.percentiles)
        if self.fixed is not None and self.fixed > self.max:
            raise ValueError(f"fixed: {self.fixed} exceeds max: {self.max}")
        return self

    @staticmethod
    def _check(percentiles: dict[str, float]) -> None:
        wrong = [name for name in percentiles if not re.fullmatch(r"p\d{1,2}(\.\d+)?|p100", name)]
        if wrong:
            raise ValueError(f"percentiles are named p0 to p100, such as p50; not {wrong[0]}")
        ordered = sorted(percentiles, key=lambda name: float(name[1:]))
        values = [percentiles[name] for name in ordered]
        if values != sorted(values) or values[0] < 0:
            raise ValueError(
                f"percentiles must not fall from one to the next: {dict(zip(ordered, values, strict=True))}"
            )

    @property
    def complete(self) -> bool:
        """Whether it says how long, rather than leaving the mean to a table."""
        return self.mean is not None or self.percentiles is not None or self.fixed is not None

    @property
    def longest(self) -> int:
        """The most tokens that can be drawn."""
        if self.fixed is not None:
            return self.fixed
        if self.mean is None or self.spread:
            return self.max
        return min(self.max, max(1, round(self.mean)))
