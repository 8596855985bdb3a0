"""aiops alerts: write the alerting and recording rules for the objectives of some policies."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from aiops.cli.connect import JsonOption, policies_from
from aiops.cli.shell import err, failing, out, print_json, telling, whole
from aiops.model.policy import PolicySet
from aiops.model.quantity import parse_percent
from aiops.observe.objective_rules import AVAILABILITY, Snapped, snapped_bounds
from aiops.observe.rule_files import RuleFormat, rule_files

_DEFAULT_AVAILABILITY = f"{100 * AVAILABILITY:g}%"


def alerts(
    out_folder: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to write to.")],
    policy: Annotated[
        list[Path] | None,
        typer.Option("--policy", help="A policy file, or a folder of them; left out: the default objectives."),
    ] = None,
    rule_format: Annotated[
        RuleFormat, typer.Option("--format", help="Files for Prometheus, or objects for its operator.")
    ] = RuleFormat.RULES,
    availability: Annotated[
        str, typer.Option(help="The share of requests that shall be answered at all.")
    ] = _DEFAULT_AVAILABILITY,
    runbooks: Annotated[
        str | None, typer.Option(metavar="URL", help="Where your copy of the runbooks is; goes into each alert's link.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the alerting and recording rules, with burn rates for the objectives of the policies.

    A histogram tells only what is below one of its bounds. So each objective is measured at the bound that is nearest
    to it, and the table says which one that is. Models with other objectives have rules of their own.

    Exit codes: 0 done, 1 bad input, 2 wrong usage.

    Examples:

      aiops alerts --out rules/

      aiops alerts --policy policies/ --out rules/ --runbooks https://wiki.example/aiops/runbook

      aiops alerts --policy policies/ --format prometheusrule --out manifests/
    """
    answered = _share(availability)
    with telling(as_json):
        policies = PolicySet() if policy is None else policies_from(policy)
        texts = rule_files(policies, rule_format, answered, runbooks)
        with failing(f"{out_folder} cannot be written"):
            _write(out_folder, texts)
        bounds = snapped_bounds(policies)
        if as_json:
            print_json({"files": [str(out_folder / name) for name in texts], "objectives": [*map(_told, bounds)]})
            return
        out.print(_table(bounds))
        err.print(f"{len(texts)} files are in {out_folder}", markup=False, highlight=False, soft_wrap=True)


def _share(text: str) -> float:
    try:
        share = parse_percent(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if not 0 < share < 1:
        raise typer.BadParameter(f"--availability {text} leaves nothing to tell; write a share such as 99.9%")
    return share


def _write(folder: Path, texts: Mapping[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        with whole(folder / name) as part:
            part.write_text(text, encoding="utf-8")


def _told(bound: Snapped) -> dict[str, Any]:
    return {
        "slo": bound.slo,
        "models": list(bound.models),
        "attainment_ratio": bound.attainment,
        "bound_s": bound.bound_s,
        "measured_by_engines_at_s": bound.engine_s,
        "measured_by_router_at_s": bound.router_s,
        "exact": bound.exact,
    }


def _table(bounds: tuple[Snapped, ...]) -> Table:
    table = Table(box=SIMPLE_HEAD)
    for name in ("models", "objective", "engines count at", "router counts at"):
        table.add_column(name, overflow="fold")
    for bound in bounds:
        cells = (
            "\n".join(bound.models) or "every model",
            f"{bound.slo.upper()} p{100 * bound.attainment:g} {bound.bound_s:g} s",
            f"{bound.engine_s:g} s",
            "" if bound.router_s is None else f"{bound.router_s:g} s",
        )
        table.add_row(*(Text(cell) for cell in cells))
    return table
