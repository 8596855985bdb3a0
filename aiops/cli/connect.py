"""The options by which commands reach a Prometheus, and policies."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from aiops.cli.shell import CommandError, Exit
from aiops.model.policy import PolicySet
from aiops.model.quantity import parse_duration
from aiops.observe.policies import PolicyError, read_policies
from aiops.observe.prometheus import PrometheusAccess, PrometheusClient

PolicyOption = Annotated[
    list[Path], typer.Option("--policy", help="A policy file, or a folder of them; may be given several times.")
]
PrometheusOption = Annotated[
    str | None, typer.Option("--prometheus", metavar="URL", envvar="AIOPS_PROMETHEUS", help="The Prometheus to ask.")
]
TokenFileOption = Annotated[
    Path | None, typer.Option("--bearer-token-file", help="A file with the token for Prometheus; read anew each time.")
]
UserOption = Annotated[
    str | None, typer.Option("--user", help="The user for Prometheus, where it asks for one (basic authentication).")
]
PasswordFileOption = Annotated[
    Path | None, typer.Option("--password-file", help="A file with the password of --user; read anew each time.")
]
CaFileOption = Annotated[Path | None, typer.Option("--ca-file", help="The CA that signed Prometheus' certificate.")]
TenantOption = Annotated[str | None, typer.Option("--tenant", help="Sent as X-Scope-OrgID (Mimir, Cortex).")]
MatcherOption = Annotated[
    list[str] | None,
    typer.Option("--matcher", help='Goes into every selector, such as cluster="a"; may be given several times.'),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def duration(text: str) -> timedelta:
    """Read a duration given on the command line; a wrong one is wrong usage."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def policies_from(paths: list[Path]) -> PolicySet:
    """Read policies, or raise a CommandError with all problems."""
    try:
        return read_policies(paths)
    except PolicyError as error:
        raise policy_failure(error) from error


def policy_failure(error: PolicyError) -> CommandError:
    """Tell what is wrong with policy files."""
    return CommandError(
        "the policies cannot be used", Exit.BAD_INPUT, tuple(str(problem) for problem in error.problems)
    )


def client_for(
    url: str | None,
    token_file: Path | None,
    user: str | None,
    password_file: Path | None,
    ca_file: Path | None,
    tenant: str | None,
    matchers: list[str] | None,
) -> PrometheusClient:
    """Make the client of a Prometheus, or raise a CommandError; nothing is asked yet."""
    if url is None:
        raise CommandError("no Prometheus is named; give --prometheus URL or set AIOPS_PROMETHEUS", Exit.WRONG_USAGE)
    if user is not None and password_file is None:
        raise CommandError(f"--user {user} needs --password-file FILE with the password", Exit.WRONG_USAGE)
    try:
        return PrometheusClient(
            PrometheusAccess(
                url=url,
                bearer_token_file=token_file,
                user=user,
                password_file=password_file,
                verify=ca_file or True,
                tenant=tenant,
                matchers=tuple(matchers or ()),
            )
        )
    except ValueError as error:
        raise CommandError(str(error), Exit.WRONG_USAGE) from error
