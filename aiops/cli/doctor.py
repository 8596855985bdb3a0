"""aiops doctor: look at a whole setup, and say what is fine, what is doubtful and what keeps aiops from working."""

from dataclasses import asdict
from datetime import UTC, datetime
from itertools import groupby
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from aiops.cli.cluster import ContextOption, KubeconfigOption, access_to
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
from aiops.cli.shell import Exit, print_json, telling
from aiops.cli.show import console
from aiops.model.checkup import Checkup, Finding, Verdict
from aiops.model.snapshot import Snapshot
from aiops.observe.checkup import judge
from aiops.observe.checkup.ask_cluster import ask_cluster
from aiops.observe.checkup.ask_prometheus import ask_prometheus
from aiops.observe.checkup.facts import Facts
from aiops.observe.observer import PrometheusObserver

_SHOWN = 6
"""More of a kind that are fine are told in one row."""
_MARKS = {
    Verdict.WRONG: Text("wrong", style="bold red"),
    Verdict.WARNING: Text("warning", style="yellow"),
    Verdict.FINE: Text("fine", style="green"),
}


def doctor(
    policy: PolicyOption,
    prometheus: PrometheusOption = None,
    window: Annotated[str, typer.Option(help="The window of rates that the loop is run with.")] = "1m",
    bearer_token_file: TokenFileOption = None,
    user: UserOption = None,
    password_file: PasswordFileOption = None,
    ca_file: CaFileOption = None,
    tenant: TenantOption = None,
    matcher: MatcherOption = None,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
    lease: Annotated[
        str, typer.Option(metavar="[NAMESPACE/]NAME", help="The Lease that the loop is run with.")
    ] = "aiops",
    deletion_cost: Annotated[
        bool,
        typer.Option("--deletion-cost", help="The loop is run with --deletion-cost, which needs rights of its own."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Look at a whole setup: metrics, labels, clocks, rights, targets, profiles, objectives. Nothing is changed.

    Each finding names what is so and the way out. What is wrong keeps aiops from doing what the policies ask for; a
    warning does not, but somebody should know.

    The rights are those of whoever asks: run it in aiops' pod, or with the token of its ServiceAccount.

    Exit codes: 0 nothing is wrong (there may be warnings), 1 something is wrong, or bad input, 2 wrong usage, 3 blind
    (Prometheus does not answer; what the cluster says is told all the same).

    Examples:

      aiops doctor --policy policies/ --prometheus http://127.0.0.1:9090

      aiops doctor --policy policies/ --prometheus http://127.0.0.1:9090 --kubeconfig ~/.kube/config

      aiops doctor --policy policies/ --json | jq '.findings[] | select(.verdict != "fine")'

      kubectl exec -n aiops deploy/aiops -- aiops doctor --policy /etc/aiops/policies --prometheus http://prometheus:9090
    """
    rate_window = duration(window)
    with telling(as_json):
        policies = policies_from(policy)
        with (
            access_to(kubeconfig, context) as access,
            client_for(prometheus, bearer_token_file, user, password_file, ca_file, tenant, matcher) as client,
        ):
            metrics, at = ask_prometheus(client, policies), datetime.now(UTC)
            observer = PrometheusObserver(client, lambda: policies, lambda: at, window=rate_window)
            cluster = None if access is None else ask_cluster(access, policies, lease, at, victims=deletion_cost)
            view = None if cluster is None else cluster.view
            facts = Facts(
                at=at,
                policies=policies,
                # What does not answer is not asked again: it is to be told in time.
                snapshot=Snapshot(at, blind=metrics.problem) if metrics.problem else observer.observe(view),
                metrics=metrics,
                cluster=cluster,
                window=rate_window,
            )
        checkup = judge(facts)
        if as_json:
            print_json(_report(checkup))
        else:
            console().print(_table(checkup))
            console().print(_summary(checkup))
        code = _code(checkup, blind=bool(facts.metrics.problem))
    if code is not Exit.DONE:
        raise typer.Exit(int(code))


def _code(checkup: Checkup, *, blind: bool) -> Exit:
    if blind:
        return Exit.BLIND
    return Exit.BAD_INPUT if checkup.verdict is Verdict.WRONG else Exit.DONE


def _report(checkup: Checkup) -> dict[str, Any]:
    signals = [
        asdict(one) | {"last_seen": one.last_seen and one.last_seen.isoformat(timespec="seconds")}
        for one in checkup.signals
    ]
    return {
        "at": checkup.at.isoformat(timespec="seconds"),
        "verdict": checkup.verdict,
        "findings": [asdict(finding) for finding in checkup.findings],
        "signals": signals,
    }


def _table(checkup: Checkup) -> Table:
    table = Table(box=SIMPLE_HEAD, expand=False)
    table.add_column("")
    table.add_column("about", overflow="fold", ratio=1)
    table.add_column("finding", overflow="fold", ratio=3)
    for (verdict, topic), group in groupby(checkup.findings, lambda finding: (finding.verdict, finding.topic)):
        findings = list(group)
        if verdict is Verdict.FINE and len(findings) > _SHOWN:
            about = f"{topic}\n{len(findings)} in all"
            table.add_row(_MARKS[verdict], Text(about), Text("each is fine (--json has every one)"), style="dim")
            continue
        for finding in findings:
            style = "dim" if verdict is Verdict.FINE else ""
            table.add_row(_MARKS[verdict], Text(f"{topic}\n{finding.about}"), _told(finding), style=style)
    return table


def _told(finding: Finding) -> Text:
    return Text(f"{finding.says}\n→ {finding.way_out}" if finding.way_out else finding.says)


def _summary(checkup: Checkup) -> Text:
    counts = {verdict: sum(one.verdict is verdict for one in checkup.findings) for verdict in Verdict}
    told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict)
    return Text.assemble(told, ": ", _MARKS[checkup.verdict])
