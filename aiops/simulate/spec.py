"""What a factory is made of, as its YAML document says it."""

from enum import StrEnum

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from aiops.model.policy import ColdStart, Duration
from aiops.model.quantity import parse_duration
from aiops.model.refs import ModelRef, Role


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class PoolSpec(_Spec):
    """A Deployment of replicas that start ready. ``profile`` also names the variant unless one is given."""

    name: str = Field(min_length=1)
    role: Role = Role.BOTH
    replicas: int = Field(default=1, ge=0)
    profile: str = Field(min_length=1)
    variant: str | None = None


class RouterKind(StrEnum):
    """How a request finds its replica."""

    LEAST_LOADED = "least_loaded"
    """The least pending work: requests, or prompt tokens where the role is prefill."""
    ROUND_ROBIN = "round_robin"
    """Each in turn."""
    STICKY = "sticky"
    """A share ``affinity`` of the requests to the oldest replica, the rest to the least loaded."""


class RouterSpec(_Spec):
    """The router, and how much it clings (sticky only)."""

    kind: RouterKind = RouterKind.LEAST_LOADED
    affinity: float = Field(default=0.9, ge=0, le=1)


class TransferSpec(_Spec):
    """What pulling the KV of a prompt from a prefill to a decode replica takes."""

    latency: Duration = parse_duration("5ms")
    seconds_per_token: float = Field(default=6.6e-6, ge=0, description="KV bytes a token over bytes a second")


class LengthSpec(_Spec):
    """Lognormal token counts: arithmetic mean, standard deviation of the logarithm, and a cap."""

    mean: float = Field(gt=0)
    spread: float = Field(default=0.0, ge=0, le=3)
    max: int = Field(default=16384, ge=1)

    @property
    def longest(self) -> int:
        """The most tokens that can be drawn."""
        return self.max if self.spread else min(self.max, max(1, round(self.mean)))


class WorkloadSpec(_Spec):
    """Poisson arrivals over a day curve (UTC), and the sizes of requests.

    The rate rests at ``night_ratio`` × peak, climbs to its peak in the ``ramp_hours`` before ``peak_hour`` and falls
    back in the ``fall_hours`` after it; ``requests_per_s`` is its mean over a day. ``prefix_share`` of each prompt is
    shared with others, and hits the prefix cache of a replica that has served ``warmup_tokens`` prompt tokens (before
    that, in proportion).
    """

    requests_per_s: float = Field(gt=0)
    night_ratio: float = Field(default=1.0, ge=0, le=1)
    peak_hour: float = Field(default=12.0, ge=0, lt=24)
    ramp_hours: float = Field(default=5.0, gt=0)
    fall_hours: float = Field(default=11.0, gt=0)
    input_tokens: LengthSpec
    output_tokens: LengthSpec
    prefix_share: float = Field(default=0.0, ge=0, lt=1)
    warmup_tokens: int = Field(default=1_000_000, ge=1)

    @model_validator(mode="after")
    def _one_day(self) -> "WorkloadSpec":
        if self.ramp_hours + self.fall_hours > 24:
            raise ValueError(f"rampHours {self.ramp_hours:g} and fallHours {self.fall_hours:g} exceed a day together")
        return self

    @property
    def longest(self) -> int:
        """The most tokens that a request can have, prompt and answer."""
        return self.input_tokens.longest + self.output_tokens.longest


class FactorySpec(_Spec):
    """One model, the pools that serve it and the load that comes; without a workload nothing arrives."""

    model: str = Field(default="model", min_length=1)
    namespace: str = Field(default="default", min_length=1)
    pools: tuple[PoolSpec, ...] = Field(min_length=1)
    router: RouterSpec = RouterSpec()
    cold_start: ColdStart = ColdStart()
    transfer: TransferSpec = TransferSpec()
    max_model_len: int = Field(default=32768, gt=1)
    workload: WorkloadSpec | None = None

    @model_validator(mode="after")
    def _fits(self) -> "FactorySpec":
        roles = sorted(pool.role for pool in self.pools)
        if roles not in (["both"], ["decode", "prefill"]):
            raise ValueError(f"pools must be one of role both, or one prefill and one decode, not {[*map(str, roles)]}")
        if len({pool.name for pool in self.pools}) < len(self.pools):
            raise ValueError(f"two pools have the same name: {[pool.name for pool in self.pools]}")
        if self.workload is not None and self.workload.longest > self.max_model_len:
            raise ValueError(
                f"the longest request, {self.workload.longest} tokens, exceeds maxModelLen {self.max_model_len}: raise "
                f"that or lower the max of inputTokens or outputTokens"
            )
        return self

    @property
    def ref(self) -> ModelRef:
        """The model that it serves."""
        return ModelRef(self.namespace, self.model)


def read_factory(text: str) -> tuple[FactorySpec, ...]:
    """Read the models of a factory, a YAML document each.

    Raises ValueError that says which document is wrong, where, and how.
    """
    try:
        documents = [document for document in yaml.safe_load_all(text) if document is not None]
    except yaml.YAMLError as error:
        raise ValueError(f"the factory is no YAML: {error}") from error
    if not documents:
        raise ValueError("the factory is empty; it needs pools, such as pools: [{name: pool, profile: NAME}]")
    return tuple(_read(number, document) for number, document in enumerate(documents, start=1))


def _read(number: int, document: object) -> FactorySpec:
    try:
        return FactorySpec.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise ValueError(f"factory document {number}: at {place}: {first['msg']}") from error
