"""The policy of one model, as its YAML document says it. The one source of the JSON Schema."""

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema, model_validator

from aiops.model.calendar import Event
from aiops.model.fleet_policy import FleetPolicy, FleetSpec
from aiops.model.forecaster import Forecaster
from aiops.model.policy_part import API_VERSION, PolicyPart, StepField
from aiops.model.policy_part import Duration as Duration  # noqa: PLC0414  # it is read from here too
from aiops.model.policy_part import PositiveDuration as PositiveDuration  # noqa: PLC0414
from aiops.model.policy_part import Step as Step  # noqa: PLC0414
from aiops.model.prior import Prior
from aiops.model.profile import CapacityProfile
from aiops.model.quantity import DURATION_PATTERN, format_duration
from aiops.model.refs import ModelRef, PoolRef, Role


class Mode(StrEnum):
    """What aiops may do about a model."""

    OBSERVE = "observe"
    EMIT = "emit"
    ACT = "act"
    ACT_UP = "act: up"


def _read_mode(value: object) -> object:
    # `mode: {act: up}` is how YAML people write "act, but only upwards".
    return Mode.ACT_UP if value == {"act": "up"} else value


ModeField = Annotated[
    Mode,
    BeforeValidator(_read_mode),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "enum": [*Mode]},
                {"type": "object", "properties": {"act": {"const": "up"}}, "required": ["act"], "maxProperties": 1},
            ],
            "examples": ["observe", {"act": "up"}],
        }
    ),
]


class Metadata(PolicyPart):
    """The policy's name and the namespace in which the model is served."""

    name: str = Field(min_length=1)
    namespace: str = Field(default="default", min_length=1)


def _one_percentile(value: object) -> object:
    if not isinstance(value, dict) or len(value) != 1:
        raise ValueError(f"{value!r} is no objective; give one percentile and its bound, such as {{p95: 2.5s}}")
    key, bound = next(iter(value.items()))
    text = str(key)
    if not (text.startswith("p") and text[1:].replace(".", "", 1).isdigit() and 0 < float(text[1:]) < 100):
        raise ValueError(f"{text!r} is no percentile; write p50, p95 or p99")
    return {"attainment": float(text[1:]) / 100, "bound": bound}


class Bound(BaseModel):
    """A share of the requests, and the time within which they must be served."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attainment: float = Field(gt=0, lt=1)
    bound: PositiveDuration

    @property
    def bound_s(self) -> float:
        """The bound in seconds."""
        return self.bound.total_seconds()


ObjectiveField = Annotated[
    Bound,
    BeforeValidator(lambda value: value if isinstance(value, Bound) else _one_percentile(value)),
    PlainSerializer(lambda value: {f"p{value.attainment * 100:g}": format_duration(value.bound)}, when_used="json"),
    WithJsonSchema(
        {
            "type": "object",
            "patternProperties": {r"^p\d+(\.\d+)?$": {"type": "string", "pattern": DURATION_PATTERN}},
            "additionalProperties": False,
            "minProperties": 1,
            "maxProperties": 1,
            "examples": [{"p95": "2.5s"}],
        }
    ),
]


class Objectives(PolicyPart):
    """What users are promised: time to the first token, and between tokens."""

    ttft: ObjectiveField = Bound(attainment=0.95, bound=timedelta(seconds=2.5))
    itl: ObjectiveField = Bound(attainment=0.95, bound=timedelta(milliseconds=50))

    @property
    def attainment(self) -> float:
        """The stricter of the two shares."""
        return max(self.ttft.attainment, self.itl.attainment)


class Target(PolicyPart):
    """Anything with a ``scale`` subresource."""

    kind: str = "Deployment"
    name: str = Field(min_length=1)


class PoolSpec(PolicyPart):
    """One pool of replicas: what they do, what sets their number, on which hardware, and within which bounds."""

    name: str = Field(min_length=1)
    role: Role = Role.BOTH
    target: Target
    variant: str = Field(min_length=1)
    min: int = Field(default=1, ge=0)
    max: int = Field(default=10, ge=1)

    @model_validator(mode="after")
    def _bounds(self) -> "PoolSpec":
        if self.max < self.min:
            raise ValueError(f"max {self.max} is below min {self.min} for pool {self.name!r}")
        return self


class Band(PolicyPart):
    """The allowed decode replicas per prefill replica."""

    min: float = Field(default=0.25, gt=0)
    max: float = Field(default=8.0, gt=0)

    @model_validator(mode="after")
    def _bounds(self) -> "Band":
        if self.max < self.min:
            raise ValueError(f"max {self.max:g} is below min {self.min:g}")
        return self


class Ratio(PolicyPart):
    """How prefill and decode may stand to each other."""

    decode_per_prefill: Band = Band()


class ScaleUp(PolicyPart):
    """How fast replicas may be added."""

    max_step: StepField = Step(share=1.0)
    per: PositiveDuration = timedelta(minutes=1)


class ScaleDown(PolicyPart):
    """How fast replicas may be removed, and how long a need must be gone first."""

    max_step: StepField = Step(share=0.25)
    per: PositiveDuration = timedelta(minutes=5)
    stabilization: Duration = timedelta(minutes=10)


class Budget(PolicyPart):
    """What the model's replicas may hold in all; nothing is a limit unless it is given."""

    gpus: int | None = Field(default=None, gt=0)
    usd_per_hour: float | None = Field(default=None, gt=0)


