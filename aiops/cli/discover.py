"""aiops discover: write policies for what a live cluster serves."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from aiops.cli.cluster import ContextOption, KubeconfigOption, access_to
from aiops.cli.connect import (
    CaFileOption,
    JsonOption,
    MatcherOption,
    PasswordFileOption,
    PrometheusOption,
    TenantOption,
    TokenFileOption,
    UserOption,
    client_for,
)
from aiops.cli.shell import CommandError, Exit, err, failing, print_json, telling, whole
from aiops.model.profile import CapacityProfile
from aiops.observe.discovery.as_yaml import as_yaml
from aiops.observe.discovery.ask_cluster import ask_cluster
from aiops.observe.discovery.ask_prometheus import ask_prometheus
from aiops.observe.discovery.draft import Draft, draft
from aiops.observe.kubernetes import ForbiddenError, KubernetesAccess, KubernetesError
from aiops.observe.packaged import packaged
from aiops.observe.profiles import read_profile
from aiops.observe.prometheus import PrometheusClient, PrometheusError

_NO_CLUSTER = "No cluster was asked: what owns the engines, and what it holds, is inferred."


def discover(
    prometheus: PrometheusOption = None,
    namespace: Annotated[
        list[str] | None,
        typer.Option("--namespace", "-n", help="Look here alone; may be given several times. Else where engines are."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write there; it must not exist yet.")
    ] = None,
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
    """Write a policy for each model that is served, to be read and completed by a person. It only watches.

    Engines are found in Prometheus, by vLLM's own model_name; what owns them, their GPUs and their replicas in the
    cluster, where one is connected: Deployments, StatefulSets and LeaderWorkerSets with engines, or with the labels
    llm-d.ai/inference-serving, llm-d.ai/model, llm-d.ai/role. Without a cluster they are told by kube-state-metrics, or
    by the names of pods, and marked as inferred. What is written passes aiops validate as it is.

    Exit codes: 0 done, 1 nothing that serves was found, or FILE exists, 2 wrong usage, 3 blind, 4 refused by the
    cluster.

    Examples:

      aiops discover --prometheus http://127.0.0.1:9090 --kubeconfig ~/.kube/config --out policies/found.yaml

      aiops discover --prometheus http://127.0.0.1:9090 --namespace llm

      aiops doctor --policy policies/found.yaml --prometheus http://127.0.0.1:9090
    """
    with telling(as_json):
        if out is not None and out.exists():
            raise CommandError(f"{out} exists, and is left as it is: name another file")
        with (
            access_to(kubeconfig, context) as access,
            client_for(prometheus, bearer_token_file, user, password_file, ca_file, tenant, matcher) as client,
        ):
            made, text = _made(client, access, namespace or [])
        if not made.policies:
            raise CommandError(_nothing(client, access, namespace or []), Exit.BAD_INPUT, made.left_out)
        if out is not None:
            with failing(f"cannot write {out}"), whole(out) as part:
                part.write_text(text, encoding="utf-8")
        if as_json:
            print_json(_report(made, text, out))
        elif out is None:
            sys.stdout.write(text)
        else:
            err.print(f"{len(made.policies)} policies written to {out}; next: aiops validate {out}", markup=False)


def _made(client: PrometheusClient, access: KubernetesAccess | None, namespaces: Sequence[str]) -> tuple[Draft, str]:
    at = datetime.now(UTC)
    try:
        seen = ask_prometheus(client, at, namespaces)
        workloads, unread = seen.workloads, [_NO_CLUSTER]
        if access is not None:
            where = namespaces or sorted({engine.pod.namespace for engine in seen.engines if engine.pod.namespace})
            found = ask_cluster(access, seen.engines, where, at)
            workloads, unread = found.workloads, [f"not read: {rule}" for rule in found.forbidden]
    except PrometheusError as error:
        raise CommandError(str(error), Exit.BLIND) from error
    except (KubernetesError, ForbiddenError) as error:
        raise CommandError(str(error), Exit.REFUSED) from error
    made = draft(workloads, seen.engines, _shipped())
    world = f"{access.host} and {client.access.public_url}" if access else f"{client.access.public_url} alone"
    head = f"Found by aiops discover at {at:%Y-%m-%d %H:%M} UTC in {world}."
    return made, as_yaml(made, [head, *unread, "Read every line: objectives, bounds and prices are yours to set."])


def _nothing(client: PrometheusClient, access: KubernetesAccess | None, namespaces: Sequence[str]) -> str:
    where = f" in {', '.join(namespaces)}" if namespaces else ""
    labelled = "" if access is None else ", and nothing in the cluster has llm-d's labels"
    return f"{client.access.public_url} knows no engine{where}{labelled}: is it the one that scrapes them?"


def _shipped() -> dict[str, CapacityProfile]:
    read = {file.stem: read_profile(file)[0] for file in sorted(packaged("policies", "profiles").glob("*.yaml"))}
    return {name: profile for name, profile in read.items() if profile is not None}


def _report(made: Draft, text: str, out: Path | None) -> dict[str, object]:
    return {
        "policies": [str(policy.ref) for policy in made.policies],
        "left_out": list(made.left_out),
        "file": None if out is None else str(out),
        "yaml": text,
    }
