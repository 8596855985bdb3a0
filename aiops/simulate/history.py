"""The past that a Prometheus would hold: the factory's load on the days before it starts."""

from datetime import datetime, timedelta

import numpy as np

from aiops.model.demand import DemandHistory
from aiops.simulate.spec import FactorySpec
from aiops.simulate.workload import day_curve, peak_rate, stream

_BIN_S = 60.0


def past_demand(spec: FactorySpec, seed: int, start: datetime, span: timedelta) -> DemandHistory:
    """Draw what arrived in the minutes before ``start``: Poisson counts on the same day curve, mean sizes.

    Sizes scatter as the mean of that many lognormal draws does. Without a workload nothing arrived.
    """
    count = int(span.total_seconds() // _BIN_S)
    ends_s = start.timestamp() - _BIN_S * np.arange(count - 1, -1, -1)
    if spec.workload is None:
        zeros = (0.0,) * count
        return DemandHistory(spec.ref, _BIN_S, tuple(ends_s.tolist()), zeros, zeros, zeros)
    load, random = spec.workload, stream(seed, f"{spec.ref} past")
    rate = peak_rate(load) * day_curve(load, (ends_s - _BIN_S / 2) / 3600)
    requests = random.poisson(rate * _BIN_S)

    def tokens(mean: float, spread: float) -> tuple[float, ...]:
        # A lognormal of spread s has the relative standard deviation √(exp(s²) − 1); a sum of n scatters √n times less.
        relative = np.sqrt(np.expm1(spread**2) / np.maximum(requests, 1))
        drawn = requests / _BIN_S * mean * np.maximum(0.1, 1 + relative * random.standard_normal(count))
        return tuple(drawn.tolist())

    return DemandHistory(
        ref=spec.ref,
        bin_s=_BIN_S,
        ends_s=tuple(ends_s.tolist()),
        requests_per_s=tuple((requests / _BIN_S).tolist()),
        input_tok_per_s=tokens(load.input_tokens.mean, load.input_tokens.spread),
        output_tok_per_s=tokens(load.output_tokens.mean, load.output_tokens.spread),
    )
