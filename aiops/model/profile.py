"""How fast one replica is: tables of prefill and decode time, read from a profile file."""

from bisect import bisect_left
from itertools import pairwise
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from aiops.model.interpolate import interpolate

_STRICT = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, populate_by_name=True)
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
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


class StepCosts(BaseModel):
    """What a step is made of, where a profile knows it: mixtures of prompts and decodes need no guess then.

    ``ms`` is the time of a step without attention over its ``tokens``; steps up to the largest of ``graph_tokens``
    (the sizes of the engine's CUDA graphs, none by default) are padded to the next of them, larger ones run as they
    are. To that come ``host_ms_per_sequence`` for each scheduled request, ``context_ns`` for each token of context of
    each decode, and ``pair_ns`` for each chunk's tokens times the tokens before them (half the chunk's own included).
    """

    model_config = _STRICT

    tokens: tuple[Positive, ...] = Field(min_length=1)
    ms: tuple[Positive, ...] = Field(min_length=1)
    graph_tokens: tuple[Annotated[int, Field(gt=0)], ...] = Field(default=(), alias="graphTokens")
    host_ms_per_sequence: NotNegative = Field(default=0.0, alias="hostMsPerSequence")
    context_ns: NotNegative = Field(default=0.0, alias="contextNs")
    pair_ns: NotNegative = Field(default=0.0, alias="pairNs")

    @model_validator(mode="after")
    def _pairs(self) -> "StepCosts":
        _check_axis("step.tokens", self.tokens, "step.ms", self.ms)
        if list(self.graph_tokens) != sorted(set(self.graph_tokens)):
            raise ValueError(f"step.graphTokens must ascend strictly, not {list(self.graph_tokens)}")
        return self

    def table_s(self, tokens: int) -> float:
        """Give the time of a step of ``tokens`` tokens without attention, padding included, in seconds; above 0."""
        place = bisect_left(self.graph_tokens, tokens)
        run = self.graph_tokens[place] if place < len(self.graph_tokens) else tokens
        return _read(run, self.tokens, self.ms) / 1000


class TokenizerTime(BaseModel):
    """Time before the engine sees a prompt: HTTP and tokenizer, fixed and per prompt token."""

    model_config = _STRICT

    fixed_ms: NotNegative = Field(default=0.0, alias="fixedMs")
    per_token_us: NotNegative = Field(default=0.0, alias="perTokenUs")


class CapacityProfile(BaseModel):
    """One model on one GPU type at one tensor parallelism: what the planner and the simulator both read.

    ``kv_tokens`` is the size of the KV cache in tokens. ``step`` says what a step is made of; without it the simulator
    derives that from ``prefill`` and ``decode``. Fields that this version does not know are ignored, so that a profile
    made by a later one stays readable.
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
    step: StepCosts | None = None
    tokenizer: TokenizerTime = TokenizerTime()

    @model_validator(mode="after")
    def _contexts_ascend(self) -> "CapacityProfile":
        contexts = [row.context for row in self.decode]
        if contexts != sorted(set(contexts)):
            raise ValueError(f"decode rows must be in ascending order of context, not {contexts}")
        return self

    def prefill_s(self, tokens: float) -> float:
        """Give the engine's time for one prompt of ``tokens`` uncached tokens alone, in seconds; 0 for none.

        Extrapolated linearly, but always above 0, and not falling beyond the last point.
        """
        return 0.0 if tokens <= 0 else _read(tokens, self.prefill.isl, self.prefill.ttft_ms) / 1000

    def step_s(self, batch: float, context: float) -> float:
        """Give the time of one pure decode step of ``batch`` sequences with ``context`` tokens each, in seconds.

        Extrapolated linearly in both, but always above 0, and not falling beyond the last batch or context.
        """
        return _step_ms(self, batch, context) / 1000

    def warnings(self) -> tuple[str, ...]:
        """Name each place where a table is not monotone: a measured table may be, a made one must not."""
        found = []
        if not _ascends(self.prefill.ttft_ms):
            found.append(f"prefill.ttftMs does not ascend: {list(self.prefill.ttft_ms)}")
        if self.step is not None and not _ascends(self.step.ms):
            found.append(f"step.ms does not ascend: {list(self.step.ms)}")
        found += [
            f"decode.itlMs at context {row.context:g} does not ascend: {list(row.itl_ms)}"
            for row in self.decode
            if not _ascends(row.itl_ms)
        ]
        return tuple(found)


def _step_ms(profile: CapacityProfile, batch: float, context: float) -> float:
    at_batch = tuple(_read(batch, row.batch, row.itl_ms) for row in profile.decode)
    contexts = tuple(row.context for row in profile.decode)
    floor = profile.decode[0].itl_ms[0] * _FLOOR_RATIO
    if context < contexts[0] and interpolate(0, contexts, at_batch) < floor:
        # A line to the floor at no context at all: cut off flat, a step would have a bend where no row is.
        return interpolate(context, (0.0, contexts[0]), (min(floor, at_batch[0]), at_batch[0]))
    return _read(context, contexts, at_batch)


def _read(x: float, xs: tuple[float, ...], ys: tuple[float, ...]) -> float:
    value = interpolate(x, xs, ys)
    return max(value, ys[-1]) if x > xs[-1] else max(value, min(ys[0] * _FLOOR_RATIO, *ys))


def _check_axis(x_name: str, xs: tuple[float, ...], y_name: str, ys: tuple[float, ...]) -> None:
    if len(xs) != len(ys):
        raise ValueError(f"{x_name} has {len(xs)} values and {y_name} has {len(ys)}; they are pairs")
    if list(xs) != sorted(set(xs)):
        raise ValueError(f"{x_name} must ascend strictly, not {list(xs)}")


def _ascends(values: tuple[float, ...]) -> bool:
    return all(later >= earlier for earlier, later in pairwise(values))
