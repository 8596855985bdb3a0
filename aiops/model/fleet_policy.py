"""What holds for all models together, as its YAML document says it: the switch, and what the fleet may lose."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

from aiops.model.policy_part import API_VERSION, PolicyPart, Step, StepField
from aiops.model.quantity import PERCENT_PATTERN


class Writes(StrEnum):
    """Whether aiops may move anything at all."""

    ON = "on"
    OFF = "off"


def _read_writes(value: object) -> object:
    # YAML of old reads a bare on or off as true or false, and whoever needs this switch is in a hurry.
    return {True: Writes.ON, False: Writes.OFF}[value] if isinstance(value, bool) else value


def _read_bound(value: object) -> object:
    return Step(replicas=0) if value == 0 and not isinstance(value, bool) else value


WritesField = Annotated[
    Writes,
    BeforeValidator(_read_writes),
    WithJsonSchema({"enum": [*Writes, True, False], "examples": ["off"]}),
]
BoundField = Annotated[
    StepField,
    BeforeValidator(_read_bound),
    PlainSerializer(lambda bound: str(bound) if bound.replicas is None else bound.replicas, when_used="json"),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": PERCENT_PATTERN}],
            "examples": [20, "30%"],
        }
    ),
]


class FleetSpec(PolicyPart):
    """The switch for everything, and how many replicas all models together may lose within an hour."""

    writes: WritesField = Field(default=Writes.ON, description="off: all replicas stay as they are, whatever the mode")
    max_removed_per_hour: BoundField | None = Field(
        default=None, description="replicas, or a share of all that there are; no bound if not given"
    )

    @property
    def writes_off(self) -> bool:
        """Whether nothing may move."""
        return self.writes is Writes.OFF

    def may_remove(self, present: int, removed: int, known: float = 1.0) -> int | None:
        """Give how many of ``present`` replicas may go now that ``removed`` went within the hour; None is no bound.

        Where only a share of the hour is ``known``, only that share of the bound may go.

        >>> FleetSpec(max_removed_per_hour="30%").may_remove(present=16, removed=4)
        2
        """
        if self.max_removed_per_hour is None:
            return None
        return max(0, int(known * self.max_removed_per_hour.of(present + removed)) - removed)


class FleetPolicy(PolicyPart):
    """The one document of its kind."""

    api_version: Literal["aiops.tokenfactory.dev/v1alpha1"] = API_VERSION
    kind: Literal["FleetPolicy"]
    spec: FleetSpec
