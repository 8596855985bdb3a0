"""Troubles outside the simulated factory: in aiops itself, in the cluster's objects, in what exporters tell of GPUs.

What the factory does not simulate is written into its pages: an XID, a failed row remap, a temperature, another served
model name, a HorizontalPodAutoscaler.
"""

import re
from collections.abc import Iterable
from dataclasses import replace

from aiops.model.cluster import TargetView
from aiops.model.decision import Decision, Outcome
from aiops.model.snapshot import ModelSnapshot, SignalHealth, SignalState, Snapshot
from aiops.observe.catalogue import ENGINE_SIGNALS, RUNNING
from aiops.simulate.actuator import FactoryActuator
from aiops.simulate.cluster import Pool
from aiops.simulate.exposition.targets import Target
from aiops.simulate.factory import Factory
from aiops.simulate.observer import FactoryObserver
from aiops.simulate.served_model import ServedModel
from tests.mixin.troubles import Trouble

_XID = 79.0  # the GPU has fallen off the bus
_COOL_C, _HOT_C = 62.0, 95.0
_RENAMED = "-renamed"


class Outside:
    """What is wrong outside the factory at its present time."""

    def __init__(self, factory: Factory, troubles: Iterable[Trouble]) -> None:
        self._factory = factory
        self._troubles = tuple(troubles)
        self._gpus: dict[Trouble, str] = {}

    def now(self, kind: str, model: str | None = None) -> Trouble | None:
        """The trouble of a kind, if there is one now."""
        now_s = self._factory.now_s
        return next(
            (
                one
                for one in self._troubles
                if (one.kind, one.model) == (kind, model) and one.begin_s <= now_s < one.end_s
            ),
            None,
        )

    def page(self, target: Target, text: str) -> str:
        """What a target answers, with what is wrong."""
        if target.labels["job"] == "dcgm-exporter":
            return self._gpu_page(text)
        for model in self._factory.models:
            name = model.ref.model
            if target.labels["job"] == "vllm" and self.now("model_renamed", name):
                text = text.replace(f'model_name="{name}"', f'model_name="{name}{_RENAMED}"')
            if target.labels["job"] == "kube-state-metrics" and self.now("second_scaler", name):
                text += "".join(_autoscaler(pool) for pool in model.pools)
        return text

    def _gpu_page(self, text: str) -> str:
        clocks = re.findall(r"^DCGM_FI_DEV_SM_CLOCK(\{.*\}) \S+$", text, re.MULTILINE)
        text += "".join(f"DCGM_FI_DEV_GPU_TEMP{labels} {_COOL_C}\n" for labels in clocks)
        for kind, name, value in (
            ("gpu_xid", "DCGM_FI_DEV_XID_ERRORS", _XID),
            ("gpu_memory", "DCGM_FI_DEV_ROW_REMAP_FAILURE", 1.0),
            ("gpu_hot", "DCGM_FI_DEV_GPU_TEMP", _HOT_C),
        ):
            for model in self._factory.models:
                trouble = self.now(kind, model.ref.model)
                if trouble is not None and (gpu := self._gpu(trouble, model, text)):
                    text = re.sub(rf'^({name}\{{.*UUID="{gpu}".*\}}) \S+$', rf"\1 {value}", text, flags=re.MULTILINE)
        return text

    def _gpu(self, trouble: Trouble, model: ServedModel, text: str) -> str:
        """The GPU that a trouble is about: the oldest replica's at its beginning, the same ever after."""
        if trouble not in self._gpus:
            oldest = model.pools[0].oldest_ready()
            found = re.search(rf'UUID="([^"]*)".*pod="{oldest[0].name}"', text) if oldest else None
            if found:
                self._gpus[trouble] = found[1]
        return self._gpus.get(trouble, "")


def _autoscaler(pool: Pool) -> str:
    labels = {
        "namespace": pool.ref.namespace,
        "horizontalpodautoscaler": f"keda-hpa-{pool.ref.name}",
        "scaletargetref_api_version": "apps/v1",
        "scaletargetref_kind": pool.ref.kind,
        "scaletargetref_name": pool.ref.name,
    }
    text = ",".join(f'{name}="{value}"' for name, value in labels.items())
    return f"kube_horizontalpodautoscaler_info{{{text}}} 1\n"


class SeenFromOutside:
    """The factory as aiops sees it with these troubles, and with what its signals are then: fits ``Observer``."""

    def __init__(self, factory: Factory, outside: Outside) -> None:
        self._factory, self._outside = factory, outside
        self._observer = FactoryObserver(factory)

    def observe(self) -> Snapshot:
        """Take one snapshot."""
        seen = self._observer.observe()
        pairs = zip(seen.models, self._factory.models, strict=True)
        return replace(seen, models=tuple(self._model(model, real) for model, real in pairs), queries=30)

    def _model(self, seen: ModelSnapshot, real: ServedModel) -> ModelSnapshot:
        live = [replica for pool in real.pools for replica in pool.replicas if replica.live]
        unread = sum(not real.faults.answers(replica) for replica in live)
        if self._outside.now("model_renamed", seen.ref.model):
            return _blind(seen, SignalState.MISMATCH, "its engines serve another model")
        if unread and unread == len(live):
            return _blind(seen, SignalState.STALE, "its engines do not answer")
        if self._outside.now("second_scaler", seen.ref.model):
            seen = replace(seen, pools=tuple(replace(pool, target=_owned(pool)) for pool in seen.pools))
        states = {RUNNING.name: SignalState.STALE} if unread else {}
        return replace(
            seen,
            signals=tuple(
                SignalHealth(metric.name, states.get(metric.name, SignalState.OK)) for metric in ENGINE_SIGNALS
            ),
        )


def _blind(seen: ModelSnapshot, state: SignalState, why: str) -> ModelSnapshot:
    pools = tuple(replace(pool, replicas=()) for pool in seen.pools)
    signals = tuple(SignalHealth(metric.name, state, detail=why) for metric in ENGINE_SIGNALS)
    return replace(seen, pools=pools, demand=None, signals=signals, blind=why)


def _owned(pool):
    return TargetView(
        pool.pool, pool.current or 0, "1", scaled_by=f"HorizontalPodAutoscaler {pool.pool.namespace}/{pool.pool.name}"
    )


class Refusing:
    """Carries decisions out, unless the API server refuses: fits ``Actuator``."""

    def __init__(self, factory: Factory, outside: Outside) -> None:
        self._factory, self._outside = factory, outside
        self._actuator = FactoryActuator(factory)

    def apply(self, decision: Decision) -> Outcome:
        """Set the pool's replicas to what was decided, or say why not."""
        if self._outside.now("writes_refused", decision.ref.model):
            return Outcome(decision.pool, self._factory.now, decision.desired or 0, applied=False, error="forbidden")
        return self._actuator.apply(decision)
