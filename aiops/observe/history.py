"""What arrived in the past, read from Prometheus in bins."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil
from statistics import median

import numpy as np
import numpy.typing as npt

from aiops.model.demand import DemandHistory
from aiops.model.policy import PolicySet, ScalingPolicy
from aiops.model.refs import ModelRef, Role
from aiops.observe import queries
from aiops.observe.gateway import gateway_model, served_names
from aiops.observe.identity import Group, Naming
from aiops.observe.prometheus import PrometheusClient, Series
from aiops.observe.queries import Past

Rates = npt.NDArray[np.float64]
"""A rate per second for each bin; NaN is a gap."""

_HOUR_S = 3600
_SCRAPES = 4
_COARSE_SCRAPES = 2
_COARSE_S = 90.0
"""No live scrape is further apart; a back-filled or thinned past may be."""
_GATEWAY = frozenset({Past.GATEWAY_REQUESTS, Past.GATEWAY_INPUT_TOKENS, Past.GATEWAY_OUTPUT_TOKENS})
_TOTAL_S = 60.0
"""All of it: a history is read once, and days of it take a Prometheus some seconds."""


@dataclass(frozen=True, slots=True)
class _Bins:
    """Equal bins by their ends, in Unix seconds."""

    first_s: int
    last_s: int
    width_s: int

    @property
    def ends_s(self) -> range:
        return range(self.first_s, self.last_s + 1, self.width_s)

    def add_up(self, series: Iterable[Series]) -> Rates:
        """Add up rates bin by bin; a bin that none of them has is a gap."""
        total = np.full(len(self.ends_s), np.nan)
        for one in series:
            places = np.rint((np.array(one.times_s) - self.first_s) / self.width_s).astype(int)
            values = np.array(one.values, dtype=np.float64)  # None becomes NaN
            known = total[places]
            total[places] = np.where(np.isnan(known), values, known + np.nan_to_num(values))
        return total


def read_history(
    client: PrometheusClient,
    policies: PolicySet,
    at: datetime,
    span: timedelta = timedelta(days=14),
    bin: timedelta = timedelta(minutes=1),
) -> tuple[DemandHistory, ...]:
    """Read what arrived up to ``at``, for those models of the policies that were there; gaps are None, never 0.

    In each bin the router's count stands where it has one, else what the engines finished. The number of queries does
    not depend on the models; each is asked in pieces of at most 11,000 points. Raises PrometheusError.
    """
    width_s = max(1, round(bin.total_seconds()))
    last_s = int(at.timestamp()) // width_s * width_s
    bins = _Bins(last_s - max(0, round(span.total_seconds()) - width_s) // width_s * width_s, last_s, width_s)
    deadline = client.deadline(_TOTAL_S)
    pace_s = _pace_s(client, bins, deadline)
    if pace_s is None:
        return ()
    naming = Naming(policy.ref for policy in policies.policies)
    found: dict[Past, dict[ModelRef, list[Series]]] = {}
    # One after the other: two weeks of a large fleet are tens of megabytes an answer.
    for key, text in queries.past(client.access.matchers, window_s(pace_s, width_s)).items():
        answer = client.ask_range({key: text}, _moment(bins.first_s), _moment(last_s), width_s, deadline)
        found[key] = _by_model(answer[key], gateway_model if key in _GATEWAY else naming.ref)
    histories = (_history(policy, found, bins) for policy in policies.policies)
    return tuple(history for history in histories if history is not None)


def window_s(pace_s: float, bin_s: int) -> int:
    """Give the span that rates of the past are taken over: a bin, or four scrapes where those take longer.

    Two where the samples are coarse: four would blur what little they still tell.
    """
    return max(bin_s, ceil((_SCRAPES if pace_s < _COARSE_S else _COARSE_SCRAPES) * pace_s))


def _pace_s(client: PrometheusClient, bins: _Bins, deadline: float) -> float | None:
    """Find how far apart the samples are, in an ordinary hour of the span; None where there are none at all."""
    hours = (bins.last_s - bins.first_s) // _HOUR_S
    start = _moment(bins.last_s - hours * _HOUR_S)
    # A second less than an hour, so that samples on both its ends do not count as one too many.
    asked = {"scrapes": queries.scrapes(client.access.matchers, _HOUR_S - 1)}
    answer = client.ask_range(asked, start, _moment(bins.last_s), _HOUR_S, deadline)["scrapes"]
    counts = [value for series in answer for value in series.values if value]
    return (_HOUR_S - 1) / median(counts) if counts else None


def _moment(unix_s: int) -> datetime:
    return datetime.fromtimestamp(unix_s, UTC)


def _by_model(
    answer: Iterable[Series], ref_of: Callable[[Mapping[str, str]], ModelRef | None]
) -> dict[ModelRef, list[Series]]:
    found: dict[ModelRef, list[Series]] = defaultdict(list)
    for series in answer:
        ref = ref_of(series.labels)
        if ref is not None:
            found[ref].append(series)
    return found


def _history(
    policy: ScalingPolicy, found: Mapping[Past, Mapping[ModelRef, list[Series]]], bins: _Bins
) -> DemandHistory | None:
    def rates(router: Past, engines: Past) -> Rates:
        routed = bins.add_up(one for name in served_names(policy) for one in found[router].get(name, ()))
        served = bins.add_up(one for one in found[engines].get(policy.ref, ()) if _ends_there(one, policy))
        return np.where(np.isnan(routed), served, routed)

    columns = (
        rates(Past.GATEWAY_REQUESTS, Past.REQUESTS),
        rates(Past.GATEWAY_INPUT_TOKENS, Past.INPUT_TOKENS),
        rates(Past.GATEWAY_OUTPUT_TOKENS, Past.OUTPUT_TOKENS),
    )
    known = np.flatnonzero(~np.all(np.isnan(columns), axis=0))
    if not known.size:
        return None
    begin = int(known[0])
    ends = bins.ends_s[begin:]
    requests, inputs, outputs = (_plain(column[begin:]) for column in columns)
    return DemandHistory(policy.ref, float(bins.width_s), tuple(map(float, ends)), requests, inputs, outputs)


def _ends_there(series: Series, policy: ScalingPolicy) -> bool:
    """Whether requests end at these pods, as at all but those of a prefill pool, which serve them a first time."""
    prefill = [pool for pool in policy.spec.pools if pool.role is Role.PREFILL]
    if not prefill:
        return True
    group = Group.of(series.labels)
    named = any(group.workload == pool.target.name for pool in prefill)
    told = bool(group.workload or group.role)
    return told and not named and group.role != Role.PREFILL


def _plain(rates: Rates) -> tuple[float | None, ...]:
    return tuple(None if np.isnan(rate) else float(rate) for rate in rates)
