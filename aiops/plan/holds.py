"""What a live cluster asks of the plan: whose replicas they are, what people said, and what is under way."""

from dataclasses import dataclass
from datetime import timedelta

from aiops.model.cluster import TargetView
from aiops.model.decision import Reason
from aiops.model.policy import Mode
from aiops.plan.state import PoolMemory

OUR_MANAGER = "aiops"
RESPECTED_FOR = timedelta(hours=1)
"""How long a change of replicas that somebody else made is left as it is."""
_ACTS = frozenset({Mode.ACT, Mode.ACT_UP})


@dataclass(frozen=True, slots=True)
class Hold:
    """A rule that bounds a pool's replicas whatever demand asks for; None is no bound."""

    reason: Reason
    least: int | None = None
    most: int | None = None

    def clip(self, replicas: int) -> int:
        """Give the nearest number within the bounds."""
        if self.most is not None:
            replicas = min(replicas, self.most)
        return replicas if self.least is None else max(replicas, self.least)

    def fixes(self, replicas: int) -> bool:
        """Whether it lets no other number through."""
        return self.least == self.most == replicas


def hold_of(target: TargetView | None, memory: PoolMemory, mode: Mode, now_s: float) -> Hold | None:
    """Find the strongest hold on a pool whose target was read; None where nothing holds it.

    In order: another scaler that owns it (where this one would act), a person's word, a change that somebody else made
    within the hour, a rollout. Only a rollout lets it grow.
    """
    if target is None:
        return None
    here = target.replicas
    if mode in _ACTS and target.scaled_by:
        return Hold(Reason.OWNED_BY_ANOTHER_SCALER, here, here)
    if target.override is not None:
        held_at = target.override.replicas
        if held_at is None:
            return Hold(Reason.PAUSED, here, here)
        return Hold(Reason.HELD, held_at, held_at)
    if mode in _ACTS and _changed_by_another(target, memory, now_s):
        return Hold(Reason.CHANGED_BY_ANOTHER, here, here)
    if target.rollout:
        return Hold(Reason.ROLLOUT, least=here)
    return None


def _changed_by_another(target: TargetView, memory: PoolMemory, now_s: float) -> bool:
    """Whether the last change seen is not ours, and not an hour old; the first number ever seen is no change."""
    if len(memory.currents) < 2 or target.replicas_manager in ("", OUR_MANAGER):
        return False
    return now_s - memory.currents[-1].at_s < RESPECTED_FOR.total_seconds()
