"""What every command shares: where output goes, how it ends, and how a failure is told."""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.text import Text

out = Console()
err = Console(stderr=True)


class Exit(IntEnum):
    """Exit codes that scripts can rely on."""

    DONE = 0
    BAD_INPUT = 1
    WRONG_USAGE = 2
    BLIND = 3
    REFUSED = 4


class CommandError(Exception):
    """A failure that is told in one message and an exit code; ``problems`` are its details, a line each."""

    def __init__(self, message: str, code: Exit = Exit.BAD_INPUT, problems: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message, self.code, self.problems = message, code, problems


@contextmanager
def telling(as_json: bool) -> Iterator[None]:
    """Turn a CommandError into its message and exit code; with ``--json`` stdout carries it as the one object."""
    try:
        yield
    except CommandError as error:
        fail(error, as_json)


def fail(error: CommandError, as_json: bool) -> NoReturn:
    """Tell an error and end the command with its code."""
    if as_json:
        print_json({"error": error.message, "problems": list(error.problems), "exit_code": int(error.code)})
    else:
        err.print(Text.assemble(("error: ", "bold red"), error.message), soft_wrap=True)
        for problem in error.problems:
            err.print(f"  {problem}", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(int(error.code))


def print_json(value: Mapping[str, Any]) -> None:
    """Write one JSON object to stdout, keys in a stable order."""
    sys.stdout.write(json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


@contextmanager
def failing(failure: str) -> Iterator[None]:
    """Tell bad input in its own words, and a file that cannot be read or written after ``failure``."""
    try:
        yield
    except ValueError as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(f"{failure}: {error.strerror or error}") from error


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a file to write that becomes ``path`` once all is in it; before, ``path`` stays what it was."""
    if path.exists() and not path.is_file():  # a pipe, or a terminal
        yield path
        return
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
