"""aiops resume: take back what aiops pause and aiops hold said of targets."""

from aiops.act.overrides import release
from aiops.cli.cluster import ContextOption, KubeconfigOption
from aiops.cli.connect import JsonOption
from aiops.cli.shell import telling
from aiops.cli.targets import NamespaceOption, TargetPolicyOption, TargetsArgument, named_targets, say, tell


def resume(
    targets: TargetsArgument,
    policy: TargetPolicyOption = None,
    namespace: NamespaceOption = None,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
    as_json: JsonOption = False,
) -> None:
    """End the pause or the hold of targets: aiops sets their replicas again. Nothing happens where there is none.

    Exit codes: 0 done, 1 bad input, 2 wrong usage, 4 the cluster refused a target.

    Examples:

      aiops resume llm/deployment/chat-8b

      aiops resume meta-llama/Llama-3.3-70B-Instruct --policy policies/
    """
    with telling(as_json):
        pools = named_targets(targets, policy, namespace)
        say(pools, release, kubeconfig, context)
        tell(pools, "neither paused nor held", None, as_json=as_json)
