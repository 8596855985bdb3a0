"""aiops keda: the objects by which KEDA, or a plain HPA, carries out what mode emit exports."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from aiops.act.scaled_object import Manifest, MetricSource, adapter_rule, external_autoscaler, scaled_object
from aiops.cli.connect import JsonOption, MatcherOption, PolicyOption, TenantOption, policies_from
from aiops.cli.shell import CommandError, Exit, err, failing, print_json, telling, whole
from aiops.model.policy import Mode, PolicySet, PoolSpec, ScalingPolicy
from aiops.observe.cluster_kinds import KNOWN

_AS_IT_IS = """\
# aiops has stabilized and bounded the number, so no window, rate or tolerance may damp it again. The tolerance needs
# Kubernetes 1.35; before, changes of up to 10 % are left out unless kube-controller-manager is started with
# --horizontal-pod-autoscaler-tolerance=0.
"""
_KEDA_HEAD = f"""\
# Made by aiops keda; shown to work with KEDA 2.21. The replicas that aiops asks for are carried out as they are, and
# where they cannot be had (aiops or Prometheus is gone), KEDA keeps the present ones.
{_AS_IT_IS}"""
_HPA_HEAD = f"""\
# Made by aiops keda --hpa, for external metrics of prometheus-adapter. The replicas that aiops asks for are carried out
# as they are, and where they cannot be had (aiops or Prometheus is gone), the HPA keeps the present ones.
{_AS_IT_IS}"""
_RULES_HEAD = (
    "# The external rules of prometheus-adapter's configuration (in the Helm chart's values: rules.external)\n"
)
_RULES_FILE = "prometheus-adapter-rules.yaml"


def keda(
    policy: PolicyOption,
    prometheus_address: Annotated[
        str, typer.Option("--prometheus-address", metavar="URL", help="The Prometheus, as KEDA reaches it.")
    ] = "http://prometheus.monitoring:9090",
    authentication: Annotated[
        str | None,
        typer.Option(metavar="[cluster/]NAME", help="The TriggerAuthentication, or ClusterTriggerAuthentication."),
    ] = None,
    auth_mode: Annotated[
        list[str] | None, typer.Option(help="How KEDA authenticates: bearer, basic, tls, custom, oauth; several times.")
    ] = None,
    tenant: TenantOption = None,
    matcher: MatcherOption = None,
    hpa: Annotated[bool, typer.Option("--hpa", help="An HPA and prometheus-adapter's rule, for want of KEDA.")] = False,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Write a file a pool there.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Print the KEDA ScaledObjects that carry out what policies in mode emit ask for, one for each pool.

    They pass the exported number on at once and as it is, within the policy's min and max, and keep the present
    replicas where there is no number. Policies in other modes are left out, and named: observe exports nothing to carry
    out, and in act aiops sets the replicas itself.

    Exit codes: 0 done, 1 bad input (no policy is in mode emit), 2 wrong usage.

    Examples:

      aiops keda --policy policies/ --prometheus-address http://prometheus.monitoring:9090 | kubectl apply -f -

      aiops keda --policy policies/ --tenant llm --authentication cluster/thanos --auth-mode bearer

      aiops keda --policy policies/ --hpa --out deploy/chat
    """
    with telling(as_json):
        if auth_mode and authentication is None:
            raise CommandError("--auth-mode says how, --authentication with which secret; give both", Exit.WRONG_USAGE)
        source = MetricSource(
            prometheus_address,
            tenant=tenant,
            authentication=_reference(authentication),
            auth_modes=tuple(auth_mode or ()),
            matchers=tuple(matcher or ()),
        )
        pools = _emitting(policies_from(policy))
        rules: list[Manifest] = []
        if hpa:
            made = [external_autoscaler(policy, pool, _api_version(policy, pool)) for policy, pool in pools]
            rules = [adapter_rule(policy, pool, source.matchers) for policy, pool in pools]
        else:
            made = [scaled_object(policy, pool, _api_version(policy, pool), source) for policy, pool in pools]
        head = _HPA_HEAD if hpa else _KEDA_HEAD
        if out is not None:
            _write(out, head, made, rules)
        if as_json:
            print_json(_list(made, rules))
        elif out is None:
            sys.stdout.write("---\n".join([head + _yaml(made[0]), *map(_yaml, made[1:])]))
            if rules:
                # A comment: it is no object that kubectl could apply.
                sys.stdout.write("\n" + _RULES_HEAD + _commented(_yaml({"externalRules": rules})))


def _emitting(policies: PolicySet) -> list[tuple[ScalingPolicy, PoolSpec]]:
    """Give the pools of the policies that emit, and name the others. Raises CommandError where there are none."""
    others = [policy for policy in policies.policies if policy.spec.mode is not Mode.EMIT]
    named = [f"{policy.metadata.namespace}/{policy.metadata.name} is in mode {policy.spec.mode}" for policy in others]
    found = [(one, pool) for one in policies.policies if one.spec.mode is Mode.EMIT for pool in one.spec.pools]
    if not found:
        raise CommandError("no policy is in mode emit, so nobody exports what to carry out", problems=tuple(named))
    for line in named:
        err.print(f"left out: {line}", markup=False, highlight=False, soft_wrap=True)
    return found


def _api_version(policy: ScalingPolicy, pool: PoolSpec) -> str:
    kind = KNOWN.get(pool.target.kind)
    if kind is None:
        raise CommandError(
            f"the target {policy.pool_ref(pool)} is a {pool.target.kind}, whose API group is not known here; "
            f"known are {', '.join(KNOWN)}"
        )
    return f"{kind.group}/{kind.version}"


def _reference(text: str | None) -> dict[str, str] | None:
    if text is None:
        return None
    scope, _, name = text.rpartition("/")
    if scope not in ("", "cluster") or not name:
        raise typer.BadParameter(f"{text!r} names no authentication; write NAME or cluster/NAME")
    return {"kind": "ClusterTriggerAuthentication" if scope else "TriggerAuthentication", "name": name}


def _list(made: Sequence[Manifest], rules: Sequence[Manifest]) -> dict[str, Any]:
    """Give one object that kubectl applies as it is; the adapter's rules stand beside its items."""
    return {
        "apiVersion": "v1",
        "kind": "List",
        "items": list(made),
        **({"externalRules": list(rules)} if rules else {}),
    }


def _write(folder: Path, head: str, made: Sequence[Manifest], rules: Sequence[Manifest]) -> None:
    texts = {_file_name(manifest): head + _yaml(manifest) for manifest in made}
    if rules:
        texts[_RULES_FILE] = _RULES_HEAD + _yaml({"externalRules": list(rules)})
    with failing(f"cannot write to {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            with whole(folder / name) as file:
                file.write_text(text, encoding="utf-8")
    for name in texts:
        err.print(str(folder / name), markup=False, highlight=False, soft_wrap=True)


def _file_name(manifest: Manifest) -> str:
    return f"{manifest['metadata']['namespace']}.{manifest['metadata']['name']}.yaml"


def _yaml(value: Manifest) -> str:
    # One query is one line: folded it would still be right, but nobody could copy it.
    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=1000)
    return text


def _commented(text: str) -> str:
    return "".join(f"# {line}\n" for line in text.splitlines())
