"""What the documents that people write have in common: camel case, no unknown keys, durations with a unit."""

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel

from aiops.model.quantity import DURATION_PATTERN, format_duration, parse_duration

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


class PolicyPart(BaseModel):
    """A part of a document; it is frozen, and a key that it does not know is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, alias_generator=to_camel, populate_by_name=True
    )
