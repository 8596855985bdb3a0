"""The command aiops: a file a command."""

import sys
from typing import Annotated

import typer

from aiops import __version__
from aiops.cli.demo import demo
from aiops.cli.explain import explain
from aiops.cli.plan import plan
from aiops.cli.run import run
from aiops.cli.shell import Exit, err
from aiops.cli.simulate import simulate
from aiops.cli.validate import validate

app = typer.Typer(
    name="aiops",
    help="The autopilot of a token factory: forecasts token demand, sizes vLLM fleets, and says why.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (demo, run, plan, explain, validate, simulate):
    app.command()(command)


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
    try:
        app()
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        sys.stderr.close()
        sys.exit(int(Exit.DONE))
    except Exception as error:  # the last line of defence: a bug is told, never dumped on a user
        err.print(f"error: this is a bug in aiops: {type(error).__name__}: {error}", markup=False)
        sys.exit(int(Exit.BAD_INPUT))
