"""Known events: when demand will be another than the past says, and by how much."""

from datetime import datetime, time, timedelta
from enum import StrEnum
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from aiops.model.policy_part import PolicyPart, PositiveDuration

_LONGEST = timedelta(days=7)
_CLOCK_PATTERN = r"^([01]?\d|2[0-3]):[0-5]\d$"


class Day(StrEnum):
    """A day of the week."""

    MONDAY = "mon"
    TUESDAY = "tue"
    WEDNESDAY = "wed"
    THURSDAY = "thu"
    FRIDAY = "fri"
    SATURDAY = "sat"
    SUNDAY = "sun"


def _read_moment(value: object) -> datetime:
    if isinstance(value, datetime):
        return value
    try:
        return datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError(f"{value!r} is not a time; write it such as 2026-11-27T09:00") from None


def _read_clock(value: object) -> time:
    if isinstance(value, time):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 24 * 60:
        return time(*divmod(value, 60))  # YAML reads 10:30 without quotes as a number to the base of 60
    hours, colon, minutes = value.partition(":") if isinstance(value, str) else ("", "", "")
    try:
        if not colon or len(minutes) != 2:
            raise ValueError
        return time(int(hours), int(minutes))
    except ValueError:
        raise ValueError(f"{value!r} is not a time of the day; write it such as 09:00 or 22:30") from None


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is not a time zone; write its name, such as Europe/Berlin or UTC") from None
    return name


Moment = Annotated[
    datetime,
    BeforeValidator(_read_moment),
    WithJsonSchema({"type": "string", "examples": ["2026-11-27T09:00", "2026-11-27T09:00:00+01:00"]}),
]
Clock = Annotated[
    time,
    BeforeValidator(_read_clock),
    PlainSerializer(lambda value: f"{value:%H:%M}", when_used="json"),
    WithJsonSchema({"type": "string", "pattern": _CLOCK_PATTERN, "examples": ["09:00", "22:30"]}),
]
Zone = Annotated[str, AfterValidator(_known_zone)]


class Event(PolicyPart):
    """A span in which demand is ``multiplier`` times what the past says: once, or every day or week anew.

    Times without an offset are those of ``time_zone``, on its clocks: an event at 09:00 is at 09:00 in summer and in
    winter. A time that a change of the clocks skips is moved on by what they skip, one that comes twice is the first.
    """

    name: str = Field(min_length=1)
    start: Moment | None = Field(default=None, description="when it begins, of an event that comes once; with end")
    end: Moment | None = None
    at: Clock | None = Field(default=None, description="when it begins, of an event that comes again; with lasts")
    lasts: PositiveDuration | None = None
    days: tuple[Day, ...] = Field(default=(), description="on which days it comes again; every day if not given")
    time_zone: Zone = Field(default="UTC", description="IANA name, such as Europe/Berlin")
    multiplier: float = Field(gt=0, le=1000, description="demand in the event over demand without it")
    uncertainty: float = Field(
        default=0.2,
        ge=0,
        le=10,
        description="how far the multiplier may be off, as a ratio, nine times out of ten; 0.3: by 1.3 up or down",
    )

    @model_validator(mode="after")
    def _one_kind(self) -> "Event":
        given = {key for key in ("start", "end", "at", "lasts", "days") if getattr(self, key) not in (None, ())}
        if given != {"start", "end"} and given - {"days"} != {"at", "lasts"}:
            raise ValueError(f"event {self.name!r} needs start and end, or at and lasts (and days), and not both")
        if self.lasts is not None and self.lasts > _LONGEST:
            raise ValueError(f"event {self.name!r} lasts longer than the week after which it comes again")
        if self.start is not None and self.end is not None and self.moment(self.end) <= self.moment(self.start):
            raise ValueError(f"event {self.name!r} ends before it begins")
        return self

    def moment(self, local: datetime) -> datetime:
        """Place a time on the event's own clocks, unless it names its offset."""
        return local if local.tzinfo is not None else local.replace(tzinfo=ZoneInfo(self.time_zone))
