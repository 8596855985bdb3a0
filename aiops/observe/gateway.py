"""What the llm-d router saw of each model."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from aiops.model.policy import ScalingPolicy
from aiops.model.refs import ModelRef
from aiops.observe.engines import Answers
from aiops.observe.identity import namespace_of
from aiops.observe.prometheus import Series
from aiops.observe.queries import Now, Over

Key = TypeVar("Key")


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


class Gateways:
    """All routers' answers of one look, found by model."""

    def __init__(self, answers: Answers) -> None:
        self._routed = _by_model(answers.over[Over.GATEWAY_REQUESTS])
        self._queue = _by_model(answers.now[Now.GATEWAY_QUEUE])
        self._queue_before = _by_model(answers.over[Over.GATEWAY_QUEUE_BEFORE])
        self._ttft = _by_model(answers.over[Over.GATEWAY_TTFT_BUCKETS])
        # The counter of outcomes names only the pool: the queue's series say which models share one.
        self._outcomes = _grouped(answers.over[Over.GATEWAY_OUTCOMES], _pool)
        self._sharers = _grouped(answers.now[Now.GATEWAY_QUEUE], _pool)

    def load(self, policy: ScalingPolicy) -> GatewayLoad | None:
        """Give a model's load at its router; None where no router knows the model."""
        routed, queue = _of(self._routed, policy), _of(self._queue, policy)
        if not routed and not queue:
            return None
        refused, unknown = self._refused(queue)
        held = _total(queue)
        return GatewayLoad(
            routed=_total(routed),
            queue=held,
            # A router's series begin with their first event: one that was not there before was zero.
            queue_growth=held - _total(_of(self._queue_before, policy)),
            refused=refused,
            refused_unknown=unknown,
        )

    def ttft_buckets(self, policy: ScalingPolicy) -> list[Series]:
        """Give the buckets of a model's TTFT as its router saw it; none where no router does."""
        return _of(self._ttft, policy)

    def _refused(self, queue: Sequence[Series]) -> tuple[float, bool]:
        """Count the refused and evicted of the pools that a model has for itself, and tell of those it shares."""
        total, unknown = 0.0, False
        for pool in {_pool(one.labels) for one in queue}:
            count = _total(self._outcomes.get(pool, ()))
            alone = all(one in queue for one in self._sharers[pool])
            total += count if alone else 0.0
            unknown = unknown or (count > 0 and not alone)
        return total, unknown


def gateway_model(labels: Mapping[str, str]) -> ModelRef:
    """Give the model, or the adapter, that a router's series is about."""
    return ModelRef(namespace_of(labels), labels.get("target_model_name") or labels.get("model_name", ""))


def served_names(policy: ScalingPolicy) -> tuple[ModelRef, ...]:
    """Give all names under which a router may know a policy's model; without a namespace where the scrape adds none."""
    names = (policy.spec.model, *policy.spec.adapters)
    return tuple(ModelRef(namespace, name) for namespace in (policy.ref.namespace, "") for name in names)


def _by_model(series: Sequence[Series]) -> dict[ModelRef, list[Series]]:
    return _grouped(series, gateway_model)


def _grouped(series: Sequence[Series], key: Callable[[Mapping[str, str]], Key]) -> dict[Key, list[Series]]:
    found: dict[Key, list[Series]] = defaultdict(list)
    for one in series:
        found[key(one.labels)].append(one)
    return found


def _of(found: Mapping[ModelRef, list[Series]], policy: ScalingPolicy) -> list[Series]:
    return [one for name in served_names(policy) for one in found.get(name, ())]


def _pool(labels: Mapping[str, str]) -> tuple[str, str]:
    return namespace_of(labels), labels.get("inference_pool", "")


def _total(series: Sequence[Series]) -> float:
    return sum(one.value or 0.0 for one in series)
