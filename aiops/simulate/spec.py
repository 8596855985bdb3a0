"""What a factory is made of, as its YAML document says it."""

from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from aiops.model.policy import Duration, PositiveDuration
from aiops.model.quantity import parse_duration
from aiops.model.refs import ModelRef, Role
from aiops.simulate.cold_start import ColdStartSpec
from aiops.simulate.faults.spec import Fault
from aiops.simulate.fleet import RouterKind
from aiops.simulate.load.spec import LoadSpec


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class EngineSpec(_Spec):
    """The engines' flags, in vLLM's words and with its defaults; those that are None come from the profile.

    ``prefix_caching`` is on where the load shares content, unless it is said. ``stop_tokens``: answers end at a stop
    token, which the scheduler cannot foresee, instead of at a length that it knows.
    """

    max_num_seqs: int | None = Field(default=None, ge=1)
    max_num_batched_tokens: int | None = Field(default=None, ge=1)
    kv_tokens: int | None = Field(default=None, ge=1)
    block_size: int = Field(default=16, ge=1)
    prefix_caching: bool | None = None
    async_scheduling: bool = True
    stop_tokens: bool = False
    long_prefill_token_threshold: int = Field(default=0, ge=0)
    long_prefill_token_threshold_adaptive: bool = False
    watermark: float = Field(default=0.0, ge=0, lt=1)
    scheduler_reserve_full_isl: bool = True


class PoolSpec(_Spec):
    """A Deployment (or StatefulSet) of replicas that start ready.

    ``profile`` also names the variant unless one is given, and says how many GPUs a replica has. ``coldStart`` is the
    factory's unless given.
    """

    name: str = Field(min_length=1)
    kind: Literal["Deployment", "StatefulSet"] = "Deployment"
    role: Role = Role.BOTH
    replicas: int = Field(default=1, ge=0)
    profile: str = Field(min_length=1)
    variant: str | None = None
    cold_start: ColdStartSpec | None = None
    engine: EngineSpec = EngineSpec()


class RouterSpec(_Spec):
    """The router in front of each pool.

    ``prefix_weight``, ``queue_weight`` and ``kv_weight`` are those of kind ``scored``, like llm-d's endpoint picker. A
    share ``affinity`` of the requests clings to the oldest replica (0: none), whatever the kind. Flow control: an
    engine with ``max_waiting`` requests waiting gets none, they wait at the gateway, and where ``max_queued`` do, more
    are refused; None is no limit.
    """

    kind: RouterKind = RouterKind.LEAST_LOADED
    prefix_weight: float = Field(default=3.0, ge=0)
    queue_weight: float = Field(default=2.0, ge=0)
    kv_weight: float = Field(default=2.0, ge=0)
    affinity: float = Field(default=0.0, ge=0, le=1)
    max_waiting: int | None = Field(default=None, ge=1)
    max_queued: int | None = Field(default=None, ge=1)


class TransferSpec(_Spec):
    """What pulling the KV of a prompt from a prefill to a decode replica takes; pulls queue at the receiver."""

    latency: Duration = parse_duration("5ms")
    seconds_per_token: float = Field(default=6.6e-6, ge=0, description="KV bytes a token over bytes a second")


class NodeSpec(_Spec):
    """``count`` nodes with so many GPUs each."""

    name: str = Field(default="node", min_length=1)
    count: int = Field(default=1, ge=1)
    gpus: int = Field(ge=1)

    @property
    def nodes(self) -> list[tuple[str, int]]:
        """Give each one's name and GPUs."""
        names = [self.name] if self.count == 1 else [f"{self.name}-{number}" for number in range(self.count)]
        return [(name, self.gpus) for name in names]


class ScaleSpec(_Spec):
    """Somebody sets a pool's replicas at a time; the pool is the one that requests come to unless it is named."""

    at: Duration
    pool: str | None = None
    replicas: int = Field(ge=0)


class FactorySpec(_Spec):
    """One model, the pools that serve it, the load that comes and what goes wrong; without a workload nothing arrives.

    Clients leave ``timeout`` after their request's arrival, by default never. Without ``nodes`` there are as many GPUs
    as anyone wants. A replica that is deleted takes no requests any more, has ``terminationGracePeriod`` for those that
    it has (130 s, as in the Gateway API Inference Extension's manifests for vLLM), and then cuts them. ``about`` says
    what it is for, and ``for`` how long it is simulated where nothing else says so.
    """

    about: str = ""
    span: PositiveDuration = Field(default=parse_duration("30m"), alias="for")
    model: str = Field(default="model", min_length=1)
    namespace: str = Field(default="default", min_length=1)
    pools: tuple[PoolSpec, ...] = Field(min_length=1)
    router: RouterSpec = RouterSpec()
    nodes: tuple[NodeSpec, ...] = ()
    cold_start: ColdStartSpec = ColdStartSpec()
    termination_grace_period: Duration = parse_duration("130s")
    transfer: TransferSpec = TransferSpec()
    timeout: PositiveDuration | None = None
    max_model_len: int = Field(default=32768, gt=1)
    workload: LoadSpec | None = None
    scale: tuple[ScaleSpec, ...] = ()
    faults: tuple[Fault, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> "FactorySpec":
        roles = sorted(pool.role for pool in self.pools)
        if roles not in (["both"], ["decode", "prefill"]):
            raise ValueError(f"pools must be one of role both, or one prefill and one decode, not {[*map(str, roles)]}")
        if len({pool.name for pool in self.pools}) < len(self.pools):
            raise ValueError(f"two pools have the same name: {[pool.name for pool in self.pools]}")
        longest = self.workload.longest if self.workload is not None else None
        if longest is not None and longest > self.max_model_len:
            raise ValueError(
                f"the longest request, {longest} tokens, exceeds maxModelLen {self.max_model_len}: raise "
                f"that or lower the max of inputTokens or outputTokens"
            )
        return self

    @model_validator(mode="after")
    def _told_of_pools(self) -> "FactorySpec":
        kinds = {pool.name: pool.kind for pool in self.pools}
        for what in (*self.scale, *self.faults):
            if what.pool is not None and what.pool not in kinds:
                raise ValueError(f"there is no pool {what.pool!r}; there are {sorted(kinds)}")
        for fault in self.faults:
            if fault.kind == "rollout" and self.pool_named(fault.pool).kind == "StatefulSet":
                raise ValueError("a rollout with a surge is that of a Deployment, not of a StatefulSet")
            if fault.kind == "slow_transfer" and len(self.pools) == 1:
                raise ValueError("one pool alone transfers no KV that could be slow")
        names = [name for each in self.nodes for name, _ in each.nodes]
        if len(set(names)) < len(names):
            raise ValueError(f"two nodes have the same name: {names}")
        return self

    def pool_named(self, name: str | None) -> PoolSpec:
        """Find a pool by its name; without one, the pool that requests come to."""
        return next(pool for pool in self.pools if pool.name == name or (name is None and pool.role is not Role.DECODE))

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
