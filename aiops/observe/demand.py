"""What arrived over the window, and how large a request is."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from aiops.model.demand import DemandSource, TokenDemand
from aiops.model.refs import Role
from aiops.observe.engines import Engine, Window
from aiops.observe.gateway import GatewayLoad

_LEAST_SCRAPES = 4
_SAME_SCRAPE = 1.5
_GAP = 2.5
_BYPASS_RATIO = 1.2
"""Engines that see this many times the gateway's requests get some that the gateway does not."""

Member = tuple[Engine, Role]


@dataclass(frozen=True, slots=True)
class RequestSizes:
    """The trailing mean tokens of a request; None where no request ever ended."""

    input_tokens: float | None
    output_tokens: float | None


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Requests that came over ``length_s`` seconds; ``refused`` are among them."""

    requests: float
    refused: float
    length_s: float

    @property
    def per_s(self) -> float:
        """The rate, never below 0: a crash takes requests away without their having been served."""
        return max(0.0, self.requests) / self.length_s


def read_demand(
    members: Sequence[Member], gateway: GatewayLoad | None, sizes: RequestSizes, window: Window
) -> TokenDemand | None:
    """Measure what arrived; None where it cannot be told yet, or where the engines' scrapes have a gap."""
    arrivals, source = _arrivals(members, gateway, window)
    if arrivals is None:
        return None
    waiting = {role: _waiting(members, role) for role in Role}
    queued = gateway.queue if gateway else 0.0
    apart = any(role is Role.PREFILL for _, role in members)
    return TokenDemand(
        requests_per_s=arrivals.per_s,
        input_tokens_per_request=sizes.input_tokens,
        output_tokens_per_request=sizes.output_tokens,
        window=timedelta(seconds=arrivals.length_s),
        source=source,
        cached_ratio=_cached_ratio([engine for engine, role in members if role is not Role.DECODE]),
        backlog_requests=_plus(_plus(waiting[Role.BOTH], waiting[Role.PREFILL]), _plus(waiting[Role.DECODE], queued)),
        prefill_backlog_requests=_plus(waiting[Role.PREFILL], queued) if apart else None,
        decode_backlog_requests=waiting[Role.DECODE] if apart else None,
        # The refused count as arrivals, and come again as retries: the number moves the plan, but teaches nothing.
        censored=arrivals.refused > 0 or bool(gateway and gateway.refused_unknown),
    )


def _arrivals(
    members: Sequence[Member], gateway: GatewayLoad | None, window: Window
) -> tuple[Arrivals | None, DemandSource]:
    engines = engine_arrivals(members, window)
    if gateway is None:
        return engines, DemandSource.ENGINES
    length_s = engines.length_s if engines else window.length_s
    routed = Arrivals(gateway.routed + gateway.queue_growth + gateway.refused, gateway.refused, length_s)
    if engines is not None and engines.per_s > _BYPASS_RATIO * routed.per_s:
        return engines, DemandSource.ENGINES
    return routed, DemandSource.GATEWAY


def engine_arrivals(members: Sequence[Member], window: Window) -> Arrivals | None:
    """Count what came to the engines: finished, plus the growth of running and waiting, plus refused.

    A request that prefill and decode share is counted where it ends, at decode; while it is under way it may be at
    either. None where there are no engines, or too few scrapes, or a gap in them.
    """
    lines = [engine.timeline for engine, _ in members if engine.timeline is not None]
    paces = [line.interval_s for line in lines if line.interval_s is not None]
    if not lines or not paces or len(lines) < len(members):
        return None
    pace_s = max(paces)
    begin_s = max(window.begin_s, min(line.times_s[0] for line in lines))
    known_s = window.length_s
    if (
        begin_s > window.begin_s + _SAME_SCRAPE * pace_s
    ):  # Prometheus itself, or the whole model, began inside the window
        known_s = min(known_s, max(line.times_s[-1] for line in lines) - begin_s + pace_s)
    if known_s < min(window.length_s, _LEAST_SCRAPES * pace_s):
        return None
    parts = [_requests(engine, role, begin_s, pace_s) for engine, role in members]
    refused = sum(engine.refused for engine, _ in members)
    counted = [part for part in parts if part is not None]
    return Arrivals(sum(counted) + refused, refused, known_s) if len(counted) == len(parts) else None


def _requests(engine: Engine, role: Role, begin_s: float, pace_s: float) -> float | None:
    """Count one engine's share since ``begin_s``; None where its scrapes have a gap there."""
    line = engine.timeline
    if line is None:
        return None
    newcomer = line.times_s[0] > begin_s + _SAME_SCRAPE * pace_s
    first_s = next((time_s for time_s in line.times_s if time_s >= begin_s), line.times_s[-1])
    if not newcomer and first_s > begin_s + _GAP * pace_s:
        return None
    before = 0.0 if newcomer else (line.at(begin_s) if line.times_s[0] <= begin_s else line.requests[0])
    growth = line.requests[-1] - (before or 0.0)
    if role is Role.PREFILL:
        return growth
    if engine.finished is None:  # one scrape of a newcomer counts nothing yet
        return growth if newcomer else None
    return engine.finished + growth


def _waiting(members: Sequence[Member], role: Role) -> float | None:
    """Add up what waits at the engines of a role. On decode that includes requests whose KV cache is being fetched."""
    values = [engine.sample.waiting for engine, other in members if other is role]
    return None if None in values else sum(value for value in values if value is not None)


def _plus(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other


def _cached_ratio(engines: Sequence[Engine]) -> float | None:
    """Give the share of looked-up prompt tokens that were found, at the engines that prefill."""
    looked_up = sum(engine.sample.prefix_queries_tok_per_s or 0.0 for engine in engines)
    hits = sum(engine.sample.prefix_hits_tok_per_s or 0.0 for engine in engines)
    return min(1.0, hits / looked_up) if looked_up else None
