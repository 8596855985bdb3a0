"""What the documents that people write have in common: camel case, no unknown keys, durations and steps."""

from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel

from aiops.model.quantity import DURATION_PATTERN, PERCENT_PATTERN, format_duration, parse_duration, parse_percent

API_VERSION: Literal["aiops.tokenfactory.dev/v1alpha1"] = "aiops.tokenfactory.dev/v1alpha1"

Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "examples": ["500ms", "2s", "5m", "1h30m"]}),
]


def _above_zero(value: timedelta) -> timedelta:
    if not value:
        raise ValueError(f"{format_duration(value)} is too short; write a duration above 0s")
    return value


PositiveDuration = Annotated[Duration, AfterValidator(_above_zero)]


@dataclass(frozen=True, slots=True)
class Step:
    """The most that may change at once: a number of replicas, or a share of the present ones (at least one)."""

    replicas: int | None = None
    share: float | None = None

    def of(self, current: int) -> int:
        """Give the step in replicas, from ``current`` replicas."""
        if self.replicas is not None:
            return self.replicas
        return max(1, ceil((self.share or 0.0) * current - 1e-9))

    def __str__(self) -> str:
        return str(self.replicas) if self.replicas is not None else f"{(self.share or 0.0) * 100:g}%"


def _read_step(value: object) -> Step:
    if isinstance(value, Step):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return Step(replicas=value)
    try:
        share = parse_percent(value)
    except ValueError:
        share = 0.0
    if share <= 0:
        raise ValueError(f"{value!r} is not a step; write replicas above 0, such as 4, or a share, such as 25%")
    return Step(share=share)


StepField = Annotated[
    Step,
    BeforeValidator(_read_step),
    PlainSerializer(lambda step: step.replicas or str(step), when_used="json"),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": PERCENT_PATTERN}],
            "examples": ["25%", 4],
        }
    ),
]


class PolicyPart(BaseModel):
    """A part of a document; it is frozen, and a key that it does not know is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, alias_generator=to_camel, populate_by_name=True
    )
