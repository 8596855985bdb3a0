"""A load as its YAML says it: when requests come, how long they are, what they share and what happens to them."""

from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from aiops.model.policy import Duration, PositiveDuration
from aiops.model.quantity import parse_duration
from aiops.simulate.load.events import BatchJob, Event, longest_under
from aiops.simulate.load.laws import ArrivalSpec, LengthSpec

_DAY_KEYS = ("night_ratio", "peak_hour", "ramp_hours", "fall_hours")


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class PrefixSpec(_Spec):
    """``share`` of the requests begin with one of ``count`` texts of ``tokens`` tokens, such as system prompts.

    The text in the n-th place of popularity is taken in proportion to n^-``zipf``; 0 makes all equally popular. A
    prompt that begins with one is at least a token longer than it.
    """

    count: int = Field(default=16, ge=1, le=1_000_000)
    tokens: int = Field(ge=1)
    share: float = Field(default=1.0, ge=0, le=1)
    zipf: float = Field(default=1.0, ge=0, le=5)


class ThinkSpec(_Spec):
    """How long a user reads and types: lognormal, arithmetic mean and standard deviation of the logarithm."""

    mean: PositiveDuration = parse_duration("60s")
    spread: float = Field(default=1.0, ge=0, le=3)


class SessionSpec(_Spec):
    """Conversations: each prompt is the whole transcript so far, answers included, and new text.

    ``turns`` is the mean of their geometric number. New text is as long as ``inputTokens`` say for the first turn, as
    ``followUpTokens`` say for later ones (the same unless given). A turn comes a think time after its predecessor's
    answer, which is *assumed* to take ``pace`` a token from its arrival on: what arrives never depends on how fast
    the fleet really is. A conversation ends before prompt and answer exceed ``maxTokens``. Events that change the rate
    or the lengths act on the conversations that begin then.
    """

    turns: float = Field(default=4.0, ge=1)
    think_time: ThinkSpec = ThinkSpec()
    pace: Duration = parse_duration("20ms")
    max_tokens: int = Field(default=32768, ge=2)
    follow_up_tokens: LengthSpec | None = None


class WindowSpec(_Spec):
    """A rate of requests and, where given, their mean lengths, from ``at`` until the next window's."""

    at: Duration
    requests_per_s: float = Field(ge=0)
    input_tokens: float | None = Field(default=None, gt=0)
    output_tokens: float | None = Field(default=None, gt=0)


class DemandSpec(_Spec):
    """Demand per window: from a table ``t_s,req_per_s[,input_tok_per_s,output_tok_per_s]`` or written out.

    The load starts ``from`` into the table; rates are multiplied by ``scale``. Nothing comes outside a table; the last
    of the ``windows`` written out lasts for ever.
    """

    path: Path | None = None
    windows: tuple[WindowSpec, ...] | None = Field(default=None, min_length=1)
    origin: Duration = Field(default=parse_duration("0s"), alias="from")
    scale: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _one_table(self) -> "DemandSpec":
        if (self.path is None) == (self.windows is None):
            raise ValueError("demand needs either the path of a table or windows")
        begins = [window.at for window in self.windows or ()]
        if begins != sorted(set(begins)):
            raise ValueError("the windows of demand must begin one after the other")
        return self


class ClientsSpec(_Spec):
    """ServeGen's clients: per client and window a rate, a CV and a family, and percentiles of its lengths.

    ``trace`` and ``lengths`` are its two tables, ``from`` and ``scale`` as in demand.
    """

    trace: Path
    lengths: Path
    origin: Duration = Field(default=parse_duration("0s"), alias="from")
    scale: float = Field(default=1.0, gt=0)


class TraceKind(StrEnum):
    """The format of a recorded trace."""

    MOONCAKE = "mooncake"
    AZURE = "azure"
    AIBRIX = "aibrix"


class TraceSpec(_Spec):
    """Recorded requests, replayed as they came from ``from`` on, ``speed`` times as fast.

    Each is late by a random time under ``jitter``: 3 s for mooncake, whose clock ticks that slowly, else none.
    """

    kind: TraceKind
    path: Path
    origin: Duration = Field(default=parse_duration("0s"), alias="from")
    speed: float = Field(default=1.0, gt=0)
    jitter: Duration | None = None

    @property
    def jitter_s(self) -> float:
        """The jitter in seconds of the recording."""
        if self.jitter is not None:
            return self.jitter.total_seconds()
        return 3.0 if self.kind is TraceKind.MOONCAKE else 0.0


