"""aiops simulate: requests meet a simulated factory; what became of each, and what it took."""

import time
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.progress import Progress
from rich.table import Table

from aiops.cli.connect import JsonOption, duration
from aiops.cli.factory_file import factory_from
from aiops.cli.shell import CommandError, err, failing, print_json, telling
from aiops.cli.show import console

_LATENCIES = {"ttft_s": "TTFT", "itl_s": "mean ITL", "latency_s": "latency", "wait_s": "wait"}
_ENDS = ("completed", "failed", "refused", "timed_out")


def simulate(
    requests: Annotated[
        Path | None,
        typer.Option(
            "--requests",
            metavar="REQ.csv",
            help="Columns arrival_s, input_tokens, output_tokens and maybe prefix_ids, by arrival; also gzip. "
            "Without it the factory's workload comes.",
        ),
    ] = None,
    factory: Annotated[
        Path | None, typer.Option("--factory", metavar="FACTORY.yaml", help="Pools, router, cold starts, faults.")
    ] = None,
    scenario: Annotated[
        str | None, typer.Option("--scenario", metavar="NAME", help="A shipped factory in which something happens.")
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="Tell of the shipped scenarios, a line each.")] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Gets requests.csv, replicas.csv and summary.json, or nothing."),
    ] = None,
    span: Annotated[
        str | None, typer.Option("--for", help="How long the workload comes; else as long as the factory says.")
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option("--picture", metavar="FILE.svg", help="Draw replicas, queue and TTFT over time."),
    ] = None,
    segment_tokens: Annotated[
        int, typer.Option("--segment-tokens", min=1, help="Tokens of a prompt that each of its prefix_ids stands for.")
    ] = 512,
    ttft: Annotated[str, typer.Option(help="A hit has its first token within this.")] = "2.5s",
    itl: Annotated[str, typer.Option(help="And its mean time between tokens within this.")] = "50ms",
    seed: Annotated[int, typer.Option(min=0, help="The seed of the workload, the router and of cold starts.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Let a factory of simulated vLLM engines serve requests in virtual time: those of a file, or its own workload.

    The prefix cache is on where a file has prefix_ids: the space-separated ids of a prompt's leading segments, equal
    ids in equal places being equal content. The same input and seed give the same bytes. What goes wrong by the
    factory's faults is labelled in summary.json.

    Exit codes: 0 done, 1 bad input (nothing is written), 2 wrong usage.

    Examples:

      aiops simulate --requests day.csv --factory factory.yaml --out results

      aiops simulate --requests day.csv.gz --factory pairs.yaml --out results --segment-tokens 256 --seed 7

      aiops simulate --requests day.csv --factory factory.yaml --out results --json | jq .ttft_s.p95

      aiops simulate --factory factory.yaml --for 2h --out results

      aiops simulate --list

      aiops simulate --scenario flash-crowd --out results --picture crowd.svg

    The smallest factory is one line: pools: [{name: pool, replicas: 2, profile: llama-8b-h100-tp1}]
    """
    if listing:
        with telling(as_json):
            _list(as_json)
        return
    if out is None:
        raise typer.BadParameter("--out DIR says where the results go")
    if (factory is None) is (scenario is None):
        raise typer.BadParameter("give either --factory FACTORY.yaml or --scenario NAME")
    if requests is not None and span is not None:
        raise typer.BadParameter("--for is for a factory's own workload; a file of requests ends by itself")
    length = None if span is None else duration(span)
    if length is not None and length <= timedelta(0):
        raise typer.BadParameter(f"--for {span} is no time at all")
    bounds = duration(ttft), duration(itl)
    with telling(as_json):
        began = time.perf_counter()
        summary = _replayed(requests, factory, scenario, out, length, picture, segment_tokens, bounds, seed)
        wall_s = time.perf_counter() - began
        err.print(f"{summary['requests']} requests in {wall_s:.1f} s; the results are in {out}", markup=False)
        if as_json:
            print_json(summary)
        else:
            _print(summary)


def _list(as_json: bool) -> None:
    from aiops.simulate.scenarios import read_scenario, scenario_names  # noqa: PLC0415  # late, as below

    about = {name: read_scenario(name).about for name in scenario_names()}
    if as_json:
        print_json({"scenarios": about})
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, text in about.items():
        table.add_row(name, text)
    console().print(table)


def _replayed(
    requests: Path | None,
    factory: Path | None,
    scenario: str | None,
    out: Path,
    length: timedelta | None,
    picture: Path | None,
    segment_tokens: int,
    bounds: tuple[timedelta, timedelta],
    seed: int,
) -> dict[str, Any]:
    # Late: compiled code takes a second to load, which no other command shall wait for.
    from aiops.simulate.picture import Picture  # noqa: PLC0415
    from aiops.simulate.scenarios import scenario_file  # noqa: PLC0415
    from aiops.simulate.tables.replay_file import DrawnRequests, FileReplay, replay_file  # noqa: PLC0415
    from aiops.simulate.tables.request_csv import open_requests  # noqa: PLC0415

    with failing(f"cannot read {requests}"):
        described = scenario_file(scenario or "") if factory is None else factory
        specs, profiles = factory_from(described)
        if len(specs) > 1:
            raise CommandError(f"{described} has {len(specs)} models, and one is simulated; keep one document")
        (spec,) = specs
        span_s = (length or spec.span).total_seconds()
        if requests is None and spec.workload is None:
            raise CommandError(f"{described} has no workload; add one, or give --requests REQ.csv")
        file = DrawnRequests(spec, seed, span_s) if requests is None else open_requests(requests)
    what = FileReplay(
        file=file,
        spec=spec,
        profiles=profiles,
        segment_tokens=segment_tokens,
        ttft_bound_s=bounds[0].total_seconds(),
        itl_bound_s=bounds[1].total_seconds(),
        seed=seed,
        span_s=span_s if requests is None else 0.0,
    )
    drawn = None if picture is None else Picture(scenario or described.stem, spec.about)
    with Progress(console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("requests read", total=1.0)
        with failing(f"cannot write {out}"):
            summary = replay_file(what, out, lambda share: progress.update(task, completed=share), drawn)
    if picture is not None and drawn is not None:
        with failing(f"cannot write {picture}"):
            picture.write_text(drawn.svg(), encoding="utf-8")
    return summary


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