class Spec(PolicyPart):
    """What is promised, with which pools, and how they may move."""

    model: str = Field(min_length=1, description="vLLM's model_name label")
    preset: Literal["chat", "rag", "agent", "batch"] | None = Field(
        default=None, description="defaults for this kind of load; what the document says itself comes first"
    )
    adapters: tuple[str, ...] = Field(default=(), description="LoRA names that requests use")
    mode: ModeField = Mode.OBSERVE
    priority: int = 100
    objectives: Objectives = Objectives()
    risk: float | None = Field(
        default=None, gt=0, lt=1, description="how often the forecast may be exceeded; from the objectives if not given"
    )
    pools: tuple[PoolSpec, ...] = Field(min_length=1)
    ratio: Ratio = Ratio()
    scale_up: ScaleUp = ScaleUp()
    scale_down: ScaleDown = ScaleDown()
    budget: Budget = Budget()
    calendar: tuple[Event, ...] = Field(default=(), description="known events, by which the forecast is multiplied")

    @model_validator(mode="after")
    def _events_fit(self) -> "Spec":
        names = [event.name for event in self.calendar]
        if len(set(names)) < len(names):
            raise ValueError(f"two events have the same name: {names}")
        return self

    @model_validator(mode="after")
    def _pools_fit(self) -> "Spec":
        roles = [pool.role for pool in self.pools]
        targets = [(pool.target.kind, pool.target.name) for pool in self.pools]
        names = [pool.name for pool in self.pools]
        if len(set(names)) < len(names):
            raise ValueError(f"two pools have the same name: {names}")
        if len(set(targets)) < len(targets):
            raise ValueError(f"two pools have the same target: {[name for _, name in targets]}")
        if sorted(roles) not in (["both"], ["decode", "prefill"]):
            raise ValueError(f"pools must be one of role both, or one prefill and one decode, not {[*map(str, roles)]}")
        return self


class ScalingPolicy(PolicyPart):
    """The policy of one model."""

    api_version: Literal["aiops.tokenfactory.dev/v1alpha1"] = API_VERSION
    kind: Literal["ScalingPolicy"] = "ScalingPolicy"
    metadata: Metadata
    spec: Spec

    @property
    def ref(self) -> ModelRef:
        """The model that it is about."""
        return ModelRef(self.metadata.namespace, self.spec.model)

    def pool_ref(self, pool: PoolSpec) -> PoolRef:
        """The target of one of its pools."""
        return PoolRef(self.metadata.namespace, pool.target.kind, pool.target.name)

    @property
    def risk(self) -> float:
        """How often the forecast may be exceeded: a fifth of the misses that the objectives allow, unless given."""
        return self.spec.risk if self.spec.risk is not None else 0.2 * (1 - self.spec.objectives.attainment)


