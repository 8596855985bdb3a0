"""What users ask for: requests and tokens, and the work they make."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from aiops.model.refs import ModelRef


class DemandSource(StrEnum):
    """Where arrivals were counted. Served tokens understate demand under saturation, so they are never the source."""

    GATEWAY = "gateway"
    """Requests routed plus the growth of the gateway's queue plus refused and evicted."""
    ENGINES = "engines"
    """Requests finished plus the growth of running and waiting."""


@dataclass(frozen=True, slots=True)
class TokenDemand:
    """Arrivals of one model over a window, and the trailing size of a request.

    ``cached_ratio`` is the share of prompt tokens that prefix caches held; ``backlog_requests`` is what waits at the
    end of the window, engines and gateway together; ``prefill_backlog_requests`` and ``decode_backlog_requests`` split
    it where roles are apart (prefill KV that waits to be pulled is decode's backlog). ``censored`` marks a window whose
    arrivals were cut by saturation: it teaches the forecast nothing.
    """

    requests_per_s: float
    input_tokens_per_request: float | None
    output_tokens_per_request: float | None
    window: timedelta
    source: DemandSource
    cached_ratio: float | None = None
    backlog_requests: float | None = None
    prefill_backlog_requests: float | None = None
    decode_backlog_requests: float | None = None
    censored: bool = False

    @property
    def input_tok_per_s(self) -> float | None:
        """Prompt tokens that arrive a second; 0 without arrivals, None where their size is unknown."""
        return _product(self.requests_per_s, self.input_tokens_per_request)

    @property
    def output_tok_per_s(self) -> float | None:
        """Output tokens that the arrivals ask for, a second."""
        return _product(self.requests_per_s, self.output_tokens_per_request)


def _product(rate: float, size: float | None) -> float | None:
    if rate == 0.0:
        return 0.0
    return None if size is None else rate * size


@dataclass(frozen=True, slots=True)
class Work:
    """Demand as replica-seconds per second, per role.

    1.0 keeps one replica busy exactly at its objective; dividing by the utilization limit gives replicas. An aggregated
    model has ``both``, a disaggregated one ``prefill`` and ``decode``.
    """

    prefill: float | None = None
    decode: float | None = None
    both: float | None = None

    def of(self, role: str) -> float | None:
        """Give the work of a role (``prefill``, ``decode`` or ``both``)."""
        value: float | None = getattr(self, role)
        return value


@dataclass(frozen=True, slots=True)
class DemandHistory:
    """What arrived in the past, in bins of ``bin_s`` seconds, oldest first; a gap is None.

    ``ends_s`` are the bins' ends in Unix seconds; all four tuples are equally long. Rates are per second.
    """

    ref: ModelRef
    bin_s: float
    ends_s: tuple[float, ...] = ()
    requests_per_s: tuple[float | None, ...] = ()
    input_tok_per_s: tuple[float | None, ...] = ()
    output_tok_per_s: tuple[float | None, ...] = ()
