"""What users send: arrivals over a day curve and the sizes of requests, the same whatever the fleet does."""

from datetime import datetime
from math import inf, log
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from aiops.simulate.request import Request
from aiops.simulate.spec import LengthSpec, WorkloadSpec

_BLOCK = 2048  # candidates drawn at once
_Floats = NDArray[np.float64]


def stream(seed: int, name: str) -> np.random.Generator:
    """Give an independent random stream: its draws depend on the seed and its name alone."""
    return np.random.default_rng([seed, crc32(name.encode())])


class Workload:
    """The requests of one model in the order of their arrival, drawn block by block.

    ``next_s`` is when the next one arrives, in seconds since the factory's start; infinite when none will.
    """

    def __init__(self, spec: WorkloadSpec | None, seed: int, name: str, start: datetime) -> None:
        self._spec = spec
        self._arrivals = stream(seed, f"{name} arrivals")
        self._sizes = stream(seed, f"{name} sizes")
        midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
        self._start_hour = (start - midnight).total_seconds() / 3600
        self._drawn_to_s = 0.0
        self._taken = 0
        self._next = 0
        self._block: list[tuple[float, int, int, float]] = []
        self.next_s = inf
        if spec is not None:
            self._refill(spec)

    def take(self) -> Request:
        """Take the request that arrives at ``next_s``; there must be one."""
        arrival_s, prompt, output, key = self._block[self._next]
        self._taken += 1
        self._next += 1
        if self._next < len(self._block):
            self.next_s = self._block[self._next][0]
        elif self._spec is not None:
            self._refill(self._spec)
        return Request(self._taken, arrival_s, prompt, output, key)

    def stop(self) -> None:
        """Let nothing arrive any more."""
        self._spec, self._block, self.next_s = None, [], inf

    def _refill(self, spec: WorkloadSpec) -> None:
        peak = peak_rate(spec)
        times = np.empty(0)
        while not times.size:
            # Thinning (Lewis and Shedler): candidates at the peak rate, each kept with probability rate ÷ peak.
            candidates = self._drawn_to_s + np.cumsum(self._arrivals.exponential(1 / peak, _BLOCK))
            self._drawn_to_s = float(candidates[-1])
            rate = peak * day_curve(spec, self._start_hour + candidates / 3600)
            times = candidates[self._arrivals.random(_BLOCK) * peak < rate]
        prompts = _lengths(spec.input_tokens, self._sizes, times.size)
        outputs = _lengths(spec.output_tokens, self._sizes, times.size)
        keys = self._sizes.random(times.size)
        self._block = list(zip(times.tolist(), prompts, outputs, keys.tolist(), strict=True))
        self._next = 0
        self.next_s = self._block[0][0]


def day_curve(spec: WorkloadSpec, hour: _Floats) -> _Floats:
    """Give the rate at hours of the day (any number of days on) as a share of the peak rate: night ratio to 1."""
    since_peak = (hour - spec.peak_hour + spec.ramp_hours) % 24 - spec.ramp_hours
    phase = np.where(since_peak < 0, since_peak / spec.ramp_hours, np.minimum(since_peak / spec.fall_hours, 1.0))
    bump = (1 + np.cos(np.pi * phase)) / 2
    return np.asarray(spec.night_ratio + (1 - spec.night_ratio) * bump)


def peak_rate(spec: WorkloadSpec) -> float:
    """Give the highest rate, in requests per second: a raised cosine is on average half its height."""
    bump_mean = (spec.ramp_hours + spec.fall_hours) / 2 / 24
    return spec.requests_per_s / (spec.night_ratio + (1 - spec.night_ratio) * bump_mean)


def _lengths(spec: LengthSpec, draws: np.random.Generator, count: int) -> list[int]:
    drawn = draws.lognormal(log(spec.mean) - spec.spread**2 / 2, spec.spread, count)
    tokens: list[int] = np.clip(np.rint(drawn), 1, spec.max).astype(np.int64).tolist()
    return tokens