class ColdStart(PolicyPart):
    """How long a replica takes from order to ready: the prior, until enough starts were seen."""

    p50: PositiveDuration = timedelta(seconds=90)
    p90: Duration = timedelta(seconds=240)

    @model_validator(mode="after")
    def _order(self) -> "ColdStart":
        if self.p90 < self.p50:
            raise ValueError(f"p90 {format_duration(self.p90)} is below p50 {format_duration(self.p50)}")
        return self


class VariantSpec(PolicyPart):
    """A replica's hardware, its price, and the profile that says how fast it is."""

    accelerator: str = ""
    gpus: int = Field(default=1, ge=1)
    usd_per_hour: float | None = Field(default=None, ge=0)
    watts: float | None = Field(default=None, gt=0)
    profile: str | None = Field(default=None, description="a shipped profile's name, or a path relative to this file")
    cold_start: ColdStart = ColdStart()


class PolicyFile(PolicyPart):
    """One YAML document: a policy, shared variants, or both."""

    api_version: Literal["aiops.tokenfactory.dev/v1alpha1"] = API_VERSION
    kind: Literal["ScalingPolicy"] = "ScalingPolicy"
    metadata: Metadata | None = None
    spec: Spec | None = None
    variants: dict[str, VariantSpec] = Field(default={})

    @model_validator(mode="after")
    def _whole(self) -> "PolicyFile":
        if (self.metadata is None) != (self.spec is None):
            missing = "metadata" if self.metadata is None else "spec"
            raise ValueError(f"a policy needs metadata and spec; {missing} is missing")
        if self.spec is None and not self.variants:
            raise ValueError("a document needs metadata and spec, or variants")
        return self


@dataclass(frozen=True, slots=True)
class Variant:
    """A variant with its profile read; ``profile`` is None where none is named."""

    name: str
    accelerator: str = ""
    gpus: int = 1
    usd_per_hour: float | None = None
    watts: float | None = None
    profile: CapacityProfile | None = None
    cold_start_p50_s: float = 90.0
    cold_start_p90_s: float = 240.0


@dataclass(frozen=True)
class PolicySet:
    """All policies of a run, in order of priority, then of name, and what they share."""

    policies: tuple[ScalingPolicy, ...] = ()
    variants: dict[str, Variant] = field(default_factory=dict)
    prior: Prior | None = field(default=None, compare=False)
    """What is known of demand in general; without it the forecast learns from the series alone."""
    forecasters: tuple[Forecaster, ...] = field(default=(), compare=False)
    """Members that other packages bring along."""
    fleet: FleetSpec = field(default_factory=FleetSpec)
    """What holds for all models together."""

    def policy(self, ref: ModelRef) -> ScalingPolicy | None:
        """Find a model's policy; None where nobody wrote one."""
        return next((policy for policy in self.policies if policy.ref == ref), None)


def json_schema() -> dict[str, Any]:
    """Give the JSON Schema of one document: a policy, or what holds for the whole fleet."""
    policy, fleet = (kind.model_json_schema(by_alias=True) for kind in (PolicyFile, FleetPolicy))
    parts = {**policy.pop("$defs"), **fleet.pop("$defs"), "PolicyFile": policy, "FleetPolicy": fleet}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "aiops policies",
        "$defs": parts,
        "if": {"properties": {"kind": {"const": "FleetPolicy"}}, "required": ["kind"]},
        "then": {"$ref": "#/$defs/FleetPolicy"},
        "else": {"$ref": "#/$defs/PolicyFile"},
    }
