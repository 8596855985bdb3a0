"""The command aiops: a file a command."""

import os
import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from aiops import __version__
from aiops.cli.shell import Exit, err

_COMMANDS = (
    "demo",
    "run",
    "plan",
    "explain",
    "doctor",
    "discover",
    "pause",
    "hold",
    "resume",
    "validate",
    "keda",
    "dashboards",
    "alerts",
    "simulate",
    "forecast",
)
_CONTEXT = {"help_option_names": ["-h", "--help"]}


class _Commands(TyperGroup):
    """Imports the file of a command when it is asked for: what one needs takes others a second to load."""

    # typer keeps a click of its own, whose classes have no public names.
    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401
        """Name the commands."""
        return list(_COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401
        """Import a command; None where there is none of that name."""
        if cmd_name not in _COMMANDS:
            return None
        command = getattr(import_module(f"aiops.cli.{cmd_name}"), cmd_name)
        if isinstance(command, typer.Typer):  # one with commands of its own
            return typer.main.get_command(command)
        alone = typer.Typer(pretty_exceptions_enable=False, context_settings=_CONTEXT, add_completion=False)
        alone.command(cmd_name)(command)
        return typer.main.get_command(alone)


app = typer.Typer(
    name="aiops",
    help="The autopilot of a token factory: forecasts token demand, sizes vLLM fleets, and says why.",
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=_CONTEXT,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"aiops {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; whatever goes wrong is told in a sentence."""
    # The matrices here are tiny: threads for them, read by numpy when it is imported, would only wait for each other.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        app()
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        sys.stderr.close()
        sys.exit(int(Exit.DONE))
    except Exception as error:  # the last line of defence: a bug is told, never dumped on a user
        err.print(f"error: this is a bug in aiops: {type(error).__name__}: {error}", markup=False)
        sys.exit(int(Exit.BAD_INPUT))
