"""aiops validate: read policies as the loop would, and say what is wrong or doubtful."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from aiops.cli.connect import JsonOption
from aiops.cli.shell import Exit, err, out, print_json
from aiops.model.fleet_policy import FleetSpec
from aiops.model.policy import Bound, PolicySet, Variant
from aiops.model.quantity import format_duration
from aiops.observe.marked_yaml import Problem
from aiops.observe.policies import PolicyError, read_policies
from aiops.observe.policy_warnings import policy_warnings


def validate(
    paths: Annotated[list[Path], typer.Argument(help="Policy files, or folders of *.yaml and *.yml files.")],
    as_json: JsonOption = False,
) -> None:
    """Check policy files and everything that they name.

    All problems are told at once, each with its file, its line and the nearest valid key. Warnings name what is allowed
    and still likely to disappoint: an objective between two buckets of vLLM's histograms, a variant without a profile.

    Exit codes: 0 valid, 1 not valid, 2 wrong usage.

    Examples:

      aiops validate policies/default.yaml

      aiops validate policies/ more/chat.yaml

      aiops validate --json policies/ | jq .problems
    """
    policies = PolicySet()
    problems: tuple[Problem, ...] = ()
    try:
        policies = read_policies(paths)
    except PolicyError as error:
        problems = error.problems
    warnings = policy_warnings(policies)
    if as_json:
        print_json(_report(policies, warnings, problems))
    else:
        _tell(policies, warnings, problems)
    if problems:
        raise typer.Exit(int(Exit.BAD_INPUT))


def _tell(policies: PolicySet, warnings: Sequence[str], problems: Sequence[Problem]) -> None:
    # A problem is one line that starts with its file and line, so that editors can jump there.
    for line in (*problems, *(f"warning: {warning}" for warning in warnings)):
        err.print(str(line), markup=False, highlight=False, soft_wrap=True)
    if not problems:
        out.print(_table(policies))
        if policies.fleet != FleetSpec():
            out.print(Text(_fleet(policies.fleet)))


def _report(policies: PolicySet, warnings: Sequence[str], problems: Sequence[Problem]) -> dict[str, Any]:
    return {
        "valid": not problems,
        "policies": [policy.model_dump(mode="json", by_alias=True) for policy in policies.policies],
        "fleet": policies.fleet.model_dump(mode="json", by_alias=True),
        "variants": {name: _variant(variant) for name, variant in policies.variants.items()},
        "warnings": list(warnings),
        "problems": [
            {
                **(asdict(problem.mark) if problem.mark else {"line": None, "column": None}),
                "file": str(problem.file),
                "place": problem.place,
                "message": problem.message,
            }
            for problem in problems
        ],
    }


def _variant(variant: Variant) -> dict[str, Any]:
    profile = variant.profile
    return {
        "accelerator": variant.accelerator,
        "gpus": variant.gpus,
        "usdPerHour": variant.usd_per_hour,
        "watts": variant.watts,
        "profile": profile
        and {
            "model": profile.model,
            "tensorParallel": profile.tensor_parallel,
            "confidence": profile.source.confidence,
        },
    }


def _table(policies: PolicySet) -> Table:
    # Stacked cells: it fits 80 columns, which is also the width of a pipe.
    table = Table(box=SIMPLE_HEAD)
    for name in ("policy, mode, model", "objectives", "pools", "variants"):
        table.add_column(name, overflow="fold")
    for policy in policies.policies:
        spec = policy.spec
        cells = (
            f"{policy.metadata.namespace}/{policy.metadata.name} ({spec.mode})\n{spec.model}",
            f"TTFT {_bound(spec.objectives.ttft)}\nITL {_bound(spec.objectives.itl)}",
            "\n".join(f"{pool.name} {pool.min}-{pool.max}" for pool in spec.pools),
            "\n".join(_hardware(policies.variants[pool.variant]) for pool in spec.pools),
        )
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _fleet(fleet: FleetSpec) -> str:
    bound = "no bound on what it may lose"
    if fleet.max_removed_per_hour is not None:
        bound = f"it may lose {fleet.max_removed_per_hour} of its replicas an hour"
    return f"the whole fleet: writes {fleet.writes}, {bound}"


def _bound(objective: Bound) -> str:
    return f"p{objective.attainment * 100:g} {format_duration(objective.bound)}"


def _hardware(variant: Variant) -> str:
    return variant.name if variant.profile else f"{variant.name}, no profile"
