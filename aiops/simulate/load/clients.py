"""ServeGen's clients: the tables of its production traces, and requests drawn from them.

A client's requests in a window are as many as the table says, with gaps of the family and the CV that it says: the
gaps are drawn and stretched together to fill the window, which leaves their CV as it is. (The table's ``arg1`` and
``arg2`` are the fitted shape and scale. A Gamma's shape is CV^-2, so nothing else is in them; the Weibull fits follow
the bulk of the gaps and would give about 3/4 of the recorded CV, and other rates, so the CV is taken.)
"""

import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from aiops.simulate.load.arrivals import weibull_shape
from aiops.simulate.load.columns import Floats
from aiops.simulate.requests import Ints

_PERCENTILES: Final = ("p5", "p25", "p50", "p75", "p90", "p95", "p99")
_SHARES: Final = np.array([0.0, 0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0])
_FAMILIES: Final = ("Gamma", "Weibull")
_LONGEST_TAIL = 10.0  # times p99
_NO_TOKENS = -20.0  # as a logarithm


@dataclass(frozen=True, slots=True)
class ClientRates:
    """A row a client and window with requests, in the order of the windows.

    ``begins_s`` are the windows' begins, each ``width_s`` long; window w has the rows from ``offsets[w]`` to
    ``offsets[w + 1]``.
    """

    begins_s: Floats
    width_s: float
    offsets: Ints
    client: Ints
    requests_per_s: Floats
    weibull: NDArray[np.bool_]
    shape: Floats

    @property
    def total(self) -> Floats:
        """Requests per second of all clients, per window."""
        sums = np.concatenate([[0.0], np.cumsum(self.requests_per_s)])
        return np.asarray(sums[self.offsets[1:]] - sums[self.offsets[:-1]])


