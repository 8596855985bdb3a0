"""aiops explain: why a model has the replicas it has, from the journal."""

from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import typer

from aiops.act.journal import Journal
from aiops.cli.connect import JsonOption, duration
from aiops.cli.run import JournalOption, default_journal
from aiops.cli.shell import CommandError, print_json, telling
from aiops.cli.show import console, explanation
from aiops.model import codec
from aiops.model.cycle import Cycle, ModelCycle


def explain(
    model: Annotated[str, typer.Argument(help="The model, as its policy names it; with NAMESPACE/ where two have it.")],
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="When: 2026-11-23T09:00:00, or how long ago: 10m.")
    ] = None,
    journal: JournalOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say why a model has the replicas it has: the rules in their order, every input, and what would change it.

    Exit codes: 0 done, 1 nothing known of that model or time, 2 wrong usage.

    Examples:

      aiops explain meta-llama/Llama-3.3-70B-Instruct

      aiops explain llm/meta-llama/Llama-3.3-70B-Instruct --at 10m

      aiops explain my-model --at 2026-11-23T09:00:00 --json
    """
    moment = None if at is None else _moment(at)
    with telling(as_json):
        cycle = _cycle(journal or default_journal(), moment)
        found = _find(cycle, model)
        if as_json:
            print_json({"at": cycle.at.isoformat(), "number": cycle.number, "model": codec.to_plain(found)})
        else:
            console().print(explanation(found, cycle.at))


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return datetime.now(UTC) - duration(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _cycle(path: Path, moment: datetime | None) -> Cycle:
    if not path.is_file():
        raise CommandError(f"there is no journal {path}; aiops run writes one, and --journal names it")
    kept = Journal(path)
    try:
        cycle = kept.latest() if moment is None else kept.cycle_at(moment)
    finally:
        kept.close()
    if cycle is None:
        when = "" if moment is None else f" at or before {moment.isoformat()}"
        raise CommandError(f"the journal {path} holds no cycle{when}")
    return cycle


def _find(cycle: Cycle, name: str) -> ModelCycle:
    found = [model for model in cycle.models if name in (str(model.ref), model.ref.model)]
    if len(found) == 1:
        return found[0]
    known = [str(model.ref) for model in cycle.models]
    if found:
        raise CommandError(f"{name!r} is served in several namespaces; say which", problems=tuple(map(str, known)))
    near = get_close_matches(name, [*known, *(model.ref.model for model in cycle.models)], 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise CommandError(f"the journal knows no model {name!r}{hint}", problems=tuple(known))
