"""What happens to a load at a given time, as the YAML says it: each entry of ``events`` has a ``kind``."""

from math import ceil
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from aiops.model.policy import Duration, PositiveDuration
from aiops.model.quantity import parse_duration
from aiops.simulate.load.laws import ArrivalSpec, LengthSpec


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)

    at: Duration = Field(description="since the load's start")


class FlashCrowd(_Event):
    """Requests come ``times`` as often for ``duration``, after a climb of ``ramp`` that begins at ``at``, and then fall
    back as slowly."""

    kind: Literal["flash_crowd"]
    duration: PositiveDuration
    times: float = Field(default=3.0, gt=0)
    ramp: Duration = parse_duration("0s")


class Ramp(_Event):
    """The rate of requests goes in a straight line to ``to`` times what it was, over ``duration``, and stays there."""

    kind: Literal["ramp"]
    duration: PositiveDuration
    to: float = Field(ge=0)


class AgenticBurst(_Event):
    """Requests of ``times`` the tokens for ``duration``, at the same rate of requests: an agent took over.

    ``output_times`` is the answers' own factor, if another; ``ramp`` is as in a flash crowd. The caps of the lengths
    grow with them; ``max_input_tokens`` and ``max_output_tokens`` set others for the time of the burst, such as the
    model's context.
    """

    kind: Literal["agentic_burst"]
    duration: PositiveDuration
    times: float = Field(default=20.0, gt=0)
    output_times: float | None = Field(default=None, gt=0)
    ramp: Duration = parse_duration("0s")
    max_input_tokens: int | None = Field(default=None, ge=1)
    max_output_tokens: int | None = Field(default=None, ge=1)


class LengthShift(_Event):
    """Prompts and answers of so many times the tokens from a time on, reached in a straight line over ``ramp``."""

    kind: Literal["length_shift"]
    input_times: float = Field(default=1.0, gt=0)
    output_times: float = Field(default=1.0, gt=0)
    ramp: Duration = parse_duration("0s")
    max_input_tokens: int | None = Field(default=None, ge=1)
    max_output_tokens: int | None = Field(default=None, ge=1)


class BatchJob(_Event):
    """Requests of one's own sizes at a steady rate for ``duration``, on top of all others: harmless, if much."""

    kind: Literal["batch_job"]
    duration: PositiveDuration
    requests_per_s: float = Field(gt=0)
    arrivals: ArrivalSpec = ArrivalSpec()
    input_tokens: LengthSpec
    output_tokens: LengthSpec

    @model_validator(mode="after")
    def _sized(self) -> "BatchJob":
        for name, lengths in (("inputTokens", self.input_tokens), ("outputTokens", self.output_tokens)):
            if not lengths.complete:
                raise ValueError(f"the {name} of a batch job need a mean, percentiles or fixed")
        return self


Event = Annotated[FlashCrowd | Ramp | AgenticBurst | LengthShift | BatchJob, Field(discriminator="kind")]


def longest_under(events: tuple[Event, ...], input_longest: int, output_longest: int) -> tuple[int, int]:
    """Bound the prompt and the answer that events can stretch to, from what they are without any."""
    for event in events:
        if isinstance(event, AgenticBurst):
            output_times = event.times if event.output_times is None else event.output_times
            stretched = (event.times, output_times)
        elif isinstance(event, LengthShift):
            stretched = (event.input_times, event.output_times)
        else:
            continue
        caps = (event.max_input_tokens, event.max_output_tokens)
        input_longest = _stretched(input_longest, stretched[0], caps[0])
        output_longest = _stretched(output_longest, stretched[1], caps[1])
    return input_longest, output_longest


def _stretched(longest: int, times: float, cap: int | None) -> int:
    # Before and after the event the lengths are as they were, so the bound never shrinks.
    under = ceil(longest * times)
    return max(longest, under if cap is None else min(under, cap))
