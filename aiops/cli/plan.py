"""aiops plan: one cycle, printed; nothing is changed."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from aiops.cli.cluster import ContextOption, KubeconfigOption, access_to, observer_of
from aiops.cli.connect import (
    CaFileOption,
    JsonOption,
    MatcherOption,
    PasswordFileOption,
    PolicyOption,
    PrometheusOption,
    TenantOption,
    TokenFileOption,
    UserOption,
    client_for,
    duration,
    policies_from,
)
from aiops.cli.shell import CommandError, Exit, err, print_json, telling
from aiops.cli.show import console, legend, plan_table
from aiops.model import codec
from aiops.model.cycle import Cycle
from aiops.model.policy import PolicySet
from aiops.observe.history import read_history
from aiops.observe.kubernetes import KubernetesAccess
from aiops.observe.observer import PrometheusObserver
from aiops.observe.prometheus import PrometheusClient, PrometheusError
from aiops.observe.recording import RecordingError, read_recording, write_recording
from aiops.plan import Recording, State, begin, decide, learn_snapshot


def plan(
    policy: PolicyOption,
    prometheus: PrometheusOption = None,
    snapshot: Annotated[
        Path | None, typer.Option("--snapshot", help="Replay a recording instead of asking a Prometheus.")
    ] = None,
    record: Annotated[
        Path | None, typer.Option("--record", help="Keep what was seen in this file, to be replayed with --snapshot.")
    ] = None,
    history: Annotated[str, typer.Option(help="How far back the forecast reads.")] = "14d",
    window: Annotated[str, typer.Option(help="Rates are over this window; at least four scrapes.")] = "1m",
    bearer_token_file: TokenFileOption = None,
    user: UserOption = None,
    password_file: PasswordFileOption = None,
    ca_file: CaFileOption = None,
    tenant: TenantOption = None,
    matcher: MatcherOption = None,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look once, and print what every pool should have and why. Nothing is changed anywhere.

    A process that has just started has not watched the stabilization window, so it never proposes fewer replicas at
    once: ``needed`` shows what demand alone asks for, ``desired`` what the guards leave of it.

    Exit codes: 0 done, 1 bad input, 2 wrong usage, 3 blind (a model of the policies cannot be seen).

    Examples:

      aiops plan --policy policies/ --prometheus http://127.0.0.1:9090

      aiops plan --policy policies/ --prometheus http://127.0.0.1:9090 --record seen.json.gz

      aiops plan --policy policies/ --snapshot seen.json.gz --json

      aiops plan --policy policies/ --prometheus http://127.0.0.1:9090 --kubeconfig ~/.kube/config
    """
    span, rate_window = duration(history), duration(window)
    with telling(as_json):
        policies = policies_from(policy)
        if snapshot is not None:
            recording = _replayed(snapshot, prometheus)
        else:
            with (
                access_to(kubeconfig, context) as access,
                client_for(prometheus, bearer_token_file, user, password_file, ca_file, tenant, matcher) as client,
            ):
                recording = _seen(client, access, policies, span, rate_window)
        if record is not None:
            _keep(record, recording)
        state = learn_snapshot(recording.state, recording.snapshot, policies)
        _print(decide(recording.snapshot, state, policies), as_json)


def _replayed(path: Path, prometheus: str | None) -> Recording:
    if prometheus is not None:
        raise CommandError("--snapshot replays a recording, --prometheus asks; give one of them", Exit.WRONG_USAGE)
    try:
        return read_recording(path)
    except RecordingError as error:
        raise CommandError(str(error)) from error


def _seen(
    client: PrometheusClient,
    access: KubernetesAccess | None,
    policies: PolicySet,
    span: timedelta,
    window: timedelta,
) -> Recording:
    """Look once; blind is told before the history is asked for, so that it is told in time."""
    at = datetime.now(UTC)
    metrics = PrometheusObserver(client, lambda: policies, lambda: at, window=window)
    seen = observer_of(access, metrics, lambda: policies, lambda: at).observe()
    if seen.blind:
        raise CommandError(seen.blind, Exit.BLIND)
    try:
        state = begin(State(), policies, read_history(client, policies, at, span), at)
    except PrometheusError as error:
        err.print(f"no history: {error}; the forecast starts cold", markup=False, soft_wrap=True)
        state = State()
    return Recording(seen, state)


def _keep(path: Path, recording: Recording) -> None:
    try:
        write_recording(path, recording)
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror or error}") from error


def _print(cycle: Cycle, as_json: bool) -> None:
    blind = [model for model in cycle.models if model.blind]
    if cycle.models and len(blind) == len(cycle.models):
        problems = tuple(f"{model.ref}: {model.blind}" for model in blind)
        raise CommandError(cycle.blind or "no model of the policies can be seen", Exit.BLIND, problems)
    if as_json:
        print_json(codec.to_plain(cycle))
    else:
        out = console()
        out.print(plan_table(cycle, out.width))
        if marks := legend(cycle):
            out.print(marks)
    if blind:
        raise typer.Exit(int(Exit.BLIND))
