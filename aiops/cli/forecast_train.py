"""aiops forecast train: the prior that ships with aiops, made anew from public traces."""

import csv
import gzip
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from aiops.cli.shell import CommandError, err, failing, whole
from aiops.forecast.prior_codec import encode
from aiops.forecast.training import Effort, train
from aiops.model.forecaster import SLOT_S

HELD_BACK = (3, 2)
"""Clients whose number leaves 2 when divided by 3 are held back: for scoring, nothing is trained on them."""
_TRACE = "m-large_clients_trace.csv.gz"
_COLUMNS = ("client", "t_s", "rate_rps")


def forecast_train(
    data: Annotated[
        Path, typer.Option("--data", metavar="DIR", help=f"The folder of alibaba/ServeGen's traces, with {_TRACE}.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Gets the prior.")],
    seed: Annotated[int, typer.Option(min=0, help="Of everything that is drawn.")] = 1,
    series: Annotated[int, typer.Option(min=1, help="How many series are made to learn from.")] = 2000,
    trees: Annotated[int, typer.Option(min=1, help="Trees a head; there are three heads.")] = 220,
    today: Annotated[
        str | None, typer.Option(metavar="DATE", help="The date that the prior's card tells; today if not said.")
    ] = None,
) -> None:
    """Train the pretrained prior of the forecast, reproducibly, on series made from the clients of public traces.

    A third of the clients is held back to score on. The same data, seed and effort give the same bytes on one machine.

    Exit codes: 0 done, 1 bad input, 2 wrong usage.

    Examples:

      aiops forecast train --data servegen --out demand.prior

      aiops forecast train --data servegen --out small.prior --series 200 --trees 50
    """
    if not out.parent.is_dir():
        raise CommandError(f"cannot write {out}: there is no folder {out.parent}; make it first")
    try:
        trained = date.fromisoformat(today) if today else datetime.now(UTC).date()
    except ValueError:
        raise typer.BadParameter(f"--today {today} is no date such as 2026-01-31") from None
    rates = _rates(data / _TRACE)
    card = {
        "trained_on": f"ServeGen {_TRACE}: {len(rates)} clients, {rates.shape[1]} slots of ten minutes",
        "held_back": "clients whose number leaves {1} when divided by {0}".format(*HELD_BACK),
        "licence_of_the_data": "Apache-2.0",
        "seed": seed,
        "series": series,
        "trees": trees,
        "trained": trained.isoformat(),
    }
    prior = train(rates, seed, Effort(series, trees), card, lambda text: err.print(text, markup=False))
    written = encode(prior)
    with failing(f"cannot write {out}"), whole(out) as part:
        part.write_bytes(written)
    err.print(f"{len(written)} bytes, SHA-256 of the numbers {prior.sha256}; they are in {out}", markup=False)


def _rates(file: Path) -> NDArray[np.float64]:
    """Read the request rates of the clients that are not held back: a row a client, a column a slot."""
    modulus, rest = HELD_BACK
    rates: dict[int, dict[int, float]] = {}
    try:
        with gzip.open(file, "rt", newline="") as lines:
            rows = csv.DictReader(lines)
            if missing := set(_COLUMNS) - set(rows.fieldnames or ()):
                raise CommandError(f"{file} has no column {', '.join(sorted(missing))}")
            for row in rows:
                if int(row["client"]) % modulus != rest:
                    place = round(float(row["t_s"]) / SLOT_S)
                    rates.setdefault(int(row["client"]), {})[place] = float(row["rate_rps"] or 0.0)
    except OSError as error:
        raise CommandError(f"cannot read {file}: {error.strerror or error}") from error
    except ValueError as error:
        raise CommandError(f"{file} is no such trace: {error}") from error
    if not rates:
        raise CommandError(f"{file} has no client to train on")
    slots = 1 + max(max(each) for each in rates.values())
    table = np.zeros((len(rates), slots))
    for row_of, number in zip(table, sorted(rates), strict=True):
        row_of[list(rates[number])] = list(rates[number].values())
    if slots < 3 * 144:
        raise CommandError(f"{file} spans {slots} slots of ten minutes; three days or more are needed")
    return table