@dataclass(frozen=True, slots=True)
class LengthLines:
    """How long clients' requests are: a line through percentiles a row, in the logarithm of the tokens.

    ``rows`` has the row of a client in a span of ``span_s``, −1 where it is not known. A prompt is the sum over
    ``inputs`` (text, images, …), independent of each other.
    """

    span_s: float
    rows: Ints
    inputs: tuple[Floats, ...]
    output: Floats
    mean_input: Floats
    mean_output: Floats

    def rows_of(self, client: Ints, t_s: float) -> Ints:
        """Give the rows of clients at a time of the table, −1 where it is not known how long their requests are."""
        place = int(t_s // self.span_s) if np.isfinite(self.span_s) else 0
        if place >= self.rows.shape[1]:
            return np.full(len(client), -1)
        return np.where(client < len(self.rows), self.rows[np.minimum(client, len(self.rows) - 1), place], -1)


def request_shares(rates: ClientRates, lines: LengthLines) -> Floats:
    """Give, for each row of the lengths, its share of all requests whose lengths are known."""
    requests = np.zeros(len(lines.output))
    for window, begin_s in enumerate(rates.begins_s.tolist()):
        every = slice(int(rates.offsets[window]), int(rates.offsets[window + 1]))
        rows = lines.rows_of(rates.client[every], begin_s)
        np.add.at(requests, rows[rows >= 0], rates.requests_per_s[every][rows >= 0])
    return requests / requests.sum() if requests.any() else np.full(len(requests), 1 / len(requests))


def tokens_on(line: Floats, rows: Ints, shares: Floats) -> Floats:
    """Give the tokens at the shares 0 to 1 of the lines in some rows."""
    corner = np.searchsorted(_SHARES, shares, side="right") - 1
    low, high = line[rows, corner], line[rows, corner + 1]
    part = (shares - _SHARES[corner]) / (_SHARES[corner + 1] - _SHARES[corner])
    return np.asarray(np.exp(low + (high - low) * part))


def read_client_rates(path: Path) -> ClientRates:
    """Read ``client,t_s,rate_rps,cv,dist,…``, gzipped or not.

    Raises OSError where it cannot be read, ValueError where it is no such table.
    """
    table = _read(path, {"client": "i8", "t_s": "f8", "rate_rps": "f8", "cv": "f8", "dist": "U8"})
    table = table[table["rate_rps"] > 0]
    table = table[np.lexsort((table["client"], table["t_s"]))]
    unknown = sorted(set(map(str, table["dist"])) - set(_FAMILIES))
    if unknown or not len(table):
        raise ValueError(f"{path}: dist is {' or '.join(_FAMILIES)} where there are requests, not {unknown}")
    begins_s = np.unique(table["t_s"])
    width_s = float(np.diff(begins_s).min()) if len(begins_s) > 1 else 600.0
    begins_s = np.arange(begins_s[0], begins_s[-1] + width_s / 2, width_s)
    weibull = table["dist"] == "Weibull"
    cv = np.clip(table["cv"], 0.05, 100.0)
    shape = np.where(weibull, weibull_shape(cv), cv**-2)
    return ClientRates(
        begins_s=begins_s,
        width_s=width_s,
        offsets=np.searchsorted(table["t_s"], np.append(begins_s, np.inf)),
        client=table["client"],
        requests_per_s=table["rate_rps"],
        weibull=weibull,
        shape=shape,
    )


def read_lengths(path: Path) -> LengthLines:
    """Read ``client,t_s,field,mean,p5,…,p99``, gzipped or not: answers are ``output_tokens``, prompts every other
    field that ends in ``_tokens``.

    Raises OSError where it cannot be read, ValueError where it is no such table.
    """
    numbers = dict.fromkeys(("mean", *_PERCENTILES), "f8")
    table = _read(path, {"client": "i8", "t_s": "f8", "field": "U32", **numbers})
    inputs = sorted({str(f) for f in table["field"] if f.endswith("_tokens") and f != "output_tokens"})
    if not inputs or "output_tokens" not in table["field"]:
        raise ValueError(f"{path} has no output_tokens or no tokens of prompts")
    begins_s = np.unique(table["t_s"])
    span_s = float(np.diff(begins_s).min()) if len(begins_s) > 1 else np.inf
    places = _places(table, span_s)
    rows = np.full((int(table["client"].max()) + 1, int(places[:, 1].max()) + 1), -1)
    answers = table["field"] == "output_tokens"
    keys = places[answers]
    rows[keys[:, 0], keys[:, 1]] = np.arange(len(keys))
    means, lines = {}, {}
    for field in (*inputs, "output_tokens"):
        of_field = table["field"] == field
        line, mean = np.zeros((len(keys), len(_SHARES))), np.zeros(len(keys))
        row = rows[places[of_field][:, 0], places[of_field][:, 1]]
        line[row], mean[row] = _lines_through(table[of_field]), table[of_field]["mean"]
        line[mean <= 0] = _NO_TOKENS
        lines[field], means[field] = line, mean
    mean_input = np.sum([means[field] for field in inputs], axis=0)
    # A client that was idle in a span has lengths of 0 there: they are not known.
    rows[(rows >= 0) & (mean_input[rows] <= 0)] = -1
    used = tuple(lines[field] for field in inputs if means[field].any())
    return LengthLines(span_s, rows, used, lines["output_tokens"], mean_input, means["output_tokens"])


def _places(table: NDArray[np.void], span_s: float) -> Ints:
    spans = np.zeros(len(table)) if np.isinf(span_s) else table["t_s"] // span_s
    return np.column_stack([table["client"], spans]).astype(np.int64)


def _lines_through(table: NDArray[np.void]) -> Floats:
    """Give the logarithms at ``_SHARES``: the given percentiles, and ends that make the mean right where any can."""
    known = np.log(np.maximum(np.column_stack([table[name] for name in _PERCENTILES]), 1))
    known = np.maximum.accumulate(known, axis=1)
    low = np.maximum(known[:, :1] - (known[:, 1:2] - known[:, :1]) / 4, 0)
    line = np.hstack([low, known])
    below = (_mean_between(line[:, :-1], line[:, 1:]) * np.diff(_SHARES)[:-1]).sum(axis=1)
    wanted = (table["mean"] - below) / (1 - _SHARES[-2])
    p99, high = line[:, -1], line[:, -1] + np.log(_LONGEST_TAIL)
    least = p99.copy()
    for _ in range(40):  # halving: the mean of the tail grows with its end
        middle = (least + high) / 2
        short = _mean_between(p99, middle) < wanted
        least, high = np.where(short, middle, least), np.where(short, high, middle)
    return np.hstack([line, least[:, None]])


def _mean_between(low: Floats, high: Floats) -> Floats:
    """Give the mean of what is uniform in the logarithm from ``low`` to ``high``."""
    span = np.maximum(high - low, 1e-9)
    return np.exp(low) * np.expm1(span) / span


def _read(path: Path, columns: Mapping[str, str]) -> NDArray[np.void]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        header = file.readline().strip().split(",")
        missing = [name for name in columns if name not in header]
        if missing:
            raise ValueError(f"{path} has no column {' or '.join(missing)}; its first line is {','.join(header)!r}")
        used: Sequence[int] = [header.index(name) for name in columns]
        return np.loadtxt(file, dtype=list(columns.items()), delimiter=",", usecols=used, ndmin=1)
