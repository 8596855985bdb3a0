"""A draft as people read and complete it: policies in YAML, with what is doubtful beside them."""

from collections.abc import Iterable, Iterator

import yaml

from aiops.model.refs import Role
from aiops.observe.discovery.draft import Draft, DraftPolicy, DraftPool, DraftVariant

_WIDTH = 118


def as_yaml(made: Draft, head: Iterable[str]) -> str:
    """Write everything; ``head`` is said at the top, a line each. It passes ``aiops validate`` as it is."""
    documents = [_policy(policy) for policy in made.policies]
    if made.variants:
        documents.append(_variants(made.variants))
    beginning = [line for text in (*head, *(f"left out: {one}" for one in made.left_out)) for line in _comment(text)]
    return "\n".join([*beginning, "\n---\n".join("\n".join(lines) for lines in documents), ""])


def _policy(policy: DraftPolicy) -> list[str]:
    name, namespace = _scalar(policy.name), _scalar(policy.ref.namespace)
    return [
        *(line for note in policy.notes for line in _comment(note)),
        "apiVersion: aiops.tokenfactory.dev/v1alpha1",
        "kind: ScalingPolicy",
        f"metadata: {{name: {name}, namespace: {namespace}}}",
        "spec:",
        f"  model: {_scalar(policy.ref.model)}",
        "  mode: observe # it only watches; then emit, or act",
        "  # What users were promised; best on bounds of vLLM's histogram buckets.",
        "  objectives: {ttft: {p95: 2.5s}, itl: {p95: 50ms}}",
        "  pools:",
        *(line for pool in policy.pools for line in _pool(pool)),
    ]


def _pool(pool: DraftPool) -> Iterator[str]:
    target = pool.workload.pool
    yield from (line for note in pool.notes for line in _comment(note, "    "))
    yield f"    - name: {pool.name}"
    if pool.role is not Role.BOTH:
        yield f"      role: {pool.role}"
    yield f"      target: {{kind: {_scalar(target.kind)}, name: {_scalar(target.name)}}}"
    yield f"      variant: {_scalar(pool.variant)}"
    yield f"      min: {pool.least} # it has {pool.workload.replicas} now"
    yield f"      max: {pool.most}"


def _variants(variants: Iterable[DraftVariant]) -> list[str]:
    lines = ["variants:"]
    for one in variants:
        lines += [f"  {_scalar(one.name)}:", *(line for text in one.missing for line in _comment(text, "    "))]
        if one.accelerator:
            lines.append(f"    accelerator: {_scalar(one.accelerator)}")
        lines.append(f"    gpus: {one.gpus}")
        if one.profile is not None:
            lines.append(f"    profile: {_scalar(one.profile)}")
        lines.append("    # usdPerHour: 14.0 # of a replica; wanted by budget.usdPerHour")
    return lines


def _comment(text: str, indent: str = "") -> Iterator[str]:
    line = f"{indent}#"
    for word in " ".join(text.split()).split(" "):
        if len(line) + 1 + len(word) > _WIDTH and not line.endswith("#"):
            yield line
            line = f"{indent}#"
        line += f" {word}"
    yield line


def _scalar(text: str) -> str:
    """Write a name so that YAML reads it as text, inside of braces too."""
    plain = yaml.safe_dump([text], default_flow_style=True, width=10_000, allow_unicode=True)
    return plain.strip()[1:-1]
