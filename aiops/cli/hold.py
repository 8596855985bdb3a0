"""aiops hold: keep targets at a number of replicas."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from aiops.act import overrides
from aiops.cli.cluster import ContextOption, KubeconfigOption
from aiops.cli.connect import JsonOption
from aiops.cli.shell import CommandError, Exit, telling
from aiops.cli.targets import (
    ForOption,
    NamespaceOption,
    TargetPolicyOption,
    TargetsArgument,
    end_of,
    named_targets,
    say,
    tell,
)


def hold(
    targets: TargetsArgument,
    replicas: Annotated[int, typer.Option("--replicas", min=0, metavar="N", help="How many each target shall have.")],
    span: ForOption = None,
    policy: TargetPolicyOption = None,
    namespace: NamespaceOption = None,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
    as_json: JsonOption = False,
) -> None:
    """Keep targets at a number of replicas, also beyond the minimum and maximum of their policies.

    It is an annotation on the target; where the policy's mode is act, aiops sets that number in its next cycle and no
    other one until aiops resume takes it away. It needs the right to patch the target, which the usual role edit
    grants. The cluster is that of --kubeconfig, of KUBECONFIG, or of ~/.kube/config.

    Exit codes: 0 done, 1 bad input, 2 wrong usage, 4 the cluster refused a target.

    Examples:

      aiops hold llm/deployment/chat-8b --replicas 6

      aiops hold -n llm deployment/rag-70b-decode --replicas 12 --for 2h

      aiops hold chat-8b --replicas 6 --policy policies/
    """
    now = datetime.now(UTC)
    until = end_of(span, now)
    with telling(as_json):
        for name in targets:
            if len(pools := named_targets([name], policy, namespace)) > 1:
                each = tuple(f"{pool.namespace}/{pool.kind}/{pool.name}" for pool in pools)
                raise CommandError(f"{name!r} has several targets; hold each at its own number", Exit.WRONG_USAGE, each)
        pools = named_targets(targets, policy, namespace)
        say(pools, lambda api, pool: overrides.hold(api, pool, replicas, now, until), kubeconfig, context)
        tell(pools, f"held at {replicas} replicas", until, as_json=as_json, replicas=replicas)