class LoadSpec(_Spec):
    """When requests come, how long they are, what they share and what happens to them.

    They come by one of: a day curve (``requestsPerS`` and what shapes it, UTC), ``demand`` per window, ServeGen's
    ``clients``, a ``trace``. The day's rate rests at ``nightRatio`` × peak, climbs to its peak in the ``rampHours``
    before ``peakHour`` and falls back in the ``fallHours`` after it; ``requestsPerS`` is its mean over a day, turns of
    sessions counted. ``prefixShare`` of the prompt tokens come from shared texts, whose length goes with the prompt's;
    ``prefixes`` name them instead. ``warmupTokens`` is read and has no effect: caches warm up by what they serve.
    """

    requests_per_s: float | None = Field(default=None, gt=0)
    night_ratio: float = Field(default=1.0, ge=0, le=1)
    peak_hour: float = Field(default=12.0, ge=0, lt=24)
    ramp_hours: float = Field(default=5.0, gt=0)
    fall_hours: float = Field(default=11.0, gt=0)
    demand: DemandSpec | None = None
    clients: ClientsSpec | None = None
    trace: TraceSpec | None = None
    arrivals: ArrivalSpec = ArrivalSpec()
    input_tokens: LengthSpec | None = None
    output_tokens: LengthSpec | None = None
    prefix_share: float = Field(default=0.0, ge=0, lt=1)
    warmup_tokens: int = Field(default=1_000_000, ge=1)
    prefixes: PrefixSpec | None = None
    sessions: SessionSpec | None = None
    events: tuple[Event, ...] = ()

    @model_validator(mode="after")
    def _one_source(self) -> "LoadSpec":
        sources: dict[str, object] = {"requestsPerS": self.requests_per_s, "demand": self.demand}
        sources |= {"clients": self.clients, "trace": self.trace}
        given = [name for name, value in sources.items() if value is not None]
        if len(given) != 1:
            raise ValueError(f"a load needs one of {', '.join(sources)}; this one has {' and '.join(given) or 'none'}")
        useless = {*_DAY_KEYS} if self.requests_per_s is None else set()
        if self.clients is not None or self.trace is not None:
            useless |= {"arrivals", "sessions"}
        if self.trace is not None:
            useless |= {"input_tokens", "output_tokens", "prefix_share", "warmup_tokens", "prefixes"}
        idle = sorted(to_camel(name) for name in useless & self.model_fields_set)
        if idle:
            raise ValueError(f"{', '.join(idle)} cannot go with {given[0]}, which says that itself")
        if self.trace is not None and not all(isinstance(event, BatchJob) for event in self.events):
            raise ValueError("a trace is replayed as it is: of the events only batch_job can be added to it")
        return self

    @model_validator(mode="after")
    def _one_day(self) -> "LoadSpec":
        if self.ramp_hours + self.fall_hours > 24:
            raise ValueError(f"rampHours {self.ramp_hours:g} and fallHours {self.fall_hours:g} exceed a day together")
        return self

    @model_validator(mode="after")
    def _sized(self) -> "LoadSpec":
        for name, lengths in (("inputTokens", self.input_tokens), ("outputTokens", self.output_tokens)):
            if self.clients is not None and lengths is not None and (lengths.complete or lengths.spread):
                raise ValueError(f"the clients' table says how long requests are: {name} can only set a max")
            # A table's mean prompt holds the transcript already, so that sessions cannot be made from it.
            alone = self.requests_per_s is not None or self.sessions is not None
            if alone and (lengths is None or not lengths.complete):
                raise ValueError(f"{name} need a mean, percentiles or fixed")
        return self

    @model_validator(mode="after")
    def _follow_ups_sized(self) -> "LoadSpec":
        follow_ups = None if self.sessions is None else self.sessions.follow_up_tokens
        if follow_ups is not None and not follow_ups.complete:
            raise ValueError("followUpTokens need a mean, percentiles or fixed")
        return self

    @model_validator(mode="after")
    def _prefixes_fit(self) -> "LoadSpec":
        if self.prefixes is None:
            return self
        if self.prefix_share:
            raise ValueError("give either prefixShare or prefixes")
        if self.sessions is not None and self.prefixes.tokens + 2 > self.sessions.max_tokens:
            raise ValueError(f"prefixes of {self.prefixes.tokens} tokens leave no room in sessions.maxTokens")
        return self

    @property
    def shares(self) -> bool:
        """Whether requests can have content in common, so that a prefix cache may help."""
        recorded = self.trace is not None and self.trace.kind is TraceKind.MOONCAKE
        return bool(self.prefix_share or self.prefixes or self.sessions) or recorded

    @property
    def longest(self) -> int | None:
        """The most tokens that a request can have, prompt and answer; None where only a recording tells."""
        jobs = [event for event in self.events if isinstance(event, BatchJob)]
        others = max((job.input_tokens.longest + job.output_tokens.longest for job in jobs), default=0)
        if self.trace is not None:
            return None
        if self.sessions is not None:
            return max(others, self.sessions.max_tokens)
        if self.clients is not None and (self.input_tokens is None or self.output_tokens is None):
            return None
        prompt, answer = (self.input_tokens or LengthSpec()).longest, (self.output_tokens or LengthSpec()).longest
        prompt, answer = longest_under(self.events, prompt, answer)
        if self.prefixes is not None:
            prompt = max(prompt, self.prefixes.tokens + 1)
        return max(others, prompt + answer)
