"""The targets that a person names on the command line, and what the person says of them."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer
from kubernetes.client import ApiClient

from aiops.act.overrides import OverrideError
from aiops.cli.connect import duration, policies_from
from aiops.cli.shell import CommandError, Exit, print_json
from aiops.cli.show import console
from aiops.model.policy import PolicySet
from aiops.model.refs import PoolRef
from aiops.observe.kubernetes import AccessError, connect

TargetsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="TARGET",
        help="NAMESPACE/KIND/NAME; with --namespace KIND/NAME; with --policy a model or the name of its policy.",
        show_default=False,
    ),
]
TargetPolicyOption = Annotated[
    list[Path] | None,
    typer.Option("--policy", help="A policy file, or a folder of them, that says which targets a model has."),
]
NamespaceOption = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Where targets without a namespace are.", show_default=False)
]
ForOption = Annotated[
    str | None,
    typer.Option("--for", metavar="DURATION", help="End by itself after this long; else aiops resume ends it."),
]
_KINDS = {
    "Deployment": ("deployment", "deployments", "deploy", "deployment.apps", "deployments.apps"),
    "StatefulSet": ("statefulset", "statefulsets", "sts", "statefulset.apps", "statefulsets.apps"),
    "LeaderWorkerSet": ("leaderworkerset", "leaderworkersets", "lws"),
}
_KIND_OF = {name: kind for kind, names in _KINDS.items() for name in names}
_FORM = "write NAMESPACE/KIND/NAME, such as llm/deployment/chat-8b"


def named_targets(names: Sequence[str], policy: list[Path] | None, namespace: str | None) -> tuple[PoolRef, ...]:
    """Find the targets of names as people write them, each once. Raises CommandError."""
    policies = policies_from(policy) if policy else None
    found = [pool for name in names for pool in _named(name, policies, namespace)]
    return tuple(dict.fromkeys(found))


def _named(name: str, policies: PolicySet | None, namespace: str | None) -> Sequence[PoolRef]:
    of_model = [
        one
        for one in (policies.policies if policies else ())
        if name in (one.metadata.name, one.spec.model, str(one.ref)) and namespace in (None, one.metadata.namespace)
    ]
    if len(of_model) > 1:
        known = tuple(str(one.ref) for one in of_model)
        raise CommandError(f"{name!r} is served in several namespaces; say which with -n", problems=known)
    if of_model:
        return [of_model[0].pool_ref(pool) for pool in of_model[0].spec.pools]
    parts = name.split("/")
    if len(parts) == 2 and namespace is not None:
        parts = [namespace, *parts]
    if len(parts) == 3 and all(parts):
        return [PoolRef(parts[0], _KIND_OF.get(parts[1].lower(), parts[1]), parts[2])]
    raise CommandError(_unknown(name, policies), Exit.BAD_INPUT if policies else Exit.WRONG_USAGE)


def _unknown(name: str, policies: PolicySet | None) -> str:
    if policies is None:
        return f"{name!r} names no target: {_FORM}; a model needs --policy, which says what its targets are"
    known = [told for one in policies.policies for told in (one.metadata.name, one.spec.model)]
    near = get_close_matches(name, known, 1)
    return f"no policy is about {name!r}{f'; did you mean {near[0]!r}?' if near else ''}; or {_FORM}"


def end_of(span: str | None, now: datetime) -> datetime | None:
    """Give the time at which a span given on the command line is over; None where none is given."""
    if span is None:
        return None
    length = duration(span)
    if not length:
        raise typer.BadParameter(f"--for {span} is no time at all")
    return now + length


def say(
    pools: Sequence[PoolRef],
    annotate: Callable[[ApiClient, PoolRef], None],
    kubeconfig: Path | None,
    context: str | None,
) -> None:
    """Say something of every target, whatever becomes of the others; raises CommandError where any refuses."""
    problems = []
    try:
        access = connect(kubeconfig, context)
    except AccessError as error:
        raise CommandError(str(error)) from error
    try:
        for pool in pools:
            try:
                annotate(access.client, pool)
            except OverrideError as error:
                problems.append(f"{pool.kind} {pool}: {error}")
    finally:
        access.close()
    if problems:
        what = f"{len(problems)} of {len(pools)} targets" if len(pools) > 1 else "the target"
        raise CommandError(f"{what} could not be changed", Exit.REFUSED, tuple(problems))


def tell(pools: Sequence[PoolRef], said: str, until: datetime | None, *, as_json: bool, **more: Any) -> None:  # noqa: ANN401
    """Tell what was said of the targets, and until when it holds."""
    if as_json:
        named = [{"namespace": pool.namespace, "kind": pool.kind, "name": pool.name} for pool in pools]
        end = until.astimezone(UTC).isoformat(timespec="seconds") if until else None
        print_json({"said": said, "until": end, "targets": named, **more})
        return
    end = f" until {until.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if until else ""
    for pool in pools:
        console().print(f"{pool.kind} {pool} is {said}{end}")
