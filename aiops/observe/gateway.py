"""What the llm-d router saw of each model."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiops.model.policy import ScalingPolicy
from aiops.observe.engines import Answers
from aiops.observe.identity import namespace_of
from aiops.observe.prometheus import Series
from aiops.observe.queries import Now, Over


@dataclass(frozen=True, slots=True)
class GatewayLoad:
    """Requests of one model at its router over the window, and the queue at its end.

    ``refused`` were turned away or evicted; ``refused_unknown`` says that some were, in a queue that several models
    share and that does not tell whose.
    """

    routed: float
    queue: float
    queue_growth: float
    refused: float
    refused_unknown: bool = False


def belongs(labels: Mapping[str, str], policy: ScalingPolicy) -> bool:
    """Whether a router's series is about a policy's model, or one of its adapters."""
    model = labels.get("target_model_name") or labels.get("model_name", "")
    if namespace_of(labels) not in ("", policy.ref.namespace):
        return False
    return model == policy.spec.model or model in policy.spec.adapters


def read_gateway(answers: Answers, policy: ScalingPolicy) -> GatewayLoad | None:
    """Read a model's load at its router; None where no router knows the model."""
    routed = _mine(answers.over[Over.GATEWAY_REQUESTS], policy)
    queue = _mine(answers.now[Now.GATEWAY_QUEUE], policy)
    if not routed and not queue:
        return None
    refused, unknown = _refused(answers, policy)
    held = _total(queue)
    return GatewayLoad(
        routed=_total(routed),
        queue=held,
        # A router's series begin with their first event: one that was not there before was zero.
        queue_growth=held - _total(_mine(answers.over[Over.GATEWAY_QUEUE_BEFORE], policy)),
        refused=refused,
        refused_unknown=unknown,
    )


def _refused(answers: Answers, policy: ScalingPolicy) -> tuple[float, bool]:
    """Count the refused and evicted. Their counter names only the pool, so the queue's series say whose it is."""
    mine: dict[tuple[str, str], set[bool]] = defaultdict(set)
    for one in answers.now[Now.GATEWAY_QUEUE]:
        mine[_pool(one.labels)].add(belongs(one.labels, policy))
    total, unknown = 0.0, False
    for one in answers.over[Over.GATEWAY_OUTCOMES]:
        owners = mine.get(_pool(one.labels), set())
        if owners == {True}:
            total += one.value or 0.0
        elif True in owners and one.value:
            unknown = True
    return total, unknown


def _pool(labels: Mapping[str, str]) -> tuple[str, str]:
    return namespace_of(labels), labels.get("inference_pool", "")


def _mine(series: Sequence[Series], policy: ScalingPolicy) -> list[Series]:
    return [one for one in series if belongs(one.labels, policy)]


def _total(series: Sequence[Series]) -> float:
    return sum(one.value or 0.0 for one in series)
