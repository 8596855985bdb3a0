"""aiops pause: leave targets at the replicas that they have."""

from datetime import UTC, datetime

from aiops.act import overrides
from aiops.cli.cluster import ContextOption, KubeconfigOption
from aiops.cli.connect import JsonOption
from aiops.cli.shell import telling
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


def pause(
    targets: TargetsArgument,
    span: ForOption = None,
    policy: TargetPolicyOption = None,
    namespace: NamespaceOption = None,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
    as_json: JsonOption = False,
) -> None:
    """Leave targets at the replicas that they have: aiops goes on looking at them, and sets nothing.

    It is an annotation on the target, read in the next cycle of whichever aiops is in charge; aiops resume takes it
    away. It needs the right to patch the target, which the usual role edit grants. The cluster is that of --kubeconfig,
    of KUBECONFIG, or of ~/.kube/config.

    Exit codes: 0 done, 1 bad input, 2 wrong usage, 4 the cluster refused a target.

    Examples:

      aiops pause llm/deployment/chat-8b

      aiops pause -n llm deployment/chat-8b deployment/rag-70b-decode --for 2h

      aiops pause meta-llama/Llama-3.3-70B-Instruct --policy policies/
    """
    now = datetime.now(UTC)
    until = end_of(span, now)
    with telling(as_json):
        pools = named_targets(targets, policy, namespace)
        say(pools, lambda api, pool: overrides.pause(api, pool, now, until), kubeconfig, context)
        tell(pools, "paused", until, as_json=as_json)
