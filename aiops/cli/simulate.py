"""aiops simulate: requests from a file meet a simulated factory; what became of each, and what it took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.progress import Progress
from rich.table import Table

from aiops.cli.connect import JsonOption, duration
from aiops.cli.factory_file import factory_from
from aiops.cli.shell import CommandError, err, print_json, telling
from aiops.cli.show import console

_LATENCIES = {"ttft_s": "TTFT", "itl_s": "mean ITL", "latency_s": "latency", "wait_s": "wait"}
_ENDS = ("completed", "failed", "refused", "timed_out")


def simulate(
    requests: Annotated[
        Path,
        typer.Option(
            "--requests",
            metavar="REQ.csv",
            help="Columns arrival_s, input_tokens, output_tokens and maybe prefix_ids, by arrival; also gzip.",
        ),
    ],
    factory: Annotated[
        Path, typer.Option("--factory", metavar="FACTORY.yaml", help="Pools, router, cold starts, faults.")
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Gets requests.csv, replicas.csv and summary.json, or nothing.")
    ],
    segment_tokens: Annotated[
        int, typer.Option("--segment-tokens", min=1, help="Tokens of a prompt that each of its prefix_ids stands for.")
    ] = 512,
    ttft: Annotated[str, typer.Option(help="A hit has its first token within this.")] = "2.5s",
    itl: Annotated[str, typer.Option(help="And its mean time between tokens within this.")] = "50ms",
    seed: Annotated[int, typer.Option(min=0, help="The seed of the router and of cold starts.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Let a factory of simulated vLLM engines serve the requests of a file, in virtual time.

    The prefix cache is on where the file has prefix_ids: the space-separated ids of a prompt's leading segments, equal
    ids in equal places being equal content. The same input and seed give the same bytes.

    Exit codes: 0 done, 1 bad input (nothing is written), 2 wrong usage.

    Examples:

      aiops simulate --requests day.csv --factory factory.yaml --out results

      aiops simulate --requests day.csv.gz --factory pairs.yaml --out results --segment-tokens 256 --seed 7

      aiops simulate --requests day.csv --factory factory.yaml --out results --json | jq .ttft_s.p95

    The smallest factory is one line: pools: [{name: pool, replicas: 2, profile: llama-8b-h100-tp1}]
    """
    bounds = duration(ttft), duration(itl)
    with telling(as_json):
        began = time.perf_counter()
        summary = _replayed(requests, factory, out, segment_tokens, bounds, seed)
        wall_s = time.perf_counter() - began
        err.print(f"{summary['requests']} requests in {wall_s:.1f} s; the results are in {out}", markup=False)
        if as_json:
            print_json(summary)
        else:
            _print(summary)


def _replayed(
    requests: Path, factory: Path, out: Path, segment_tokens: int, bounds: tuple[timedelta, timedelta], seed: int
) -> dict[str, Any]:
    # Late: compiled code takes a second to load, which no other command shall wait for.
    from aiops.simulate.tables.replay_file import FileReplay, replay_file  # noqa: PLC0415
    from aiops.simulate.tables.request_csv import open_requests  # noqa: PLC0415

    specs, profiles = factory_from(factory)
    if len(specs) > 1:
        raise CommandError(f"{factory} has {len(specs)} models, and requests name none; keep one document")
    with _told(f"cannot read {requests}"):
        file = open_requests(requests)
    what = FileReplay(
        file=file,
        spec=specs[0],
        profiles=profiles,
        segment_tokens=segment_tokens,
        ttft_bound_s=bounds[0].total_seconds(),
        itl_bound_s=bounds[1].total_seconds(),
        seed=seed,
    )
    with Progress(console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("requests read", total=1.0)
        with _told(f"cannot write {out}"):
            return replay_file(what, out, lambda share: progress.update(task, completed=share))


@contextmanager
def _told(failure: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(f"{failure}: {error.strerror or error}") from error


def _print(summary: dict[str, Any]) -> None:
    table = Table(box=SIMPLE_HEAD)
    table.add_column("seconds")
    for column in ("mean", "p50", "p95", "p99", "max"):
        table.add_column(column, justify="right")
    for key, name in _LATENCIES.items():
        table.add_row(name, *(_shown(value) for value in summary[key].values()))
    ends = ", ".join(f"{summary[end]} {end.replace('_', ' ')}" for end in _ENDS if summary[end])
    within = summary["objectives"]
    out = console()
    out.print(table)
    out.print(
        f"{summary['requests']} requests ({ends}) in {summary['duration_s']:.0f} s of virtual time; "
        f"{summary['attainment_ratio']:.2%} hit TTFT {within['ttft_s']:g} s and ITL {within['itl_s']:g} s"
    )
    hits = summary["prefix_hit_ratio"]
    out.print(
        f"{_shown(summary['output_tokens_per_s'])} output tokens/s, "
        f"{'no' if hits is None else f'{hits:.1%}'} prefix hits, {summary['preemptions']} preemptions, "
        f"{summary['replica_hours']:.2f} replica-hours ({summary['gpu_hours']:.2f} GPU-hours)"
    )


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
