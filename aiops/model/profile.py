"""How fast one replica is: tables of prefill and decode time, read from a profile file."""

from itertools import pairwise
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from aiops.model.interpolate import interpolate

_STRICT = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, populate_by_name=True)
Positive = Annotated[float, Field(gt=0)]
_FLOOR_RATIO = 0.001  # extrapolated down, a time never falls below a thousandth of its table's first value


class ProfileSource(BaseModel):
    """Where a table came from and how far it may be believed; further keys are kept."""

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: str
    confidence: str = "unknown"


class ProfileLimits(BaseModel):
    """The engine's own limits."""

    model_config = _STRICT

    max_num_seqs: int = Field(alias="maxNumSeqs", gt=0)
    max_num_batched_tokens: int = Field(alias="maxNumBatchedTokens", gt=0)


class PrefillTable(BaseModel):
    """Engine time of one prompt alone, chunked at ``max_num_batched_tokens``, over its length in tokens."""

    model_config = _STRICT

    isl: tuple[Positive, ...] = Field(min_length=1)
    ttft_ms: tuple[Positive, ...] = Field(alias="ttftMs", min_length=1)

    @model_validator(mode="after")
    def _pairs(self) -> "PrefillTable":
        _check_axis("prefill.isl", self.isl, "prefill.ttftMs", self.ttft_ms)
        return self


class DecodeRow(BaseModel):
    """Time of one pure decode step over the batch, every sequence at ``context`` tokens."""

    model_config = _STRICT

    context: Positive
    batch: tuple[Positive, ...] = Field(min_length=1)
    itl_ms: tuple[Positive, ...] = Field(alias="itlMs", min_length=1)

    @model_validator(mode="after")
    def _pairs(self) -> "DecodeRow":
        _check_axis("decode.batch", self.batch, "decode.itlMs", self.itl_ms)
        return self


class CapacityProfile(BaseModel):
    """One model on one GPU type at one tensor parallelism: what the planner and the simulator both read.

    ``kv_tokens`` is the size of the KV cache in tokens. Fields that this version does not know are ignored, so that a
    profile made by a later one stays readable.
    """

    model_config = _STRICT

    model: str
    accelerator: str
    tensor_parallel: int = Field(alias="tensorParallel", ge=1)
    source: ProfileSource
    kv_tokens: int = Field(alias="kvTokens", gt=0)
    limits: ProfileLimits
    prefill: PrefillTable
    decode: tuple[DecodeRow, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _contexts_ascend(self) -> "CapacityProfile":
        contexts = [row.context for row in self.decode]
        if contexts != sorted(set(contexts)):
            raise ValueError(f"decode rows must be in ascending order of context, not {contexts}")
        return self

    def prefill_s(self, tokens: float) -> float:
        """Give the engine's time for one prompt of ``tokens`` uncached tokens alone, in seconds; 0 for none."""
        if tokens <= 0:
            return 0.0
        floor = self.prefill.ttft_ms[0] * _FLOOR_RATIO
        return max(interpolate(tokens, self.prefill.isl, self.prefill.ttft_ms), floor) / 1000

    def step_s(self, batch: float, context: float) -> float:
        """Give the time of one pure decode step of ``batch`` sequences with ``context`` tokens each, in seconds."""
        return _step_ms(self, batch, context) / 1000

    def warnings(self) -> tuple[str, ...]:
        """Name each place where a table is not monotone: a measured table may be, a made one must not."""
        found = []
        if not _ascends(self.prefill.ttft_ms):
            found.append(f"prefill.ttftMs does not ascend: {list(self.prefill.ttft_ms)}")
        found += [
            f"decode.itlMs at context {row.context:g} does not ascend: {list(row.itl_ms)}"
            for row in self.decode
            if not _ascends(row.itl_ms)
        ]
        return tuple(found)


def _step_ms(profile: CapacityProfile, batch: float, context: float) -> float:
    at_batch = tuple(interpolate(batch, row.batch, row.itl_ms) for row in profile.decode)
    contexts = tuple(row.context for row in profile.decode)
    floor = profile.decode[0].itl_ms[0] * _FLOOR_RATIO
    return max(interpolate(context, contexts, at_batch), floor)


def _check_axis(x_name: str, xs: tuple[float, ...], y_name: str, ys: tuple[float, ...]) -> None:
    if len(xs) != len(ys):
        raise ValueError(f"{x_name} has {len(xs)} values and {y_name} has {len(ys)}; they are pairs")
    if list(xs) != sorted(set(xs)):
        raise ValueError(f"{x_name} must ascend strictly, not {list(xs)}")


def _ascends(values: tuple[float, ...]) -> bool:
    return all(later >= earlier for earlier, later in pairwise(values))
