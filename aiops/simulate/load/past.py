"""The past that a Prometheus would hold: a load on the days before it starts, without its events."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from aiops.model.demand import DemandHistory
from aiops.model.refs import ModelRef
from aiops.simulate.load.clients import read_client_rates, read_lengths, request_shares
from aiops.simulate.load.columns import Floats
from aiops.simulate.load.demand import DemandTable, read_demand
from aiops.simulate.load.laws import LengthSpec
from aiops.simulate.load.lengths import moments
from aiops.simulate.load.rates import day_rate
from aiops.simulate.load.sessions import session_shape
from aiops.simulate.load.sources import Draws
from aiops.simulate.load.spec import ClientsSpec, LoadSpec

_BIN_S = 60.0
_CLIENTS_SCATTER = (1.0, 1.0)  # many kinds of requests in one sum; about what ServeGen's percentiles give


@dataclass(frozen=True, slots=True)
class _Past:
    """Per bin: requests per second and mean tokens a request; NaN where it is not known what came.

    ``scatter`` are the standard deviations of a prompt and of an answer over their means.
    """

    requests_per_s: Floats
    input_tokens: Floats
    output_tokens: Floats
    scatter: tuple[float, float]


def past_demand(spec: LoadSpec | None, ref: ModelRef, seed: int, start: datetime, span: timedelta) -> DemandHistory:
    """Draw what arrived in the minutes before ``start``: counts about the load's rate, sums of lengths about the mean.

    Counts scatter as those of the load's arrivals do. Before the first row of a demand or clients table, and before a
    trace, nothing is known (None); without a load nothing arrived. Raises as :class:`~aiops.simulate.load.Load` does.
    """
    count = int(span.total_seconds() // _BIN_S)
    ago_s: Floats = -_BIN_S * np.arange(count - 1, -1, -1, dtype=np.float64)
    past = _past(spec, start, ago_s - _BIN_S / 2)
    draws = Draws(seed, f"{ref} past").of("bins")
    cv = 1.0 if spec is None else spec.arrivals.cv
    expected = np.nan_to_num(past.requests_per_s) * _BIN_S
    requests = _counts(expected, cv, draws)

    def tokens(mean: Floats, relative: float) -> tuple[float | None, ...]:
        # A sum of n independent lengths scatters √n times less than one of them.
        noise = relative / np.sqrt(np.maximum(requests, 1)) * draws.standard_normal(count)
        return _known(requests / _BIN_S * np.nan_to_num(mean) * np.maximum(0.1, 1 + noise), past.requests_per_s)

    return DemandHistory(
        ref=ref,
        bin_s=_BIN_S,
        ends_s=tuple((start.timestamp() + ago_s).tolist()),
        requests_per_s=_known(requests / _BIN_S, past.requests_per_s),
        input_tok_per_s=tokens(past.input_tokens, past.scatter[0]),
        output_tok_per_s=tokens(past.output_tokens, past.scatter[1]),
    )


def _known(values: Floats, rate: Floats) -> tuple[float | None, ...]:
    return tuple(value if known else None for value, known in zip(values.tolist(), ~np.isnan(rate), strict=True))


def _counts(expected: Floats, cv: float, draws: np.random.Generator) -> NDArray[np.int64]:
    """Draw counts of a mean and of a variance of CV² times that, as renewal processes have over many gaps."""
    if cv == 1.0:
        return draws.poisson(expected)
    if cv > 1.0:
        # A Poisson count whose rate is Gamma: mean λ, variance λ + λ² / shape.
        shape = np.maximum(expected, 1e-12) / (cv**2 - 1)
        return draws.poisson(draws.standard_gamma(shape) * (cv**2 - 1))
    # Kept from a regular stream with probability 1 − CV².
    trials = expected / (1 - cv**2)
    whole = np.floor(trials + draws.random(len(expected))).astype(np.int64)
    return draws.binomial(whole, 1 - cv**2)


def _past(spec: LoadSpec | None, start: datetime, t_s: Floats) -> _Past:
    if spec is None or spec.trace is not None:
        level = np.full(len(t_s), 0.0 if spec is None else np.nan)
        return _Past(level, level, level, (0.0, 0.0))
    if spec.clients is not None:
        return _of_table(_table_of_clients(spec.clients), t_s, spec)
    if spec.demand is not None:
        return _of_table(read_demand(spec.demand), t_s, spec)
    return _Past(day_rate(spec, start).at(t_s), *_lengths(spec, np.full(len(t_s), np.nan), np.full(len(t_s), np.nan)))


def _of_table(table: DemandTable, t_s: Floats, spec: LoadSpec) -> _Past:
    rate = np.where(t_s >= table.begins_s[0], table.rate.at(t_s), np.nan)
    return _Past(rate, *_lengths(spec, table.mean_input(t_s), table.mean_output(t_s)))


def _lengths(spec: LoadSpec, inputs: Floats, outputs: Floats) -> tuple[Floats, Floats, tuple[float, float]]:
    """Give the mean lengths, from a table's where the spec leaves them to it, and their scatter."""
    if spec.clients is not None:
        return inputs, outputs, _CLIENTS_SCATTER
    if spec.sessions is not None:
        shape = session_shape(spec, spec.sessions)
        prompt, answer = shape.prompt, shape.output
        return np.full_like(inputs, prompt[0]), np.full_like(outputs, answer[0]), (prompt[1], answer[1])
    laws = (spec.input_tokens or LengthSpec(), spec.output_tokens or LengthSpec())
    # Without a mean of its own the scatter is that of any mean well below the cap.
    prompt, answer = (moments(law, None if law.complete else 1000.0) for law in laws)
    means = [
        np.full_like(given, moment[0]) if law.complete else given
        for law, moment, given in zip(laws, (prompt, answer), (inputs, outputs), strict=True)
    ]
    return means[0], means[1], (prompt[1], answer[1])


def _table_of_clients(spec: ClientsSpec) -> DemandTable:
    rates, lines = read_client_rates(spec.trace), read_lengths(spec.lengths)
    count, shares = len(rates.begins_s), request_shares(rates, lines)
    inputs, outputs = np.zeros(count), np.zeros(count)
    # The row −1, of what is not known, is the last: the mean over all.
    input_means = np.append(lines.mean_input, shares @ lines.mean_input)
    output_means = np.append(lines.mean_output, shares @ lines.mean_output)
    for window in range(count):
        every = slice(int(rates.offsets[window]), int(rates.offsets[window + 1]))
        rows = lines.rows_of(rates.client[every], float(rates.begins_s[window]))
        weights = rates.requests_per_s[every] / max(rates.requests_per_s[every].sum(), 1e-12)
        inputs[window], outputs[window] = weights @ input_means[rows], weights @ output_means[rows]
    origin_s, end_s = spec.origin.total_seconds(), rates.begins_s[-1] + rates.width_s
    return DemandTable(rates.begins_s - origin_s, float(end_s) - origin_s, rates.total * spec.scale, inputs, outputs)
